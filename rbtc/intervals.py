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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["rises", "falls", "undecided"]
Z = NormalDist().inv_cdf(0.975)


class Estimate:
    """A value with its 95 % interval and the number of observations behind it.

    `str(one)` gives "0.54 [0.44, 0.63] (n=100)"; `format(one, ".3f")` sets the digits.
    """

    value: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}] (n={self.n})"

    def __str__(self) -> str:
        return format(self)


def interval(ours: Any) -> tuple[float, float, float]:
    """(value, low, high); a plain number is its own interval."""
    value = float(getattr(ours, "value", ours))
    return value, float(getattr(ours, "low", value)), float(getattr(ours, "high", value))


@dataclass(frozen=True)
class Share(Estimate):
    """A share of trials, or a mean of values, that come in clusters.

    Attributes:
        value: The share or mean.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Number of trials or values.
        clusters: Number of clusters, which is what carries information.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Difference(Estimate):
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
    excess = np.bincount(label_codes(clusters), trials - value)  # (clusters,)
    m = len(excess)
    plain = value * (1 - value) * n
    effect = float((excess**2).sum()) / plain if plain > 0 else 1.0
    # All alike: nothing shows how alike a cluster's trials are, so each cluster counts once.
    size = n / max(effect, 1.0) if plain > 0 else m
    return Share(value, *wilson(value, size), n, m)


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
    first, second = matched(before, after)
    both = np.concatenate([first, second])
    if not ((both >= 0) & (both <= 1)).all():
        raise ValueError("pairs must hold truth values or numbers in [0, 1], without NaN")
    change, p = second - first, math.nan
    codes = np.arange(len(change)) if clusters is None else label_codes(clusters)
    if len(codes) != len(change):
        raise ValueError(f"expected {len(change)} clusters, one a pair, got {len(codes)}")
    means = np.bincount(codes, change) / np.bincount(codes)
    if len(means) == len(change) and np.isin(both, (0, 1)).all():
        from scipy.stats import binomtest

        gained, lost = int((change > 0).sum()), int((change < 0).sum())
        p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Difference(float(means.mean()), *_bonett_price(means), len(change), len(means), p)


def paired_means(
    before: Sequence[float] | pd.Series, after: Sequence[float] | pd.Series
) -> Difference:
    """Change of a mean over pairs of numbers, with its 95 % t interval and the paired t-test's p.

    For shares over many weights each (the layers of a model), where `paired` is for pictures.

    Args:
        before: n finite numbers, n at least 2.
        after: n of the same things.
    """
    first, second = matched(before, after, least=2)
    change = second - first
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


def matched(before: Any, after: Any, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of equal length as arrays (n,) of float."""
    first, second = np.asarray(before, float), np.asarray(after, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < least:
        raise ValueError(
            f"pairs need two lists of equal length, at least {least}, "
            f"got {first.shape, second.shape}"
        )
    return first, second


def label_codes(labels: Iterable[Any]) -> np.ndarray:
    """Labels as whole numbers from 0 on, in order of appearance."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], np.int64)


def wilson(value: float, n: float, z: float = Z) -> tuple[float, float]:
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
    half = Z * float(padded.std()) / math.sqrt(len(padded))
    centre = float(padded.mean())
    return max(-1.0, centre - half), min(1.0, centre + half)
