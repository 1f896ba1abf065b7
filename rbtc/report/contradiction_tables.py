"""The page of contradictions: tables of readings, and the printed numbers that disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.paper import averages, paper_value, wide_table
from rbtc.report import markdown
from rbtc.report.claim_tables import page_link
from rbtc.report.misprints import KEEP_TABLES, METHODS, PRINTED
from rbtc.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rbtc.studies.contradictions import Contradiction


def kinds(found: Sequence[Contradiction]) -> dict[str, list[Contradiction]]:
    """Contradictions by what bears on them: "printed" numbers, something "measured", "reading"."""
    groups: dict[str, list[Contradiction]] = {"printed": [], "measured": [], "reading": []}
    for one in found:
        if not one.checks and not one.claims:
            groups["reading"].append(one)
        elif set(one.checks) <= set(PRINTED) and one.checks:
            groups["printed"].append(one)
        else:
            groups["measured"].append(one)
    return groups


def reading_table(found: Sequence[Contradiction], *, pages: str = "") -> pd.DataFrame:
    """One line per contradiction, as Markdown: what does not fit, our reading, what bears on it.

    Args:
        found: what to show.
        pages: folder of the chapters, seen from the page that shows the table.
    """
    lines = []
    for one in found:
        numbers = [f"{name}: {text}" for check in one.found for name, text in check.numbers.items()]
        claims = f"claims {', '.join(one.claims)}" if one.claims else ""
        lines.append(
            {
                "what does not fit": f"**{one.key}** {one.issue} *{one.where}*",
                "our reading": f"{one.reading} *Confidence: {one.confidence}.*",
                "what bears on it": markdown.joined(
                    [
                        *numbers,
                        f"**{one.support}**" if one.support else "",
                        one.missing,
                        claims,
                        page_link(one.page, pages),
                    ]
                ),
            }
        )
    return pd.DataFrame(lines)


def misfits() -> pd.DataFrame:
    """Printed numbers in pairs that should agree: place, printed, expected, kind.

    Accuracies only, so that one axis fits them all.
    """
    lines: list[dict[str, Any]] = []
    for number in (1, 4, 11, 12):
        for column, average, mean in averages(number).itertuples(name=None):
            lines.append({"place": f"Table {number}, {column}", "printed": average,
                          "expected": mean, "kind": "average and mean of its column"})  # fmt: skip
    for name, number in KEEP_TABLES.items():
        for method in METHODS:
            lines.append(
                {
                    "place": f"Tables 1 and {number}, {name}, {method}",
                    "printed": paper_value(1, name, f"erased: {method}"),
                    "expected": paper_value(number, "Top 0.6", method),
                    "kind": "one setting in two tables",
                }
            )
    one = wide_table(1).drop("Average")
    own = one["erased: pretrained"]
    for name in one.index:
        lines.append({"place": f"Table 1, preserved classes of {name}",
                      "printed": one.loc[name, "preserved: pretrained"],
                      "expected": float(own.drop(name).mean()),
                      "kind": "preserved classes and mean of the others"})  # fmt: skip
    return pd.DataFrame(lines).assign(gap=lambda x: x["printed"] - x["expected"])


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
