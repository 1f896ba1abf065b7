# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Picking values out of a chapter's results file by a line of text, as the claims' list writes it.

Lines are named by conditions, ``column=value; column=value``; a value may hold ``*`` and several
values stand with ``|`` between them. What is read from the lines is a quantity:

- ``change``: the columns change, change_low and change_high (a paired effect);
- ``ours``, ``value`` or any other column, with ``low`` and ``high`` where the file has them;
- ``hits of n``: two columns of counts, summed over the lines, as a share with its Wilson interval.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

import pandas as pd

from rbtc.report.rules import Value
from rbtc.stats import Proportion

WITH_INTERVAL = ("ours", "value", "right signs")
"""Columns that ``low`` and ``high`` belong to."""


def lines(frame: pd.DataFrame, conditions: str) -> pd.DataFrame:
    """The lines of a results file that meet all conditions, in its order.

    Args:
        frame: a results file.
        conditions: ``column=value; ...``; empty text takes every line.

    Raises:
        LookupError: no such column, or no such line.
    """
    keep = pd.Series(True, index=frame.index)
    for condition in filter(None, (part.strip() for part in conditions.split(";"))):
        column, equals, wanted = (text.strip() for text in condition.partition("="))
        if not equals:
            raise ValueError(f"expected column=value, got {condition!r}")
        if column not in frame:
            raise LookupError(f"has no column {column!r}, only {list(frame)}")
        patterns = [pattern.strip() for pattern in wanted.split("|")]
        keep &= frame[column].map(
            lambda value, of=patterns: any(_matches(value, one) for one in of)
        )
    if not keep.any():
        raise LookupError(f"has no line with {conditions!r}")
    return frame[keep]


def values(frame: pd.DataFrame, quantity: str) -> list[Value]:
    """What the chosen lines say: one value per line, or one for all where counts are summed.

    Args:
        frame: lines of a results file.
        quantity: see the module.

    Raises:
        LookupError: the columns are missing, or empty on every line.
    """
    share, of, total = (text.strip() for text in quantity.partition(" of "))
    names = [share, total] if of else [quantity]
    if quantity == "change":
        names += ["change_low", "change_high"]
    if missing := [name for name in names if name not in frame]:
        raise LookupError(f"has no column {missing[0]!r}, only {list(frame)}")
    if of:
        found = Proportion(int(frame[share].sum()), int(frame[total].sum()))
        return [Value(_label(frame.iloc[0]), found.value, found.low, found.high, found.n)]
    low, high = ("change_low", "change_high") if quantity == "change" else ("low", "high")
    bounded = quantity == "change" or (quantity in WITH_INTERVAL and {"low", "high"} <= {*frame})
    picked = []
    for _, line in frame.iterrows():
        value = float(line[quantity])
        if math.isnan(value):
            continue
        ends = (float(line[low]), float(line[high])) if bounded else (value, value)
        number = line.get("n", 0)
        picked.append(Value(_label(line), value, *ends, 0 if pd.isna(number) else int(number)))
    if not picked:
        raise LookupError(f"holds no {quantity!r} on the lines asked for")
    return picked


def value(frame: pd.DataFrame, conditions: str, quantity: str) -> Value:
    """One value.

    Raises:
        LookupError: the lines hold none, or several.
    """
    found = values(lines(frame, conditions), quantity)
    if len(found) > 1:
        raise LookupError(f"has {len(found)} lines with {conditions!r}, expected one")
    return found[0]


def _matches(value: object, pattern: str) -> bool:
    if isinstance(value, float) and "*" not in pattern:
        try:
            return math.isclose(value, float(pattern), rel_tol=1e-9)
        except ValueError:
            return False
    return fnmatchcase(str(value), pattern)


def _label(line: pd.Series) -> str:
    """What a line is about, from the columns that name things."""
    named = ("concept", "model", "row", "column", "solver", "layer", "matrix", "series", "x")
    texts = [f"{line[name]:g}" if isinstance(line[name], float) else str(line[name])
             for name in named if name in line and pd.notna(line[name])]  # fmt: skip
    return ", ".join(texts)
