"""Two kinds of weights in one matrix, told apart from the matrix alone: a mixture fit (Eq. 7's).

Eq. 7 of the paper takes its three parameters as known: the fraction alpha of modified weights, the
standard deviation sigma_M of their noise and that of the survivors, sigma_U. An attacker has none
of them, only the defended model. They are what maximises the likelihood of its weights under

    f(w) = alpha N(w; 0, sigma_M^2) + (1 - alpha) N(w; 0, sigma_U^2),

found by expectation maximisation from several starts. Of the two components the rarer one is taken
for the modified weights, whichever of them is the wider: nobody prunes most of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rbtc.layers import check_weights

BINS = 512
"""Magnitudes are counted in so many logarithmic bins; the fit then costs the same at any size."""

STARTS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.4, 2.5, 10.0, 100.0)
"""Where the fits start: sigma_M as a multiple of the typical magnitude."""

MOST = 0.5
"""The modified component never has more than this fraction."""


@dataclass(frozen=True)
class Mixture:
    """Two centred Gaussians fitted to the weights of one matrix.

    fraction: alpha, the fraction of modified weights, in (0, 0.5]. sigma_modified: sigma_M.
    sigma_unmodified: sigma_U. gain: how much more likely the weights are than under a single
    Gaussian, in nats a weight.
    """

    fraction: float
    sigma_modified: float
    sigma_unmodified: float
    gain: float

    def probability(self, values: Tensor) -> Tensor:
        """p(modified | w) of each value (`rbtc.defense.gaussian.posterior`), in float64."""
        values = values.detach().double()
        narrow, wide = 1 / self.sigma_modified, 1 / self.sigma_unmodified
        # Factored, so that nearly equal sigmas do not cancel.
        exponent = values * (narrow - wide) * (values * (narrow + wide)) / 2
        odds = math.log(self.fraction / (1 - self.fraction)) + math.log(narrow / wide)
        return torch.sigmoid(odds - exponent)


def fit_mixture(values: Tensor, *, iterations: int = 200) -> Mixture:
    """Fit the two components to the finite weights of one matrix, two or more, any shape and dtype.

    A weight that is exactly zero counts as one of the smallest magnitude that is not zero; each of
    the `STARTS` takes at most ``iterations`` steps.

    Raises:
        ValueError: every value is zero.
    """
    count, square = _binned(values)
    total = count.sum()
    single = float((count * square).sum() / total)
    middle = np.sqrt(np.interp(0.5, np.cumsum(count) / total, square))
    plain = float((count * _log_density(square, single)).sum() / total)
    starts = (middle * np.array(STARTS)) ** 2
    level, *found = _maximise(count / total, square, starts, middle**2, iterations)
    best = int(level.argmax())
    fraction, modified, unmodified = (float(each[best]) for each in found)
    if fraction > MOST:
        fraction, modified, unmodified = 1 - fraction, unmodified, modified
    return Mixture(fraction, modified**0.5, unmodified**0.5, max(float(level[best]) - plain, 0.0))


def fit_layers(weights: Mapping[str, Tensor], *, iterations: int = 200) -> dict[str, Mixture]:
    """`fit_mixture` of every layer, sorted by name.

    Raises:
        ValueError: no layer, or one that `fit_mixture` refuses.
    """
    check_weights(weights)
    found = {}
    for name in sorted(weights):
        try:
            found[name] = fit_mixture(weights[name], iterations=iterations)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def _binned(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How many weights lie in each bin of log |w|, and their mean square; empty bins left out."""
    magnitude = values.detach().double().abs().flatten().cpu()
    if not magnitude.any():
        raise ValueError("every weight is zero: there are no magnitudes to tell apart")
    magnitude = magnitude.clamp(min=float(magnitude[magnitude > 0].min())).numpy()
    logs = np.log(magnitude)
    width = (np.ptp(logs) or 1.0) / BINS
    index = np.minimum(((logs - logs.min()) / width).astype(int), BINS - 1)
    count = np.bincount(index, minlength=BINS).astype(float)
    square = np.bincount(index, magnitude**2, minlength=BINS)
    return count[count > 0], square[count > 0] / count[count > 0]


def _log_density(square: np.ndarray, variance: np.ndarray | float) -> np.ndarray:
    return -0.5 * (square / variance + np.log(2 * np.pi * variance))


def _maximise(
    part: np.ndarray, square: np.ndarray, modified: np.ndarray, unmodified: float, iterations: int
) -> tuple[np.ndarray, ...]:
    """Expectation maximisation on bins, from all starts at once.

    Args:
        part: fraction of the weights in each bin (bins,).
        square: their mean square (bins,).
        modified: sigma_M^2 at each start (starts,).
        unmodified: sigma_U^2 at the start.
        iterations: at most so many steps.

    Returns:
        Log-likelihood a weight, alpha, sigma_M^2 and sigma_U^2, each (starts,).
    """
    # A component that narrows on a handful of equal magnitudes has unbounded likelihood.
    floor = float(square.min())
    alpha, wide = np.full(len(modified), 0.1), np.full(len(modified), unmodified)
    level = np.full(len(modified), -np.inf)
    for _ in range(iterations):
        one = np.log(alpha)[:, None] + _log_density(square, modified[:, None])
        other = np.log1p(-alpha)[:, None] + _log_density(square, wide[:, None])
        both = np.logaddexp(one, other)  # (starts, bins)
        before, level = level, both @ part
        if (level - before < 1e-10).all():
            break
        own = np.exp(one - both) * part
        alpha = own.sum(axis=1).clip(1e-6, 1 - 1e-6)
        modified = (own @ square / alpha).clip(floor)
        wide = ((part - own) @ square / (1 - alpha)).clip(floor)
    return level, alpha, modified, wide
