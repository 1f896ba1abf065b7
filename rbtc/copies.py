"""A changed model as a copy of its files: whole or not at all, and never over anything.

The copy differs from its source in the bytes of the feed-forward output matrices and in nothing
else, so that no library's loading and saving comes between a model and what was done to it.
Weights of the UNet in other formats or precisions are left out: they would still be the old ones.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from rbtc.checkpoints import DTYPES, Checkpoint, holds_layers
from rbtc.files import check_writable
from rbtc.layers import Weights, check_finite
from rbtc.models.folders import SINGLE

_WEIGHTS = (*SINGLE, ".bin", ".onnx", ".msgpack", ".h5")


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
    if os.path.lexists(target):
        raise ValueError(f"{target} exists already, and nothing is written over: give a new place")
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"the output {target} lies inside the input {source}: give another place")
    if source.is_file() and target.suffix != source.suffix:
        raise ValueError(
            f"the output {target} must be a {source.suffix} file, since the input {source} is one"
        )
    check_writable(target.parent)
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
    with _beside(target) as temporary:
        if source.is_dir():
            shutil.copytree(source, temporary, ignore=_others(checkpoint))
        else:
            shutil.copyfile(source, temporary)
        for file in checkpoint.files:
            own = temporary / file.relative_to(source) if source.is_dir() else temporary
            own.chmod(own.stat().st_mode | 0o200)  # a read-only source makes a read-only copy
            values = {
                entry.key: weights[name] for name, entry in entries.items()
                if entry.file == file and name in weights
            }  # fmt: skip
            patch(own, values)
        if os.path.lexists(target):  # somebody else was faster
            raise ValueError(f"{target} exists already, and nothing is written over")
        temporary.rename(target)
    return target


def left_out(checkpoint: Checkpoint) -> list[Path]:
    """Files of a folder that a copy does not get: further weights of the UNet, unchanged ones."""
    if not checkpoint.path.is_dir():
        return []
    skip = _others(checkpoint)
    folders = {checkpoint.path, *(file.parent for file in checkpoint.files)}
    return sorted(
        folder / name
        for folder in folders
        for name in skip(str(folder), [each.name for each in folder.iterdir()])
    )


def patch(file: Path, values: Mapping[str, Tensor]) -> None:
    """Overwrite tensors (key -> tensor of the stored shape) of a safetensors file in place.

    They are stored in the file's own dtypes. Not atomic: for a copy that nobody else reads yet.

    Raises:
        ValueError: a shape other than the stored one, or values that the stored dtype cannot hold.
    """
    with file.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        for key, value in values.items():
            stored = header[key]
            if list(value.shape) != stored["shape"]:
                raise ValueError(
                    f"{key} has shape {tuple(value.shape)}, but {tuple(stored['shape'])} is stored"
                )
            raw = value.detach().to("cpu", DTYPES[stored["dtype"]]).contiguous()
            check_finite({key: raw})  # a float32 value may be too large for float16
            stream.seek(8 + size + stored["data_offsets"][0])
            stream.write(raw.view(torch.uint8).numpy().tobytes())


def _others(checkpoint: Checkpoint) -> Callable[[str, list[str]], set[str]]:
    """What copytree ignores: weights beside those that are changed, in the root and in the unet."""
    changed = {file.absolute() for file in checkpoint.files}
    folders = {checkpoint.path.absolute(), *(file.parent for file in changed)}

    def ignore(folder: str, names: list[str]) -> set[str]:
        place = Path(folder).absolute()
        if place not in folders:
            return set()
        return {
            name
            for name in names
            if name.endswith(_WEIGHTS)
            and place / name not in changed
            and holds_layers(place / name)
        }

    return ignore


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A place beside the target that is gone afterwards, whatever happens."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            for folder in (temporary, *(p for p in temporary.rglob("*") if p.is_dir())):
                folder.chmod(0o700)  # copies of read-only folders are read-only too
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
