"""Weight matrices beyond the feed-forward outputs: attention projections and convolutions.

The paper's attack looks at the second linear layer of every feed-forward block (`rbtc.layers`).
Other unlearning methods touch other layers, and the attack itself does not care which: it completes
any matrix. A convolution (out, in, k, k) becomes the matrix (out, in * k * k), whose row is again
one output unit with all its incoming weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from rbtc.layers import FFN_OUTPUT_PATTERN, Weights, canonicalise_zeros, check_finite

LayerKind = Literal["feed-forward", "attention", "convolution"]

FEED_FORWARD: tuple[LayerKind, ...] = ("feed-forward",)
"""The layers of the paper."""

ALL_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)

_ATTENTION = re.compile(r"(?:^|\.)attn\d*\.to_(?:q|k|v|out\.0)\.weight$")
"""Query, key, value and output projections, in diffusers' naming."""


def check_kinds(kinds: Sequence[str]) -> tuple[LayerKind, ...]:
    """The kinds of layers, each once, in the order of `ALL_KINDS`.

    Raises:
        ValueError: a bare string, no kind, or an unknown one.
    """
    if isinstance(kinds, str):
        raise ValueError(f"kinds must be a list of names, not the one name {kinds!r}")
    unknown = [kind for kind in kinds if kind not in ALL_KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds must be some of {list(ALL_KINDS)}, not {list(kinds)}")
    return tuple(kind for kind in ALL_KINDS if kind in kinds)


def find_matrices(
    model: nn.Module, kinds: Sequence[LayerKind] = FEED_FORWARD
) -> dict[str, nn.Parameter]:
    """The live parameters of these kinds of layers, sorted by name, in their own shape.

    Args:
        model: a UNet in diffusers' naming.
        kinds: "feed-forward" takes the second linear layer of each feed-forward block, "attention"
            the query, key, value and output projections of self- and cross-attention,
            "convolution" every weight with four dimensions.

    Raises:
        ValueError: an unknown kind, or one of which the model has no layer.
    """
    chosen = check_kinds(kinds)
    named = sorted(model.named_parameters())
    found = {kind: [name for name, p in named if _kind(name, p) == kind] for kind in chosen}
    if missing := [kind for kind, names in found.items() if not names]:
        raise ValueError(
            f"{type(model).__name__} has no {missing[0]} weights among its {len(named)} "
            "parameters; pass the UNet of a Stable Diffusion model"
        )
    wanted = {name for names in found.values() for name in names}
    return {name: parameter for name, parameter in named if name in wanted}


def read_matrices(model: nn.Module, names: Sequence[str]) -> Weights:
    """Copy these parameters out of a model as matrices, with every zero made +0.0.

    Returns:
        Name -> (out, everything else), sorted by name, in the model's dtype and on its device.

    Raises:
        ValueError: a name the model lacks, a vector, or NaN or infinity.
    """
    named = dict(model.named_parameters())
    _check_known(named, names)
    weights = {
        name: canonicalise_zeros(named[name].detach().flatten(1)).contiguous()
        for name in sorted(names)
    }
    check_finite(weights)
    return weights


def write_matrices(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy matrices into a model, in place, in the model's own shapes, dtype and device.

    Everything is checked before anything is written; layers that `weights` does not name stay as
    they are.

    Raises:
        ValueError: a name the model lacks, or a matrix of another size.
    """
    named = dict(model.named_parameters())
    _check_known(named, list(weights))
    for name, weight in weights.items():
        expected = named[name].shape[0], named[name].numel() // named[name].shape[0]
        if tuple(weight.shape) != expected:
            raise ValueError(
                f"{name} has shape {tuple(weight.shape)}, expected {expected}; both must come from "
                "the same architecture"
            )
    with torch.no_grad():
        for name, weight in weights.items():
            named[name].copy_(weight.reshape(named[name].shape))


def _kind(name: str, parameter: nn.Parameter) -> LayerKind | None:
    if FFN_OUTPUT_PATTERN.search(name):
        return "feed-forward"
    if _ATTENTION.search(name):
        return "attention"
    return "convolution" if parameter.ndim == 4 else None


def _check_known(named: Mapping[str, nn.Parameter], names: Sequence[str]) -> None:
    unknown = sorted(name for name in names if name not in named)
    if unknown:
        raise ValueError(
            f"the model has no parameter {unknown[0]!r} ({len(unknown)} of {len(names)} names "
            "unknown); both must come from the same architecture"
        )
    flat = sorted(name for name in names if named[name].ndim < 2)
    if flat:
        raise ValueError(f"{flat[0]} is a vector, not a matrix or a convolution")
