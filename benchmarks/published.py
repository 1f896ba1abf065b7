"""Models of Stable Diffusion v1.5's build with random weights, and the published single file.

For benchmarks and tests: rbtc reads single files (`rbtc.models.single_file`) and writes none.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rbtc.files import write_whole
from rbtc.models.sd15 import FULL, mark_random, write_configuration
from rbtc.models.single_file import RANDOM_NOTE

SMALL: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 8,
        "block_out_channels": [8, 16, 16, 16],
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
    "vae": {"block_out_channels": [4, 4, 4, 4], "norm_num_groups": 2, "sample_size": 64},
    "text_encoder": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 16,
    },
    "scheduler": {},
}
"""What differs in a model of the same build that is small enough for a test."""

def configuration(*, small: bool = False, sample_size: int | None = None) -> dict[str, Any]:
    """Settings of every part.

    Args:
        small: the same build with a few channels.
        sample_size: height and width of a latent, a multiple of 8; None keeps the model's own (64,
            that is pictures of 512 x 512).
    """
    found = copy.deepcopy(FULL)
    for part, changes in SMALL.items() if small else ():
        found[part] |= changes
    if sample_size is not None:
        if sample_size < 8 or sample_size % 8:
            raise ValueError(f"sample_size must be a multiple of 8, not {sample_size}")
        found["unet"]["sample_size"] = sample_size
        found["vae"]["sample_size"] = 8 * sample_size
    return found


def random_pipeline(folder: str | Path, *, seed: int = 0, **options: Any) -> Any:
    """A pipeline of the published build with random weights, float32, on the CPU.

    Its pictures are noise. It exists to show that a model of this size goes through every step.

    Args:
        folder: the configuration is written there, and the mark that says what it is.
        seed: of the weights; the global generator is left as it was.
        **options: of `configuration`.
    """
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    parts = configuration(**options)
    folder = write_configuration(folder, parts)
    mark_random(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet: Any = UNet2DConditionModel.from_config(parts["unet"])
        vae: Any = AutoencoderKL.from_config(parts["vae"])
        scheduler: Any = PNDMScheduler.from_config(parts["scheduler"])
        text_encoder = CLIPTextModel(CLIPTextConfig(**parts["text_encoder"]))
    pipe = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,  # pyright: ignore
        feature_extractor=None,  # pyright: ignore
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_TEXT = "cond_stage_model.transformer.text_model."

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
    notes = {"format": "pt"} | ({RANDOM_NOTE: "yes"} if random else {})

    def write(target: Path) -> None:
        try:
            save_file(state, target, metadata=notes)
        except SafetensorError as error:  # it wraps a full disk, say
            raise OSError(f"{path} cannot be written: {error}") from error

    return write_whole(path, write)
