"""Measurements as files: what a study found, saved so that reading gives back what was measured.

A study is a frozen dataclass of frames, arrays, subjects and pictures. Its folder
(``results/PROFILE/CHAPTER``) holds

    run.json        how it was measured, and a digest of every other file
    study.json      the study's plain values, and the layout of its frames and pictures
    *.csv           a frame each; *.csv.gz from `LONG` lines on (a line a judged picture)
    pictures.webp   the pictures that the page shows, side by side, without loss
    arrays.npz      other arrays
    verified.json   what `rbtc verify` last found, if it was asked to note it
"""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import importlib
import io
import json
import shutil
import typing
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import pandas as pd

from rbtc.files import file_digest, write_whole

RUN, STUDY, PICTURES, ARRAYS = "run.json", "study.json", "pictures.webp", "arrays.npz"
VERIFIED = "verified.json"
LONG = 300
"""Frames of as many lines are compressed."""
ACROSS = 16
"""Pictures in a line of pictures.webp."""
_KINDS = ("bool", "int64", "float64", "Int64", "str", "object")


@dataclass(frozen=True)
class Run:
    """How a study was measured.

    Attributes:
        chapter: Of the book.
        profile: Its name.
        parameters: All that the study was called with.
        pictures: How many judged pictures are behind it.
        command: What repeats it.
        commit: Of the code; "unknown" outside a clone.
        dirty: Whether files of the clone differed from the commit.
        date: ISO date, UTC.
        device: In words.
        seconds: Wall-clock time of the command; pictures that were filed before are not drawn anew.
        drawn: How many of the pictures were drawn by this command.
        settings: Of the profile: sampler, ratio, calls and reference of pruning, K of the attack.
        weights: A figure each of pruning, completion and attack, for a replay to compare.
        versions: Library -> version.
        models: Part of the profile (model, judges) -> sha256.
        files: File of the folder -> sha256.
        verified: What `rbtc verify` last found; "" if it was never asked to note it.
    """

    chapter: str
    profile: str
    parameters: Mapping[str, Any]
    pictures: int
    command: str
    commit: str
    dirty: bool
    date: str
    device: str
    seconds: float
    drawn: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    verified: str = ""

    def _repr_markdown_(self) -> str:
        return f"*{self}*"

    def __str__(self) -> str:
        where = f"commit {self.commit}{' with changes' if self.dirty else ''}"
        judged = f"{self.pictures:,} judged pictures" if self.pictures else "no judged pictures"
        if "images" in self.parameters and self.pictures:
            judged += f" ({self.parameters['images']} of a class and model)"
        return (
            f"Measured with the profile {self.profile}: {judged}, on {self.device}, {self.date}, "
            f"{where}. {self.verified or 'Not verified by replay yet'}."
        )


def results_root() -> Path:
    """The repository's ``results``: a folder a profile, a folder a chapter below it."""
    return Path(__file__).resolve().parents[1] / "results"


def folder_of(chapter: str, profile: str, root: str | Path = "") -> Path:
    """Where a chapter's measurement lies.

    Args:
        chapter: name of the chapter, like "08_objects".
        profile: name of the profile.
        root: a folder like ``results``; "" takes the repository's.
    """
    return (Path(root) if root else results_root()) / profile / chapter


# ---- saving -------------------------------------------------------------------------------------


def save(study: Any, folder: str | Path, run: Run) -> Path:
    """Write a study and how it was measured; the folder appears whole, or stays as it was.

    Args:
        study: a dataclass of frames, arrays, dataclasses, mappings, tuples and plain values.
        folder: of the measurement; what it held before goes.
        run: how it was measured; its ``files`` are filled in here.

    Raises:
        ValueError: something in the study has no exact form as a file; the message says what.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    frames: dict[str, pd.DataFrame] = {}
    arrays: dict[str, np.ndarray] = {}
    plain = _taken_apart(study, "", frames, arrays)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.tmp")
    made.mkdir()
    try:
        layout = {"kind": type(study).__name__, "study": plain, "frames": {}, "pictures": {}}
        for path, frame in frames.items():
            layout["frames"][path] = _write_frame(frame, path, made)
        shown = {path: array for path, array in arrays.items() if _is_pictures(array)}
        if shown:
            layout["pictures"] = _write_pictures(shown, made / PICTURES)
        rest = {path: array for path, array in arrays.items() if path not in shown}
        if rest:
            np.savez_compressed(made / ARRAYS, allow_pickle=False, **rest)
        _write_json(layout, made / STUDY)
        files = {path.name: file_digest(path) for path in sorted(made.iterdir())}
        record = dataclasses.asdict(dataclasses.replace(run, files=files))
        record.pop("verified")
        _write_json(record, made / RUN)
        if folder.exists():
            shutil.rmtree(folder)
        made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _taken_apart(value: Any, path: str, frames: dict, arrays: dict) -> Any:
    """The value as JSON can hold it; frames and arrays are put aside under their path."""
    if isinstance(value, pd.DataFrame):
        frames[path] = value
        return None
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            one.name: _taken_apart(getattr(value, one.name), _join(path, one.name), frames, arrays)
            for one in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return [
            [list(key) if isinstance(key, tuple) else key,
             _taken_apart(item, _join(path, str(number)), frames, arrays)]
            for number, (key, item) in enumerate(value.items())
        ]  # fmt: skip
    if isinstance(value, tuple | list):
        return [
            _taken_apart(item, _join(path, str(number)), frames, arrays)
            for number, item in enumerate(value)
        ]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"{path}: {type(value).__name__} has no exact form as a file")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _write_frame(frame: pd.DataFrame, path: str, folder: Path) -> dict[str, Any]:
    """Write one CSV, and return what reading it back takes."""
    indexed = not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None)
    indexed = indexed or not frame.index.equals(pd.RangeIndex(len(frame)))
    layers = frame.index.nlevels if indexed else 0
    if frame.columns.nlevels > 1:
        raise ValueError(f"{path}: a frame to be saved has one line of headings")
    index = [frame.index.get_level_values(i) for i in range(layers)]
    parts = [*(pd.Series(one) for one in index), *(frame.iloc[:, i] for i in range(frame.shape[1]))]
    names = [*(frame.index.names if indexed else ()), *frame.columns]
    what = [f"{path}, column {name!r}" for name in names]
    kinds = [_kind(part, told) for part, told in zip(parts, what, strict=True)]
    flat = pd.DataFrame({i: part.to_numpy() for i, part in enumerate(parts)})
    for i, kind in enumerate(kinds):
        if kind == "Int64":
            flat[i] = pd.array(parts[i], dtype="Int64")
    headings = [str(name) if name is not None else f"index {i}" for i, name in enumerate(names)]
    text = flat.to_csv(index=False, header=headings, lineterminator="\n").encode()
    name = f"{path or 'frame'}.csv"
    if len(frame) >= LONG:
        name += ".gz"
        text = gzip.compress(text, mtime=0)
    (folder / name).write_bytes(text)
    plain = [one.item() if isinstance(one, np.generic) else one for one in names]
    return {"file": name, "names": plain, "labels": str(frame.columns.dtype),
            "kinds": kinds, "index": layers}  # fmt: skip


def _kind(part: pd.Series, what: str) -> str:
    """How a column is read back, or why it cannot be saved."""
    kind = str(part.dtype)
    if kind in ("bool", "int64", "float64", "Int64"):
        return kind
    known = part[~part.isna()]
    if not all(isinstance(item, str) for item in known):
        found = sorted({type(item).__name__ for item in known})
        raise ValueError(f"{what}: holds {found}; give it one of the dtypes {_KINDS}")
    if part.isna().any() and (known == "").any():
        raise ValueError(f"{what}: holds empty and missing texts, which a CSV cannot tell apart")
    return f"{'object' if kind == 'object' else 'str'}{'?' if part.isna().any() else ''}"


def _is_pictures(array: np.ndarray) -> bool:
    return array.dtype == np.uint8 and array.ndim >= 4 and array.shape[-1] == 3


def _write_pictures(shown: Mapping[str, np.ndarray], path: Path) -> dict[str, Any]:
    """All pictures in one lossless file, in lines of `ACROSS`; equal ones stand there once."""
    from PIL import Image

    tiles: dict[bytes, int] = {}
    kept: list[np.ndarray] = []
    layout: dict[str, Any] = {}
    for name, array in shown.items():
        places = []
        for picture in array.reshape(-1, *array.shape[-3:]):
            key = picture.tobytes() + str(picture.shape).encode()
            if key not in tiles:
                tiles[key] = len(kept)
                kept.append(picture)
            places.append(tiles[key])
        layout[name] = {"shape": list(array.shape), "places": places}
    height, width = (max(one.shape[axis] for one in kept) for axis in (0, 1))
    lines = -(-len(kept) // ACROSS)
    canvas = np.full((lines * height, min(len(kept), ACROSS) * width, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(kept):
        top, left = place // ACROSS * height, place % ACROSS * width
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    if max(canvas.shape) > 16_383:
        raise ValueError(f"{len(kept)} pictures of {width} x {height} are too many for {path.name}")
    Image.fromarray(canvas).save(path, lossless=True, quality=100, method=4, exact=True)
    return {"cell": [height, width], "arrays": layout}


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- reading ------------------------------------------------------------------------------------


def read_run(folder: str | Path) -> Run:
    """How the study in a folder was measured; every file is compared with its digest.

    Raises:
        FileNotFoundError: there is no measurement.
        ValueError: a file is missing, was changed, or is none of ours; or the record is damaged.
    """
    folder = Path(folder)
    path = folder / RUN
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no measurement in {folder}: rbtc measure {folder.name} makes one"
        )
    try:
        run = Run(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): measure again, or bring it back from git"
        ) from error
    if run.chapter != folder.name:
        raise ValueError(f"{path} is the record of {run.chapter}, not of {folder.name}")
    for name, digest in run.files.items():
        if name != Path(name).name or not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing: measure again, or take it from git")
        if file_digest(folder / name) != digest:
            raise ValueError(
                f"{folder / name} is not the file that was measured (its digest differs): measure "
                "again, or bring it back from git"
            )
    note = folder / VERIFIED
    if note.is_file():
        found = json.loads(note.read_text(encoding="utf-8"))
        if found.get("run") == file_digest(path):
            run = dataclasses.replace(run, verified=str(found["found"]))
    return run


def note_verified(folder: str | Path, found: str) -> None:
    """Note what a replay of the measurement in a folder found, in a sentence without its stop."""
    folder = Path(folder)
    content = {"run": file_digest(folder / RUN), "found": found}
    write_whole(folder / VERIFIED, lambda place: _write_json(content, place))


def load(kind: type, folder: str | Path) -> Any:
    """The study of a folder, equal to the one that was saved, field by field.

    Args:
        kind: class of the study.
        folder: of the measurement.

    Raises:
        FileNotFoundError: there is no measurement.
        ValueError: it is damaged, or that of another kind of study.
    """
    folder = Path(folder)
    layout = json.loads((folder / STUDY).read_text(encoding="utf-8"))
    if layout["kind"] != kind.__name__:
        raise ValueError(f"{folder} holds a {layout['kind']}, expected a {kind.__name__}")
    frames = {path: _read_frame(folder, one) for path, one in layout["frames"].items()}
    arrays: dict[str, np.ndarray] = {}
    if layout["pictures"]:
        arrays |= _read_pictures(folder / PICTURES, layout["pictures"])
    if (folder / ARRAYS).is_file():
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays |= {name: stored[name] for name in stored.files}
    return _put_together(kind, layout["study"], "", {**frames, **arrays})


def _read_frame(folder: Path, layout: Mapping[str, Any]) -> pd.DataFrame:
    raw = (folder / layout["file"]).read_bytes()
    text = gzip.decompress(raw) if layout["file"].endswith(".gz") else raw
    kinds = [kind.rstrip("?") for kind in layout["kinds"]]
    # By place: two columns may have one heading, and a heading need not be a text. Floats are read
    # by Python, exactly.
    text_like = ("object", "float64")
    types: Any = {i: "str" if kind in text_like else kind for i, kind in enumerate(kinds)}
    empty = {i: [""] if kind == "Int64" or layout["kinds"][i].endswith("?") else []
             for i, kind in enumerate(kinds)}  # fmt: skip
    flat = pd.read_csv(
        io.BytesIO(text), header=None, skiprows=1, names=list(range(len(kinds))), dtype=types,
        keep_default_na=False, na_values=empty,
    )  # fmt: skip
    for i, kind in enumerate(kinds):
        if kind == "object":
            flat[i] = flat[i].astype(object)
        elif kind == "float64":
            flat[i] = np.array([float(x or "nan") for x in flat[i]], dtype=np.float64)
    layers, names = layout["index"], layout["names"]
    if layers:
        flat = flat.set_index(list(range(layers)))
        flat.index.names = names[:layers]
    columns = names[layers:]
    flat.columns = pd.Index(columns, dtype=layout["labels"])
    return flat


def _read_pictures(path: Path, layout: Mapping[str, Any]) -> dict[str, np.ndarray]:
    from PIL import Image

    with Image.open(path) as file:
        canvas = np.asarray(file.convert("RGB"))
    height, width = layout["cell"]
    found = {}
    for name, one in layout["arrays"].items():
        rows, columns = one["shape"][-3:-1]
        pictures = [
            canvas[p // ACROSS * height :, p % ACROSS * width :][:rows, :columns]
            for p in one["places"]
        ]
        found[name] = np.array(pictures, dtype=np.uint8).reshape(one["shape"])
    return found


def _put_together(hint: Any, value: Any, path: str, parts: Mapping[str, Any]) -> Any:
    """The value of a field, by its annotation."""
    if path in parts:
        return parts[path]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{
            name: _put_together(hints[name], item, _join(path, name), parts)
            for name, item in value.items()
        })  # fmt: skip
    if origin in (typing.Union, UnionType):
        if value is None:
            return None
        (hint,) = [one for one in inner if one is not type(None)]
        return _put_together(hint, value, path, parts)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {
            tuple(key) if isinstance(key, list) else key: _put_together(
                inner[1], item, _join(path, str(number)), parts
            )
            for number, (key, item) in enumerate(value)
        }
    if isinstance(origin, type) and issubclass(origin, Sequence):
        kinds = inner if inner[-1] is not Ellipsis and origin is tuple else [inner[0]] * len(value)
        items = [
            _put_together(kind, item, _join(path, str(number)), parts)
            for number, (kind, item) in enumerate(zip(kinds, value, strict=True))
        ]
        return tuple(items) if origin is tuple else items
    return value


# ---- a chapter's measurement --------------------------------------------------------------------


def today() -> str:
    """The date, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def named(place: str) -> Any:
    """What ``module:name`` stands for."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
