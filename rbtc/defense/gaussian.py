"""Hiding the pruned weights under Gaussian noise, and how likely they are to be seen.

The defence fills every pruned weight from N(0, sigma_M^2), so that no exact zero betrays it (paper
Sec. 4.4). The trade: noise much smaller than the surviving weights (standard deviation sigma_U)
clusters at zero and is found by magnitude, noise much larger disturbs the model, and is found in
the tails. What attackers make of it is in `rbtc.defense.detection`.

`sigma` is a standard deviation throughout. The paper's sweep speaks of a variance in the text and
of sigma_M in its table, so `obfuscate` takes either, by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rbtc.layers import Masks, Weights, check_masks, check_same_layers, check_weights, short_name
from rbtc.models.generate import seeded_generators

if TYPE_CHECKING:
    import pandas as pd


def noise_deviation(sigma: float | None, variance: float | None) -> float:
    """The standard deviation of the noise, of which either it or its square is given.

    Raises:
        ValueError: both or neither is given, or a value that is not positive and finite.
    """
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
    """Fill the pruned weights with independent draws of N(0, sigma^2), none of them exactly zero.

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
    sigma = noise_deviation(sigma, variance)
    check_same_layers(weights, masks)
    check_masks(masks)
    check_weights(weights)
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


def _double(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.detach().double()
    return torch.from_numpy(np.array(value, dtype=np.float64))


def _like(result: torch.Tensor, *given: Any) -> Any:
    """Give back what was given: a tensor of its dtype and device, an array, or a float."""
    tensors = [each for each in given if isinstance(each, torch.Tensor)]
    if tensors:
        dtype = tensors[0].dtype if tensors[0].dtype.is_floating_point else torch.float64
        return result.to(dtype)
    return float(result) if result.ndim == 0 else result.numpy()


def _mixture(alpha: Any, modified: Any, unmodified: Any) -> tuple[torch.Tensor, ...]:
    fraction, narrow, wide = _double(alpha), _double(modified), _double(unmodified)
    if not ((fraction > 0) & (fraction < 1)).all():
        raise ValueError(f"alpha is a fraction and must lie in (0, 1), not {alpha}")
    for label, sigma in (("sigma_modified", narrow), ("sigma_unmodified", wide)):
        if not ((sigma > 0) & sigma.isfinite()).all():
            raise ValueError(f"{label} must be positive and finite, not {sigma.tolist()}")
    return fraction, narrow, wide


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
        alpha: Fraction of modified weights, in (0, 1).
        sigma_modified: Standard deviation sM of the noise.
        sigma_unmodified: Standard deviation sU of the surviving weights.

    Returns:
        A tensor, an array or a float, as the arguments were.

    Raises:
        ValueError: For a value outside its range.
    """
    fraction, narrow, wide = _mixture(alpha, sigma_modified, sigma_unmodified)
    half_width = _double(w)
    if not (half_width >= 0).all():  # also refuses NaN
        raise ValueError(f"w is a half-width and must not be negative or NaN, but {w} was given")
    u, v = half_width / (math.sqrt(2) * narrow), half_width / (math.sqrt(2) * wide)
    # erf is linear to the last bit below 1e-8; there the quotient of the sigmas avoids 0 / 0.
    linear = (u < 1e-8) & (v < 1e-8)
    ratio = torch.where(linear, narrow / wide, torch.erf(v) / torch.erf(u))
    result = fraction / (fraction + (1 - fraction) * ratio)
    return _like(result, w, alpha, sigma_modified, sigma_unmodified)


def posterior(x: Any, *, alpha: Any, sigma_modified: Any, sigma_unmodified: Any) -> Any:
    """Probability that a weight of value x is a modified one, under the same mixture as Eq. 7.

        p(x) = a f_M(x) / (a f_M(x) + (1 - a) f_U(x)),

    with the two centred normal densities. Evaluated as the logistic function of
    log(a / (1 - a)) + log(sU / sM) - x^2 (sM^-2 - sU^-2) / 2, which neither underflows nor
    overflows in the tails.

    Args:
        x: Weight value, finite.
        alpha: Fraction of modified weights, in (0, 1).
        sigma_modified: Standard deviation sM of the noise.
        sigma_unmodified: Standard deviation sU of the surviving weights.

    Returns:
        A tensor, an array or a float, as the arguments were.

    Raises:
        ValueError: For a value outside its range.
    """
    fraction, narrow, wide = _mixture(alpha, sigma_modified, sigma_unmodified)
    value = _double(x)
    if not value.isfinite().all():
        raise ValueError(f"x must be finite, but {x} was given")
    difference, total = value * (1 / narrow - 1 / wide), value * (1 / narrow + 1 / wide)
    # Factored, so that nearly equal sigmas do not cancel; 0 * inf means equal sigmas.
    exponent = torch.where(difference == 0, torch.zeros_like(difference), difference * total) / 2
    result = torch.sigmoid(torch.logit(fraction) + torch.log(wide / narrow) - exponent)
    return _like(result, x, alpha, sigma_modified, sigma_unmodified)


def sigma_by_layer(weights: Weights, masks: Masks) -> pd.DataFrame:
    """`survivors` as a frame, one row per layer."""
    import pandas as pd

    return pd.DataFrame(survivors(weights, masks))


def survivors(weights: Weights, masks: Masks) -> dict[str, list[Any]]:
    """Mean and standard deviation of the surviving weights of each layer: what sigma_U is.

    Args:
        weights: Weight name -> (rows, columns).
        masks: Weight name -> bool (rows, columns), True = pruned.

    Returns:
        Columns, one entry per layer: name, short, count (survivors), mean, sigma (population
        standard deviation). A layer without survivors has NaN for both.

    Raises:
        ValueError: When layers or shapes differ, a mask is not boolean, or weights are not finite.
    """
    check_same_layers(weights, masks)
    check_masks(masks)
    check_weights(weights)
    found: dict[str, list[Any]] = {"name": [], "short": [], "count": [], "mean": [], "sigma": []}
    for name in sorted(weights):
        kept = weights[name].detach()[~masks[name].to(weights[name].device)].cpu().double().numpy()
        mean, sigma = (kept.mean(), kept.std()) if kept.size else (math.nan, math.nan)
        line = (name, short_name(name), kept.size, float(mean), float(sigma))
        for column, value in zip(found.values(), line, strict=True):
            column.append(value)
    return found


def standard_deviation(variance: float) -> float:
    """The square root, rounded so that the variance 1e-6 gives exactly the sigma 1e-3.

    Equal noise then has one name, and its pictures are made once.
    """
    if not (math.isfinite(variance) and variance > 0):
        raise ValueError(f"variance must be a positive finite number, not {variance}")
    return float(f"{math.sqrt(variance):.12g}")


def pooled_sigma(layers: pd.DataFrame | Mapping[str, Sequence[float]]) -> float:
    """Standard deviation of all surviving weights, from those of `survivors`."""
    columns = np.array([layers[name] for name in ("count", "mean", "sigma")], float)
    count, mean, sigma = columns[:, ~np.isnan(columns[2])]
    parts = count / count.sum()
    square = float(parts @ (sigma**2 + mean**2))
    return math.sqrt(max(square - float(parts @ mean) ** 2, 0.0))
