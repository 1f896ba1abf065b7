"""The paper's numbers beside ours, and verdicts on its effects.

A verdict is about an effect: its direction, and whether the interval of the change holds zero. Two
models' heights are never judged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from rbtc.intervals import Difference, Estimate, interval

Verdict = Literal["same direction", "opposite direction", "undecided", "no effect printed", ""]

PAPER_IMAGES = 500
"""Pictures behind a printed accuracy (paper Sec. 5.2)."""

COLUMNS = [
    "row", "column", "paper", "ours", "low", "high", "n",
    "change", "change_low", "change_high", "p", "verdict",
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One place of a comparison table.

    Attributes:
        row: Name of the line.
        column: Name of the column.
        paper: The printed number, None where the paper has none.
        ours: Our estimate, or a plain number where there is nothing to be uncertain about.
        change: Our effect that the number is about, from some other model to this one.
        paper_from: The paper's number for that other model.
        paper_images: Pictures behind each of the paper's two numbers.
        paper_error: How far the printed change may be off, for numbers that are no shares.
    """

    row: str
    column: str
    paper: float | None
    ours: Estimate | float | None
    change: Difference | None = None
    paper_from: float | None = None
    paper_images: int = PAPER_IMAGES
    paper_error: float | None = None

    @property
    def verdict(self) -> Verdict:
        """See `verdict`."""
        images, error = self.paper_images, self.paper_error
        return verdict(self.paper_from, self.paper, self.change, images=images, error=error)


def verdict(
    before: float | None,
    after: float | None,
    ours: Difference | None,
    *,
    images: int = PAPER_IMAGES,
    error: float | None = None,
) -> Verdict:
    """Judge a printed effect by ours; the only such rule in the book.

    In this order:

    - "": the paper prints no effect, or we measured none.
    - "no effect printed": the printed change is within its own sampling error, that of two shares
      of ``images`` pictures at 95 %, or within ``error`` for numbers that are no shares.
    - "undecided": the interval of our change holds zero.
    - "same direction" or "opposite direction".
    """
    if _missing(before) or _missing(after) or ours is None:
        return ""
    assert before is not None and after is not None
    if error is None:
        error = 1.96 * math.sqrt((before * (1 - before) + after * (1 - after)) / images)
    # Printed numbers are decimals: their difference may miss the error by a rounding.
    if abs(after - before) <= error + 1e-9:
        return "no effect printed"
    if ours.direction == "undecided":
        return "undecided"
    return "same direction" if (ours.value > 0) == (after > before) else "opposite direction"


def cell(ours: Estimate | float | None, *, digits: int = 2, counts: bool = True) -> str:
    """Text of one of our numbers: `0.54 [0.44, 0.63] (n=100)`, `0.54` for a plain one.

    Without ``counts`` the n is left out, for a table whose page states it once.
    """
    if _missing(ours):
        return ""
    value, low, high = interval(ours)
    if not isinstance(ours, Estimate):
        return f"{value:.{digits}f}"
    text = f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{text} (n={ours.n})" if counts else text


def records(rows: Iterable[Row]) -> pd.DataFrame:
    """The numbers in long form, unrounded, for a CSV.

    Columns: row, column, paper, ours, low, high, n, change, change_low, change_high, p, verdict;
    `n` is missing for plain numbers.

    Raises:
        ValueError: no rows, or a place given twice.
    """
    lines, none = [], math.nan
    for row in rows:
        own = row.change
        change = (none,) * 4 if own is None else (own.value, own.low, own.high, own.p)
        ours = (none,) * 3 if _missing(row.ours) else interval(row.ours)
        paper, n = none if row.paper is None else float(row.paper), getattr(row.ours, "n", None)
        lines.append((row.row, row.column, paper, *ours, n, *change, row.verdict))
    if not lines:
        raise ValueError("a comparison needs at least one row, got none")
    frame = pd.DataFrame(lines, columns=COLUMNS).astype({"n": "Int64"})
    twice = frame.duplicated(["row", "column"])
    if twice.any():
        places = frame.loc[twice, ["row", "column"]].to_numpy().tolist()
        raise ValueError(f"a comparison holds one number per row and column, twice: {places}")
    return frame


def comparison(
    rows: Iterable[Row], other: Iterable[Row] | None = None, *, digits: int = 2,
    verdicts: bool = False, counts: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """The table a chapter shows: per column "paper" and "ours" (value, 95 % interval, n) as text.

    Rows and columns keep the order of their first appearance; `verdicts` adds the change that each
    place is about, and its verdict; without `counts` the n is left out. A column for which the
    paper prints nothing has no "paper". Empty text where there is no number.

    Where `other` holds the rows of Stable Diffusion v1.5, "ours" becomes "sd15" and "emoji-sd"; a
    line that it lacks stays empty.
    """
    rows = list(rows)
    frame = records(rows)
    frame["paper"] = [cell(row.paper, digits=digits) for row in rows]
    frame["ours"] = [cell(row.ours, digits=digits, counts=counts) for row in rows]
    frame["change"] = ["" if row.change is None else f"{row.change}" for row in rows]
    kinds = ["paper", "ours", *(["change", "verdict"] if verdicts else [])]
    if other is not None:
        texts = {(_plain(one.row), one.column): cell(one.ours) for one in other}
        frame["sd15"] = [texts.get((_plain(row.row), row.column), "") for row in rows]
        frame["emoji-sd"], kinds[1:2] = frame["ours"], ["sd15", "emoji-sd"]
    wide = frame.pivot(index="row", columns="column", values=kinds).swaplevel(axis=1)
    printed = {row.column for row in rows if not _missing(row.paper)}
    columns = [
        (name, kind)
        for name in dict.fromkeys(frame["column"])
        for kind in kinds
        if kind != "paper" or name in printed
    ]
    wide = wide.reindex(index=list(dict.fromkeys(frame["row"])), columns=columns)
    wide.columns = pd.MultiIndex.from_tuples(columns)
    return wide.rename_axis(index=None).fillna("")


def _plain(row: str) -> str:
    """A line's name without the miniature's own word: "golf ball (golf flag)"."""
    return re.sub(r" \([^)]*\)$", "", row).casefold()


def _missing(number: Any) -> bool:
    """None, or a NaN of any float type."""
    return number is None or (not isinstance(number, Estimate) and math.isnan(float(number)))
