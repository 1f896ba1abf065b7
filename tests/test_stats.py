"""Intervals against independently derived values."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm, t

from rbtc.intervals import clustered, paired, paired_means
from rbtc.models.distances import frechet
from rbtc.stats import Proportion, change_of, crossed, mean, mean_change, paired_ratio, pool


def counts():
    return st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def score_roots(hits: int, n: int) -> tuple[float, float]:
    """Both p at which the score test statistic is exactly z: the interval by root finding."""
    z, share = norm.ppf(0.975), hits / n

    def excess(p):
        return (share - p) ** 2 - z**2 * p * (1 - p) / n

    # share is itself a root at 0 and at 1, and excess is negative just beside it
    low = 0.0 if hits == 0 else brentq(excess, 0, min(share, 1 - 1e-12), xtol=1e-14)
    high = 1.0 if hits == n else brentq(excess, max(share, 1e-12), 1, xtol=1e-14)
    return low, high


@given(counts())
def test_wilson_interval_solves_the_score_equation(case):
    p = Proportion(*case)
    low, high = score_roots(*case)
    assert p.low == pytest.approx(low, abs=1e-9)
    assert p.high == pytest.approx(high, abs=1e-9)
    assert 0 <= p.low <= p.value <= p.high <= 1 and p.low < p.high


@given(counts())
def test_hits_and_misses_mirror_each_other(case):
    hits, n = case
    p, q = Proportion(hits, n), Proportion(n - hits, n)
    assert p.low == pytest.approx(1 - q.high) and p.high == pytest.approx(1 - q.low)


def test_closed_form_when_nothing_hits():
    z = norm.ppf(0.975)
    p = Proportion(0, 50)
    assert p.low == 0 and p.high == pytest.approx(z**2 / (50 + z**2))
    assert Proportion(50, 50).high == 1


def test_coverage_is_near_its_level():
    rng = np.random.default_rng(0)
    for truth in (0.05, 0.5, 0.9):
        found = [Proportion(int(hits), 100) for hits in rng.binomial(100, truth, size=4000)]
        assert np.mean([p.low <= truth <= p.high for p in found]) == pytest.approx(0.95, abs=0.025)


def test_proportions_print_pool_and_serialise():
    p = Proportion(54, 100)
    assert str(p) == f"{p}" == "0.54 [0.44, 0.63] (n=100)"
    assert f"{p:.1%}" == "54.0% [44.3%, 63.4%] (n=100)"
    assert pool([p, Proportion(6, 20)]) == Proportion(60, 120)
    counted = Proportion(np.int64(3), np.int64(4))
    assert json.dumps(asdict(counted)) == '{"hits": 3, "n": 4}'


@pytest.mark.parametrize("case", [(0, 0), (-1, 5), (6, 5)])
def test_impossible_proportions_are_refused(case):
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        Proportion(*case)


def test_proportions_count_in_whole_numbers():
    with pytest.raises(ValueError, match=r"whole numbers, not 0\.5"):
        Proportion(0.5, 1)


# ---- clusters -----------------------------------------------------------------------------------


def test_one_trial_a_cluster_is_the_plain_interval():
    hits = [1, 0, 1, 1, 0, 1, 1]
    share, plain = clustered(hits, range(7)), Proportion.of(hits)
    assert (share.value, share.n, share.clusters) == (plain.value, 7, 7)
    assert (share.low, share.high) == pytest.approx((plain.low, plain.high))
    assert str(share) == str(plain)


def test_pictures_seen_again_carry_no_information():
    hits = [1, 0, 1, 1, 0, 1, 1, 0, 1, 1]
    again = clustered(hits * 6, list(range(10)) * 6)
    once = Proportion.of(hits)
    assert again.n == 60 and again.clusters == 10
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    assert again.high - again.low > 2 * (Proportion.of(hits * 6).high - Proportion.of(hits * 6).low)


def test_clusters_that_are_all_alike_count_once_each():
    share = clustered([1] * 12, [0, 1, 2] * 4)
    assert share.low == pytest.approx(Proportion(3, 3).low)
    with pytest.raises(ValueError, match="as many clusters as hits"):
        clustered([1], [])


def test_clustered_intervals_cover():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(600):
        truth = rng.random(40) < 0.7  # 40 pictures, each judged under five models
        hits = np.where(rng.random((40, 5)) < 0.9, truth[:, None], rng.random((40, 5)) < 0.7)
        share = clustered(hits.ravel(), np.repeat(np.arange(40), 5))
        covered.append(share.low <= 0.7 <= share.high)
    assert np.mean(covered) > 0.92


# ---- pairs --------------------------------------------------------------------------------------


def test_the_paired_interval_is_that_of_bonett_and_price():
    before, after = [1] * 12 + [0] * 13, [0] * 9 + [1] * 3 + [0] * 12 + [1]
    found = paired(before, after)  # 9 lost, 1 gained, 25 pairs
    a, b, n = 1 + 1, 9 + 1, 25 + 2
    centre = (a - b) / n
    half = norm.ppf(0.975) * np.sqrt((a + b) / n - centre**2) / np.sqrt(n)
    assert found.value == -8 / 25 and found.n == found.clusters == 25
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert found.p == pytest.approx(2 * (1 + 10) / 2**10)  # exact McNemar: 1 of 10 changes
    assert found.direction == "falls" and paired(after, before).direction == "rises"
    assert str(found) == f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


@pytest.mark.parametrize(
    ("before", "after", "alike", "least", "most"),
    [(0.95, 0.65, True, 0.8, 1.0), (0.6, 0.6, False, 0.0, 0.06)],
)
def test_a_fall_is_mostly_seen_at_25_pictures_and_no_change_is_not(
    before, after, alike, least, most
):
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(600):
        first = rng.random(25) < before
        again = rng.random(25)
        second = first & (again < after / before) if alike else np.where(
            rng.random(25) < 0.3, again < after, first
        )  # fmt: skip
        seen.append(paired(first, second).direction != "undecided")
    assert least <= np.mean(seen) <= most


def test_clusters_widen_a_difference():
    before, after = [1, 1, 1, 1, 1, 0] * 6, [0, 1, 0, 1, 1, 0] * 6
    alone, together = paired(before, after), paired(before, after, list(range(6)) * 6)
    assert alone.value == pytest.approx(together.value)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert np.isnan(together.p) and together.clusters == 6 and together.n == 36


def test_what_a_number_of_pictures_could_have_shown():
    nothing = paired([1] * 11, [1] * 11)
    assert nothing.direction == "undecided" and nothing.p == 1.0
    changed = round(nothing.detectable * 11)
    assert paired([0] * 11, [1] * changed + [0] * (11 - changed)).direction == "rises"
    assert paired([0] * 11, [1] * (changed - 1) + [0] * (12 - changed)).direction == "undecided"
    assert paired([1], [1]).detectable == 1.0


@pytest.mark.parametrize(
    ("before", "after", "clusters", "message"),
    [
        ([], [], None, "two lists of equal length"),
        ([1.0], [1.0, 0.0], None, "two lists of equal length"),
        ([1.0], [float("nan")], None, "without NaN"),
        ([1.0], [2.0], None, "numbers in"),
        ([1.0, 0.0], [1.0, 0.0], [1], "one a pair"),
    ],
)
def test_bad_pairs_are_refused(before, after, clusters, message):
    with pytest.raises(ValueError, match=message):
        paired(before, after, clusters)


def test_means_of_pairs():
    first, second = [0.1, 0.2, 0.4, 0.3], [0.2, 0.3, 0.45, 0.42]
    found = paired_means(first, second)
    change = np.subtract(second, first)
    half = t.ppf(0.975, 3) * change.std(ddof=1) / 2
    assert found.value == pytest.approx(change.mean())
    assert (found.low, found.high) == pytest.approx((change.mean() - half, change.mean() + half))
    assert paired_means([1.0, 1.0], [1.0, 1.0]).direction == "undecided"
    for wrong in ([1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match=r"at least two|finite"):
            paired_means(wrong, wrong)


def test_a_ratio_of_paired_counts_covers_the_truth():
    rng = np.random.default_rng(0)
    n, before, after = 40, 0.8, 0.5
    held = []
    for _ in range(1500):
        first = rng.random(n)
        second = np.where(rng.random(n) < 0.5, first, rng.random(n))  # pairs that are alike
        ratio = paired_ratio(first < before, second < after)
        held.append(ratio.low <= after / before <= ratio.high)
    assert 0.93 < np.mean(held) < 0.98


def test_a_ratio_of_paired_counts_at_its_ends():
    one = paired_ratio([1, 1, 1, 0], [1, 0, 0, 1])
    assert one.value == pytest.approx(2 / 3) and one.n == 4
    none = paired_ratio([1] * 10, [0] * 10)
    assert none.value == none.low == 0 < none.high < 1
    same = paired_ratio([1] * 10, [1] * 10)
    assert same.low < same.value == 1 < same.high
    assert same.low * same.high == pytest.approx(1)  # neither model comes first
    assert paired_ratio([0, 0], [0, 1]) is None
    with pytest.raises(ValueError, match="equal length"):
        paired_ratio([1], [1, 0])


# ---- means --------------------------------------------------------------------------------------

VALUES = st.lists(st.floats(-1, 1), min_size=2, max_size=30)


@given(VALUES)
def test_a_mean_lies_in_its_interval(values):
    found = mean(values)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found.n == found.clusters == len(values)


def test_the_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(size=400)
    found = mean(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    doubled = mean(np.repeat(values, 3), np.repeat(np.arange(400), 3))
    assert (doubled.low, doubled.high) == pytest.approx((found.low, found.high))
    again = change_of(lambda places: values[places].mean(), values.mean(), 400, resamples=500)
    assert again.high - again.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_pairs_cancel_what_they_share():
    noise = np.random.default_rng(0).normal(size=50)
    change = mean_change(noise, noise + 0.1)
    assert (change.value, change.low, change.high) == pytest.approx((0.1, 0.1, 0.1))
    assert change.direction == "rises"


@pytest.mark.parametrize("values", [[1.0], [1.0, float("nan")], [[1.0], [2.0]]])
def test_numbers_without_an_interval_are_refused(values):
    with pytest.raises(ValueError, match=r"finite|at least 2"):
        mean(values)


def test_frechet_follows_its_formula():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(40, 4)), rng.normal(1, 2, size=(30, 4))
    first, second = np.cov(a.T), np.cov(b.T)
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    assert frechet(a, b) == pytest.approx(expected)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_crossed_draws_both_kinds():
    rng = np.random.default_rng(0)
    first, second = np.repeat(np.arange(8), 10), np.tile(np.arange(10), 8)
    # All that varies is the second kind: drawing only the first would see no spread at all.
    values = rng.normal(size=10)[second]
    found = crossed(lambda w: w @ values / w.sum(axis=1), first, second)
    assert found.value == pytest.approx(values.mean())
    assert found.low < found.value < found.high
    assert (found.n, found.clusters) == (80, 8)
    half = 1.96 * values[:10].std() / np.sqrt(10)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.2)
    same = crossed(lambda w: w.sum(axis=1) / w.sum(axis=1), first, second)
    assert same.low == same.high == 1


def test_crossed_refuses_what_has_no_interval():
    with pytest.raises(ValueError, match="2 things of each kind"):
        crossed(lambda w: w[:, 0], [1, 1, 1], [1, 2, 3])
    with pytest.raises(ValueError, match="both kinds"):
        crossed(lambda w: w[:, 0], [1, 2], [1, 2, 3])
