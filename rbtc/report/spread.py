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
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from rbtc.report.comparisons import Row, Verdict, cell
from rbtc.report.tables import accuracies, effect, effects
from rbtc.stats import Difference, paired_means

VERDICTS: tuple[Verdict, ...] = (
    "same direction", "undecided", "opposite direction", "no effect printed",
)  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """What several classes have in common, and what not.

    Attributes:
        mean: Mean over the classes.
        deviation: Standard deviation over the classes (n - 1); None for one class.
        lowest: Value of the lowest class, and its name; all names where several share it.
        highest: The same of the highest.
    """

    mean: float
    deviation: float | None
    lowest: tuple[float, tuple[str, ...]]
    highest: tuple[float, tuple[str, ...]]

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Spread:
        """From a value per class.

        Raises:
            ValueError: no class.
        """
        if not values:
            raise ValueError("a spread needs at least one class, got none")
        ends = [
            (end, tuple(name for name, value in values.items() if value == end))
            for end in (min(values.values()), max(values.values()))
        ]
        deviation = stdev(values.values()) if len(values) > 1 else None
        return cls(fmean(values.values()), deviation, *ends)

    def __str__(self) -> str:
        """Mean plus and minus the standard deviation over classes."""
        end = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{end}"


def class_values(hits: pd.DataFrame, by: str) -> dict[Any, dict[str, float]]:
    """`{value of the column: {concept: accuracy}}`, in order of appearance."""
    found: dict[Any, dict[str, float]] = {}
    means = hits.groupby([by, "concept"], sort=False, as_index=False).agg(hit=("hit", "mean"))
    for key, concept, share in means[[by, "concept", "hit"]].itertuples(index=False, name=None):
        found.setdefault(key, {})[concept] = float(share)
    return found


def spread_table(
    hits: pd.DataFrame,
    by: str,
    *,
    paper: Mapping[Any, Mapping[str, float]] | None = None,
    intervals: bool = True,
) -> pd.DataFrame:
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
        found = Spread.of(values)
        line = {}
        if intervals:
            line["mean, interval over pictures"] = cell(means[key], counts=False)
        if paper is not None:
            printed = paper.get(key)
            line["paper, mean ± spread"] = f"{Spread.of(printed)}" if printed else ""
        line["ours, mean ± spread"] = f"{found}"
        line["lowest class"] = _end(*found.lowest)
        line["highest class"] = _end(*found.highest)
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


def _end(value: float, names: tuple[str, ...]) -> str:
    return f"{value:.2f} {names[0] if len(names) == 1 else f'{len(names)} classes'}"
