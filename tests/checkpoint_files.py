"""Small checkpoints with the sixteen matrices of Stable Diffusion 1.x, whole and pruned."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

TAIL = "transformer_blocks.0.ff.net.2.weight"

BLOCKS = [
    *(
        f"down_blocks.{block}.attentions.{attention}"
        for block in range(3)
        for attention in range(2)
    ),
    "mid_block.attentions.0",
    *(f"up_blocks.{block}.attentions.{attention}" for block in (1, 2, 3) for attention in range(3)),
]

NAMES = [f"{block}.{TAIL}" for block in BLOCKS]

ORIGINAL = [
    f"model.diffusion_model.{block}.1.{TAIL}"
    for block in (
        *(f"input_blocks.{number}" for number in (1, 2, 4, 5, 7, 8)),
        "middle_block",
        *(f"output_blocks.{number}" for number in range(3, 12)),
    )
]
"""The same matrices by their names in one file, in the order of `NAMES`."""


def matrices(rows=24, columns=96, dtype=torch.float16, noise=0.1, rank=3, names=NAMES, seed=0):
    """Low-rank matrices with noise, so that completion has something to find."""
    generator = torch.Generator().manual_seed(seed)

    def one():
        left = torch.randn(rows, rank, generator=generator)
        right = torch.randn(rank, columns, generator=generator)
        extra = noise * torch.randn(rows, columns, generator=generator)
        return (0.05 * (left @ right + extra)).to(dtype)

    return {name: one() for name in names}


def cut(weights, per_row=4, *, signed=False):
    """Each row's largest |w| pruned: to +0.0, or to the zero that a product with a mask leaves."""
    result = {}
    for name, weight in weights.items():
        places = weight.abs().float().topk(per_row, dim=1).indices
        mask = torch.zeros(weight.shape, dtype=torch.bool).scatter_(1, places, True)
        zero = weight * 0 if signed else torch.zeros_like(weight)
        result[name] = torch.where(mask, zero, weight)
    return result


def others():
    """What else a UNet's file holds."""
    return {"conv_in.weight": torch.arange(36.0).reshape(4, 1, 3, 3), "conv_in.bias": torch.ones(4)}


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({n: t.contiguous() for n, t in tensors.items()}, path, metadata={"format": "pt"})
    return path
