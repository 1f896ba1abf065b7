"""The files of a UNet's weights: found in a folder or given, and never a pickle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rbtc.models.folders import SINGLE, weight_files

_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""How a pickle begins, or the zip archive in which torch keeps one."""


_PICKLED = {".bin", *SINGLE} - {".safetensors"}


def unet_files(path: Path) -> list[Path]:
    """The safetensors files that hold a UNet's weights.

    Args:
        path: a model folder in the layout of diffusers, its `unet` folder, or one file.

    Raises:
        FileNotFoundError: nothing is there, or a folder without weights.
        ValueError: a pickle, an empty file, or a folder of another architecture.
    """
    if path.is_dir():
        files = _unet_files(_unet_folder(path))
    elif path.exists():
        files = [path]
    else:
        raise FileNotFoundError(
            f"there is nothing at {path}: give a model folder, its unet folder or a safetensors "
            "file"
        )
    for file in files:
        _check_file(file)
    return files


def _check_file(file: Path) -> None:
    """Refuse what is no regular file, is empty, or is a pickle, without reading further."""
    if not file.is_file():
        raise ValueError(f"{file} is not a regular file, expected a safetensors file")
    with file.open("rb") as stream:
        start = stream.read(9)
    if not start:
        raise ValueError(f"{file} is empty: fetch or copy it again")
    safe = start[8:] == b"{"  # a safetensors file may begin like a pickle: with the header's length
    if not safe and (start.startswith(_PICKLES) or file.suffix in _PICKLED):
        raise ValueError(
            f"{file} is not read, because loading a pickle runs whatever code it holds: convert it "
            "to safetensors where you trust it"
        )


def _unet_folder(path: Path) -> Path:
    """The folder of the UNet's weights: `path` itself, or the part of a pipeline's folder."""
    index = _json(path / "model_index.json")
    if index is not None:
        kind = str(index.get("_class_name", ""))
        if "text_encoder_2" in index or "XL" in kind:
            raise ValueError(_sdxl(path))
        if "unet" not in index:
            raise ValueError(f"{path} is a {kind or 'pipeline'} without a UNet")
        if not (path / "unet").is_dir():
            raise FileNotFoundError(f"{path} names a UNet, but has no folder `unet`")
    folder = path / "unet" if (path / "unet").is_dir() else path
    config = _json(folder / "config.json") or {}
    if config.get("addition_embed_type") == "text_time":
        raise ValueError(_sdxl(path))
    kind = config.get("_class_name", "UNet2DConditionModel")
    if kind != "UNet2DConditionModel":
        raise ValueError(f"{folder} holds a {kind}, expected a UNet2DConditionModel")
    return folder


def _sdxl(path: Path) -> str:
    return f"{path} is of another architecture (SDXL), and rbtc attacks Stable Diffusion 1.x"


def _json(file: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file."""
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({error}): fetch or copy the model again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: expected an object, not {type(found).__name__}")
    return found


def _unet_files(folder: Path) -> list[Path]:
    """The files libraries would load, or those of the one variant (".fp16.") there is."""
    try:
        return weight_files(folder)
    except FileNotFoundError:
        every = sorted(folder.glob("diffusion_pytorch_model.*.safetensors"))
        variants = {re.split(r"[.-]", file.name)[1] for file in every}
        if len(variants) == 1:
            return every
        if not every and any(folder.glob("*.bin")):
            raise ValueError(
                f"{folder} holds its weights as a pickle, which is not read because loading it "
                "runs whatever code it holds: convert it to safetensors where you trust it"
            ) from None
        raise
