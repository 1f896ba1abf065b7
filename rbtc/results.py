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
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any

import numpy as np
import pandas as pd

from rbtc.files import data_root, file_digest, read_json, read_table, results_root

RUN, STUDY, PICTURES, ARRAYS = "run.json", "study.json", "pictures.webp", "arrays.npz"
VERIFIED = "verified.json"
ACROSS = 16
"""Pictures in a line of pictures.webp."""


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
            f"{where}. {self.verified or 'Not verified by replay yet'}. {self.operating_point}"
        )

    @property
    def operating_point(self) -> str:
        """How hard was pruned and attacked, beside the paper's; "" where the record lacks it."""
        ours, cut, of = self.settings, self.weights.get("pruned"), self.weights.get("candidates")
        if not {"ratio", "calls", "steps", "reference", "keep_ratio"} <= set(ours):
            return ""
        density = f", which cuts {cut / of:.1%} of the weights for " if cut and of else ""
        density += self.weights.get("concept", "") if density else ""
        reference = {"scene": "bare scenes", "objects": "other objects"}[ours["reference"]]
        paper = printed_point()
        return (
            f"Operating point: ratio {ours['ratio']:g} over the first {ours['calls']} of "
            f"{ours['steps']} calls against {reference}{density}; K = {ours['keep_ratio']:g}. "
            f"The paper's: ratio {paper['ratio']} over the first {paper['calls']} of "
            f"{paper['steps']} calls against {paper['reference']}, which cuts {paper['density']} "
            f"of the weights; K = {paper['keep_ratio']}."
        )


def printed_point() -> dict[str, str]:
    """How hard the paper prunes and attacks: its settings by name, as text."""
    path = data_root() / "paper" / "operating_point.csv"
    return {row["setting"]: row["value"] for row in read_table(path)}


def folder_of(chapter: str, profile: str, root: str | Path = "") -> Path:
    """Where a chapter's measurement lies.

    Args:
        chapter: name of the chapter, like "08_objects".
        profile: name of the profile.
        root: a folder like ``results``; "" takes the repository's.
    """
    return (Path(root) if root else results_root()) / profile / chapter


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
        run = Run(**read_json(path))
        digests = {str(name): str(digest) for name, digest in run.files.items()}
        run.parameters.keys()
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): measure again, or bring it back from git"
        ) from error
    if run.chapter != folder.name:
        raise ValueError(f"{path} is the record of {run.chapter}, not of {folder.name}")
    for name, digest in digests.items():
        there = name == Path(name).name and (folder / name).is_file()
        if not there or file_digest(folder / name) != digest:
            how = "not the file that was measured (its digest differs)" if there else "missing"
            raise ValueError(f"{folder / name} is {how}: measure again, or bring it back from git")
    if (folder / VERIFIED).is_file():
        found = read_json(folder / VERIFIED)
        if isinstance(found, dict) and found.get("run") == file_digest(path):
            run = dataclasses.replace(run, verified=str(found.get("found", "")))
    return run


def load(kind: type | ModuleType, folder: str | Path) -> Any:
    """The study of a folder, equal to the one that was saved, field by field.

    Args:
        kind: class of the study, or the module that has it.
        folder: of the measurement.

    Raises:
        FileNotFoundError: there is no measurement.
        ValueError: it is damaged, or that of another kind of study.
    """
    try:
        return _load(kind, Path(folder))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{Path(folder) / STUDY} is damaged ({error!r}): measure again, or bring it back from "
            "git"
        ) from error


def _load(kind: type | ModuleType, folder: Path) -> Any:
    layout = read_json(folder / STUDY)
    if isinstance(kind, ModuleType):
        kind = getattr(kind, layout["kind"], type(kind))
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
    # By place: two columns may have one heading, and a heading need not be a text. Floats are read
    # as texts first, as the parser of CSV rounds them.
    kinds = dict(enumerate(kind.rstrip("?") for kind in layout["kinds"]))
    late = {i: kind for i, kind in kinds.items() if kind in ("object", "float64")}
    types: Any = kinds | dict.fromkeys(late, "str")
    empty = [kind in ("Int64", "float64") or kind.endswith("?") for kind in layout["kinds"]]
    flat = pd.read_csv(
        folder / layout["file"], header=0, names=list(kinds), keep_default_na=False,
        dtype=types,
        na_values={i: [""] if one else [] for i, one in enumerate(empty)},
    ).astype(late)  # fmt: skip
    layers, names = layout["index"], layout["names"]
    if layers:
        flat = flat.set_index(list(range(layers)))
        flat.index.names = names[:layers]
    flat.columns = pd.Index(names[layers:], dtype=layout["labels"])
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

    def part(hint: Any, value: Any, name: str | int) -> Any:
        return _put_together(hint, value, join(path, str(name)), parts)

    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if path in parts:
        return parts[path]
    if any(hint is kind for kind in (pd.DataFrame, np.ndarray)):
        raise ValueError(f"the measurement lacks {path}: measure again, or bring it back from git")
    if origin in (typing.Union, UnionType):
        (hint,) = [one for one in inner if one is not type(None)]
        return None if value is None else _put_together(hint, value, path, parts)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{name: part(hints[name], item, name) for name, item in value.items()})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {
            tuple(key) if isinstance(key, list) else key: part(inner[1], item, number)
            for number, (key, item) in enumerate(value)
        }
    if isinstance(origin, type) and issubclass(origin, Sequence):
        each = origin is tuple and inner[-1] is not Ellipsis  # an annotation an item
        kinds = inner if each else [inner[0]] * len(value)
        return (tuple if origin is tuple else list)(map(part, kinds, value, range(len(value))))
    return value


def join(path: str, name: str) -> str:
    """Path of a part of a study."""
    return f"{path}.{name}" if path else name
