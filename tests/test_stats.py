"""Intervals against independently derived values."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from rbtc.stats import Mean, Proportion, bootstrap_difference, bootstrap_mean


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
    assert p + Proportion(6, 20) == sum([p, Proportion(6, 20)]) == Proportion(60, 120)
    counted = Proportion(np.int64(3), np.int64(4))
    assert json.dumps(asdict(counted)) == '{"hits": 3, "n": 4}'
    with pytest.raises(TypeError):
        p + 1
    with pytest.raises(TypeError):
        1 + p


@pytest.mark.parametrize("case", [(0, 0), (-1, 5), (6, 5)])
def test_impossible_proportions_are_refused(case):
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        Proportion(*case)


def test_proportions_count_in_whole_numbers():
    with pytest.raises(ValueError, match=r"whole numbers, not 0\.5"):
        Proportion(0.5, 1)


def test_bootstrap_agrees_with_the_normal_interval_and_is_reproducible():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    mean = bootstrap_mean(values)
    half = norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert mean.value == pytest.approx(values.mean()) and mean.n == 400
    assert mean.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert mean.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert bootstrap_mean(values) == mean == bootstrap_mean(list(values))
    assert bootstrap_mean(values, seed=1) != mean
    narrow = bootstrap_mean(values, level=0.5)
    assert mean.low < narrow.low < narrow.high < mean.high


def test_bootstrap_leaves_the_global_generator_alone():
    np.random.seed(0)  # noqa: NPY002 - the global state is the subject here
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap_mean([1.0, 2.0])
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_constant_or_a_single_value_has_no_width():
    assert bootstrap_mean([2.0]) == Mean(2.0, 2.0, 2.0, 1)
    assert bootstrap_mean([2.0] * 9) == Mean(2.0, 2.0, 2.0, 9)
    assert str(Mean(0.269, 0.251, 0.3, 50)) == "0.27 [0.25, 0.30] (n=50)"


def test_pairs_remove_what_they_share():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 5, size=100)
    a, b = shared + 1 + rng.normal(0, 0.1, 100), shared + rng.normal(0, 0.1, 100)
    paired, separate = bootstrap_difference(a, b), bootstrap_difference(a, b, paired=False)
    assert paired.value == pytest.approx(separate.value) == pytest.approx((a - b).mean())
    assert 0 < paired.low and separate.low < 0  # only the pairs can tell
    assert (paired.n, separate.n) == (100, 200)
    flipped = bootstrap_difference(b, a)
    assert flipped.value == pytest.approx(-paired.value)
    assert bootstrap_difference(a, b, paired=False) == separate
    assert bootstrap_difference([1.0, 2.0], [1.0], paired=False).n == 3


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "at least one number"),
        ([[1.0]], {}, r"not shape \(1, 1\)"),
        ([1.0, float("nan")], {}, "must be finite"),
        ([1.0], {"resamples": 0}, "resamples must be at least 1"),
        ([1.0], {"level": 1.0}, "level must lie in"),
        ([1.0], {"seed": -1}, "seed must be a whole number"),
        ([1.0], {"seed": 0.5}, "seed must be a whole number"),
    ],
)
def test_bad_samples_are_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, **options)
    with pytest.raises(ValueError, match=message):
        bootstrap_difference(values, values, paired=False, **options)


def test_unequal_pairs_are_refused():
    with pytest.raises(ValueError, match="a has 2 and b has 1"):
        bootstrap_difference([1.0, 2.0], [1.0])
