"""One way to set the paper's numbers beside ours, used by every chapter.

A number of ours is a `Proportion` or a `Mean` of `rbtc.stats` (anything with `value`, `low`,
`high`, `n`), or a plain number where there is nothing to be uncertain about.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pandas as pd

Verdict = Literal[
    "agrees",
    "same direction",
    "opposite direction",
    "undecided",
    "above",
    "below",
    "not in the paper",
]
HALF_A_UNIT = 0.005  # the paper prints two decimals


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


@dataclass(frozen=True)
class Row:
    """One place of a comparison table.

    `paper` is the printed number, None where the paper has none. With `paper_baseline` and
    `our_baseline` (the pruned model beside the revived one, say) the verdict can speak about the
    direction of an effect.
    """

    row: str
    column: str
    paper: float | None
    ours: Estimate | float | None
    paper_baseline: float | None = None
    our_baseline: Estimate | float | None = None

    @property
    def verdict(self) -> Verdict:
        """See `verdict`."""
        return verdict(
            self.paper,
            self.ours,
            paper_baseline=self.paper_baseline,
            our_baseline=self.our_baseline,
        )


def verdict(
    paper: float | None,
    ours: Estimate | float | None,
    *,
    paper_baseline: float | None = None,
    our_baseline: Estimate | float | None = None,
) -> Verdict:
    """Judge one printed number by ours; the only such rule in the book.

    In this order:

    - "not in the paper": the paper prints no number, or we have none.
    - "agrees": the printed number lies in our 95 % interval, widened by half a unit of its last
      printed digit (0.005).
    - With both baselines, the effect is judged: our value and our baseline differ if their
      intervals do not overlap. "same direction" or "opposite direction" to the paper's effect;
      "undecided" if ours do not differ or the paper's are equal.
    - Without, "above" or "below": where our value lies, seen from the paper's.
    """
    if _missing(paper) or _missing(ours):
        return "not in the paper"
    assert paper is not None
    value, low, high = interval(ours)
    if low - HALF_A_UNIT - 1e-12 <= paper <= high + HALF_A_UNIT + 1e-12:
        return "agrees"
    if _missing(paper_baseline) or _missing(our_baseline):
        return "above" if value > paper else "below"
    assert paper_baseline is not None
    _, base_low, base_high = interval(our_baseline)
    direction = (low > base_high) - (high < base_low)
    expected = (paper > paper_baseline) - (paper < paper_baseline)
    if direction * expected == 0:
        return "undecided"
    return "same direction" if direction == expected else "opposite direction"


def interval(ours: Any) -> tuple[float, float, float]:
    """(value, low, high); a plain number is its own interval."""
    if isinstance(ours, Estimate):
        return float(ours.value), float(ours.low), float(ours.high)
    value = float(ours)
    return value, value, value


def cell(ours: Estimate | float | None, *, digits: int = 2) -> str:
    """Text of one of our numbers: `0.54 [0.44, 0.63] (n=100)`, `0.54` for a plain one."""
    if _missing(ours):
        return ""
    value, low, high = interval(ours)
    if not isinstance(ours, Estimate):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}] (n={ours.n})"


def records(rows: Iterable[Row]) -> pd.DataFrame:
    """The numbers in long form: row, column, paper, ours, low, high, n, verdict.

    What `save_csv` should write: nothing is rounded. `n` is missing for plain numbers. Raises
    ValueError if a place is given twice or if there are no rows.
    """
    lines = []
    for row in rows:
        value, low, high = (math.nan,) * 3 if _missing(row.ours) else interval(row.ours)
        lines.append(
            {
                "row": row.row,
                "column": row.column,
                "paper": math.nan if row.paper is None else float(row.paper),
                "ours": value,
                "low": low,
                "high": high,
                "n": getattr(row.ours, "n", None),
                "verdict": row.verdict,
            }
        )
    if not lines:
        raise ValueError("a comparison needs at least one row, got none")
    frame = pd.DataFrame(lines)
    frame["n"] = frame["n"].astype("Int64")
    twice = frame.duplicated(["row", "column"])
    if twice.any():
        places = frame.loc[twice, ["row", "column"]].to_numpy().tolist()
        raise ValueError(f"a comparison holds one number per row and column, twice: {places}")
    return frame


def comparison(rows: Iterable[Row], *, digits: int = 2, verdicts: bool = False) -> pd.DataFrame:
    """The table a chapter shows: per column "paper" and "ours" (value, 95 % interval, n) as text.

    Rows and columns keep the order of their first appearance; `verdicts` adds the judgement of
    each place. Empty text where there is no number.
    """
    rows = list(rows)
    frame = records(rows)
    frame["paper"] = [cell(row.paper, digits=digits) for row in rows]
    frame["ours"] = [cell(row.ours, digits=digits) for row in rows]
    kinds = ["paper", "ours", *(["verdict"] if verdicts else [])]
    wide = frame.pivot(index="row", columns="column", values=kinds).swaplevel(axis=1)
    columns = [(name, kind) for name in dict.fromkeys(frame["column"]) for kind in kinds]
    wide = wide.reindex(index=list(dict.fromkeys(frame["row"])), columns=columns)
    wide.columns = pd.MultiIndex.from_tuples(columns)
    return wide.rename_axis(index=None).fillna("")


def save_csv(frame: pd.DataFrame, name: str, folder: str | Path = "results") -> Path:
    """Write the numbers behind a figure or table to `folder/name.csv`; return the path.

    The file appears whole or not at all. The index is written if it has a name or labels.
    """
    if not name or name != Path(name).name or name.endswith(".csv"):
        raise ValueError(f"expected a plain file name without ending, got {name!r}")
    path = Path(folder) / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    frame.to_csv(unfinished, index=not isinstance(frame.index, pd.RangeIndex), lineterminator="\n")
    unfinished.replace(path)
    return path


def save_snippet(text: str, frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a text and a table as one Markdown file for another page to include; return the path.

    So the opening page shows measured numbers without being a notebook. The file appears whole or
    not at all.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = frame.to_html(border=0, na_rep="").replace("\n", " ")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(f"{text.strip()}\n\n{table}\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def _missing(number: Any) -> bool:
    return number is None or (isinstance(number, float) and math.isnan(number))
