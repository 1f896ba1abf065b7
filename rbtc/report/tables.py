"""From pictures to tables: accuracies and effects.

A study hands over one tidy frame with a line per picture (`rbtc.lab.measure.Measure.hits`, plus
whose picture it is). Here it becomes accuracies with intervals, and effects: the paired change from
one model to another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.files import write_whole
from rbtc.intervals import Difference, Estimate, Share, clustered, interval, paired
from rbtc.report.outputs import output_path

Values = Mapping[Any, Mapping[Any, Estimate | float]]
"""Series -> label or place -> estimate, or a plain number."""

TRIAL = ["asked", "seed"]
"""A picture of these is the same trial for all models.

Also of its prompt, where a frame has that column: published lists draw every prompt from one seed.
A list that holds a prompt twice counts the places in "repeat".
"""


def accuracies(hits: pd.DataFrame, by: Sequence[str]) -> dict[Any, Share]:
    """Accuracy per group, with intervals that count a trial once.

    Args:
        hits: one line per picture: asked, seed, hit, and the columns of ``by``.
        by: columns that make a group.

    Returns:
        Key of the group (a tuple where ``by`` has more than one column) -> share, in order of
        appearance.
    """
    groups = hits.assign(trial=trials(hits)).groupby(list(by), sort=False, dropna=False)
    return {
        key if len(by) > 1 else key[0]: clustered(own["hit"], own["trial"].tolist())
        for key, own in groups[["hit", "trial"]]
    }


def accuracy(hits: pd.DataFrame, model: str) -> Share:
    """Accuracy of one model, with an interval that counts a trial once."""
    own = hits[hits["model"] == model]
    return clustered(own["hit"], trials(own).tolist())


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
    return paired(pairs["hit_before"], pairs["hit_after"], trials(pairs).tolist())


def effects(
    hits: pd.DataFrame, before: str, after: str, by: str, *, column: str = "model"
) -> dict[Any, Difference]:
    """`effect` for every value of the column ``by``, in order of appearance."""
    return {
        key: effect(own, before, after, column=column)
        for key, own in hits.groupby(by, sort=False)
        if {before, after} <= set(own[column])
    }


def effects_table(
    found: Mapping[Any, Difference], name: str = "", *, pictures: bool = True
) -> pd.DataFrame:
    """One line per effect: the change with its interval, pairs, p, and what n could see.

    Changes of means instead of ``pictures`` have the p of a paired t test, and no smallest change.
    """
    test, lines = f"p ({'McNemar' if pictures else 't test'})", {}
    for key, one in found.items():
        p = "" if math.isnan(one.p) else f"{one.p:.2g}"
        lines[key] = {"change": f"{one}", "pairs": one.n, test: p, "outcome": one.direction}
        if pictures:
            lines[key]["smallest change it could see"] = f"{one.detectable:.2f}"
    return pd.DataFrame(lines).T.rename_axis(index=name or None)


def counts(hits: pd.DataFrame) -> pd.DataFrame:
    """A frame of pictures as one line per concept, model, setting and class: hits and n.

    What a chapter saves: the CSV behind its figures, without a line for every picture.
    """
    by = [name for name in hits if name not in ("prompt", "seed", "repeat", "seen", "hit")]
    found = hits.groupby(by, sort=False, dropna=False)["hit"].agg(hits="sum", n="size")
    return found.reset_index()


def long_form(values: Values) -> pd.DataFrame:
    """`values[series][x]` as a table: series, x, value, low, high, n. The numbers of a figure."""
    points = [(name, x, ours) for name, own in values.items() for x, ours in own.items()]
    lines = [(name, x, *interval(ours), getattr(ours, "n", None)) for name, x, ours in points]
    if not lines:
        raise ValueError("a figure needs at least one value, got none")
    frame = pd.DataFrame(lines, columns=["series", "x", "value", "low", "high", "n"])
    return frame.astype({"n": "Int64"})


def trials(frame: pd.DataFrame) -> pd.Series:
    """Number of the trial of each picture or pair, equal for those that are one cluster.

    Trials of different erased concepts about the same class and seed share the pretrained picture.
    """
    keys = [*TRIAL, *(["prompt"] if "prompt" in frame else [])]
    return frame.groupby(keys, sort=False, dropna=False).ngroup()


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


def power(number: float) -> str:
    """A number as the paper writes its noise levels, or in three digits.

    >>> power(0.001), power(0.0316)
    ('1e-3', '0.0316')
    """
    mantissa, _, exponent = f"{number:.2e}".partition("e")
    return f"1e{int(exponent)}" if float(mantissa) == 1 else f"{number:.3g}"
