"""Checkpoints on disk: their weight matrices, found by their keys and read one by one.

The model is never loaded: of a safetensors file only the header is read, and a matrix when it is
asked for. Files with pickles are refused without being unpickled. Changed copies are written by
`rbtc.audit.copies`.

Every matrix can be looked at. Those that are attacked or hardened are the feed-forward output
matrices, unless a pattern names others. Names are those of diffusers; the naming of Stable
Diffusion in one file is understood in its attention blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rbtc.layers import Weights, canonicalise_zeros, check_finite
from rbtc.models.folders import (
    DEFAULT_WEIGHTS,
    SINGLE,
    architecture,
    check_matrices,
    check_sizes,
    read_header,
    read_object,
    weight_files,
)

DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""What a matrix may be stored as, by safetensors' names."""

_LAYERS = re.compile(
    r"^(?:(?:(?:down|up)_blocks\.\d+|mid_block)\.attentions\.\d+\.)?transformer_blocks\.\d+"
    r"\.ff\.net\.2\.weight$"
)
"""The matrices that are attacked where no pattern is given."""

_ORIGINAL = re.compile(
    r"(?:(?P<side>input|output)_blocks\.(?P<block>\d+)|middle_block)\.1\."
    r"(?P<tail>(?:norm|proj_in|proj_out|transformer_blocks)\..+)"
)

_WRAPPED = re.compile(r"^(?:_orig_mod\.|module\.|unet\.|transformer\.|model\.diffusion_model\.)+")

_KNOWN = re.compile(
    r"^(?:(?:down|up|input|output|middle|(?:single_|joint_)?transformer|joint|double|single)_blocks?"
    r"|mid_block|conv_\w+|time_\w+|add_embedding|class_embedding|label_emb|out|\w+_embedder"
    r"|pos_embed|norm_out|proj_out|text_\w+|vision_model|visual_projection|\w*encoder\w*|decoder"
    r"|vae|safety_checker|\w*quant_conv|first_stage_model|cond_stage_model|conditioner)\."
)
"""How names of a published model begin; what is called otherwise may be a second copy."""

_PARAMETER = re.compile(
    r"\.(?:weight|in_proj_weight|\w*(?:embed|embedding|proj|projection|table))$"
)

_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
"""Of the text embeddings that a UNet attends to, by which its version is told."""

_ENDS = {"conv_in.weight", "input_blocks.0.0.weight", "conv_out.weight", "out.2.weight"}
"""Matrices that a whole UNet has, and a part of one has not."""

_BEGINNINGS = {
    "a UNet": ("down_blocks.", "mid_block.", "up_blocks.", "input_blocks.", "output_blocks."),
    "a transformer": ("transformer_blocks.", "single_transformer_blocks."),
    "a text encoder": ("text_model.", "text_encoder."),
}
_CLASS = re.compile(r"UNet2DConditionModel|\w*Transformer2DModel|CLIPText\w+")
_DENOISERS = ("unet", "transformer")

_VARIANT = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.safetensors"
)

_SHARD = re.compile(r"-(?P<number>\d+)-of-(?P<count>\d+)")


_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""How a pickle begins, or the zip archive in which torch keeps one."""

_PICKLED = {".bin", *SINGLE} - {".safetensors"}


@dataclass(frozen=True)
class Entry:
    """One weight matrix of a checkpoint.

    name: its name in diffusers, the part of the pipeline in front where that is not the denoiser.
    file, key: the safetensors file that holds it, and its name there. shape: (out_features,
    in_features), or that of a convolution. dtype: how it is stored, one of `DTYPES`.
    """

    name: str
    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def known(self) -> bool:
        """Whether a model is loaded from it, as its name tells; else it may be a second copy."""
        return bool(_KNOWN.match(self.name) and _PARAMETER.search(self.name))

    def read(self, rows: int | None = None) -> Tensor:
        """The matrix as it is stored, signed zeros included, or its first rows.

        Raises:
            ValueError: it holds NaN or infinity.
        """
        from safetensors import safe_open

        with safe_open(self.file, "pt") as stream:
            weight = stream.get_slice(self.key)[:rows] if rows else stream.get_tensor(self.key)
        if not torch.isfinite(weight.sum(dtype=torch.float32)):  # one pass; it may also overflow
            check_finite({self.name: weight})
        return weight


@dataclass(frozen=True)
class Checkpoint:
    """The weight matrices of a model on disk, sorted by name.

    Attributes:
        path: The file or folder that was given.
        entries: Those that are attacked or hardened, each two-dimensional; none is read yet.
        kind: What model it is, as its names and shapes tell; "" if they do not.
        matrices: All of floating-point numbers, of all parts, those of `entries` among them.
        total: How many matrices there are, those of other numbers included.
        loaded: The files that a library loads the model from.
    """

    path: Path
    entries: tuple[Entry, ...]
    kind: str = ""
    matrices: tuple[Entry, ...] = ()
    total: int = 0
    loaded: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files that hold the attacked matrices."""
        return tuple(sorted({entry.file for entry in self.entries}))

    def weights(self) -> Weights:
        """The attacked matrices in their stored dtype, every zero made +0.0.

        Raises:
            ValueError: there is none, or one holds NaN or infinity.
        """
        if not self.entries:
            raise ValueError(f"{self.path} has {_NONE}: name others by --layers PATTERN")
        return {entry.name: canonicalise_zeros(entry.read()) for entry in self.entries}


_NONE = "no feed-forward output matrix"


def open_checkpoint(path: str | Path, layers: str | None = None) -> Checkpoint:
    """Find the weight matrices of a model; reads headers only.

    Args:
        path: a model folder in the layout of diffusers, the folder of one of its parts, or one
            safetensors file.
        layers: regular expression, looked for in the names of two-dimensional matrices: those are
            attacked instead of the feed-forward output matrices.

    Raises:
        FileNotFoundError: nothing is there, or a folder without weights.
        ValueError: a pickle, a damaged or empty file, a model of no known kind, a pattern that
            fits nothing, an attacked matrix that is none of floating-point numbers, or a UNet of
            Stable Diffusion 1.x of which some are missing or contradict its configuration.
    """
    path = Path(path)
    try:
        pattern = re.compile(layers) if layers else _LAYERS
    except re.error as error:
        raise ValueError(f"--layers {layers!r} is no regular expression: {error}") from error
    files = model_files(path)
    matrices: dict[str, Entry] = {}
    sides: set[int] = set()
    chosen, total, tensors = [], 0, 0
    for part, file in files:
        for key, (shape, dtype) in read_header(file).tensors.items():
            tensors += 1
            sides.update(() if part else shape)
            name = part + diffusers_name(key)
            attacked = pattern.search(name) is not None and (layers is None or len(shape) == 2)
            if attacked:
                _check_matrix(file, key, shape, dtype)
                chosen.append(name)
            total += len(shape) > 1 and dtype not in ("I64", "I32")
            if len(shape) < 2 or 0 in shape or dtype not in DTYPES:
                continue
            if name in matrices:
                raise ValueError(f"{path} holds {name} more than once: keep one of the copies")
            matrices[name] = Entry(name, file, key, shape, dtype)
    place = files[0][1].parent / "config.json"
    config = _object(place) if path.is_dir() else {}
    kind = _kind(path, [file for _, file in files], matrices, config, bool(chosen))
    shapes = {name: entry.shape for name, entry in matrices.items() if _LAYERS.search(name)}
    whole = bool(config) or not _ENDS.isdisjoint(matrices)
    if shapes and (kind.startswith(_WIDTHS[768]) or (kind.startswith("a UNet") and whole)):
        check_matrices(path, shapes, check_sizes(place, [tuple(sides)]) if config else {})
    if not chosen and layers:
        some = next(iter(matrices), "none")
        raise ValueError(f"no matrix of {path} fits --layers {layers!r}: one is called {some}")
    if not chosen and not kind:
        raise ValueError(
            f"{path} has {_NONE}: none of its {tensors} tensors is called like ...attentions.0."
            "transformer_blocks.0.ff.net.2.weight; give a UNet, or name matrices by --layers"
        )
    ordered = tuple(matrices[name] for name in sorted(matrices))
    return Checkpoint(
        path, tuple(matrices[name] for name in sorted(chosen)), kind, ordered, total,
        tuple(file for _, file in files),
    )  # fmt: skip


def diffusers_name(key: str) -> str:
    """The name of a tensor in diffusers, as far as the key tells.

    In one file the blocks are numbered through: of the three blocks a resolution has, input blocks
    begin with the convolution at 0 and end each resolution with a step down, which has no
    attention; output blocks have three. Other keys keep their names.

    Prefixes that wrappers leave behind are read over, and torch.nn.utils.prune's name of the weight
    that it masks stands for the weight.

    >>> key = "model.diffusion_model.input_blocks.5.1.transformer_blocks.0.ff.net.2.weight"
    >>> diffusers_name(key)
    'down_blocks.1.attentions.1.transformer_blocks.0.ff.net.2.weight'
    """
    key = _WRAPPED.sub("", key).removesuffix("_orig")
    found = _ORIGINAL.fullmatch(key)
    if not found:
        return key
    if found["side"] is None:
        return f"mid_block.attentions.0.{found['tail']}"
    down = found["side"] == "input"
    block, attention = divmod(int(found["block"]) - down, 3)
    if block < 0 or (down and attention == 2):
        return key
    return f"{'down' if down else 'up'}_blocks.{block}.attentions.{attention}.{found['tail']}"


def _kind(
    path: Path, files: Sequence[Path], matrices: Mapping[str, Entry], config: Mapping[str, Any],
    chosen: bool,
) -> str:  # fmt: skip
    """What model it is; "" if names and shapes do not tell.

    Raises:
        ValueError: a network beside the denoiser, which nobody prunes a concept from.
    """
    other = next((kind for kind in map(architecture, files) if kind), "")
    if other in ("a ControlNet", "a video model") or (other.startswith("a LoRA") and not chosen):
        raise ValueError(
            f"{path} is of another architecture ({other}), and rbtc audits UNets, transformers and "
            "text encoders of models that draw pictures"
        )
    shapes = {name: entry.shape for name, entry in matrices.items()}
    widths = (shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight"))
    width = config.get("cross_attention_dim") or next(widths, 0)
    width = width if isinstance(width, int) else 0
    begins = (k for k, marks in _BEGINNINGS.items() if any(n.startswith(marks) for n in shapes))
    kind = next((k for k in (other, _WIDTHS.get(width, "")) if k), "") or next(begins, "")
    into = shapes.get("conv_in.weight") or shapes.get("input_blocks.0.0.weight") or (0, 0)
    out = shapes.get("conv_out.weight") or shapes.get("out.2.weight") or (4,)
    return f"{kind}, inpainting" if into[1] == 2 * out[0] + 1 else kind


def _check_matrix(file: Path, key: str, shape: tuple[int, ...], dtype: str) -> None:
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{key} in {file} has shape {shape}, expected (out_features, in_features)")
    if dtype not in DTYPES:
        raise ValueError(
            f"{key} in {file} is stored as {dtype}, expected one of {', '.join(DTYPES)}: "
            "export the model without quantisation"
        )


def model_files(path: Path) -> list[tuple[str, Path]]:
    """The safetensors files a model is loaded from, each with what its names begin with.

    Names of the denoiser begin with nothing, those of other parts with "PART.".

    Args:
        path: a model folder in the layout of diffusers, the folder of a part, or one file.

    Raises:
        FileNotFoundError: nothing is there, or a folder without weights.
        ValueError: a pickle, an empty file, or a folder of another architecture.
    """
    if path.is_dir():
        parts = _parts(path)
        found = [(part, _part_files(folder)) for part, folder in parts]
    elif path.exists():
        found = [("", [path])]
    else:
        raise FileNotFoundError(
            f"there is nothing at {path}: give a model folder, its unet folder or a safetensors "
            "file"
        )
    for _, files in found:
        for file in files:
            _check_file(file)
        _check_shards(files)
    return [(part, file) for part, files in found for file in files]


def _check_shards(files: Sequence[Path]) -> None:
    """Refuse shards of which some are missing, as their own numbers tell.

    Raises:
        FileNotFoundError: naming the first that is missing.
        ValueError: one is given without the others, which are there.
    """
    for file in files:
        if not (found := _SHARD.search(file.name)):
            continue
        width, count = len(found["number"]), int(found["count"])
        names = [f"{file.name[: found.start()]}-{number:0{width}}-of-{found['count']}"
                 f"{file.name[found.end() :]}" for number in range(1, count + 1)]  # fmt: skip
        for index in file.parent.glob("*.index*.json"):
            listed = read_object(index).get("weight_map")
            if isinstance(listed, dict) and file.name in listed.values():
                names += sorted({str(name) for name in listed.values()})
                own = read_header(file).tensors
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
            f"by `rbtc convert {file} {file.with_suffix('.safetensors').name}`, which does not"
        )


def _parts(path: Path) -> list[tuple[str, Path]]:
    """Folders of a model's parts with what their names begin with, the denoiser first."""
    if (path / "snapshots").is_dir():
        inside = sorted((path / "snapshots").iterdir())
        which = inside[0] if inside else path / "snapshots" / "..."
        raise ValueError(f"{path} is a hub's cache of a model: give a snapshot in it, like {which}")
    if (path / "model_index.json").exists():
        index = read_object(path / "model_index.json")
        kind = str(index.get("_class_name", ""))
        named = next((name for name in _DENOISERS if name in index), None)
        if named is None:
            raise ValueError(f"{path} is a {kind or 'pipeline'} without a UNet or a transformer")
        if not (path / named).is_dir():
            raise FileNotFoundError(f"{path} names a {named}, but has no folder `{named}`")
        others = [name for name, entry in index.items() if isinstance(entry, list)]
    else:
        named = next((name for name in _DENOISERS if (path / name).is_dir()), None)
        others = ["text_encoder", "text_encoder_2", "text_encoder_3", "vae"] if named else []
    folder = path / named if named else path
    config = _object(folder / "config.json")
    listed = config.get("architectures")
    kind = str(config.get("_class_name", listed[0] if isinstance(listed, list) and listed else ""))
    if kind and not _CLASS.fullmatch(kind):
        raise ValueError(f"{folder} holds a {kind}, expected a UNet2DConditionModel")
    rest = [(f"{name}.", path / name) for name in others if name != named]
    return [("", folder), *((part, own) for part, own in rest if _has_weights(own))]


def _has_weights(folder: Path) -> bool:
    """Whether a part is loaded from safetensors; the scan names what it has otherwise."""
    return folder.is_dir() and any(
        map(DEFAULT_WEIGHTS.fullmatch, (f.name for f in folder.iterdir()))
    )


def _object(file: Path) -> dict[str, Any]:
    """A JSON object; {} where there is no such file."""
    return read_object(file) if file.exists() else {}


def _part_files(folder: Path) -> list[Path]:
    """The files libraries would load, or those of the one variant (".fp16.") there is.

    A variant's shards are called NAME.fp16-00001-of-00002 or NAME-00001-of-00002.fp16.
    """
    try:
        return weight_files(folder)
    except FileNotFoundError:
        every = {file: _VARIANT.fullmatch(file.name) for file in sorted(folder.iterdir())}
        found = {file: name[1] or name[2] for file, name in every.items() if name}
        if len(set(found.values())) == 1:
            return list(found)
        if not found and any(folder.glob("*.bin")):
            raise ValueError(
                f"{folder} holds its weights as a pickle, which is not read because loading it "
                "runs whatever code it holds: convert it by `rbtc convert`, which does not"
            ) from None
        raise
