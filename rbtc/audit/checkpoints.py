"""Checkpoints on disk: their feed-forward output matrices, found and read one by one.

The model is never loaded: of a safetensors file only the header and these matrices are read. Files
with pickles are refused without being unpickled. Changed copies are written by `rbtc.audit.copies`.

Two namings are understood: that of diffusers, and that of Stable Diffusion 1.x in one file, whose
sixteen matrices lie at fixed blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rbtc.layers import Weights, canonicalise_zeros, check_finite
from rbtc.models.folders import (
    SINGLE,
    architecture,
    check_matrices,
    check_sizes,
    read_object,
    tensor_shapes,
    weight_files,
)

DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""What a matrix may be stored as, by safetensors' names."""

_LAYER = re.compile(
    r"(?:(?:down|up)_blocks\.\d+|mid_block)\.attentions\.\d+\.transformer_blocks\.\d+"
    r"\.ff\.net\.2\.weight"
)

_ORIGINAL = re.compile(
    r"(?:model\.diffusion_model\.)?(?:(?P<side>input|output)_blocks\.(?P<block>\d+)|middle_block)"
    r"\.1\.transformer_blocks\.0\.ff\.net\.2\.weight"
)


_WRAPPED = re.compile(r"^(?:_orig_mod\.|module\.|unet\.)+")

_SHARD = re.compile(r"-(?P<number>\d+)-of-(?P<count>\d+)")


_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""How a pickle begins, or the zip archive in which torch keeps one."""

_PICKLED = {".bin", *SINGLE} - {".safetensors"}


@dataclass(frozen=True)
class Entry:
    """One feed-forward output matrix of a checkpoint.

    name: its name in diffusers. file, key: the safetensors file that holds it, and its name there.
    shape: (out_features, in_features). dtype: how it is stored, one of `DTYPES`.
    """

    name: str
    file: Path
    key: str
    shape: tuple[int, int]
    dtype: str

    def read(self) -> Tensor:
        """The matrix as it is stored, signed zeros included.

        Raises:
            ValueError: it holds NaN or infinity.
        """
        from safetensors import safe_open

        with safe_open(self.file, "pt") as stream:
            weight = stream.get_tensor(self.key)
        check_finite({self.name: weight})
        return weight


@dataclass(frozen=True)
class Checkpoint:
    """The feed-forward output matrices of a model on disk, sorted by name.

    Attributes:
        path: The file or folder that was given.
        entries: One per matrix, none of them read yet.
    """

    path: Path
    entries: tuple[Entry, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files that hold the matrices."""
        return tuple(sorted({entry.file for entry in self.entries}))

    def weights(self) -> Weights:
        """All matrices in their stored dtype, every zero made +0.0.

        Raises:
            ValueError: one holds NaN or infinity.
        """
        return {entry.name: canonicalise_zeros(entry.read()) for entry in self.entries}


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Find the feed-forward output matrices of a Stable Diffusion UNet; reads headers only.

    Args:
        path: a model folder in the layout of diffusers, its `unet` folder, or one safetensors file.

    Raises:
        FileNotFoundError: nothing is there, or a folder without weights.
        ValueError: a pickle, a damaged or empty file, another architecture, no such matrix, or one
            that is no matrix of floating-point numbers.
    """
    path = Path(path)
    files = unet_files(path)
    entries = tuple(sorted(_entries(path, files), key=lambda entry: entry.name))
    sizes = [shape for file in files for shape, _ in tensor_shapes(file).values()]
    config = check_sizes(files[0].parent / "config.json", sizes) if path.is_dir() else {}
    check_matrices(path, {entry.name: entry.shape for entry in entries}, config)
    return Checkpoint(path, entries)


def diffusers_name(key: str) -> str | None:
    """The name in diffusers of a feed-forward output matrix of Stable Diffusion 1.x, else None.

    In one file the blocks are numbered through: of the three blocks a resolution has, input blocks
    begin with the convolution at 0 and end each resolution with a step down, which has no
    attention; output blocks have three attentions from the second resolution on.

    Prefixes that wrappers leave behind are read over, and torch.nn.utils.prune's name of the weight
    that it masks stands for the weight.

    >>> key = "model.diffusion_model.input_blocks.5.1.transformer_blocks.0.ff.net.2.weight"
    >>> diffusers_name(key)
    'down_blocks.1.attentions.1.transformer_blocks.0.ff.net.2.weight'
    """
    key = _WRAPPED.sub("", key).removesuffix("_orig")
    if _LAYER.fullmatch(key):
        return key
    found = _ORIGINAL.fullmatch(key)
    if not found:
        return None
    tail = "transformer_blocks.0.ff.net.2.weight"
    if found["side"] is None:
        return f"mid_block.attentions.0.{tail}"
    number = int(found["block"])
    if found["side"] == "input":
        block, attention = divmod(number - 1, 3)
        fits, side = 0 <= block < 3 and attention < 2, "down"
    else:
        block, attention = divmod(number, 3)
        fits, side = 1 <= block < 4, "up"
    return f"{side}_blocks.{block}.attentions.{attention}.{tail}" if fits else None


def _entries(path: Path, files: Iterable[Path]) -> Iterator[Entry]:
    seen: set[str] = set()
    total = 0
    for file in files:
        for key, (shape, dtype) in tensor_shapes(file).items():
            total += 1
            name = diffusers_name(key)
            if name is None:
                continue
            if name in seen:
                raise ValueError(f"{path} holds {name} more than once: keep one of the copies")
            seen.add(name)
            yield _entry(name, file, key, shape, dtype)
    other = next((kind for kind in map(architecture, files) if kind), "")
    if other and (not seen or other in ("SDXL", "a ControlNet", "a video model")):
        raise ValueError(
            f"{path} is of another architecture ({other}), and rbtc attacks Stable Diffusion 1.x"
        )
    if not seen:
        raise ValueError(
            f"{path} has no feed-forward output matrix: none of its {total} tensors is called "
            "like ...attentions.0.transformer_blocks.0.ff.net.2.weight; give the UNet of a "
            "Stable Diffusion model"
        )


def _entry(name: str, file: Path, key: str, shape: tuple[int, ...], dtype: str) -> Entry:
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{key} in {file} has shape {shape}, expected (out_features, in_features)")
    if dtype not in DTYPES:
        raise ValueError(
            f"{key} in {file} is stored as {dtype}, expected one of {', '.join(DTYPES)}: "
            "export the model without quantisation"
        )
    return Entry(name, file, key, (shape[0], shape[1]), dtype)


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
    _check_shards(files)
    return files


def _check_shards(files: Sequence[Path]) -> None:
    """Refuse shards of which some are missing: by their own numbers, and by the index.

    Raises:
        FileNotFoundError: naming the first that is missing.
        ValueError: an index that is damaged.
    """
    for file in files:
        if not (found := _SHARD.search(file.name)):
            continue
        width, count = len(found["number"]), int(found["count"])
        names = [f"{file.name[: found.start()]}-{number:0{width}}-of-{found['count']}"
                 f"{file.name[found.end() :]}" for number in range(1, count + 1)]  # fmt: skip
        for index in file.parent.glob("*.index.json"):
            listed = read_object(index).get("weight_map")
            if isinstance(listed, dict) and file.name in listed.values():
                names += sorted({str(name) for name in listed.values()})
                own = tensor_shapes(file)
                if absent := [key for key, name in listed.items()
                              if name == file.name and key not in own]:  # fmt: skip
                    raise ValueError(
                        f"{file} lacks {absent[0]!r}, which {index.name} says is in it: fetch or "
                        "copy the model again"
                    )
        if missing := [name for name in names if not (file.parent / name).is_file()]:
            raise FileNotFoundError(
                f"{file.parent / missing[0]} is missing, and {file.name} is only a part of the "
                "model: fetch or copy it again"
            )
        if len(files) < count:
            raise ValueError(f"{file} is one of {count} parts: give the folder that holds them")


def _check_file(file: Path) -> None:
    """Refuse what is no regular file, is empty, or is a pickle, without reading further."""
    if not file.is_file():
        raise ValueError(f"{file} is not a regular file, expected a safetensors file")
    with file.open("rb") as stream:
        start = stream.read(9)
    if not start:
        raise ValueError(f"{file} is empty: fetch or copy it again")
    if start.startswith(b"GGUF"):
        raise ValueError(
            f"{file} is a GGUF file, whose weights are quantised in blocks: nothing can be read or "
            "written there; give the safetensors that it was made from"
        )
    safe = start[8:] == b"{"  # a safetensors file may begin like a pickle: with the header's length
    if not safe and (start.startswith(_PICKLES) or file.suffix in _PICKLED):
        raise ValueError(
            f"{file} is not read, because loading a pickle runs whatever code it holds: convert it "
            "to safetensors where you trust it"
        )


def _unet_folder(path: Path) -> Path:
    """The folder of the UNet's weights: `path` itself, or the part of a pipeline's folder."""
    if (path / "snapshots").is_dir():
        inside = sorted((path / "snapshots").iterdir())
        which = inside[0] if inside else path / "snapshots" / "..."
        raise ValueError(f"{path} is a hub's cache of a model: give a snapshot in it, like {which}")
    if (path / "model_index.json").exists():
        index = read_object(path / "model_index.json")
        kind = str(index.get("_class_name", ""))
        if "text_encoder_2" in index or "XL" in kind:
            raise ValueError(_sdxl(path))
        if "unet" not in index:
            raise ValueError(f"{path} is a {kind or 'pipeline'} without a UNet")
        if not (path / "unet").is_dir():
            raise FileNotFoundError(f"{path} names a UNet, but has no folder `unet`")
    folder = path / "unet" if (path / "unet").is_dir() else path
    config = read_object(folder / "config.json") if (folder / "config.json").exists() else {}
    if config.get("addition_embed_type") == "text_time":
        raise ValueError(_sdxl(path))
    kind = config.get("_class_name", "UNet2DConditionModel")
    if kind != "UNet2DConditionModel":
        raise ValueError(f"{folder} holds a {kind}, expected a UNet2DConditionModel")
    return folder


def _sdxl(path: Path) -> str:
    return f"{path} is of another architecture (SDXL), and rbtc attacks Stable Diffusion 1.x"


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
