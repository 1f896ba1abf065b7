"""Bars with their 95 % intervals.

Every function that draws returns a `matplotlib` Figure that is closed for pyplot, so a notebook
shows it once, as the value of its cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from rbtc.report import style
from rbtc.report.style import errors, house_style, new_figure
from rbtc.report.tables import Values, long_form

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 9.0  # inches of a bar chart: wider ones cannot be read in a column


def bars_with_intervals(
    values: Values, *, paper: Values | None = None, colours: style.Colours = None,
    limits: tuple[float, float] | None = None, **axes: str,
) -> Figure:  # fmt: skip
    """Grouped bars: `values[series][label]`, with the 95 % interval of each estimate.

    Args:
        values: series -> label -> estimate.
        paper: series -> label -> printed number, drawn as a black mark on the same bar.
        colours: series -> colour, where the book's own are not wanted.
        limits: ends of the vertical axis.
        axes: title, xlabel and ylabel.
    """
    frame = long_form(values)
    labels = list(dict.fromkeys(frame["x"]))
    inches = min(max(4.5, 0.32 * len(values) * len(labels) + 2), WIDEST)
    thickness = 0.8 / len(values)
    with house_style():
        figure, ax = new_figure(1, 1, (inches, 3.4))
        colour_of = style.palette(list(values), colours)
        for number, (name, own) in enumerate(values.items()):
            shift = (number + 0.5) * thickness - 0.4
            at = {label: labels.index(label) + shift for label in own}
            found = pd.DataFrame(frame[frame["series"] == name])
            ax.bar(
                [*at.values()], found["value"], thickness, yerr=errors(found), label=str(name),
                color=colour_of[name], capsize=2, error_kw={"linewidth": 1, "ecolor": "#1b1b1b"},
            )  # fmt: skip
            for label in (printed := (paper or {}).get(name, {})).keys() & at.keys():
                ax.plot(at[label], printed[label], "D", color=style.COLOURS["paper"], markersize=4)
        # One letter takes about 0.085 inches; beside the axes stand the legend and a scale.
        room = (inches - 1.3 - 0.085 * max(len(str(name)) for name in values)) / len(labels)
        angle = 0 if max(len(str(x)) for x in labels) * 0.085 < room else 30 if room > 0.33 else 90
        side = "right" if angle == 30 else "center"
        ax.set_xticks(range(len(labels)), labels, rotation=angle, ha=side)
        ax.grid(axis="x", visible=False)
        if paper and any(paper.values()):
            ax.plot([], [], "D", color=style.COLOURS["paper"], markersize=4, label="paper")
        ax.set(ylim=limits, **{"ylabel": "accuracy", **axes})
        # Beside the axes: over the data it would hide an interval sooner or later.
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
