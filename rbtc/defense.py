"""Hiding the pruned places under Gaussian noise, and finding them again (paper Sec. 4.4 and 5.5).

The defence fills every pruned weight from N(0, sigma_M^2), so that no exact zero betrays it. The
trade: noise much smaller than the surviving weights (standard deviation sigma_U) clusters at zero
and is found by magnitude, noise much larger disturbs the model, and is found in the tails.

`sigma` is a standard deviation throughout. The paper's sweep speaks of a variance in the text and
of sigma_M in its table, so `obfuscate` takes either, by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from rbtc.generate import seeded_generators
from rbtc.layers import Masks, Weights, check_finite, check_same_layers, short_name


def _standard_deviation(sigma: float | None, variance: float | None) -> float:
    if sigma is not None and variance is None:
        label, given = "sigma", sigma
    elif variance is not None and sigma is None:
        label, given = "variance", variance
    else:
        raise ValueError(
            f"give either sigma (a standard deviation) or variance, not sigma={sigma} and "
            f"variance={variance}"
        )
    if not (math.isfinite(given) and given > 0):
        raise ValueError(f"{label} must be a positive finite number, not {given}")
    return given if label == "sigma" else math.sqrt(given)


def _noise(
    count: int, sigma: float, dtype: torch.dtype, generator: torch.Generator
) -> torch.Tensor:
    """Draws of N(0, sigma^2) that are not zero in `dtype`: (count,) on the CPU."""
    values = torch.zeros(count, dtype=dtype)
    while True:
        zero = values == 0
        if not zero.any():
            return values
        # Tiny draws round to zero in half precision; an exact zero would mark the place.
        draws = torch.randn(int(zero.sum()), generator=generator, dtype=torch.float64)
        values[zero] = (draws * sigma).to(dtype)


def obfuscate(
    weights: Weights,
    masks: Masks,
    *,
    sigma: float | None = None,
    variance: float | None = None,
    seed: int = 0,
) -> Weights:
    """Fill the pruned places with independent draws of N(0, sigma^2), none of them exactly zero.

    Drawn in float64 on the CPU, layer by layer in name order from one generator, then cast to the
    dtype of the weights. A draw that the dtype rounds to zero is drawn again.

    Args:
        weights: Weight name -> (rows, columns), pruned.
        masks: Weight name -> bool (rows, columns), True = pruned.
        sigma: Standard deviation; give this or `variance`.
        variance: sigma squared.
        seed: Seed of the noise.

    Returns:
        New tensors of the same dtypes and devices; unmasked weights are bit-identical.

    Raises:
        ValueError: For both or neither of sigma and variance, a value that is not positive and
            finite or that the dtype cannot hold, a seed that is not a whole number, weights that
            are not finite, or masks that do not fit.
    """
    sigma = _standard_deviation(sigma, variance)
    check_same_layers(weights, masks)
    _check_masks(masks)
    _check_weights(weights)
    generator = seeded_generators([seed])[0]
    filled: Weights = {}
    for name in sorted(weights):
        weight, mask = weights[name].detach(), masks[name]
        limits = torch.finfo(weight.dtype)
        smallest, largest = limits.smallest_normal * limits.eps, limits.max / 10
        if not smallest <= sigma <= largest:
            raise ValueError(
                f"sigma={sigma:g} cannot be stored as {weight.dtype} ({name}): it must lie between "
                f"{smallest:.2g} and {largest:.2g}; use another sigma or float32 weights"
            )
        filled[name] = weight.clone()
        noise = _noise(int(mask.sum()), sigma, weight.dtype, generator)
        filled[name][mask.to(weight.device)] = noise.to(weight.device)
    return filled


def _check_masks(masks: Masks) -> None:
    if not masks:
        raise ValueError("there are no masks: give one per layer")
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask of {name} has dtype {mask.dtype}, but bool is needed")


def _double(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.detach().double()
    return torch.from_numpy(np.asarray(value, dtype=np.float64))


def _like(result: torch.Tensor, *given: Any) -> Any:
    """Give back what was given: a tensor of its dtype and device, an array, or a float."""
    tensors = [each for each in given if isinstance(each, torch.Tensor)]
    if tensors:
        dtype = tensors[0].dtype if tensors[0].dtype.is_floating_point else torch.float64
        return result.to(dtype)
    return float(result) if result.ndim == 0 else result.numpy()


def _mixture(alpha: Any, modified: Any, unmodified: Any) -> tuple[torch.Tensor, ...]:
    share, narrow, wide = _double(alpha), _double(modified), _double(unmodified)
    if not ((share > 0) & (share < 1)).all():
        raise ValueError(f"alpha is a share and must lie in (0, 1), not {alpha}")
    for label, sigma in (("sigma_modified", narrow), ("sigma_unmodified", wide)):
        if not ((sigma > 0) & sigma.isfinite()).all():
            raise ValueError(f"{label} must be positive and finite, not {sigma.tolist()}")
    return share, narrow, wide


def interval_probability(w: Any, *, alpha: Any, sigma_modified: Any, sigma_unmodified: Any) -> Any:
    """Probability that a weight within [-w, w] is a modified one (paper Eq. 7).

        p(w) = a erf(w / (sqrt2 sM)) / (a erf(w / (sqrt2 sM)) + (1 - a) erf(w / (sqrt2 sU)))

    Only the ratio of the two error functions enters. It tends to sU / sM as w -> 0 and to 1 as
    w grows, so p runs from a sU / (a sU + (1 - a) sM) to a, and is a for every w when sM = sU.
    Looking only near zero, it reports p < a for sM > sU, although the modified weights are then
    found in the tails: see `posterior` and `detection_auc`.

    All arguments may be numbers, arrays or tensors that broadcast; computed in float64.

    Args:
        w: Half-width of the interval, >= 0; 0 gives the limit, infinity gives alpha.
        alpha: Share of modified weights, in (0, 1).
        sigma_modified: Standard deviation sM of the noise.
        sigma_unmodified: Standard deviation sU of the surviving weights.

    Returns:
        A tensor, an array or a float, as the arguments were.

    Raises:
        ValueError: For a value outside its range.
    """
    share, narrow, wide = _mixture(alpha, sigma_modified, sigma_unmodified)
    half_width = _double(w)
    if not (half_width >= 0).all():  # also refuses NaN
        raise ValueError(f"w is a half-width and must not be negative or NaN, but {w} was given")
    u, v = half_width / (math.sqrt(2) * narrow), half_width / (math.sqrt(2) * wide)
    # erf is linear to the last bit below 1e-8; there the quotient of the sigmas avoids 0 / 0.
    linear = (u < 1e-8) & (v < 1e-8)
    ratio = torch.where(linear, narrow / wide, torch.erf(v) / torch.erf(u))
    result = share / (share + (1 - share) * ratio)
    return _like(result, w, alpha, sigma_modified, sigma_unmodified)


def posterior(x: Any, *, alpha: Any, sigma_modified: Any, sigma_unmodified: Any) -> Any:
    """Probability that a weight of value x is a modified one, under the same mixture as Eq. 7.

        p(x) = a f_M(x) / (a f_M(x) + (1 - a) f_U(x)),

    with the two centred normal densities. Evaluated as the logistic function of
    log(a / (1 - a)) + log(sU / sM) - x^2 (sM^-2 - sU^-2) / 2, which neither underflows nor
    overflows in the tails.

    Args:
        x: Weight value, finite.
        alpha: Share of modified weights, in (0, 1).
        sigma_modified: Standard deviation sM of the noise.
        sigma_unmodified: Standard deviation sU of the surviving weights.

    Returns:
        A tensor, an array or a float, as the arguments were.

    Raises:
        ValueError: For a value outside its range.
    """
    share, narrow, wide = _mixture(alpha, sigma_modified, sigma_unmodified)
    value = _double(x)
    if not value.isfinite().all():
        raise ValueError(f"x must be finite, but {x} was given")
    difference, total = value * (1 / narrow - 1 / wide), value * (1 / narrow + 1 / wide)
    # Factored, so that nearly equal sigmas do not cancel; 0 * inf means equal sigmas.
    exponent = torch.where(difference == 0, torch.zeros_like(difference), difference * total) / 2
    result = torch.sigmoid(torch.logit(share) + torch.log(wide / narrow) - exponent)
    return _like(result, x, alpha, sigma_modified, sigma_unmodified)


def _magnitude(weight: torch.Tensor) -> torch.Tensor:
    # Widening is exact, and not every torch sorts and searches half precision.
    return weight.detach().abs().to(torch.promote_types(weight.dtype, torch.float32))


def _smallest(magnitudes: torch.Tensor, share: float) -> torch.Tensor:
    """The int(share * n) smallest of a flat tensor, ties in order of position: (n,) bool."""
    count = int(share * magnitudes.numel())
    if count == 0:
        raise ValueError(f"share {share} of {magnitudes.numel()} weights is less than one weight")
    threshold = magnitudes.kthvalue(count).values
    guess = magnitudes < threshold
    # Half precision has few distinct tiny magnitudes, so the budget usually ends inside a tie.
    ties = (magnitudes == threshold).nonzero().flatten()
    guess[ties[: count - int(guess.sum())]] = True
    return guess


def budget_attack(
    weights: Weights, *, share: float = 0.02, scope: Literal["global", "layer"] = "global"
) -> Masks:
    """Guess that the smallest magnitudes are the modified ones: a fixed share of all weights.

    The adaptive attacker of the authors' release takes the smallest 2 % over all layers together.
    Its recall is capped by its budget: a share below the true density must miss some.

    Args:
        weights: Weight name -> (rows, columns), obfuscated.
        share: Share of weights to name, in (0, 1); int(share * count) of them.
        scope: Rank over all layers together, or within each layer.

    Returns:
        Weight name -> bool (rows, columns), True = guessed to be modified.

    Raises:
        ValueError: For no weights, weights that are not finite, an unknown scope, or a share
            outside (0, 1) or below one weight.
    """
    _check_weights(weights)
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), not {share}")
    if scope not in ("global", "layer"):
        raise ValueError(f"scope must be 'global' or 'layer', not {scope!r}")
    magnitudes = {name: _magnitude(weights[name]).flatten() for name in sorted(weights)}
    if scope == "layer":
        guesses = {name: _smallest(values, share) for name, values in magnitudes.items()}
    else:
        pooled = _smallest(torch.cat(list(magnitudes.values())), share)
        parts = pooled.split([values.numel() for values in magnitudes.values()])
        guesses = dict(zip(magnitudes, parts, strict=True))
    return {name: guess.reshape(weights[name].shape) for name, guess in guesses.items()}


def _check_weights(weights: Weights) -> None:
    if not weights:
        raise ValueError("there are no weights: give at least one layer")
    check_finite(weights)


def threshold_attack(weights: Weights, *, threshold: float) -> Masks:
    """Guess that every weight of magnitude below the threshold is a modified one.

    With |w| < 5 sigma_M it names practically every modified weight, and with sigma_M far below
    sigma_U few others: no budget limits its recall.

    Args:
        weights: Weight name -> (rows, columns), obfuscated.
        threshold: Positive magnitude.

    Returns:
        Weight name -> bool (rows, columns), True = guessed to be modified.

    Raises:
        ValueError: For no weights, weights that are not finite, or a threshold that is not
            positive and finite.
    """
    _check_weights(weights)
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold must be a positive finite number, not {threshold}")
    return {name: weights[name].detach().abs() < threshold for name in sorted(weights)}


@dataclass(frozen=True)
class Detection:
    """How well a guessed mask matches the true one, pooled over layers.

    Attributes:
        precision: hits / guessed; NaN when nothing was guessed.
        recall: hits / true.
        hits: Weights both guessed and truly modified.
        guessed: Weights guessed.
        true: Weights truly modified.
    """

    precision: float
    recall: float
    hits: int
    guessed: int
    true: int


def _check_truth(truth: Masks) -> int:
    _check_masks(truth)
    true = sum(int(mask.sum()) for mask in truth.values())
    if true == 0:
        raise ValueError("the true masks mark no weight: there is nothing to detect")
    return true


def detection(guess: Masks, truth: Masks) -> Detection:
    """Compare a guessed mask with the true one, pooled over layers.

    Raises:
        ValueError: When layers or shapes differ, a mask is not boolean, or the truth is empty.
    """
    check_same_layers(truth, guess)
    _check_masks(guess)
    true = _check_truth(truth)
    hits = sum(int((guess[name] & truth[name].to(guess[name].device)).sum()) for name in truth)
    guessed = sum(int(mask.sum()) for mask in guess.values())
    return Detection(hits / guessed if guessed else math.nan, hits / true, hits, guessed, true)


def detection_auc(weights: Weights, truth: Masks) -> float:
    """Area under the ROC curve of the score -|w|, pooled over layers.

    The probability that a random modified weight is smaller in magnitude than a random unmodified
    one, ties counting half: 1 when magnitude gives every place away, 1/2 when it says nothing,
    below 1/2 when the modified weights are the outliers.

    Args:
        weights: Weight name -> (rows, columns), obfuscated.
        truth: Weight name -> bool (rows, columns), True = modified.

    Raises:
        ValueError: When layers or shapes differ, weights are not finite, or one of the two groups
            is empty.
    """
    check_same_layers(weights, truth)
    _check_weights(weights)
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


def sigma_by_layer(weights: Weights, masks: Masks) -> pd.DataFrame:
    """Mean and standard deviation of the surviving weights of each layer: what sigma_U is.

    Args:
        weights: Weight name -> (rows, columns).
        masks: Weight name -> bool (rows, columns), True = pruned.

    Returns:
        One row per layer: name, short, count (survivors), mean, sigma (population standard
        deviation). A layer without survivors has NaN for both.

    Raises:
        ValueError: When layers or shapes differ, a mask is not boolean, or weights are not finite.
    """
    check_same_layers(weights, masks)
    _check_masks(masks)
    _check_weights(weights)
    rows = []
    for name in sorted(weights):
        kept = weights[name].detach()[~masks[name].to(weights[name].device)].cpu().double().numpy()
        mean, sigma = (kept.mean(), kept.std()) if kept.size else (math.nan, math.nan)
        rows.append(
            {
                "name": name,
                "short": short_name(name),
                "count": kept.size,
                "mean": float(mean),
                "sigma": float(sigma),
            }
        )
    return pd.DataFrame(rows)
