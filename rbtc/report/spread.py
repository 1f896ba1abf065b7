# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Several classes at once: how far they lie apart, and how many of them a change moves.

A mean over classes with an interval over pictures says what holds for *these* classes. How much one
class differs from the next, and whether another class would do the same, is told by their spread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from rbtc.intervals import Difference, paired_means
from rbtc.report.comparisons import Row, Verdict, cell
from rbtc.report.tables import accuracies, effect, effects

VERDICTS: tuple[Verdict, ...] = (
    "same direction", "undecided", "opposite direction", "no effect printed",
)  # fmt: skip


def mean_and_spread(values: Mapping[str, float]) -> str:
    """Mean of a value per class, plus and minus their standard deviation (n - 1).

    >>> mean_and_spread({"a": 0.1, "b": 0.5, "c": 0.9}), mean_and_spread({"a": 0.3})
    ('0.50 ± 0.40', '0.30')
    """
    end = f" ± {stdev(values.values()):.2f}" if len(values) > 1 else ""
    return f"{fmean(values.values()):.2f}{end}"


def class_values(hits: pd.DataFrame, by: str) -> dict[Any, dict[str, float]]:
    """`{value of the column: {concept: accuracy}}`, in order of appearance."""
    means = pd.Series(hits.groupby([by, "concept"], sort=False)["hit"].mean())
    return {key: own.droplevel(0).to_dict() for key, own in means.groupby(level=0, sort=False)}


def spread_table(
    hits: pd.DataFrame, by: str, *, paper: Mapping[Any, Mapping[str, float]] | None = None,
    intervals: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """One line per value of a column: the mean with its interval, and the spread over classes.

    Args:
        hits: one line per picture: concept, asked, seed, hit, and ``by``.
        by: column whose values make the lines.
        paper: printed values of the classes, to summarise alike.
        intervals: also the interval of the mean, over pictures.
    """
    means = accuracies(hits, [by])
    lines = {}
    for key, values in class_values(hits, by).items():
        line = {}
        if intervals:
            line["mean, interval over pictures"] = cell(means[key], counts=False)
        if paper is not None:
            printed = paper.get(key)
            line["paper, mean ± spread"] = mean_and_spread(printed) if printed else ""
        line["ours, mean ± spread"] = mean_and_spread(values)
        line["lowest class"] = _end(values, min(values.values()))
        line["highest class"] = _end(values, max(values.values()))
        lines[key] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def over_classes(hits: pd.DataFrame, before: str, after: str) -> Difference | None:
    """Change of the classes' accuracies, each class one observation (a paired t interval).

    What it says holds for classes like these, where the interval over pictures holds for these
    ones. None for a single class, and where all change alike: nothing then shows how classes vary.
    """
    values = class_values(hits[hits["model"].isin([before, after])], "model")
    first, second = values.get(before, {}), values.get(after, {})
    both = [concept for concept in first if concept in second]
    if len(both) < 2:
        return None
    found = paired_means([first[c] for c in both], [second[c] for c in both])
    return found if found.low < found.high else None


def changes_table(
    hits: pd.DataFrame, pairs: Mapping[str, tuple[str, str]], name: str = ""
) -> pd.DataFrame:
    """One line per pair of models: the change over pictures, over classes, and class by class.

    Args:
        hits: one line per picture.
        pairs: title -> (model before, model after).
        name: of the lines.
    """
    lines = {}
    for title, (before, after) in pairs.items():
        change, classes = effect(hits, before, after), over_classes(hits, before, after)
        each = Counter(one.direction for one in effects(hits, before, after, "concept").values())
        lines[title] = {
            "change, interval over pictures": f"{change}",
            "interval over classes": "" if classes is None else _ends(classes),
            "outcome": change.direction,
            "classes that rise": each["rises"],
            "fall": each["falls"],
            "undecided": each["undecided"],
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index=name or None)


def verdict_counts(rows: Iterable[Row], down: Sequence[str] | None = None) -> pd.DataFrame:
    """How many places of each column got which verdict; columns without a printed effect left out.

    Args:
        rows: places of a comparison, one per class and column.
        down: the columns to count, in order; all by default.
    """
    counted: dict[str, Counter[str]] = {}
    for row in rows:
        if row.verdict and (down is None or row.column in down):
            counted.setdefault(row.column, Counter())[row.verdict] += 1
    lines = {column: {name: of[name] for name in VERDICTS} for column, of in counted.items()}
    return pd.DataFrame.from_dict(lines, orient="index", columns=list(VERDICTS))


def _ends(change: Difference) -> str:
    # A t interval of few classes can reach beyond what a share can change by.
    return f"[{max(change.low, -1):+.2f}, {min(change.high, 1):+.2f}]"


def _end(values: Mapping[str, float], end: float) -> str:
    names = [name for name, value in values.items() if value == end]
    return f"{end:.2f} {names[0] if len(names) == 1 else f'{len(names)} classes'}"
