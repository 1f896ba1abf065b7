import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbtc.models.distances import frechet
from rbtc.stats import change_of, crossed, mean, mean_change

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
