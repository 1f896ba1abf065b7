# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Where the paper's own numbers disagree with each other: arithmetic on its printed tables.

Each function returns a `Check`: numbers with names, and whether they bear out the reading that
`data/paper/contradictions.csv` gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rbtc.paper import averages, paper_value, wide_table
from rbtc.stats import Proportion

Support = Literal["supports", "against", "undecided", ""]

IMAGES = 500
"""Pictures behind an accuracy (Sec. 5.2)."""

KEEP_TABLES = {"Golf Ball": 3, "Parachute": 8, "Church": 9, "Gas Pump": 10}
METHODS = ("Neuron Sample", "Neuron Average", "NMS")


@dataclass(frozen=True)
class Check:
    """Numbers that bear on a contradiction.

    Attributes:
        numbers: Name of a number -> the number as text.
        support: Whether they bear out our reading; empty where they only illustrate.
    """

    numbers: Mapping[str, str]
    support: Support = ""


def duplicate_tables() -> Check:
    """Tables 4 and 11 are one, but for a name."""
    four, eleven = wide_table(4), wide_table(11)
    names = [name for name in [*four.index, *eleven.index]
             if (name in four.index) != (name in eleven.index)]  # fmt: skip
    differ = int((four.to_numpy() != eleven.to_numpy()).sum())
    numbers = {"values that differ": f"{differ} of {four.size}", "names": " / ".join(names)}
    return Check(numbers, "supports" if not differ else "against")


def quoted_detections() -> Check:
    """What Table 7 counts for the pretrained and the pruned model."""
    rows = {name: wide_table(7).loc[name] for name in ("pretrained", "ConceptPrune")}
    more = bool((rows["pretrained"] > rows["ConceptPrune"]).all())
    numbers = {f"Table 7, {name}": _slashes(row) for name, row in rows.items()}
    return Check(numbers, "supports" if more else "against")


def best_detections() -> Check:
    """The largest count of Table 7 in each prompt set, and its row."""
    revived = wide_table(7).filter(like="Top", axis=0)
    numbers = {name: f"{revived[name].max():g} at {revived[name].idxmax()}" for name in revived}
    return Check(numbers)


def missing_rise() -> Check:
    """Counts of Table 7 that do not lie above ConceptPrune's by more than chance."""
    table = wide_table(7)
    numbers = {}
    for name in table.filter(like="Top", axis=0).index:
        for column in table:
            before, after = table.loc["ConceptPrune", column], table.loc[name, column]
            if after - before <= 1.96 * math.sqrt(before + after):
                numbers[f"{column}, {name}"] = f"{after:g} against {before:g}"
    return Check(numbers, "supports" if numbers else "against")


def smallest_noise() -> Check:
    """How many classes have the same accuracy pruned and with the smallest noise."""
    pruned, noisy = wide_table(1)["erased: ConceptPrune"], wide_table(12)["defended: 1e-6"]
    classes = pruned.index.drop("Average")
    same = int((pruned[classes] == noisy[classes]).sum())
    numbers = {"classes alike in Tables 1 and 12 at 1e-6": f"{same} of {len(classes)}"}
    return Check(numbers, "supports" if same == len(classes) else "against")


def outlier() -> Check:
    """The one class that the attack on the least defended model brings back."""
    column = wide_table(12)["attacked: 1e-6"].drop("Average").sort_values()
    numbers = {str(name): f"{value:.2f}" for name, value in column.iloc[:-3:-1].items()}
    return Check(numbers)


def pretrained_average() -> Check:
    """The average of the pretrained accuracies in Table 1."""
    return _average(1, "erased: pretrained", 3)


def distance_average() -> Check:
    """The average of ConceptPrune's FID in Table 2."""
    return _average(2, "ConceptPrune: COCO FID", 2)


def preserved_classes() -> Check:
    """Preserved accuracy of the pretrained model beside the mean of the eleven other classes."""
    table = wide_table(1).drop("Average")
    own, printed = table["erased: pretrained"], table["preserved: pretrained"]
    others = (own.sum() - own) / (len(own) - 1)
    numbers = {
        "printed": f"{printed.min():.2f} to {printed.max():.2f}",
        "mean of the others": f"{others.min():.3f} to {others.max():.3f}",
    }
    return Check(numbers, "supports" if np.abs(others - printed).max() > 0.01 else "against")


def reruns() -> Check:
    """Largest difference between Table 1 and the ablation tables at the same K."""
    found = [
        abs(paper_value(1, name, f"erased: {method}") - paper_value(table, "Top 0.6", method))
        for name, table in KEEP_TABLES.items()
        for method in METHODS
    ]
    worst = max(found)
    numbers = {"largest difference": f"{worst:.2f}", "places": f"{len(found)}"}
    return Check(numbers, "supports" if worst <= 0.011 else "against")


def best_keep_ratio() -> Check:
    """The K at which NMS is best, table by table."""
    best = {name: wide_table(table)["NMS"].idxmax() for name, table in KEEP_TABLES.items()}
    return Check(best, "supports" if len(set(best.values())) > 1 else "against")


def one_keep_ratio() -> Check:
    """What Table 3 says about K, which Table 1 cannot."""
    column = wide_table(3)["NMS"]
    return Check({f"Table 3, {name}": f"{value:.2f}" for name, value in column.items()})


def better_baseline() -> Check:
    """Classes for which Quant Recover beats NMS in Table 1."""
    table = wide_table(1).drop("Average")
    quant, ours = table["erased: Quant Recover"], table["erased: NMS"]
    numbers = {str(n): f"{quant[n]:.2f} against {ours[n]:.2f}" for n in table.index[quant > ours]}
    return Check(numbers, "supports" if numbers else "against")


def worst_magnitude() -> Check:
    """Places of Tables 3 and 8 to 10 where another magnitude does better than NMS."""
    numbers = {}
    for name, table in KEEP_TABLES.items():
        for row, of in wide_table(table).iterrows():
            best = of.drop("NMS").max()
            if of["NMS"] < best:
                numbers[f"Table {table}, {name}, {row}"] = f"{of['NMS']:.2f} against {best:.2f}"
    return Check(numbers, "supports" if numbers else "against")


def equal_counts() -> Check:
    """Sums of the rows and columns of Table 5: one each if the groups are of equal count."""
    table = wide_table(5)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    numbers = {
        "rows add up to": f"{rows.min():.2f} to {rows.max():.2f}",
        "columns": f"{columns.min():.2f} to {columns.max():.2f}",
    }
    # Five values cut off after two digits lose less than 0.05 together.
    near = bool((rows > 0.95).all() and (columns > 0.93).all())
    return Check(numbers, "supports" if near else "against")


def sampling_error() -> Check:
    """How far off an accuracy over the paper's number of pictures may be."""
    half = Proportion(IMAGES // 2, IMAGES)
    return Check({f"95 % interval of one half over {IMAGES} pictures": f"{half}"}, "supports")


PRINTED: dict[str, Callable[[], Check]] = {
    one.__name__: one
    for one in (
        duplicate_tables, quoted_detections, best_detections, missing_rise, smallest_noise, outlier,
        pretrained_average, distance_average, preserved_classes, reruns, best_keep_ratio,
        one_keep_ratio, better_baseline, worst_magnitude, equal_counts, sampling_error,
    )
}  # fmt: skip
"""The checks by name."""


def _average(table: int, column: str, digits: int) -> Check:
    printed, mean = averages(table).loc[column, ["printed average", "mean of printed values"]]
    count = int(wide_table(table)[column].drop("Average").notna().sum())
    numbers = {f"mean of {count} values": f"{mean:.{digits + 1}f}", "printed": f"{printed:g}"}
    return Check(numbers, "supports" if abs(mean - printed) > 0.5 * 10**-digits else "against")


def _slashes(row: Mapping) -> str:
    return " / ".join(f"{value:g}" for value in dict(row).values())
