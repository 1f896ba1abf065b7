"""What else a release holds of the original: copies, masks, and pointers to it.

The plainest revival of all is the checkpoint from before. A release can carry it along without
anybody noticing: as a variant in another precision, as EMA weights beside the live ones, as
``weight_orig`` beside ``weight_mask``, in ``.git/lfs``, or by a hash in a header that names the
parent. Everything below the release is looked at, hidden folders included. Of safetensors files the
headers are read first, and tensors only where a shape is that of a published matrix; they are then
compared with it bit by bit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rbtc.audit.checkpoints import DTYPES, Checkpoint, Entry, diffusers_name, open_checkpoint
from rbtc.audit.findings import Finding, leaks, ranked
from rbtc.models.folders import read_header

_MAGIC = {
    b"PK\x03\x04": "a zip archive or torch pickle",
    b"\x80": "a pickle",
    b"GGUF": "a GGUF file",
    b"PACK": "a git pack",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89HDF": "an HDF5 file",
}
PARENT = re.compile(r"hash|merge|recipe|parent|base_model|source", re.IGNORECASE)
"""Entries of a header that name the parent, and are false once a matrix has changed."""
_MASK = re.compile(r"mask", re.IGNORECASE)
_LARGE = 1 << 16
"""Bytes below which a file of an unknown format holds no matrix of a UNet."""
_ROWS = 4
"""Rows by which a matrix is recognised under another name."""
_NEAR = 0.5
"""Fraction of differing places from which two matrices have nothing to do with each other."""


@dataclass(frozen=True)
class Scan:
    """What a release holds besides its published matrices.

    Attributes:
        path: The file or folder.
        files: How many files were looked at.
        findings: Worst first.
    """

    path: str
    files: int
    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> bool:
        """Whether something holds the original or leads to it."""
        return bool(self.kinds)

    @property
    def kinds(self) -> list[str]:
        """The kinds of what gives something away, worst first."""
        return leaks(self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self) | {"leaks": self.leaks}


def release_files(path: Path) -> Iterator[Path]:
    """Regular files of a release, hidden ones included; links are not followed out of it."""
    if path.is_file():
        yield path
        return
    root = path.resolve()
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            file = Path(folder) / name
            if file.is_file() and file.resolve().is_relative_to(root):
                yield file


def scan(path: str | Path, published: Checkpoint | None = None) -> Scan:
    """Look through a release for what gives its original away.

    Args:
        path: a model folder, its ``unet`` folder, or one safetensors file.
        published: its matrices; found by `rbtc.audit.checkpoints.open_checkpoint` otherwise.

    Raises:
        FileNotFoundError, ValueError: as `rbtc.audit.checkpoints.open_checkpoint`.
    """
    path = Path(path)
    main = _Published.of(published or open_checkpoint(path))
    found, files = [], list(release_files(path))
    for file in files:
        place = str(file.relative_to(path)) if path.is_dir() else file.name
        own = list(_of_file(file, place, main))
        found += [one for one in own if one.kind != "copy"]
        if equal := [one for one in own if one.kind == "copy"]:
            more = f", and {len(equal) - 1} more like it" if len(equal) > 1 else ""
            found.append(Finding("copy", place, equal[0].key, equal[0].detail + more, 0))
    return Scan(str(path), len(files), ranked(found))


def copies_within(file: Path, checkpoint: Checkpoint) -> list[str]:
    """Keys of a safetensors file that hold an attacked matrix again, or its mask."""
    published = _Published.of(checkpoint, checkpoint.entries)
    return [one.key for one in _of_file(file, file.name, published) if one.key and one.kind in
            ("original", "mask", "copy")]  # fmt: skip


@dataclass(frozen=True)
class _Published:
    """What a model is loaded from, and which of its matrices other tensors are compared with."""

    own: set[tuple[Path, str]]
    compared: tuple[Entry, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, compared: Sequence[Entry] | None = None) -> _Published:
        known = (entry for entry in checkpoint.matrices if entry.known)
        main = {entry.name: entry for entry in (*known, *checkpoint.entries)}.values()
        own = {(entry.file.resolve(), entry.key) for entry in main}
        return cls(own, tuple(main if compared is None else compared))

    @cached_property
    def by_shape(self) -> dict[tuple[int, ...], list[tuple[Entry, Tensor]]]:
        """Shape -> matrices of it, each with its first rows."""
        found: dict[tuple[int, ...], list[tuple[Entry, Tensor]]] = {}
        for entry in self.compared:
            found.setdefault(entry.shape, []).append((entry, entry.read(_ROWS)))
        return found


def _of_file(file: Path, place: str, published: _Published) -> Iterator[Finding]:
    try:
        header = read_header(file)
    except ValueError:
        if what := _unreadable(file):
            yield Finding("unreadable", place, "", f"{what}: it is not looked into")
        return
    for key, value in header.metadata.items():
        if PARENT.search(key) and value.strip():
            yield Finding("header", place, key, f"names where the file came from: {value[:80]}")
    shapes = {entry.shape for entry in published.compared}
    for key, (shape, dtype) in header.tensors.items():
        if (file.resolve(), key) in published.own:
            if key.endswith("_orig"):
                yield Finding("original", place, key, "the weight before its mask is applied")
        elif shape not in shapes:
            continue
        elif _MASK.search(key) or dtype == "BOOL":
            yield Finding("mask", place, key, f"a mask of shape {shape}")
        elif dtype in DTYPES:
            yield from _compared(file, place, key, shape, published)
        else:
            yield Finding("unreadable", place, key, f"stored as {dtype}: it is not compared")


def _compared(
    file: Path, place: str, key: str, shape: tuple[int, ...], published: _Published
) -> Iterator[Finding]:
    """A tensor against the published matrix that it is like, if it is like one."""
    from safetensors import safe_open

    with safe_open(file, "pt") as stream:
        tensor = stream.get_tensor(key)
    if bool(((tensor == 0) | (tensor == 1)).all()) and tensor.any():
        yield Finding("mask", place, key, f"zeros and ones of shape {shape}")
        return
    name, rows = diffusers_name(key), tensor[:_ROWS]
    called = {e: name in (e.name, e.name.partition(".")[2]) for e, _ in published.by_shape[shape]}
    for entry, first in sorted(published.by_shape[shape], key=lambda pair: not called[pair[0]]):
        same = called[entry]  # with or without its part in front
        if not same and _differing(rows, first) > _NEAR * rows.numel():
            continue
        weight = entry.read()
        differs = _differing(tensor, weight)
        if differs == 0:
            yield Finding("copy", place, key, f"equals {entry.name}", 0)
            return
        if same or differs <= _NEAR * weight.numel():
            filled = int(((weight == 0) & (tensor != 0)).sum())
            where = "everywhere" if differs > _NEAR * weight.numel() else f"at {differs} places"
            detail = f"{entry.name} again: differs {where}"
            if filled:
                detail += f", has a value at {filled} of the {int((weight == 0).sum())} zeros"
            yield Finding("original", place, key, detail, differs)
            return


def _differing(first: Tensor, second: Tensor) -> int:
    """Places at which two matrices differ, at the lower of their precisions."""
    precisions = [torch.finfo(each.dtype).eps for each in (first, second)]
    coarse = (first, second)[precisions.index(max(precisions))].dtype
    return int((first.to(coarse) != second.to(coarse)).sum())


def _unreadable(file: Path) -> str:
    """What a file is that may hold weights and is no safetensors file; "" for others."""
    with file.open("rb") as stream:
        start = stream.read(4)
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            return what
    weights = {".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".onnx", ".msgpack", ".h5", ".npz"}
    large = file.stat().st_size >= _LARGE
    return "a file of weights" if large and file.suffix.lower() in weights else ""
