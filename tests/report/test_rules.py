import pytest

from rbtc.report.rules import (
    Value,
    above,
    below,
    difference,
    falls,
    order,
    peak,
    rises,
    together,
    within,
)
from rbtc.stats import Proportion


def share(hits, n=100):
    found = Proportion(hits, n)
    return Value(f"{hits}", found.value, found.low, found.high, n)


def change(value, half=0.1):
    return Value("change", value, value - half, value + half, 100)


def exact(value):
    return Value("exact", value, value, value)


@pytest.mark.parametrize(
    ("rule", "value", "outcome"),
    [
        (rises, 0.2, "holds"),
        (rises, 0.05, "undecided"),
        (rises, -0.2, "does not hold"),
        (falls, -0.2, "holds"),
        (falls, 0.05, "undecided"),
        (falls, 0.2, "does not hold"),
    ],
)
def test_a_change_is_judged_by_its_interval(rule, value, outcome):
    assert rule(change(value)) == outcome


def test_bounds():
    assert above(change(0.9), 0.7) == "holds" and above(change(0.75), 0.7) == "undecided"
    assert above(change(0.5), 0.7) == "does not hold"
    assert below(change(0.5), 0.7) == "holds" and below(change(0.9), 0.7) == "does not hold"
    # A property of the weights is on one side or the other.
    assert above(exact(0.7), 0.7) == "does not hold" and below(exact(0.69), 0.7) == "holds"


def test_no_change_seen_is_not_no_change():
    assert within(change(0.0, half=0.05), 0.1) == "holds"
    assert within(change(0.0, half=0.3), 0.1) == "undecided"
    assert within(change(0.3), 0.1) == "does not hold"
    assert within(change(-0.3), 0.1) == "does not hold"
    with pytest.raises(ValueError, match="positive"):
        within(change(0.0), 0)


def test_order():
    assert order([share(10), share(40), share(80)]) == "holds"
    assert order([share(10), share(40), share(42)]) == "undecided"
    assert order([share(80), share(40), share(90)]) == "does not hold"
    with pytest.raises(ValueError, match="at least two"):
        order([share(10)])


def test_peak():
    assert peak([share(20), share(80), share(30)]) == "holds"
    assert peak([share(20), share(50), share(52)]) == "undecided"
    assert peak([share(20), share(50), share(90)]) == "does not hold"
    with pytest.raises(ValueError, match="at least three"):
        peak([share(1), share(2)])


def test_a_difference_is_newcombes():
    # Example of Newcombe 1998, his method 10: 56/70 against 48/80.
    found = difference(share(48, 80), share(56, 70))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.n == 70


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "undecided"], "holds in part"),
        (["holds", "does not hold"], "holds in part"),
        (["does not hold", "undecided"], "does not hold"),
        (["undecided", "undecided"], "undecided"),
        (["holds", "not measured yet"], "not measured yet"),
        (["holds", "not testable here"], "holds"),
        (["holds in part", "holds"], "holds in part"),
    ],
)
def test_a_claim_of_several_parts(parts, outcome):
    assert together(parts) == outcome == together(parts[::-1])
