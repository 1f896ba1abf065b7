"""What exact zeros tell: whether rounding explains them, and how they lie in a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

RARE = 1e-6
"""Chance at which a layer's zeros are no longer put down to rounding."""


@dataclass(frozen=True)
class Scatter:
    """How evenly the zeros of a matrix fall on its rows, or on its columns.

    Attributes:
        ratio: Variance of the counts over the one of places drawn at random: 0 when every row has
            as many zeros (a quota per row), 1 at random, more when they gather in some rows.
        kind: "even", "random" or "gathered": where the ratio lies as to the central 95 % of what
            random places give.
    """

    ratio: float
    kind: Literal["even", "random", "gathered"]


def rounded_zeros(weight: Tensor) -> int:
    """How many exact zeros rounding to the stored dtype explains, at most.

    Weights spread smoothly around zero fall to zero from the half step on either side of it, half
    as often as to the two smallest numbers next to it, which have a whole step each. The bound is
    the one that a Poisson count of that mean (and one more, for what was not seen) exceeds with
    probability `RARE`.
    """
    from scipy.stats import poisson

    dtype = torch.finfo(weight.dtype)
    step = dtype.smallest_normal * dtype.eps
    beside = int((weight.abs() == step).sum())
    return int(poisson.isf(RARE, beside / 2 + 1))


def scatter(zero: Tensor) -> Scatter | None:
    """How evenly True falls on the rows of a bool matrix (rows, columns); None where all agree."""
    from scipy.stats import chi2

    rows, columns = zero.shape
    counts = zero.sum(dim=1).double()
    p = float(counts.sum()) / zero.numel()
    if p in (0.0, 1.0) or rows < 2:
        return None
    ratio = float(counts.var(correction=1)) / (columns * p * (1 - p))
    low, high = chi2.ppf([0.025, 0.975], rows - 1) / (rows - 1)
    return Scatter(ratio, "even" if ratio < low else "gathered" if ratio > high else "random")
