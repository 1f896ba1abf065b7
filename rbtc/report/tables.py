# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""From pictures to tables: accuracies, effects, and the paper's numbers beside ours.

A study hands over one tidy frame with a line per picture (`rbtc.lab.measure.Measure.hits`, plus
whose picture it is). Here it becomes accuracies with intervals, effects (the paired change from one
model to another), and the comparison with the paper. A verdict is about an effect: its direction,
and whether the interval of the change holds zero. Two models' heights are never judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rbtc.files import write_whole
from rbtc.report.outputs import output_path
from rbtc.stats import Difference, Estimate, Share, clustered, interval, paired

Verdict = Literal["same direction", "opposite direction", "undecided", "no effect printed", ""]

PAPER_IMAGES = 500
"""Pictures behind a printed accuracy (paper Sec. 5.2)."""

TRIAL = ["asked", "seed"]
"""A picture of these is the same trial for all models.

Also of its prompt, where a frame has that column: published lists draw every prompt from one seed.
A list that holds a prompt twice counts the places in "repeat".
"""


# ---- from pictures to numbers -------------------------------------------------------------------


def accuracies(hits: pd.DataFrame, by: Sequence[str]) -> dict[Any, Share]:
    """Accuracy per group, with intervals that count a trial once.

    Args:
        hits: one line per picture: asked, seed, hit, and the columns of ``by``.
        by: columns that make a group.

    Returns:
        Key of the group (a tuple where ``by`` has more than one column) -> share, in order of
        appearance.
    """
    return {
        key if len(by) > 1 else key[0]: clustered(own["hit"], trials(own))
        for key, own in hits.groupby(list(by), sort=False, dropna=False)
    }


def nested(hits: pd.DataFrame, outer: str, inner: str) -> dict[Any, dict[Any, Share]]:
    """`{outer: {inner: accuracy}}`, for the charts."""
    found: dict[Any, dict[Any, Share]] = {}
    for (first, second), share in accuracies(hits, [outer, inner]).items():
        found.setdefault(first, {})[second] = share
    return found


def accuracy_table(hits: pd.DataFrame, down: str, across: str) -> pd.DataFrame:
    """Accuracies with intervals as text: values of one column down, of another across."""
    found = nested(hits, across, down)
    table = pd.DataFrame({key: {row: f"{share}" for row, share in of.items()}
                          for key, of in found.items()})  # fmt: skip
    return table.rename_axis(index=None).fillna("")


def effect(hits: pd.DataFrame, before: str, after: str, *, column: str = "model") -> Difference:
    """Paired change of the accuracy from one model to another, over the trials of both.

    Where a model was drawn once for several concepts (the pretrained one), its picture stands
    against each of the others'; such pairs are one cluster.

    Args:
        hits: one line per picture: asked, seed, hit, concept, and ``column``.
        before: value of ``column``.
        after: value of ``column``.
        column: what tells the models apart.

    Raises:
        ValueError: the two have no trial in common, or a picture stands there twice.
    """
    keys = [name for name in ("concept", *TRIAL, "prompt", "repeat") if name in hits]
    halves = [hits.loc[hits[column] == name, [*keys, "hit"]] for name in (before, after)]
    pairs = halves[0].merge(halves[1], on=keys, suffixes=("_before", "_after"), validate="1:1")
    if pairs.empty:
        raise ValueError(f"{before!r} and {after!r} share no picture: nothing to compare")
    return paired(pairs["hit_before"], pairs["hit_after"], trials(pairs))


def effects(
    hits: pd.DataFrame, before: str, after: str, by: str, *, column: str = "model"
) -> dict[Any, Difference]:
    """`effect` for every value of the column ``by``, in order of appearance."""
    return {
        key: effect(own, before, after, column=column)
        for key, own in hits.groupby(by, sort=False)
        if {before, after} <= set(own[column])
    }


def effects_table(found: Mapping[Any, Difference], name: str = "") -> pd.DataFrame:
    """One line per effect: the change with its interval, pairs, exact p, and what n could see."""
    lines = {
        key: {
            "change": f"{one}",
            "pairs": one.n,
            "p (McNemar)": "" if math.isnan(one.p) else f"{one.p:.2g}",
            "outcome": one.direction,
            "smallest change it could see": f"{one.detectable:.2f}",
        }
        for key, one in found.items()
    }
    return pd.DataFrame(lines).T.rename_axis(index=name or None)


def trials(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The trial of each picture or pair, equal for those that are one cluster.

    Trials of different erased concepts about the same class and seed share the pretrained picture.
    """
    keys = [*TRIAL, *(["prompt"] if "prompt" in frame else [])]
    return list(frame[keys].itertuples(index=False, name=None))


# ---- the paper beside ours ----------------------------------------------------------------------


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
    lines = []
    for row in rows:
        value, low, high = (math.nan,) * 3 if _missing(row.ours) else interval(row.ours)
        change = row.change
        lines.append(
            {
                "row": row.row,
                "column": row.column,
                "paper": math.nan if row.paper is None else float(row.paper),
                "ours": value,
                "low": low,
                "high": high,
                "n": getattr(row.ours, "n", None),
                "change": math.nan if change is None else change.value,
                "change_low": math.nan if change is None else change.low,
                "change_high": math.nan if change is None else change.high,
                "p": math.nan if change is None else change.p,
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


def comparison(
    rows: Iterable[Row], *, digits: int = 2, verdicts: bool = False, counts: bool = True
) -> pd.DataFrame:
    """The table a chapter shows: per column "paper" and "ours" (value, 95 % interval, n) as text.

    Rows and columns keep the order of their first appearance; `verdicts` adds the change that each
    place is about, and its verdict; without `counts` the n is left out. A column for which the
    paper prints nothing has no "paper". Empty text where there is no number.
    """
    rows = list(rows)
    frame = records(rows)
    frame["paper"] = [cell(row.paper, digits=digits) for row in rows]
    frame["ours"] = [cell(row.ours, digits=digits, counts=counts) for row in rows]
    frame["change"] = ["" if row.change is None else f"{row.change}" for row in rows]
    kinds = ["paper", "ours", *(["change", "verdict"] if verdicts else [])]
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


# ---- files --------------------------------------------------------------------------------------


def save_csv(frame: pd.DataFrame, name: str, folder: str | Path | None = None) -> Path:
    """Write the numbers behind a figure or table to `folder/name.csv`; return the path.

    Without a folder the file goes where `rbtc.report.outputs` says, as ``results/name.csv``.

    The file appears whole or not at all. The index is written if it has a name or labels.
    """
    if not name or name != Path(name).name or name.endswith(".csv"):
        raise ValueError(f"expected a plain file name without ending, got {name!r}")
    index = not isinstance(frame.index, pd.RangeIndex)
    return write_whole(
        (output_path("results") if folder is None else Path(folder)) / f"{name}.csv",
        lambda target: frame.to_csv(target, index=index, lineterminator="\n"),
    )


def save_snippet(text: str, frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a text and a table as one Markdown file for another page to include; return the path.

    So the opening page shows measured numbers without being a notebook. A relative path is taken
    as in `rbtc.report.outputs`. The file appears whole or not at all.
    """
    table = frame.to_html(border=0, na_rep="").replace("\n", " ")
    content = f"{text.strip()}\n\n{table}\n"
    return write_whole(
        output_path(path), lambda target: target.write_text(content, encoding="utf-8")
    )


# ---- words --------------------------------------------------------------------------------------


def percent(share: float, digits: int = 0) -> str:
    """A share as text; what is not all is never called 100 %, what is not nothing never 0 %.

    >>> percent(0.734), percent(0.0208, 1), percent(0.9989), percent(1.0)
    ('73 %', '2.1 %', '99.9 %', '100 %')
    """
    for more in range(digits, digits + 8):
        text = f"{100 * share:.{more}f}"
        if float(text) not in (0, 100) or share in (0, 1):
            break
    return f"{text} %"


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


def _missing(number: Any) -> bool:
    """None, or a NaN of any float type."""
    return number is None or (not isinstance(number, Estimate) and math.isnan(float(number)))
