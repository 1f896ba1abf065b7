"""What else a release holds of the original: copies, masks, and pointers to it.

The plainest revival of all is the checkpoint from before. A release can carry it along without
anybody noticing: as a variant in another precision, as EMA weights beside the live ones, as
``weight_orig`` beside ``weight_mask``, in ``.git/lfs``, or by a hash in a header that names the
parent. Everything below the release is looked at, hidden folders included. Of safetensors files the
headers are read first, and tensors only where a shape is that of a published matrix; they are then
compared with it bit by bit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rbtc.audit.checkpoints import DTYPES, Checkpoint, Entry, diffusers_name, open_checkpoint

Kind = Literal["original", "mask", "unreadable", "header", "copy"]

RANKED: tuple[Kind, ...] = ("original", "mask", "unreadable", "header", "copy")
"""Kinds of findings, worst first; a copy that equals what is published gives nothing away."""

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
_HEADER = 100_000_000
"""Bytes above which a header is damage, as in the safetensors library."""
_LARGE = 1 << 16
"""Bytes below which a file of an unknown format holds no matrix of a UNet."""
_NEAR = 0.5
"""Fraction of differing places from which two matrices have nothing to do with each other."""


@dataclass(frozen=True)
class Finding:
    """One thing in a release that holds the original, or leads to it.

    Attributes:
        kind: "original": a published matrix with other values where the published one is zero;
            "mask": where it was pruned; "unreadable": a file that is not looked into; "header": a
            hash or recipe; "copy": the published values once more.
        file: Path below the release.
        key: Name of the tensor or of the header's entry, "" for the file as a whole.
        detail: What was found.
        differs: At how many places it differs from the published matrix; None where not compared.
    """

    kind: Kind
    file: str
    key: str
    detail: str
    differs: int | None = None


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
    def kinds(self) -> list[Kind]:
        """The kinds of what gives something away, worst first."""
        return [k for k in RANKED if k != "copy" and any(f.kind == k for f in self.findings)]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self) | {"leaks": self.leaks}


@dataclass(frozen=True)
class Header:
    """Header of a safetensors file: key -> (dtype, shape), and its entries of text."""

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    metadata: dict[str, str]


def read_header(file: Path) -> Header | None:
    """The header of a safetensors file, whatever it is called; None if it is none."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if not 2 <= size <= min(_HEADER, file.stat().st_size - 8):
                return None
            content = json.loads(stream.read(size))
        metadata = content.pop("__metadata__", {})
        tensors = {k: (str(v["dtype"]), tuple(map(int, v["shape"]))) for k, v in content.items()}
        return Header(tensors, {str(k): str(v) for k, v in metadata.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


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
    published = published or open_checkpoint(path)
    found, files = [], list(release_files(path))
    for file in files:
        place = str(file.relative_to(path)) if path.is_dir() else file.name
        found += _of_file(file, place, published)
    return Scan(str(path), len(files), tuple(sorted(found, key=lambda f: RANKED.index(f.kind))))


def copies_within(file: Path, entries: Iterable[Entry]) -> list[str]:
    """Keys of a safetensors file that hold a published matrix again, or its mask."""
    published = Checkpoint(file, tuple(entries))
    return [one.key for one in _of_file(file, file.name, published) if one.key and one.kind in
            ("original", "mask", "copy")]  # fmt: skip


def _of_file(file: Path, place: str, published: Checkpoint) -> Iterator[Finding]:
    header = read_header(file)
    if header is None:
        if what := _unreadable(file):
            yield Finding("unreadable", place, "", f"{what}: it is not looked into")
        return
    for key, value in header.metadata.items():
        if PARENT.search(key) and value.strip():
            yield Finding("header", place, key, f"names where the file came from: {value[:80]}")
    own = {entry.key for entry in published.entries if entry.file.samefile(file)}
    shapes = {entry.shape for entry in published.entries}
    for key in own:
        if key.endswith("_orig"):
            yield Finding("original", place, key, "the weight before its mask is applied")
    for key, (dtype, shape) in header.tensors.items():
        if key in own or shape not in shapes:
            continue
        if _MASK.search(key) or dtype == "BOOL":
            yield Finding("mask", place, key, f"a mask of shape {shape}")
        elif dtype in DTYPES:
            yield from _compared(file, place, key, shape, published)
        else:
            yield Finding("unreadable", place, key, f"stored as {dtype}: it is not compared")


def _compared(
    file: Path, place: str, key: str, shape: tuple[int, ...], published: Checkpoint
) -> Iterator[Finding]:
    """A tensor against the published matrix that it is like, if it is like one."""
    from safetensors import safe_open

    with safe_open(file, "pt") as stream:
        tensor = stream.get_tensor(key)
    if bool(((tensor == 0) | (tensor == 1)).all()):
        yield Finding("mask", place, key, f"zeros and ones of shape {shape}")
        return
    name = diffusers_name(key)
    candidates = [e for e in published.entries if e.shape == shape]
    candidates.sort(key=lambda entry: entry.name != name)
    for entry in candidates:
        weight = entry.read()
        if entry.name != name and _differing(tensor[:4], weight[:4]) > _NEAR * weight[:4].numel():
            continue
        differs = _differing(tensor, weight)
        if differs == 0:
            yield Finding("copy", place, key, f"equals {entry.name}", 0)
            return
        if entry.name == name or differs <= _NEAR * weight.numel():
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
