"""Which weights of a defended model are modified? What the weights alone say (beyond Sec. 5.5).

Two attackers who know no parameter of the defence and no pruned place:

"magnitudes" fits the two Gaussians of Eq. 7 to each layer (`rbtc.defense.mixture`) and takes the
posterior p(modified | w). It looks at one weight at a time and is blind once the noise has the
survivors' distribution.

"columns" also uses what the completion attack uses: the columns of a matrix resemble each other.
Survivors of a column are taken for a draw from N(0, C) with C the covariance of the layer's
columns, a modified weight for noise that knows nothing of its column. Given the rest of its column,
a weight has under N(0, C) the mean m_ij and variance v_i of a Gaussian conditional,

    m_ij = w_ij - (P w_j)_i / P_ii,   P = C^-1,

taken with the column itself left out of C, so that no weight vouches for itself. And pruning takes
columns rather than weights, so every column has a fraction a_j of its own. The posterior is

    p_ij = a_j N(w_ij; 0, s_M^2) / (a_j N(w_ij; 0, s_M^2) + (1 - a_j) N(w_ij; m_ij, v_i)).

C, v, a, s_M and p are found in turns, weights that are believed to be modified entering C by their
conditional mean instead of their value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rbtc.defense.mixture import Mixture, fit_layers
from rbtc.layers import Masks, Weights, check_weights

Evidence = Literal["magnitudes", "columns"]

ROUNDS = 6
RIDGE = 0.05
"""Added to the covariance's diagonal, as a fraction of its mean."""

PSEUDO = 4.0
"""The layer's fraction counts in a column's fraction like so many weights."""

FIRST = 0.1
"""Fraction of modified weights where the search starts from nothing."""


def modified_probability(
    weights: Weights,
    *,
    evidence: Evidence = "columns",
    fits: Mapping[str, Mixture] | None = None,
) -> dict[str, Tensor]:
    """The probability of each weight that it is a modified one, as an attacker infers it.

    Args:
        weights: Weight name -> (rows, columns), defended.
        evidence: See `rbtc.defense.mask_inference`.
        fits: Of `rbtc.defense.mixture.fit_layers` for the same weights, where they are at hand.

    Returns:
        Weight name -> (rows, columns) float64 in [0, 1].

    Raises:
        ValueError: For no weights, weights that are not finite, a layer of zeros only, or an
            unknown evidence.
    """
    check_weights(weights)
    if evidence not in ("magnitudes", "columns"):
        raise ValueError(f"evidence is {evidence!r}, expected 'magnitudes' or 'columns'")
    fits = fit_layers(weights) if fits is None else fits
    found = {}
    for name in sorted(weights):
        weight, fit = weights[name].detach().double(), fits[name]
        found[name] = fit.probability(weight) if evidence == "magnitudes" else _columns(weight, fit)
    return found


def name_modified(probability: dict[str, Tensor], threshold: float = 0.5) -> Masks:
    """The weights an attacker completes: where the probability is at least the threshold."""
    return {name: own >= threshold for name, own in probability.items()}


def _columns(weight: Tensor, fit: Mixture) -> Tensor:
    """The better explained of two searches: from the magnitudes' posterior, and from nothing."""
    blank = torch.full_like(weight, FIRST)
    starts = [
        _search(weight, fit.probability(weight), fit.sigma_modified),
        _search(weight, blank, float(weight.std(correction=0))),
    ]
    return max(starts, key=lambda found: found[1])[0]


def _search(weight: Tensor, believed: Tensor, noise: float) -> tuple[Tensor, float]:
    """Posterior (rows, columns), and the mean log-likelihood of a weight given its column."""
    p, noise = believed, max(noise, 1e-150)
    mean, variance = torch.zeros_like(weight), weight.square().mean(dim=1)
    fraction = p.mean(dim=0)
    for _ in range(ROUNDS):
        expected = (1 - p) * weight + p * mean
        doubt = (p * variance[:, None]).sum(dim=1)
        mean = _conditional_mean(expected, doubt)
        kept = (1 - p).sum(dim=1).clamp(min=1e-9)
        variance = ((1 - p) * (weight - mean).square()).sum(dim=1) / kept
        modified = _log_density(weight, noise**2)
        unmodified = _log_density(weight - mean, variance[:, None].clamp(min=1e-300))
        difference = modified - unmodified
        for _ in range(5):
            p = torch.sigmoid(difference + torch.logit(fraction))
            prior = p.mean().clamp(1e-4, 0.5)
            fraction = ((p.sum(dim=0) + prior * PSEUDO) / (len(p) + PSEUDO)).clamp(1e-4, 1 - 1e-4)
        noise = float((p * weight.square()).sum() / p.sum().clamp(min=1e-12)) ** 0.5
        noise = max(noise, 1e-150)
    both = torch.logaddexp(modified + fraction.log(), unmodified + torch.log1p(-fraction))
    return p, float(both.mean())


def _conditional_mean(weight: Tensor, doubt: Tensor) -> Tensor:
    """Mean of each weight given the rest of its column under N(0, C), that column not being in C.

    Removing column j from C = (W W' + D) / n is a rank-one change, of which the inverse is known:
    P w_j becomes P w_j / (1 - h_j), h_j = w_j' P w_j / n, and P_ii grows by
    (P w_j)_i^2 / (n (1 - h_j)).
    """
    rows, columns = weight.shape
    covariance = (weight @ weight.T + torch.diag(doubt)) / columns
    ridge = RIDGE * covariance.diagonal().mean()
    precision = torch.linalg.inv(
        covariance + ridge * torch.eye(rows, dtype=weight.dtype).to(weight)
    )
    product = precision @ weight  # (rows, columns)
    left = 1 - ((weight * product).sum(dim=0) / columns).clamp(max=0.95)
    diagonal = precision.diagonal()[:, None] + product.square() / (columns * left)
    return weight - product / left / diagonal


def _log_density(values: Tensor, variance: Tensor | float) -> Tensor:
    """Log of N(values; 0, variance), without its constant."""
    log = torch.log(variance) if isinstance(variance, Tensor) else math.log(variance)
    return -0.5 * (values.square() / variance + log)
