# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportGeneralTypeIssues=false
# (diffusers annotates less than it accepts and returns)
"""Weights that make diffusers' AutoencoderKL compute the latent code and its inverse.

Both are linear, so training such a network from nothing is a long way to a known place. This module
writes the place down. Three facts make it possible:

- silu(x) - silu(-x) = x exactly: a stream that holds x and -x passes any linear map through the
  nonlinearity.
- A group norm whose groups hold two large constants, K and -K, divides by nearly the same number
  whatever the picture; with that number as its weight it is the identity.
- Nearest upsampling gives the four pixels of a place the same features, and no convolution tells
  them apart. A ramp over the columns does: zero padding lets eight convolutions at the 8 x 8 level
  count the columns; after upsampling the difference to the left neighbour marks the even ones, the
  sum is the ramp of the finer level. A residual block adds what the odd pixels have in addition:
  silu(x + b) - silu(-x + b) is x for b = 0 and nothing for a very negative b.

Each resolution first splits columns, then rows, as SD's decoder has two residual blocks for each.
Where a block of pixels has more numbers than there is room for, its principal components are kept
(``rbtc.emoji.blocks``).
The other weights stay as they were initialised, but feed into nothing yet.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from rbtc.emoji.blocks import Blocks, code_blocks
from rbtc.emoji.code import PATCH, LatentCode

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

BALLAST = 300.0
"""The constant K beside the features of every group norm; features are of the order of one."""
GATE = 30.0
"""How far a closed gate pushes a feature below zero."""
RAMP_X, RAMP_Y, EVEN_X, EVEN_Y, PLUS, MINUS = -6, -5, -4, -3, -2, -1
"""Channels of a stream, counted from its end: ramps, marks of even columns and rows, ballast."""
POSITIONS = 6
ON = float(nn.functional.silu(torch.ones(())))
"""What is left of a mark after the nonlinearity."""
LOG_VARIANCE = -12.0


def room_for(channels: int) -> int:
    """Features a stream of so many channels can hold, each with its negative."""
    return (channels - POSITIONS) // 2


def _clear(layer: nn.Conv2d) -> None:
    layer.weight.zero_()
    layer.bias.zero_()


def _signed(n: int) -> list[tuple[int, float]]:
    """Where features and their negatives stand: channel offset and sign."""
    return [(0, 1.0), (n, -1.0)]


def _linear(layer: nn.Conv2d, matrix: torch.Tensor, constant: torch.Tensor) -> None:
    """Let the middle taps map features (their positive copies) to features and negatives."""
    middle = layer.kernel_size[0] // 2
    new, old = matrix.shape
    for start, sign in _signed(new):
        layer.weight[start : start + new, :old, middle, middle] = sign * matrix.to(layer.weight)
        layer.bias[start : start + new] = sign * constant.to(layer.bias)


def _keep(layer: nn.Conv2d, *channels: int) -> None:
    """Let the middle taps copy position channels."""
    middle = layer.kernel_size[0] // 2
    for channel in channels:
        layer.weight[channel, :, middle, middle] = 0
        layer.weight[channel, channel, middle, middle] = 1


def _hidden_ballast(conv1: nn.Conv2d, conv2: nn.Conv2d) -> None:
    for channel, sign in ((PLUS, 1.0), (MINUS, -1.0)):
        conv1.weight[channel] = 0
        conv1.bias[channel] = sign * BALLAST
        conv2.weight[:, channel] = 0


def _add_on_odd(block: nn.Module, matrix: torch.Tensor, constant: torch.Tensor, mark: int) -> None:
    """Let a residual block compute ``matrix`` @ x + ``constant`` where ``mark`` is zero.

    Hidden channels hold the value and its negative, both pushed down where the mark is one.
    The caller says where it goes (``conv2``).
    """
    _clear(block.conv1)
    _clear(block.conv2)
    new, old = matrix.shape
    for start, sign in _signed(new):
        rows = slice(start, start + new)
        for begin, also in _signed(old):
            block.conv1.weight[rows, begin : begin + old, 1, 1] = sign * also * matrix.float()
        block.conv1.bias[rows] = sign * constant.float()
        block.conv1.weight[rows, mark, 1, 1] = -GATE / ON
    _hidden_ballast(block.conv1, block.conv2)


def _write_sum(block: nn.Module, channels: Sequence[int], sign: float = 1.0) -> None:
    """Let ``conv2`` add the gated values (or their negatives) to these channels of the stream."""
    for start, also in _signed(len(channels)):
        for j, channel in enumerate(channels):
            block.conv2.weight[channel, start + j, 1, 1] = sign * also


def _count_columns(block: nn.Module, stream: dict[str, int], step: float) -> None:
    """Let a residual block of the 8 x 8 level count two columns and two rows more.

    Channels ``x`` and ``y`` mark the places beyond the border that are counted already.
    """
    _clear(block.conv1)
    _clear(block.conv2)
    for number, (axis, ramp) in enumerate((("x", RAMP_X), ("y", RAMP_Y))):
        mark, moved, same = stream[axis], 2 * number, 2 * number + 1
        before = (1, 0) if axis == "x" else (0, 1)  # the tap of the left or upper neighbour
        block.conv1.weight[(moved, mark, *before)] = 1 / ON
        block.conv1.weight[same, mark, 1, 1] = 1 / ON
        block.conv2.weight[ramp, moved, 1, 1] = step / ON
        block.conv2.weight[(ramp, moved, *before)] = step / ON
        block.conv2.weight[(mark, moved, *before)] = 1 / ON
        block.conv2.weight[mark, same, 1, 1] = -1 / ON
    _hidden_ballast(block.conv1, block.conv2)


def _refine_positions(layer: nn.Conv2d, step: float, *, ramps: bool) -> None:
    """Marks (and ramps) of the level an upsampler leads to, from the ramps it repeats."""
    for ramp, even, before in ((RAMP_X, EVEN_X, (1, 0)), (RAMP_Y, EVEN_Y, (0, 1))):
        layer.weight[even, ramp, 1, 1] = 1 / step
        layer.weight[(even, ramp, *before)] = -1 / step
        if ramps:
            layer.weight[ramp, ramp, 1, 1] = 0.5
            layer.weight[(ramp, ramp, *before)] = 0.5
    _keep(layer, PLUS, MINUS)


def write_decoder(decoder: nn.Module, code: LatentCode) -> None:
    """Set the decoder's weights so that it draws the code's inverse (norms are set later)."""
    latent = len(code.scale)
    step = 1 / PATCH  # the ramp's, in the units of its channel
    _clear(decoder.conv_in)
    _linear(decoder.conv_in, torch.eye(latent), torch.zeros(latent))
    stream = {"x": 2 * latent, "y": 2 * latent + 1}
    for channel, value in (
        *((c, 1.0) for c in stream.values()),
        (RAMP_X, step),
        (RAMP_Y, step),
        (PLUS, BALLAST),
        (MINUS, -BALLAST),
    ):
        decoder.conv_in.bias[channel] = value
    decoder.mid_block.attentions[0].to_out[0].weight.zero_()
    decoder.mid_block.attentions[0].to_out[0].bias.zero_()
    coarse, *finer = decoder.up_blocks
    for block in (*decoder.mid_block.resnets, *coarse.resnets):
        _count_columns(block, stream, step)
    upsampler = coarse.upsamplers[0].conv
    _clear(upsampler)
    _linear(upsampler, torch.eye(latent), torch.zeros(latent))
    _refine_positions(upsampler, step, ramps=True)

    blocks = code_blocks(code)
    for level, up in enumerate(finer):
        last = level == len(finer) - 1
        columns, rows = up.resnets
        room = room_for(columns.out_channels)
        blocks, maps, constants = blocks.split(2, room if not last else 6)
        new = len(constants[0])
        _add_on_odd(columns, maps[1] - maps[0], constants[1] - constants[0], EVEN_X)
        for start, sign in _signed(new):
            _write_sum(columns, range(start, start + new), sign)
        _clear(columns.conv_shortcut)
        _linear(columns.conv_shortcut, maps[0], constants[0])
        kept = (EVEN_Y, PLUS, MINUS) if last else (RAMP_X, RAMP_Y, EVEN_Y, PLUS, MINUS)
        _keep(columns.conv_shortcut, *kept)

        blocks, maps, constants = blocks.split(1, room)
        new, old = maps[0].shape
        _add_on_odd(rows, maps[1] - maps[0], constants[1] - constants[0], EVEN_Y)
        if last:  # features are pixels: the lower one takes the upper one's place
            upper = maps[0].argmax(1).tolist()
            _clear(decoder.conv_out)
            for start, sign in _signed(old):
                _write_sum(rows, [start + u for u in upper], sign)
                for j, u in enumerate(upper):
                    decoder.conv_out.weight[j, start + u, 1, 1] = sign
            decoder.conv_out.bias.copy_(blocks.offset.flatten() + constants[0])
        else:  # into the place of the negatives, which are known without them
            _write_sum(rows, range(old, old + new))
            step /= 2
            upsampler = up.upsamplers[0].conv
            _clear(upsampler)
            _linear(upsampler, maps[0], constants[0])
            for start, sign in _signed(new):
                for j in range(new):
                    upsampler.weight[start + j, j, 1, 1] += sign
                    upsampler.weight[start + j, old + j, 1, 1] += sign
            _refine_positions(upsampler, step, ramps=level < len(finer) - 2)


def write_encoder(encoder: nn.Module, code: LatentCode) -> None:
    """Set the encoder's weights so that it computes the code, as far as its width allows."""
    for block in encoder.modules():
        if hasattr(block, "conv2"):
            _clear(block.conv2)
            if block.conv_shortcut is not None:
                _clear(block.conv_shortcut)
                for j in range(min(block.conv_shortcut.weight.shape[:2])):
                    block.conv_shortcut.weight[j, j, 0, 0] = 1
    encoder.mid_block.attentions[0].to_out[0].weight.zero_()
    encoder.mid_block.attentions[0].to_out[0].bias.zero_()
    _clear(encoder.conv_in)
    for j in range(3):
        encoder.conv_in.weight[j, j, 1, 1] = 1

    # From coarse to fine, what each level's features stand for; then the maps from fine to coarse.
    scales = [code_blocks(code)]
    downsamplers = [b.downsamplers[0].conv for b in encoder.down_blocks if b.downsamplers]
    for layer in reversed(downsamplers[:-1]):
        halves = scales[0].split(2, layer.out_channels)[0]
        scales.insert(0, halves.split(1, layer.out_channels)[0])
    below: Blocks | None = None
    for layer, blocks in zip(downsamplers, scales, strict=True):
        _clear(layer)
        matrix, offset = blocks.matrix.flatten(0, 2), blocks.offset
        inverse = torch.linalg.pinv(matrix)  # (features, pixels)
        if blocks is scales[-1]:  # the code's own definition, not a best fit to its inverse
            inverse = (code.components.double() * code.scale.double()).T
        new = len(inverse)
        taps = inverse.reshape(new, *offset.shape)
        layer.bias[:new] = -(inverse @ offset.flatten()).float()
        for i, j in itertools.product(range(2), range(2)):
            part = taps.chunk(2, 2)[i].chunk(2, 3)[j].flatten(1)  # (new, pixels of a quarter)
            if below is None:
                layer.weight[:new, :3, i, j] = part.float()
            else:
                fine = below.matrix.flatten(0, 2)
                layer.weight[:new, : fine.shape[1], i, j] = (part @ fine).float()
                layer.bias[:new] += (part @ below.offset.flatten()).float()
        below = blocks
    latent = len(code.scale)
    shortcut = encoder.down_blocks[-1].resnets[0].conv_shortcut
    _clear(shortcut)
    _linear(shortcut, torch.eye(latent), torch.zeros(latent))
    shortcut.bias[PLUS], shortcut.bias[MINUS] = BALLAST, -BALLAST
    _clear(encoder.conv_out)
    for j in range(latent):
        encoder.conv_out.weight[j, j, 1, 1] = 1
        encoder.conv_out.weight[j, latent + j, 1, 1] = -1
    encoder.conv_out.bias[latent:] = LOG_VARIANCE


def calibrate_norms(network: nn.Module, inputs: torch.Tensor) -> None:
    """Make every group norm the identity on ``inputs``: weight and bias undo what it does.

    Norms are met in the order of computation, so that each sees what the ones before leave.
    """

    def undo(norm: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm, nn.GroupNorm)
        grouped = args[0].unflatten(1, (norm.num_groups, -1)).flatten(2)  # (n, groups, numbers)
        mean = grouped.mean((0, 2))
        spread = grouped.var(2, unbiased=False).mean(0).sqrt()
        repeat = norm.num_channels // norm.num_groups
        norm.weight.copy_(spread.repeat_interleave(repeat))
        norm.bias.copy_(mean.repeat_interleave(repeat))

    handles = [
        module.register_forward_pre_hook(undo)
        for module in network.modules()
        if isinstance(module, nn.GroupNorm)
    ]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def write_code(vae: AutoencoderKL, code: LatentCode, pictures: torch.Tensor) -> None:
    """Write the code and its inverse into an autoencoder with one group per norm.

    Args:
        vae: four levels, one layer a block, one norm group.
        code: fitted.
        pictures: (n, 3, 64, 64), some of the code's training pictures; norms are set on them.

    Raises:
        ValueError: the autoencoder's shape leaves no room for the code.
    """
    widths, latent = vae.config.block_out_channels, len(code.scale)
    if (
        vae.config.latent_channels != latent
        or vae.config.norm_num_groups != 1
        or len(widths) != 4
        or vae.config.layers_per_block != 1
        or widths[-1] < 2 * latent + POSITIONS + 2
        or room_for(widths[1]) < 12
        or widths[0] < 16
    ):
        raise ValueError(
            f"no room for a code of {latent} channels in widths {tuple(widths)} with "
            f"{vae.config.latent_channels} latent channels and {vae.config.norm_num_groups} norm "
            f"groups: one group is needed, {2 * latent + POSITIONS + 2} channels at the coarsest "
            "level, and 16 and 30 at the finest two"
        )
    write_encoder(vae.encoder, code)
    write_decoder(vae.decoder, code)
    for layer in (vae.quant_conv, vae.post_quant_conv):
        layer.weight.copy_(torch.eye(layer.weight.shape[0])[:, :, None, None])
        layer.bias.zero_()
    calibrate_norms(vae.encoder, pictures)
    calibrate_norms(vae.decoder, code(pictures))
