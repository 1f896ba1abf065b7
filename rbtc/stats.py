"""Counts of yes and no, and means of numbers, with 95 % intervals.

What two models have in common cancels in `rbtc.intervals`; here stand estimates of one model, and
changes of numbers that are no shares. A cosine or a distance has an unknown distribution, so its
mean gets the percentile interval of Efron and Tibshirani ("An Introduction to the Bootstrap", 1993,
ch. 13): whole clusters are drawn anew, with replacement.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rbtc.intervals import Difference, Estimate, Share, Z, label_codes, matched, wilson
from rbtc.intervals import clustered as clustered
from rbtc.intervals import interval as interval
from rbtc.intervals import paired as paired
from rbtc.intervals import paired_means as paired_means
from rbtc.intervals import smallest_change as smallest_change

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Proportion(Estimate):
    """`hits` out of `n` independent trials, with its Wilson 95 % interval.

    The Wilson interval holds every true proportion p at which the observed share is at most z
    standard errors away, |hits/n - p| <= z sqrt(p (1 - p) / n). Unlike the usual
    plus-minus interval it stays within [0, 1] and keeps a width when nothing, or everything, hits.

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

    @classmethod
    def of(cls, hits: Iterable[Any]) -> Proportion:
        """Count truth values."""
        values = [bool(hit) for hit in hits]
        return cls(sum(values), len(values))

    @property
    def value(self) -> float:
        """The observed share, hits / n."""
        return self.hits / self.n

    @property
    def low(self) -> float:
        """Lower end of the Wilson 95 % interval."""
        return wilson(self.value, self.n)[0]

    @property
    def high(self) -> float:
        """Upper end of the Wilson 95 % interval."""
        return wilson(self.value, self.n)[1]


def pool(proportions: Iterable[Proportion]) -> Proportion:
    """All of them as one; at least one is needed."""
    counts = [(one.hits, one.n) for one in proportions]
    return Proportion(*map(sum, zip(*counts, strict=True)))


def paired_ratio(
    before: Sequence[Any] | pd.Series, after: Sequence[Any] | pd.Series
) -> Share | None:
    """How many hits are left: the count after over the count before, with its 95 % interval.

    The interval is the hybrid Wilson score interval of Bonett and Price ("Confidence intervals for
    a ratio of binomial proportions based on paired data", 2006): of the pairs with a hit in either,
    both shares get a Wilson interval, narrowed so that the quotient of their ends has the level.

    Args:
        before: n truth values.
        after: n of the same trials.

    Returns:
        The ratio over n pairs, which may exceed 1; None if nothing hit before.

    Raises:
        ValueError: no pairs, or lists of unequal length.
    """
    first, second = (of.astype(bool) for of in matched(before, after))
    hits, kept = int(first.sum()), int(second.sum())
    if not hits:
        return None
    either, changed = int((first | second).sum()), int((first != second).sum())
    between = math.sqrt((changed + 2) / ((hits + 1) * (kept + 1)))
    alone = sum(math.sqrt((1 - (count + 1) / (either + 2)) / (count + 1)) for count in (hits, kept))
    z = Z * between / alone
    (low, high), (least, most) = (wilson(count / either, either, z) for count in (kept, hits))
    return Share(kept / hits, low / most, high / least, len(first), len(first))


# ---- means --------------------------------------------------------------------------------------

RESAMPLES = 2000
"""Draws of an interval; its ends then move by about a thirtieth of its width from seed to seed."""

LEAST = 2
"""Fewer clusters have no spread to draw from."""


def mean(
    values: Sequence[float] | pd.Series, clusters: Sequence[Any] | None = None, *, seed: int = 0
) -> Share:
    """Mean of numbers, those of one cluster entering as their mean.

    Args:
        values: n finite numbers.
        clusters: n labels; None takes every value as its own.
        seed: of the draws.

    Raises:
        ValueError: NaN or infinity, lists of unequal length, or fewer than two clusters.
    """
    means = _cluster_means(np.asarray(values, np.float64), clusters)
    return Share(float(means.mean()), *_interval(means, seed), len(values), len(means))


def mean_change(
    before: Sequence[float] | pd.Series,
    after: Sequence[float] | pd.Series,
    clusters: Sequence[Any] | None = None,
    *,
    seed: int = 0,
) -> Difference:
    """Change of a mean over pairs of numbers, after minus before; pairs are drawn whole.

    Args:
        before: n finite numbers.
        after: n of the same trials, in the same order.
        clusters: n labels; None takes every pair as its own.
        seed: of the draws.

    Raises:
        ValueError: as for `mean`.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"pairs need two lists of equal length, got {first.shape, second.shape}")
    means = _cluster_means(second - first, clusters)
    low, high = _interval(means, seed)
    return Difference(float(means.mean()), low, high, len(first), len(means))


def change_of(
    statistic: Callable[[np.ndarray], float], value: float, n: int, *, resamples: int, seed: int = 0
) -> Difference:
    """Change of a statistic that is no mean, plus and minus z bootstrap standard errors.

    The percentile interval would be off where drawing with replacement biases the statistic, as it
    does a distance between distributions: a sample with doubles has a smaller rank. The standard
    error only needs the bias to be alike in all draws.

    Args:
        statistic: takes the n drawn places, whole numbers in [0, n), and gives the change.
        value: the change over all n, each once.
        n: number of trials, at least two.
        resamples: number of draws.
        seed: of the draws.
    """
    if n < LEAST:
        raise ValueError(f"an interval needs at least {LEAST} trials, got {n}")
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(n, size=n)) for _ in range(resamples)]
    half = 1.96 * float(np.std(drawn, ddof=1))
    return Difference(value, value - half, value + half, n, n)


def crossed(
    statistic: Callable[[np.ndarray], np.ndarray],
    first: Sequence[Any] | pd.Series,
    second: Sequence[Any] | pd.Series,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Share:
    """A statistic of observations that share things of two kinds, with its percentile interval.

    A layer meets every class and a class every layer, so neither alone makes clusters that are
    independent of each other. The pigeonhole bootstrap of Owen ("The pigeonhole bootstrap", 2007)
    draws both kinds anew and weighs an observation by how often its two were drawn; the interval is
    a little too wide rather than too narrow.

    Args:
        statistic: takes a weight per draw and observation, (draws, n), and gives (draws,) numbers;
            NaN where the drawn ones do not determine it, which is left out.
        first: n labels of one kind.
        second: n labels of the other.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: lists of unequal length, or fewer than two things of either kind.
    """
    if len(first) != len(second):
        raise ValueError(f"expected a label of both kinds for each, got {len(first), len(second)}")
    codes = [label_codes(labels) for labels in (first, second)]
    counts = [int(code.max()) + 1 if len(code) else 0 for code in codes]
    if min(counts) < LEAST:
        raise ValueError(f"an interval needs at least {LEAST} things of each kind, got {counts}")
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        times = [np.bincount(rng.integers(n, size=n), minlength=n) for n in counts]
        drawn.append(np.prod([t[c] for t, c in zip(times, codes, strict=True)], axis=0))
    low, high = np.nanpercentile(statistic(np.array(drawn)), [2.5, 97.5])
    (value,) = statistic(np.ones((1, len(codes[0]))))
    return Share(float(value), float(low), float(high), len(codes[0]), min(counts))


def _cluster_means(values: np.ndarray, clusters: Sequence[Any] | None) -> np.ndarray:
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("a mean needs a flat list of finite numbers: one holds NaN or infinity")
    if clusters is not None:
        if len(clusters) != len(values):
            raise ValueError(f"expected {len(values)} clusters, one a value, got {len(clusters)}")
        codes = label_codes(clusters)
        values = np.bincount(codes, values) / np.bincount(codes)
    if len(values) < LEAST:
        raise ValueError(f"an interval needs at least {LEAST} pictures, got {len(values)}")
    return values


def _interval(means: np.ndarray, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    drawn = means[rng.integers(len(means), size=(RESAMPLES, len(means)))]  # (draws, clusters)
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
