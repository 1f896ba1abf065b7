"""Finding the weights that noise hides: two attackers, and how well a mask matches the truth.

The modified weights of an obfuscated model are no exact zeros any more, but where the noise is
smaller than the surviving weights their magnitude still gives them away (paper Sec. 5.5). An
attacker sees the weights and nothing else; the scores also know the true mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from rbtc.layers import Masks, Weights, check_masks, check_same_layers, check_weights


def _magnitude(weight: torch.Tensor) -> torch.Tensor:
    # Widening is exact, and not every torch sorts and searches half precision.
    return weight.detach().abs().to(torch.promote_types(weight.dtype, torch.float32))


def _smallest(magnitudes: torch.Tensor, fraction: float) -> torch.Tensor:
    """The int(fraction * n) smallest of a flat tensor, ties in order of position: (n,) bool."""
    count = int(fraction * magnitudes.numel())
    if count == 0:
        raise ValueError(
            f"fraction {fraction} of {magnitudes.numel()} weights is less than one weight"
        )
    threshold = magnitudes.kthvalue(count).values
    flagged = magnitudes < threshold
    # Half precision has few distinct tiny magnitudes, so the budget usually ends inside a tie.
    ties = (magnitudes == threshold).nonzero().flatten()
    flagged[ties[: count - int(flagged.sum())]] = True
    return flagged


def budget_attack(
    weights: Weights, *, fraction: float = 0.02, scope: Literal["global", "layer"] = "global"
) -> Masks:
    """Flag the smallest magnitudes as modified: a fixed fraction of all weights.

    A checkpoint that the authors' scripts name suggests that their adaptive attacker takes the
    smallest 2 % over all layers together; nothing else is known of it.
    Its recall is capped by its budget: a fraction below the true density must miss some.

    Args:
        weights: Weight name -> (rows, columns), obfuscated.
        fraction: Fraction of weights to flag, in (0, 1); int(fraction * count) of them.
        scope: Rank over all layers together, or within each layer.

    Returns:
        Weight name -> bool (rows, columns), True = flagged as modified.

    Raises:
        ValueError: For no weights, weights that are not finite, an unknown scope, or a fraction
            outside (0, 1) or below one weight.
    """
    check_weights(weights)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie in (0, 1), not {fraction}")
    if scope not in ("global", "layer"):
        raise ValueError(f"scope must be 'global' or 'layer', not {scope!r}")
    magnitudes = {name: _magnitude(weights[name]).flatten() for name in sorted(weights)}
    if scope == "layer":
        flagged = {name: _smallest(values, fraction) for name, values in magnitudes.items()}
    else:
        pooled = _smallest(torch.cat(list(magnitudes.values())), fraction)
        parts = pooled.split([values.numel() for values in magnitudes.values()])
        flagged = dict(zip(magnitudes, parts, strict=True))
    return {name: mask.reshape(weights[name].shape) for name, mask in flagged.items()}


def threshold_attack(weights: Weights, *, threshold: float) -> Masks:
    """Flag every weight of magnitude below the threshold as modified.

    With |w| < 5 sigma_M it flags practically every modified weight, and with sigma_M far below
    sigma_U few others: no budget limits its recall.

    Args:
        weights: Weight name -> (rows, columns), obfuscated.
        threshold: Positive magnitude.

    Returns:
        Weight name -> bool (rows, columns), True = flagged as modified.

    Raises:
        ValueError: For no weights, weights that are not finite, or a threshold that is not
            positive and finite.
    """
    check_weights(weights)
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold must be a positive finite number, not {threshold}")
    return {name: weights[name].detach().abs() < threshold for name in sorted(weights)}


@dataclass(frozen=True)
class Detection:
    """How well a flagged mask matches the true one, pooled over layers.

    Attributes:
        precision: hits / flagged; NaN when nothing is flagged.
        recall: hits / true.
        hits: Weights both flagged and truly modified.
        flagged: Weights flagged.
        true: Weights truly modified.
    """

    precision: float
    recall: float
    hits: int
    flagged: int
    true: int


def _check_truth(truth: Masks) -> int:
    check_masks(truth)
    true = sum(int(mask.sum()) for mask in truth.values())
    if true == 0:
        raise ValueError("the true masks mark no weight: there is nothing to detect")
    return true


def detection(flagged: Masks, truth: Masks) -> Detection:
    """Compare a flagged mask with the true one, pooled over layers.

    Raises:
        ValueError: When layers or shapes differ, a mask is not boolean, or the truth is empty.
    """
    check_same_layers(truth, flagged)
    check_masks(flagged)
    true = _check_truth(truth)
    hits = sum(int((flagged[name] & truth[name].to(flagged[name].device)).sum()) for name in truth)
    named = sum(int(mask.sum()) for mask in flagged.values())
    return Detection(hits / named if named else math.nan, hits / true, hits, named, true)


def detection_auc(weights: Weights, truth: Masks) -> float:
    """Area under the ROC curve of the score -|w|, pooled over layers.

    The probability that a random modified weight is smaller in magnitude than a random unmodified
    one, ties counting half: 1 when magnitude gives them all away, 1/2 when it says nothing,
    below 1/2 when the modified weights are the outliers.

    Args:
        weights: Weight name -> (rows, columns), obfuscated.
        truth: Weight name -> bool (rows, columns), True = modified.

    Raises:
        ValueError: When layers or shapes differ, weights are not finite, or one of the two groups
            is empty.
    """
    check_same_layers(weights, truth)
    check_weights(weights)
    true = _check_truth(truth)
    groups: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name in sorted(weights):
        magnitude = _magnitude(weights[name])
        mask = truth[name].to(magnitude.device)
        groups[True].append(magnitude[mask])
        groups[False].append(magnitude[~mask])
    modified, rest = torch.cat(groups[True]), torch.cat(groups[False]).sort().values
    if not rest.numel():
        raise ValueError("the true masks mark every weight: there is nothing to compare with")
    below = torch.searchsorted(rest, modified)  # strictly smaller ones
    up_to = torch.searchsorted(rest, modified, right=True)
    above = int((rest.numel() - up_to).sum())
    ties = int((up_to - below).sum())
    return (above + ties / 2) / (true * rest.numel())


def spare_whole_rows(flagged: Masks) -> Masks:
    """The mask without the rows it flags as a whole: nothing would be left to complete them."""
    return {name: mask & ~mask.all(dim=1, keepdim=True) for name, mask in flagged.items()}
