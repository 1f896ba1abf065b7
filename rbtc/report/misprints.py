# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false
# (pandas cannot say whether a selection is a frame or a series)
"""Where the paper's own numbers disagree with each other: arithmetic on its printed tables.

Each function of `PRINTED` returns a `Check`: numbers with names, and whether they bear out the
reading that `data/paper/contradictions.csv` gives. `misfits` is the same for a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from rbtc.paper import averages, paper_value, wide_table
from rbtc.report.style import house_style
from rbtc.stats import Proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def _check(numbers: Mapping[str, str], holds: object) -> Check:
    """A check that speaks for our reading or against it."""
    return Check(numbers, "supports" if holds else "against")


def duplicate_tables() -> Check:
    """Tables 4 and 11 are one, but for a name."""
    four, eleven = wide_table(4), wide_table(11)
    names = [name for name in [*four.index, *eleven.index]
             if (name in four.index) != (name in eleven.index)]  # fmt: skip
    differ = int((four.to_numpy() != eleven.to_numpy()).sum())
    return _check(
        {"values that differ": f"{differ} of {four.size}", "names": " / ".join(names)}, not differ
    )


def quoted_detections() -> Check:
    """What Table 7 counts for the pretrained and the pruned model."""
    table = wide_table(7).loc[["pretrained", "ConceptPrune"]]
    numbers = {f"Table 7, {n}": " / ".join(map("{:g}".format, row)) for n, row in table.iterrows()}
    return _check(numbers, (table.loc["pretrained"] > table.loc["ConceptPrune"]).all())


def best_detections() -> Check:
    """The largest count of Table 7 in each prompt set, and its row."""
    revived = wide_table(7).filter(like="Top", axis=0)
    return Check({name: f"{own.max():g} at {own.idxmax()}" for name, own in revived.items()})


def missing_rise() -> Check:
    """Counts of Table 7 that do not lie above ConceptPrune's by more than chance."""
    before, revived = wide_table(7).loc["ConceptPrune"], wide_table(7).filter(like="Top", axis=0)
    none = revived - before <= 1.96 * np.sqrt(revived + before)
    numbers = {
        f"{column}, {name}": f"{revived.loc[name, column]:g} against {before[column]:g}"
        for (name, column), alike in none.stack().items()
        if alike
    }
    return _check(numbers, numbers)


def smallest_noise() -> Check:
    """How many classes have the same accuracy pruned and with the smallest noise."""
    pruned, noisy = wide_table(1)["erased: ConceptPrune"], wide_table(12)["defended: 1e-6"]
    alike = (pruned == noisy.reindex(pruned.index)).drop("Average")
    told = f"{alike.sum()} of {len(alike)}"
    return _check({"classes alike in Tables 1 and 12 at 1e-6": told}, alike.all())


def outlier() -> Check:
    """The one class that the attack on the least defended model brings back, and the next."""
    most = wide_table(12)["attacked: 1e-6"].drop("Average").sort_values().iloc[:-3:-1]
    return Check({str(name): f"{value:.2f}" for name, value in most.items()})


def _average(table: int, column: str, digits: int) -> Check:
    printed, mean = averages(table).loc[column, ["printed average", "mean of printed values"]]
    count = int(wide_table(table)[column].drop("Average").notna().sum())
    numbers = {f"mean of {count} values": f"{mean:.{digits + 1}f}", "printed": f"{printed:g}"}
    return _check(numbers, abs(mean - printed) > 0.5 * 10**-digits)


def pretrained_average() -> Check:
    """The average of the pretrained accuracies in Table 1."""
    return _average(1, "erased: pretrained", 3)


def distance_average() -> Check:
    """The average of ConceptPrune's FID in Table 2."""
    return _average(2, "ConceptPrune: COCO FID", 2)


def preserved_classes() -> Check:
    """Preserved accuracy of the pretrained model beside the mean of the eleven other classes."""
    found = _preserved()
    return _check(
        {
            "printed": f"{found['printed'].min():.2f} to {found['printed'].max():.2f}",
            "mean of the others": f"{found['expected'].min():.3f} to {found['expected'].max():.3f}",
        },
        (found["expected"] - found["printed"]).abs().max() > 0.01,
    )


def reruns() -> Check:
    """Largest difference between Table 1 and the ablation tables at the same K."""
    found = _reruns()
    worst = (found["printed"] - found["expected"]).abs().max()
    return _check({"largest difference": f"{worst:.2f}", "places": f"{len(found)}"}, worst <= 0.011)


def best_keep_ratio() -> Check:
    """The K at which NMS is best, table by table."""
    best = {name: str(wide_table(table)["NMS"].idxmax()) for name, table in KEEP_TABLES.items()}
    return _check(best, len({*best.values()}) > 1)


def one_keep_ratio() -> Check:
    """What Table 3 says about K, which Table 1 cannot."""
    column = wide_table(3)["NMS"]
    return Check({f"Table 3, {name}": f"{value:.2f}" for name, value in column.items()})


def better_baseline() -> Check:
    """Classes for which Quant Recover beats NMS in Table 1."""
    table = wide_table(1).drop("Average")
    quant, ours = table["erased: Quant Recover"], table["erased: NMS"]
    numbers = {str(n): f"{quant[n]:.2f} against {ours[n]:.2f}" for n in table.index[quant > ours]}
    return _check(numbers, numbers)


def worst_magnitude() -> Check:
    """Places of Tables 3 and 8 to 10 where another magnitude does better than NMS."""
    numbers = {
        f"Table {table}, {name}, {row}": f"{of['NMS']:.2f} against {of.max():.2f}"
        for name, table in KEEP_TABLES.items()
        for row, of in wide_table(table).iterrows()
        if of["NMS"] < of.max()
    }
    return _check(numbers, numbers)


def equal_counts() -> Check:
    """Sums of the rows and columns of Table 5: one each if the groups are of equal count."""
    rows, columns = wide_table(5).sum(axis=1), wide_table(5).sum(axis=0)
    numbers = {
        "rows add up to": f"{rows.min():.2f} to {rows.max():.2f}",
        "columns": f"{columns.min():.2f} to {columns.max():.2f}",
    }
    # Five values cut off after two digits lose less than 0.05 together.
    return _check(numbers, (rows > 0.95).all() and (columns > 0.93).all())


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


# ---- all pairs of numbers that should agree -----------------------------------------------------


def _averages() -> pd.DataFrame:
    """The averages of Tables 1, 4, 11 and 12, and the means of their columns."""
    lines = [
        (f"Table {number}, {column}", average, mean)
        for number in (1, 4, 11, 12)
        for column, average, mean in averages(number).itertuples(name=None)
    ]
    return pd.DataFrame(lines, columns=["place", "printed", "expected"])


def _reruns() -> pd.DataFrame:
    """Accuracies of Table 1 that the ablation tables print too, at Table 1's K."""
    lines = [
        (
            f"Tables 1 and {number}, {name}, {method}",
            paper_value(1, name, f"erased: {method}"),
            paper_value(number, "Top 0.6", method),
        )
        for name, number in KEEP_TABLES.items()
        for method in METHODS
    ]
    return pd.DataFrame(lines, columns=["place", "printed", "expected"])


def _preserved() -> pd.DataFrame:
    """Table 1's preserved accuracies of the pretrained model, and the means that they should be."""
    table = wide_table(1).drop("Average")
    own = table["erased: pretrained"]
    return pd.DataFrame(
        {
            "place": [f"Table 1, preserved classes of {name}" for name in table.index],
            "printed": table["preserved: pretrained"].to_numpy(),
            "expected": [float(own.drop(name).mean()) for name in table.index],
        }
    )


def misfits() -> pd.DataFrame:
    """Printed numbers in pairs that should agree: place, printed, expected, kind, gap.

    Accuracies only, so that one axis fits them all.
    """
    pairs = {
        "average and mean of its column": _averages(),
        "one setting in two tables": _reruns(),
        "preserved classes and mean of the others": _preserved(),
    }
    found = pd.concat([own.assign(kind=kind) for kind, own in pairs.items()], ignore_index=True)
    return found.assign(gap=found["printed"] - found["expected"])


def misfit_figure() -> Figure:
    """How far printed numbers lie from what other printed numbers say, by kind.

    The band is what rounding to two digits explains.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    frame = misfits()
    with house_style():
        figure, ax = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
        plt.close(figure)
        ax.axvspan(-0.005, 0.005, color="#949494", alpha=0.25, linewidth=0)
        # seaborn jitters with the global generator; the page is the same every time.
        np.random.seed(0)  # noqa: NPY002
        sns.stripplot(frame, x="gap", y="kind", hue="kind", legend=False, jitter=0.2, size=5,
                      alpha=0.8, ax=ax)  # fmt: skip
        ax.set(xlabel="printed minus expected accuracy", ylabel="")
        ax.xaxis.set_major_locator(plt.MultipleLocator(0.01))
    return figure
