"""A whole model in one safetensors file, in the layout that Stable Diffusion was published in.

Two libraries name the same tensors differently. Reading is diffusers' work, with our configuration,
so that no hub is asked; the model then becomes a folder in the cache, once, and is checked like any
other. Writing is ours: every tensor of a pipeline under its first name.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rbtc.files import cache_root, check_writable, file_digest, write_whole
from rbtc.models.folders import ADVICE, architecture
from rbtc.models.sd15 import mark_random, write_configuration

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_TEXT = "cond_stage_model.transformer.text_model."
_RANDOM = "random_weights"  # in the file's notes

_UNET_TOP = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)")
_RESIZE = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv\.(.*)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)")


def unet_name(name: str) -> str:
    """A UNet tensor's name in a single file.

    The encoder counts its blocks in one row of three per level (two and a downsampler), the
    decoder in one row of three per level with the upsampler inside the third.

    >>> unet_name("mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight")
    'model.diffusion_model.middle_block.1.transformer_blocks.0.ff.net.2.weight'
    """
    for ours, theirs in _UNET_TOP.items():
        if name.startswith(ours):
            return _UNET + theirs + name.removeprefix(ours)
    if found := _MIDDLE.fullmatch(name):
        kind, number, rest = found.groups()
        place = f"middle_block.{2 * int(number) if kind == 'resnets' else 1}."
    elif found := _RESIZE.fullmatch(name):
        way, level, rest = found.groups()
        if way == "down":
            place, rest = f"input_blocks.{3 * int(level) + 3}.0.", f"op.{rest}"
        else:  # the deepest level has no attention before its upsampler
            place = f"output_blocks.{3 * int(level) + 2}.{1 if level == '0' else 2}."
            rest = f"conv.{rest}"
        return _UNET + place + rest
    elif found := _BLOCK.fullmatch(name):
        way, level, kind, number, rest = found.groups()
        row = 3 * int(level) + int(number)
        row = f"input_blocks.{row + 1}" if way == "down" else f"output_blocks.{row}"
        place = f"{row}.{0 if kind == 'resnets' else 1}."
    else:
        raise ValueError(f"the UNet's tensor {name!r} is none of Stable Diffusion 1.x")
    return _UNET + place + (_renamed(rest, _UNET_RESNET) if kind == "resnets" else rest)


def vae_name(name: str, levels: int = 4) -> str:
    """An autoencoder tensor's name in a single file; the decoder counts its levels from below."""
    half, dot, rest = name.partition(".")
    if half in ("quant_conv", "post_quant_conv"):
        return _VAE + name
    rest = rest.replace("conv_norm_out", "norm_out")
    if found := _MIDDLE.fullmatch(rest):
        kind, number, end = found.groups()
        rest = (
            f"mid.block_{int(number) + 1}.{end}"
            if kind == "resnets"
            else f"mid.attn_1.{_renamed(end, _VAE_ATTENTION)}"
        )
    elif found := _RESIZE.fullmatch(rest):
        way, level, end = found.groups()
        level = int(level) if way == "down" else levels - 1 - int(level)
        rest = f"{way}.{level}.{way}sample.conv.{end}"
    elif found := _BLOCK.fullmatch(rest):
        way, level, _, number, end = found.groups()
        level = int(level) if way == "down" else levels - 1 - int(level)
        rest = f"{way}.{level}.block.{number}.{end}"
    return _VAE + half + dot + rest.replace("conv_shortcut", "nin_shortcut")


def text_name(name: str) -> str:
    """A text encoder tensor's name in a single file, whatever this transformers calls it."""
    return _TEXT + name.removeprefix("text_model.")


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for ours, theirs in table.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return name


def single_state(pipe: Any) -> dict[str, torch.Tensor]:
    """Every tensor of a pipeline under its name in a single file."""
    state = {unet_name(name): tensor for name, tensor in pipe.unet.state_dict().items()}
    levels = len(pipe.vae.config.block_out_channels)
    for name, tensor in pipe.vae.state_dict().items():
        # The published autoencoder's attention is made of 1 x 1 convolutions.
        convolution = ".attentions." in name and tensor.ndim == 2
        state[vae_name(name, levels)] = tensor[:, :, None, None] if convolution else tensor
    text = {k: v for k, v in pipe.text_encoder.state_dict().items() if "position_ids" not in k}
    state |= {text_name(name): tensor for name, tensor in text.items()}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def save_single_file(pipe: Any, path: str | Path, *, random: bool = False) -> Path:
    """Write a pipeline as one safetensors file in the published layout.

    Args:
        pipe: a Stable Diffusion 1.x pipeline.
        path: the file; an earlier one is replaced when the new one is whole.
        random: say in the file that its weights are random numbers.

    Raises:
        ValueError: the pipeline has a tensor that Stable Diffusion 1.x does not.
        OSError: the file cannot be written; the disk is full, say.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = single_state(pipe)
    notes = {"format": "pt"} | ({_RANDOM: "yes"} if random else {})

    def write(target: Path) -> None:
        try:
            save_file(state, target, metadata=notes)
        except SafetensorError as error:  # it wraps a full disk, say
            raise OSError(f"{path} cannot be written: {error}") from error

    return write_whole(path, write)


def as_folder(
    path: str | Path, parts: dict[str, Any] | None = None, *, cache: str | Path | None = None
) -> Path:
    """The model folder made from a single file, in the cache; made once per content.

    It takes as much disk as the file. Whether a tensor of the file was lost is checked here, what
    the folder holds is checked whenever it is loaded.

    Args:
        path: a ``.safetensors`` file of Stable Diffusion 1.x.
        parts: its configuration if it is not the published one, see `rbtc.models.sd15`.
        cache: where to make the folder; None takes our cache.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged or cut short, of another architecture, or lacks a tensor.
        OSError: the cache cannot be written.
    """
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )

    path = Path(path).expanduser()
    dtype, random = _look_into(path)
    root = cache_root() / "models" if cache is None else Path(cache)
    place = root / file_digest(path)[:16]
    if (place / "model_index.json").is_file():  # moved there as a whole
        return place
    check_writable(place.parent)
    work = place.with_name(f".{place.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    settings = write_configuration(work / "configuration", parts)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            pipe = StableDiffusionPipeline.from_single_file(
                str(path),
                config=str(settings),
                local_files_only=True,
                torch_dtype=dtype,
                safety_checker=None,
            )
        _compare(path, pipe)
        pipe.save_pretrained(str(work / "model"))
        if random:
            mark_random(work / "model")
        (work / "model").replace(place)
    except OSError:
        raise
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"the single file {path} cannot be read as Stable Diffusion 1.x: {error}; {ADVICE}"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def _look_into(path: Path) -> tuple[torch.dtype, bool]:
    """The weights' dtype, and whether the file calls them random."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"the model file {path} does not exist: {ADVICE}")
    try:
        with safe_open(path, "pt") as stream:
            names = [name for name in stream.keys() if name.startswith(_UNET)]
            kind = stream.get_tensor(min(names)).dtype if names else None
            notes = stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"the model file {path} is damaged or was cut short ({error}): {ADVICE}"
        ) from error
    if other := architecture(path):
        raise ValueError(
            f"the model {str(path)!r} is a single file of another architecture ({other}), and rbtc "
            "attacks Stable Diffusion 1.x: point the profile's `model` at one"
        )
    if kind is None:
        raise ValueError(
            f"the model file {path} has no tensor named {_UNET}...: it is no whole checkpoint of "
            "Stable Diffusion 1.x in the published layout; point the profile's `model` at one, or "
            "at a folder in the layout of diffusers"
        )
    return kind, _RANDOM in notes


def _compare(path: Path, pipe: Any) -> None:
    """Refuse a pipeline that is not, tensor by tensor, what its single file holds."""
    from safetensors import safe_open

    with safe_open(path, "pt") as stream:
        names = set(stream.keys())
        for name, tensor in single_state(pipe).items():
            if name not in names:
                raise ValueError(f"the tensor {name!r} is missing, and would be random numbers")
            stored = stream.get_tensor(name)
            if stored.numel() != tensor.numel() or not torch.equal(
                stored.reshape(tensor.shape).to(tensor.dtype), tensor
            ):
                raise ValueError(f"the tensor {name!r} is not what was loaded")
