"""A changed model as a copy of its files: whole or not at all, and never over anything.

Only what a pipeline needs is copied: the index, the configurations and vocabularies of its parts,
the weights that are loaded, and the texts beside the index. Everything else stays behind and is
named, since it may hold the UNet as it was: other precisions and formats, EMA weights, checkpoints
of training, hidden folders. A file with changed matrices is written anew, without tensors that hold
them a second time and without hashes and recipes in its header, which would have become false.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rbtc.audit.checkpoints import DTYPES, Checkpoint
from rbtc.audit.scan import PARENT, copies_within, release_files
from rbtc.files import check_new, read_json, read_text
from rbtc.layers import Weights, check_finite
from rbtc.writing import made_whole

_TEXTS = {".json", ".txt", ".md"}
_TEXT_BYTES = 16_000_000
"""Size above which a file of such a name is no configuration, vocabulary or text."""
_PIECE = 1 << 24
"""Bytes that are copied at once."""


def check_target(source: Path, target: str | Path) -> Path:
    """Make sure that a copy of `source` can be written to `target`, and return it.

    Raises:
        ValueError: something is there already, or the target is the source or lies inside it.
        OSError: the place cannot be written to.
    """
    target = Path(target)
    if target.absolute() == source.absolute() or (
        target.exists() and source.exists() and target.samefile(source)
    ):
        raise ValueError(f"the output {target} is the input: give another place")
    check_new(target)
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"the output {target} lies inside the input {source}: give another place")
    if source.is_file() and target.suffix != source.suffix:
        raise ValueError(
            f"the output {target} must be a {source.suffix} file, since the input {source} is one"
        )
    return target


def write_copy(checkpoint: Checkpoint, target: str | Path, weights: Weights) -> Path:
    """Copy a checkpoint's file or folder, with these matrices in place of its own.

    The copy is made beside the target and moved there when it is whole; an error or a signal leaves
    nothing behind.

    Args:
        checkpoint: the source; it is only read.
        target: a place where nothing is yet; its folder is made.
        weights: diffusers' name -> (rows, columns), of the source's shapes. They are stored in the
            source's dtypes. Matrices that are not named stay as they are.

    Returns:
        `target`.

    Raises:
        ValueError: see `check_target`; a name the source lacks, another shape, or values that the
            stored dtype cannot hold.
        OSError: the copy cannot be written.
    """
    source = checkpoint.path
    target = check_target(source, target)
    entries = {entry.name: entry for entry in checkpoint.entries}
    if unknown := sorted(set(weights) - set(entries)):
        raise ValueError(f"{source} has no matrix {unknown[0]!r}")
    with made_whole(target, over=False) as temporary:
        for file in needed_files(checkpoint):
            own = temporary / file.relative_to(source) if source.is_dir() else temporary
            own.parent.mkdir(parents=True, exist_ok=True)
            again = copies_within(file, checkpoint) if file in checkpoint.loaded else []
            if file not in checkpoint.files and not again:
                shutil.copyfile(file, own)
                continue
            changed = {
                entry.key: weights[name] for name, entry in entries.items()
                if entry.file == file and name in weights
            }  # fmt: skip
            rewrite(file, own, changed, drop=again)
    return target


def needed_files(checkpoint: Checkpoint) -> list[Path]:
    """The files of a checkpoint that its copy gets.

    Links are followed to regular files of the folder itself, and to the blobs of a hub's cache.
    """
    root = checkpoint.path
    if root.is_file():
        return [root]
    folders = [root]
    if (index := root / "model_index.json").is_file():
        parts = read_json(index)
        folders += [root / name for name, entry in parts.items() if isinstance(entry, list)]
    folders += [file.parent for file in checkpoint.loaded]
    changed = {file.parent for file in checkpoint.files}
    found = {file for file in checkpoint.loaded if file.parent in changed or _inside(file, root)}
    for folder in dict.fromkeys(folders):
        if not folder.is_dir() or not _inside(folder, root):
            continue
        found |= {file for file in folder.iterdir() if file.name[0] != "." and file.is_file()
                  and _inside(file, root) and _is_text(file)}  # fmt: skip
    found |= {
        index for file in checkpoint.loaded if "-of-" in file.name
        for index in file.parent.glob("*.safetensors.index*.json")
        if _names_all(index, [each for each in checkpoint.loaded if each.parent == file.parent])
    }  # fmt: skip
    return sorted(found)


def left_out(checkpoint: Checkpoint) -> list[str]:
    """What a copy does not get: files, and "FILE: KEY" for tensors that hold a matrix again."""
    copied = set(needed_files(checkpoint))
    files = [str(file) for file in release_files(checkpoint.path) if file not in copied]
    keys = [
        f"{file}: {key}" for file in checkpoint.loaded for key in copies_within(file, checkpoint)
    ]
    return sorted(files + keys)


def _inside(place: Path, root: Path) -> bool:
    """Whether a path leads nowhere but below a folder, or to the blobs of its hub cache."""
    homes = [root.resolve(), *(home / "blobs" for home in list(root.resolve().parents)[:2])]
    return any(place.resolve().is_relative_to(home) for home in homes)


def _is_text(file: Path) -> bool:
    """Whether a file is a configuration, a vocabulary or a text, and not weights under its name."""
    named = file.suffix in _TEXTS or file.name.startswith(("LICENSE", "NOTICE"))
    if not named or ".index" in file.name or file.stat().st_size > _TEXT_BYTES:
        return False
    try:
        if file.suffix == ".json":
            read_json(file)
        return "\0" not in read_text(file)
    except ValueError:
        return False


def _names_all(index: Path, files: Iterable[Path]) -> bool:
    """Whether an index of shards names these files and no others."""
    try:
        named = set(read_json(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return named == {file.name for file in files}


def rewrite(
    source: Path, target: Path, values: Mapping[str, Tensor], *, drop: Iterable[str] = ()
) -> None:
    """Write a safetensors file with other values in some tensors, and without some others.

    Tensors that are neither changed nor dropped are copied byte by byte. It is not atomic.

    Args:
        source: the file.
        target: where to; nothing is there yet.
        values: key -> tensor of the stored shape; stored in the stored dtype.
        drop: keys to leave out.

    Raises:
        ValueError: a shape other than the stored one, or values that the stored dtype cannot hold.
    """
    with source.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        told = {k: v for k, v in header.pop("__metadata__", {}).items() if not PARENT.search(k)}
        skipped = set(drop)
        order = sorted((k for k in header if k not in skipped),
                       key=lambda k: header[k]["data_offsets"])  # fmt: skip
        made: dict[str, Any] = {"__metadata__": told} if told else {}
        end = 0
        for key in order:
            first, last = header[key]["data_offsets"]
            made[key] = {**header[key], "data_offsets": [end, end + last - first]}
            end += last - first
        head = json.dumps(made, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        with target.open("xb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            for key in order:
                first, last = header[key]["data_offsets"]
                if key in values:
                    out.write(_bytes(key, values[key], header[key]))
                    continue
                stream.seek(8 + size + first)
                for at in range(first, last, _PIECE):
                    out.write(stream.read(min(_PIECE, last - at)))


def _bytes(key: str, value: Tensor, stored: Mapping[str, Any]) -> bytes:
    """A tensor as it is stored."""
    if list(value.shape) != stored["shape"]:
        raise ValueError(
            f"{key} has shape {tuple(value.shape)}, but {tuple(stored['shape'])} is stored"
        )
    raw = value.detach().to("cpu", DTYPES[stored["dtype"]]).contiguous()
    check_finite({key: raw})  # a float32 value may be too large for float16
    return raw.view(torch.uint8).numpy().tobytes()
