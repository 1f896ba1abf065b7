"""Sentences about outcomes, worded from the numbers.

A page is executed again with another model, other concepts, more pictures. What it says about the
outcome has to follow, so such sentences are put together here and in the studies' `describe`.
"""

from collections.abc import Iterable
from typing import Any, Literal

from rbtc.tables import interval

Relation = Literal["above", "below", "not distinguishable from"]


def relation(ours: Any, other: Any) -> Relation:
    """How one number lies to another; intervals that overlap are not told apart.

    Takes estimates with an interval (`rbtc.stats`) and plain numbers.

    >>> relation(0.9, 0.5), relation(0.5, 0.5)
    ('above', 'not distinguishable from')
    """
    _, low, high = interval(ours)
    _, other_low, other_high = interval(other)
    if low > other_high:
        return "above"
    return "below" if high < other_low else "not distinguishable from"


def percent(share: float, digits: int = 0) -> str:
    """A share as text.

    >>> percent(0.734), percent(0.0208, 1)
    ('73 %', '2.1 %')
    """
    return f"{100 * share:.{digits}f} %"


def listing(items: Iterable[Any]) -> str:
    """Items in a row of words.

    >>> listing(["a", "b", "c"]), listing([])
    ('a, b and c', 'none')
    """
    words = [str(item) for item in items]
    if not words:
        return "none"
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def power(number: float) -> str:
    """A number as the paper writes its noise levels, or in three digits.

    >>> power(0.001), power(0.0316)
    ('1e-3', '0.0316')
    """
    mantissa, _, exponent = f"{number:.2e}".partition("e")
    return f"1e{int(exponent)}" if float(mantissa) == 1 else f"{number:.3g}"
