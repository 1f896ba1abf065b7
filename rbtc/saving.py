"""Studies written as files, from which `rbtc.results.load` gives back what was measured."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbtc.files import file_digest, write_json
from rbtc.results import ACROSS, ARRAYS, PICTURES, RUN, STUDY, VERIFIED, Run, join
from rbtc.writing import made_whole

LONG = 300
"""Frames of as many lines are compressed."""
_KINDS = ("bool", "int64", "float64", "Int64", "str", "object")


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
    with made_whole(folder) as made:
        made.mkdir()
        layout = {"kind": type(study).__name__, "study": plain, "frames": {}, "pictures": {}}
        for path, frame in frames.items():
            layout["frames"][path] = _write_frame(frame, path, made)
        shown = {path: array for path, array in arrays.items() if _is_pictures(array)}
        if shown:
            layout["pictures"] = _write_pictures(shown, made / PICTURES)
        rest = {path: array for path, array in arrays.items() if path not in shown}
        if rest:
            np.savez_compressed(made / ARRAYS, allow_pickle=False, **rest)
        write_json(made / STUDY, layout)
        files = {path.name: file_digest(path) for path in sorted(made.iterdir())}
        record = dataclasses.asdict(dataclasses.replace(run, files=files))
        record.pop("verified")
        write_json(made / RUN, record)
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
            one.name: _taken_apart(getattr(value, one.name), join(path, one.name), frames, arrays)
            for one in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return [
            [list(key) if isinstance(key, tuple) else key,
             _taken_apart(item, join(path, str(number)), frames, arrays)]
            for number, (key, item) in enumerate(value.items())
        ]  # fmt: skip
    if isinstance(value, tuple | list):
        return [
            _taken_apart(item, join(path, str(number)), frames, arrays)
            for number, item in enumerate(value)
        ]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"{path}: {type(value).__name__} has no exact form as a file")


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


# ---- reading ------------------------------------------------------------------------------------


def note_verified(folder: str | Path, found: str) -> None:
    """Note what a replay of the measurement in a folder found, in a sentence without its stop."""
    folder = Path(folder)
    write_json(folder / VERIFIED, {"run": file_digest(folder / RUN), "found": found})


def today() -> str:
    """The date, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
