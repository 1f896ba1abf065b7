"""Proportions and means that carry their uncertainty.

An accuracy over a few hundred pictures is off by several points by chance alone, and the paper
prints its accuracies without intervals. Everything this library reports has one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_Z = NormalDist().inv_cdf(0.975)


def _text(value: float, low: float, high: float, n: int, spec: str) -> str:
    spec = spec or ".2f"
    return f"{value:{spec}} [{low:{spec}}, {high:{spec}}] (n={n})"


@dataclass(frozen=True)
class Proportion:
    """`hits` out of `n`, with its Wilson 95 % interval.

    The Wilson interval holds every true proportion p at which the observed share is at most z
    standard errors away, |hits/n - p| <= z sqrt(p (1 - p) / n). Unlike the usual
    plus-minus interval it stays within [0, 1] and keeps a width when nothing, or everything, hits.

    `str(p)` gives "0.54 [0.44, 0.63] (n=100)"; `format(p, ".3f")` sets the digits; `p + q` pools
    two proportions, and `sum` any number of them.

    Raises:
        ValueError: Unless 0 <= hits <= n and n >= 1, both whole numbers.
    """

    hits: int
    n: int

    def __post_init__(self) -> None:
        try:
            hits, n = operator.index(self.hits), operator.index(self.n)
        except TypeError:
            raise ValueError(
                f"hits and n must be whole numbers, not {self.hits!r} and {self.n!r}"
            ) from None
        if n < 1 or not 0 <= hits <= n:
            raise ValueError(f"a proportion needs 0 <= hits <= n and n >= 1, not {hits} of {n}")
        # numpy integers would neither print nor serialise like the plain ones
        object.__setattr__(self, "hits", hits)
        object.__setattr__(self, "n", n)

    @property
    def value(self) -> float:
        """The observed share, hits / n."""
        return self.hits / self.n

    @property
    def low(self) -> float:
        """Lower end of the Wilson 95 % interval."""
        return 0.0 if self.hits == 0 else max(0.0, self._centre - self._half_width)

    @property
    def high(self) -> float:
        """Upper end of the Wilson 95 % interval."""
        return 1.0 if self.hits == self.n else min(1.0, self._centre + self._half_width)

    @property
    def _centre(self) -> float:
        return (self.hits + _Z**2 / 2) / (self.n + _Z**2)

    @property
    def _half_width(self) -> float:
        misses = self.n - self.hits
        return _Z * math.sqrt(self.hits * misses / self.n + _Z**2 / 4) / (self.n + _Z**2)

    def __add__(self, other: Proportion) -> Proportion:
        if not isinstance(other, Proportion):
            return NotImplemented
        return Proportion(self.hits + other.hits, self.n + other.n)

    def __radd__(self, other: object) -> Proportion:
        # sum() starts from 0
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __format__(self, spec: str) -> str:
        return _text(self.value, self.low, self.high, self.n, spec)

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True)
class Mean:
    """A mean with a bootstrap interval; prints like a `Proportion`.

    Attributes:
        value: The mean, or the difference of two means.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of values, or of pairs; of an unpaired difference, of both groups together.
    """

    value: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        return _text(self.value, self.low, self.high, self.n, spec)

    def __str__(self) -> str:
        return format(self)


def _values(values: Sequence[float] | np.ndarray, label: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"{label} must be a list of at least one number, not shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{label} must be finite: it holds NaN or infinity")
    return array


def _interval(
    draw: Callable[[np.random.Generator], float], seed: int, resamples: int, level: float
) -> tuple[float, float]:
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level}")
    try:
        rng = np.random.default_rng(operator.index(seed))
    except (TypeError, ValueError):
        raise ValueError(f"seed must be a whole number, 0 or above, not {seed!r}") from None
    means = [draw(rng) for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Mean:
    """Mean with its percentile bootstrap interval.

    The interval spans the central `level` of the means of resamples drawn with replacement. Equal
    inputs give equal results.

    Args:
        values: n finite numbers.
        seed: Seed of the resampling.
        resamples: Number of resamples.
        level: Coverage, in (0, 1).

    Raises:
        ValueError: For no values, values that are not finite or not a flat list, or options out
            of range.
    """
    array = _values(values, "values")
    n = array.size
    low, high = _interval(
        lambda rng: float(array[rng.integers(n, size=n)].mean()), seed, resamples, level
    )
    return Mean(float(array.mean()), low, high, n)


def bootstrap_difference(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    paired: bool = True,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Mean:
    """Mean of `a` minus mean of `b`, with its percentile bootstrap interval.

    Pictures made from the same seeds by two models are pairs: resampling the pairs removes the
    variation the seeds share.

    Args:
        a: Finite numbers.
        b: Finite numbers; one per number of `a` when paired.
        paired: Resample pairs; otherwise each group on its own.
        seed: Seed of the resampling.
        resamples: Number of resamples.
        level: Coverage, in (0, 1).

    Raises:
        ValueError: As for `bootstrap_mean`, and for pairs of unequal number.
    """
    first, second = _values(a, "a"), _values(b, "b")
    options = {"seed": seed, "resamples": resamples, "level": level}
    if paired:
        if first.size != second.size:
            raise ValueError(
                f"pairs need equal numbers, but a has {first.size} and b has {second.size}: "
                "pass paired=False for separate groups"
            )
        return bootstrap_mean(first - second, **options)

    def draw(rng: np.random.Generator) -> float:
        one = first[rng.integers(first.size, size=first.size)]
        other = second[rng.integers(second.size, size=second.size)]
        return float(one.mean() - other.mean())

    low, high = _interval(draw, seed, resamples, level)
    return Mean(float(first.mean() - second.mean()), low, high, first.size + second.size)
