"""Shares and differences that carry their uncertainty.

An accuracy over a few hundred pictures is off by several points by chance alone, and the paper
prints its accuracies without intervals. Everything this library reports has one.

Two models are always asked in the same words with the same seeds, so they are compared picture by
picture (`paired`): what the two share cancels, and no statement rests on whether two separate
intervals overlap. Where the same picture of one model stands against pictures of several others,
the picture is a cluster (`clustered`): it counts once, not several times.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd

Direction = Literal["rises", "falls", "undecided"]
_Z = NormalDist().inv_cdf(0.975)


@runtime_checkable
class Estimate(Protocol):
    """A value with its 95 % interval and the number of observations behind it."""

    @property
    def value(self) -> float: ...  # noqa: D102

    @property
    def low(self) -> float: ...  # noqa: D102

    @property
    def high(self) -> float: ...  # noqa: D102

    @property
    def n(self) -> int: ...  # noqa: D102


def interval(ours: Any) -> tuple[float, float, float]:
    """(value, low, high); a plain number is its own interval."""
    if isinstance(ours, Estimate):
        return float(ours.value), float(ours.low), float(ours.high)
    value = float(ours)
    return value, value, value


@dataclass(frozen=True)
class Proportion:
    """`hits` out of `n` independent trials, with its Wilson 95 % interval.

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
        return _wilson(self.value, self.n)[0]

    @property
    def high(self) -> float:
        """Upper end of the Wilson 95 % interval."""
        return _wilson(self.value, self.n)[1]

    def __add__(self, other: Proportion) -> Proportion:
        if not isinstance(other, Proportion):
            return NotImplemented
        return Proportion(self.hits + other.hits, self.n + other.n)

    def __radd__(self, other: object) -> Proportion:
        # sum() starts from 0
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __format__(self, spec: str) -> str:
        return _text(self, spec)

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True)
class Share:
    """A share of trials that come in clusters; prints like a `Proportion`.

    Attributes:
        value: The share.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Number of trials.
        clusters: Number of clusters, which is what carries information.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int

    def __format__(self, spec: str) -> str:
        return _text(self, spec)

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True)
class Difference:
    """How a mean changes from one model to another, over the same trials.

    Attributes:
        value: The observed change, after minus before.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Number of pairs.
        clusters: Number of clusters of pairs.
        p: Exact McNemar p-value; NaN where pairs are clustered or not yes and no.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    p: float = math.nan

    @property
    def direction(self) -> Direction:
        """Where the change goes, "undecided" if its interval holds zero."""
        if self.low > 0:
            return "rises"
        return "falls" if self.high < 0 else "undecided"

    @property
    def detectable(self) -> float:
        """The smallest change that as many clusters could have shown to be one.

        Of changes that all go the same way: what these numbers cannot see is below it.
        """
        return smallest_change(self.clusters)

    def __format__(self, spec: str) -> str:
        spec = spec or "+.2f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


def clustered(hits: Sequence[Any] | pd.Series, clusters: Sequence[Any]) -> Share:
    """Share of hits among trials of which those of one cluster are not independent.

    The Wilson interval at the effective sample size n / deff, where deff is the variance of the
    share estimated from the clusters over the one that independent trials would have (Kish,
    "Survey Sampling", 1965). With one trial a cluster it is the ordinary Wilson interval.

    Args:
        hits: n truth values.
        clusters: n labels; equal labels belong together.

    Raises:
        ValueError: no trials, or lists of unequal length.
    """
    if len(hits) != len(clusters) or not len(hits):
        raise ValueError(f"expected as many clusters as hits, got {len(clusters)} and {len(hits)}")
    trials = np.asarray(hits, float)
    value, n = float(trials.mean()), len(trials)
    excess = np.bincount(_codes(clusters), trials - value)  # (clusters,)
    m = len(excess)
    plain = value * (1 - value) * n
    effect = float((excess**2).sum()) / plain if plain > 0 else 1.0
    # All alike: nothing shows how alike a cluster's trials are, so each cluster counts once.
    size = n / max(effect, 1.0) if plain > 0 else m
    return Share(value, *_wilson(value, size), n, m)


def paired(
    before: Sequence[Any] | pd.Series,
    after: Sequence[Any] | pd.Series,
    clusters: Sequence[Any] | None = None,
) -> Difference:
    """Change of a mean over pairs, after minus before, with its 95 % interval.

    The interval is that of Bonett and Price ("Adjusted Wald Confidence Interval for a Difference of
    Binomial Proportions Based on Paired Data", 2012): one pair of either kind of change is added,
    then the mean change is taken plus and minus z standard errors. Pairs of one cluster enter as
    their mean, and the two pairs added are clusters of their own.

    Args:
        before: n truth values, or numbers in [0, 1].
        after: n of the same trials.
        clusters: n labels; None takes every pair as its own.

    Raises:
        ValueError: no pairs, lists of unequal length, or values outside [0, 1].
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"pairs need two lists of equal length, got {first.shape, second.shape}")
    both = np.concatenate([first, second])
    if not ((both >= 0) & (both <= 1)).all():
        raise ValueError("pairs must hold truth values or numbers in [0, 1], without NaN")
    change = second - first
    p = math.nan
    if clusters is None:
        means = change
    else:
        codes = _codes(clusters)
        if len(codes) != len(change):
            raise ValueError(f"expected {len(change)} clusters, one a pair, got {len(codes)}")
        means = np.bincount(codes, change) / np.bincount(codes)
    if len(means) == len(change) and np.isin(both, (0, 1)).all():
        from scipy.stats import binomtest

        gained, lost = int((change > 0).sum()), int((change < 0).sum())
        p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Difference(float(means.mean()), *_bonett_price(means), len(change), len(means), p)


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
    first, second = np.asarray(before, bool), np.asarray(after, bool)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"pairs need two lists of equal length, got {first.shape, second.shape}")
    hits, kept = int(first.sum()), int(second.sum())
    if not hits:
        return None
    either, changed = int((first | second).sum()), int((first != second).sum())
    between = math.sqrt((changed + 2) / ((hits + 1) * (kept + 1)))
    alone = sum(math.sqrt((1 - (count + 1) / (either + 2)) / (count + 1)) for count in (hits, kept))
    z = _Z * between / alone
    (low, high), (least, most) = (_wilson(count / either, either, z) for count in (kept, hits))
    return Share(kept / hits, low / most, high / least, len(first), len(first))


def paired_means(
    before: Sequence[float] | pd.Series, after: Sequence[float] | pd.Series
) -> Difference:
    """Change of a mean over pairs of numbers, with its 95 % t interval and the paired t-test's p.

    For shares over many weights each (the layers of a model), where `paired` is for pictures.

    Args:
        before: n finite numbers, n at least 2.
        after: n of the same things.
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    change = second - first
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"expected two lists of at least two, got {first.shape, second.shape}")
    if not np.isfinite(change).all():
        raise ValueError("pairs must be finite: one holds NaN or infinity")
    if np.ptp(change) == 0:
        same = float(change[0])
        return Difference(same, same, same, len(change), len(change), 1.0 if same == 0 else 0.0)
    from scipy.stats import ttest_rel

    found = ttest_rel(second, first)
    low, high = found.confidence_interval(0.95)
    return Difference(float(change.mean()), float(low), float(high), len(change), len(change),
                      float(found.pvalue))  # fmt: skip


def pool(proportions: Iterable[Proportion]) -> Proportion:
    """All of them as one; at least one is needed."""
    first, *others = proportions
    return sum(others, first)


def _codes(labels: Iterable[Any]) -> np.ndarray:
    """Labels as whole numbers from 0 on, in order of appearance."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels])


def _wilson(value: float, n: float, z: float = _Z) -> tuple[float, float]:
    """The Wilson interval, also for an effective n that is no whole number."""
    centre = (value * n + z**2 / 2) / (n + z**2)
    half = z * math.sqrt(value * (1 - value) * n + z**2 / 4) / (n + z**2)
    low = 0.0 if value <= 0 else max(0.0, centre - half)
    return low, 1.0 if value >= 1 else min(1.0, centre + half)


def smallest_change(clusters: int) -> float:
    """The smallest paired change that so many clusters can show to be one.

    Of changes that all go the same way: what is below it cannot be told from none.
    """
    for changed in range(1, clusters + 1):
        if _bonett_price(np.r_[np.ones(changed), np.zeros(clusters - changed)])[0] > 0:
            return changed / clusters
    return 1.0


def _bonett_price(changes: np.ndarray) -> tuple[float, float]:
    padded = np.r_[changes, 1.0, -1.0]
    half = _Z * float(padded.std()) / math.sqrt(len(padded))
    centre = float(padded.mean())
    return max(-1.0, centre - half), min(1.0, centre + half)


def _text(estimate: Estimate, spec: str) -> str:
    spec = spec or ".2f"
    value, low, high = estimate.value, estimate.low, estimate.high
    return f"{value:{spec}} [{low:{spec}}, {high:{spec}}] (n={estimate.n})"
