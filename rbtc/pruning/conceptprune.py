"""ConceptPrune: find and zero the weights that serve one concept (paper Sec. 2 and 5.1).

A weight of a feed-forward output matrix matters for a set of prompts by the Wanda score

    S_ij = |W_ij| * a_j,      a_j = || activations of input j over all tokens and prompts ||_2,

each token's activation vector being scaled to unit length first. At every UNet call the k highest
scores of each row on the target prompts are candidates, and a candidate is pruned where its score
on the target prompts exceeds its score on the reference prompts. The final mask is the union over
the first T calls, the noisiest ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rbtc.layers import Masks, Weights, find_layers
from rbtc.models.generate import check_settings
from rbtc.pruning.activations import Norms, collect_norms


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie in (0, 1], not {ratio}")


def _check_union(calls: int, select_ratio: float) -> None:
    if calls < 1:
        raise ValueError(f"calls must be at least 1, not {calls}")
    if not 0 <= select_ratio < 1:
        raise ValueError(f"select_ratio must lie in [0, 1), not {select_ratio}")


@dataclass(frozen=True)
class ConceptPruneConfig:
    """Settings of one ConceptPrune run.

    Attributes:
        ratio: Fraction of each row that is a candidate at each call.
        calls: Number T of UNet calls, from the noisiest, that are united.
        seed: The one seed every prompt starts from.
        select_ratio: A weight is pruned when more than this fraction of the T calls select it; 0 is
            the union.
        steps: Denoising steps; None keeps the pipeline's default.
        guidance: Guidance scale; None keeps the pipeline's default.
        batch_size: Prompts per pipeline call.

    Raises:
        ValueError: For a value outside its range.
    """

    ratio: float = 0.02
    calls: int = 10
    seed: int = 0
    select_ratio: float = 0.0
    steps: int | None = None
    guidance: float | None = None
    batch_size: int = 12

    def __post_init__(self) -> None:
        _check_ratio(self.ratio)
        _check_union(self.calls, self.select_ratio)
        check_settings([self.seed], self.batch_size, self.steps, self.guidance)


def _scores(weight: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    dtype = torch.float32 if weight.device.type == "mps" else torch.float64
    return weight.detach().abs().to(dtype) * norm.to(weight.device, dtype)  # (rows, columns)


def step_mask(
    weight: torch.Tensor,
    target_norm: torch.Tensor,
    reference_norm: torch.Tensor,
    *,
    ratio: float,
) -> torch.Tensor:
    """Mask of one matrix at one UNet call.

    In each row the k = int(ratio * columns) highest target scores |W_ij| a*_j are candidates; a
    candidate is pruned where |W_ij| a*_j > |W_ij| a_j, strictly. So at most k weights per row are
    pruned, and a zero weight never is.

    Args:
        weight: (rows, columns).
        target_norm: Norms a* on the target prompts, (columns,).
        reference_norm: Norms a on the reference prompts, (columns,).
        ratio: Fraction of each row that is a candidate, in (0, 1].

    Returns:
        Bool (rows, columns) on the weight's device, True = prune.

    Raises:
        ValueError: For shapes that do not fit, norms that are negative or not finite, or a bad
            ratio.
    """
    _check_ratio(ratio)
    if weight.ndim != 2:
        raise ValueError(f"weight must have two dimensions, not shape {tuple(weight.shape)}")
    columns = weight.shape[1]
    for label, norm in (("target_norm", target_norm), ("reference_norm", reference_norm)):
        if norm.shape != (columns,):
            raise ValueError(
                f"{label} has shape {tuple(norm.shape)}, but the weight of shape "
                f"{tuple(weight.shape)} needs ({columns},)"
            )
        if not (norm.isfinite().all() and (norm >= 0).all()):
            raise ValueError(f"{label} must hold finite numbers that are not negative")
    k = int(ratio * columns)
    if k == 0:
        raise ValueError(
            f"ratio {ratio} of {columns} columns is less than one weight per row: "
            f"use at least {math.ceil(1e4 / columns) / 1e4}"
        )
    target = _scores(weight, target_norm)
    reference = _scores(weight, reference_norm)
    return _largest(target, k) & (target > reference)


def _largest(scores: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest of each row, bool (rows, columns); of equal ones the first, on any device."""
    least = scores.topk(k, dim=1).values[:, -1:]  # (rows, 1)
    above = scores > least
    equal = scores == least
    room = k - above.sum(dim=1, keepdim=True)
    return above | (equal & (equal.cumsum(dim=1) <= room))


def _norm_of(norms: Norms, call: int, name: str, label: str) -> torch.Tensor:
    try:
        return norms[call][name]
    except KeyError:
        raise ValueError(
            f"the {label} norms hold nothing for UNet call {call} and layer {name}: "
            f"collect them with calls of at least {call + 1} on this model"
        ) from None


def concept_masks(
    weights: Weights,
    target: Norms,
    reference: Norms,
    *,
    ratio: float,
    calls: int,
    select_ratio: float = 0.0,
) -> Masks:
    """Masks of all layers, united over the first `calls` UNet calls.

    A weight is pruned when more than select_ratio * calls of the per-call masks (`step_mask`)
    select it; with 0 this is their union, which can only grow with `calls`.

    Args:
        weights: Weight name -> (rows, columns).
        target: Norms on the target prompts.
        reference: Norms on the reference prompts.
        ratio: Fraction of each row that is a candidate at each call.
        calls: Number T of calls.
        select_ratio: Fraction of calls a weight must exceed, in [0, 1).

    Returns:
        Weight name -> bool (rows, columns), True = prune.

    Raises:
        ValueError: For values out of range, or norms that miss a call or a layer.
    """
    _check_ratio(ratio)
    _check_union(calls, select_ratio)
    masks: Masks = {}
    for name in sorted(weights):
        weight = weights[name]
        votes = torch.zeros(weight.shape, dtype=torch.int32, device=weight.device)
        for call in range(calls):
            votes += step_mask(
                weight,
                _norm_of(target, call, name, "target"),
                _norm_of(reference, call, name, "reference"),
                ratio=ratio,
            )
        masks[name] = votes > select_ratio * calls
    return masks


def concept_prune(
    pipe: Any,
    target_prompts: Sequence[str],
    reference_prompts: Sequence[str],
    config: ConceptPruneConfig | None = None,
) -> Masks:
    """Masks that erase what the target prompts have and the reference prompts lack.

    The reference prompts are the target prompts without the concept, one for each.

    Returns:
        Weight name -> bool (rows, columns), True = prune.

    Raises:
        ValueError: lists of different lengths; see `collect_norms` and `concept_masks`.
    """
    if len(target_prompts) != len(reference_prompts):
        raise ValueError(
            f"{len(target_prompts)} target prompts but {len(reference_prompts)} reference prompts "
            "were given: each needs its own, the same sentence without the concept"
        )
    config = config or ConceptPruneConfig()
    return concept_masks(
        find_layers(pipe.unet),
        collect_norms(pipe, target_prompts, config),
        collect_norms(pipe, reference_prompts, config),
        ratio=config.ratio,
        calls=config.calls,
        select_ratio=config.select_ratio,
    )
