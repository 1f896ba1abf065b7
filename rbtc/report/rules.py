"""The rules by which a claim of the paper is judged, each a function of values with intervals.

A rule says *holds* where the whole 95 % interval lies on the claim's side, *does not hold* where
the whole interval lies on the other side, and *undecided* where it lies on both. A value without an
interval (a property of the weights, which no draw of pictures changes) is never undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Outcome = Literal[
    "holds", "holds in part", "does not hold", "undecided", "not testable here", "not measured yet"
]

OUTCOMES: tuple[Outcome, ...] = (
    "holds", "holds in part", "undecided", "does not hold", "not testable here", "not measured yet",
)  # fmt: skip
"""Every outcome, from agreement to absence."""


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval; an `rbtc.stats.Estimate`.

    Attributes:
        label: What it is the value of.
        value: The number.
        low: Lower end of its interval, the number itself where there is none.
        high: Upper end.
        n: Observations behind it, 0 where that means nothing.
    """

    label: str
    value: float
    low: float
    high: float
    n: int = 0

    @property
    def exact(self) -> bool:
        """Whether it carries no interval."""
        return self.low == self.high


def difference(before: Value, after: Value, label: str = "") -> Value:
    """Change from one value to another, as if they were independent.

    The interval is the one Newcombe made from two Wilson intervals ("Interval Estimation for the
    Difference Between Independent Proportions", 1998). Our models draw from the same seeds, so
    where only their two accuracies are on file this is wider than the paired interval would be.
    """
    change = after.value - before.value
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    smaller = min(before.n, after.n)
    return Value(label or f"{before.label} to {after.label}", change, change - down, change + up,
                 smaller)  # fmt: skip


def above(value: Value, bound: float = 0.0) -> Outcome:
    """More than a bound.

    >>> above(Value("signs", 0.74, 0.73, 0.75), 0.70), above(Value("signs", 0.7, 0.6, 0.8), 0.70)
    ('holds', 'undecided')
    """
    if value.low > bound:
        return "holds"
    return "does not hold" if value.high < bound or value.exact else "undecided"


def below(value: Value, bound: float = 0.0) -> Outcome:
    """Less than a bound."""
    if value.high < bound:
        return "holds"
    return "does not hold" if value.low > bound or value.exact else "undecided"


def rises(change: Value) -> Outcome:
    """A change upwards: above zero."""
    return above(change)


def falls(change: Value) -> Outcome:
    """A change downwards: below zero."""
    return below(change)


def within(change: Value, bound: float) -> Outcome:
    """Equivalent: a change whose whole interval lies within plus or minus the bound.

    Not finding a change is not finding that there is none: a wide interval around zero is
    undecided.

    >>> within(Value("preserved", 0.01, -0.03, 0.05), 0.10)
    'holds'
    >>> within(Value("preserved", 0.01, -0.20, 0.22), 0.10)
    'undecided'
    """
    if bound <= 0:
        raise ValueError(f"a margin of equivalence must be positive, got {bound}")
    if -bound <= change.low and change.high <= bound:
        return "holds"
    return "does not hold" if change.low > bound or change.high < -bound else "undecided"


def order(values: Sequence[Value]) -> Outcome:
    """Each larger than the one before it.

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"an order needs at least two values, got {len(values)}")
    steps = [rises(difference(*pair)) for pair in pairwise(values)]
    if "does not hold" in steps:
        return "does not hold"
    return "undecided" if "undecided" in steps else "holds"


def peak(values: Sequence[Value]) -> Outcome:
    """First up, then down: some inner value is larger than the first and than the last.

    It does not hold where every inner value is smaller than one of the ends.

    Raises:
        ValueError: fewer than three values.
    """
    if len(values) < 3:
        raise ValueError(f"a peak needs at least three values, got {len(values)}")
    inner = [
        {rises(difference(end, value)) for end in (values[0], values[-1])} for value in values[1:-1]
    ]
    if any(found == {"holds"} for found in inner):
        return "holds"
    return "does not hold" if all("does not hold" in found for found in inner) else "undecided"


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a claim from those of its parts.

    One outcome for all is the claim's. Where some parts hold and others do not, or not yet, it
    *holds in part*; where none holds and one does not, it *does not hold*. Parts that are not
    measured yet leave the claim at that, whatever the others say.

    Raises:
        ValueError: no parts.
    """
    if not outcomes:
        raise ValueError("a claim needs at least one part, got none")
    found = set(outcomes)
    if len(found) == 1:
        return outcomes[0]
    if "not measured yet" in found:
        return "not measured yet"
    found -= {"not testable here"}
    if found & {"holds", "holds in part"}:
        return "holds in part" if len(found) > 1 else next(iter(found))
    return "does not hold" if "does not hold" in found else "undecided"
