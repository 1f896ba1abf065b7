"""A thin line per class in a panel per measure, as wide as the column of a page."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from rbtc.report.charts import draw_lines
from rbtc.report.style import COLOURS, around, house_style, panel_axes
from rbtc.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

APART = 0.055  # of the axis, between two class names


def class_lines(
    panels: Mapping[str, Mapping[Any, Mapping[str, float]]],
    means: Mapping[str, Mapping[Any, Estimate]], *,
    paper: Mapping[str, Mapping[Any, float]] | None = None, xlabel: str = "",
    ylabel: str = "accuracy", limits: tuple[float, float] = (-0.02, 1.02),
) -> Figure:  # fmt: skip
    """`panels[title][x][class]`: a thin grey line per class, its name at the end, and the mean.

    Args:
        panels: title -> x -> class -> value. Where the x are numbers they are placed as such, else
            one beside the other in their order.
        means: title -> x -> the mean over the classes, drawn thick with its 95 % interval.
        paper: title -> x -> the paper's mean, drawn dashed.
        xlabel: under the last panel.
        ylabel: beside the figure.
        limits: ends of the vertical axis.

    Raises:
        ValueError: no panel, or a panel without a value.
    """
    if not panels or not all(panels.values()):
        raise ValueError("class lines need at least one panel with values")
    name = "mean over the classes"
    with house_style():
        figure, axes = panel_axes(len(panels), 1, 2.9)
        for ax, (title, columns) in zip(axes, panels.items(), strict=True):
            numeric = all(isinstance(x, int | float) for x in columns)
            at = {x: float(x) if numeric else float(i) for i, x in enumerate(columns)}
            ends: dict[str, float] = {}
            for one in dict.fromkeys(c for values in columns.values() for c in values):
                found = {at[x]: of[one] for x, of in columns.items() if one in of}
                points = sorted(found.items())
                ax.plot(*zip(*points, strict=True), color="#9a9a9a", linewidth=0.9, alpha=0.8)
                ends[one] = points[-1][1]
            draw_lines(
                ax, {name: {at[x]: share for x, share in means[title].items()}},
                {name: COLOURS["revived"]},
                {name: {at[x]: value for x, value in (paper or {}).get(title, {}).items()}},
            )  # fmt: skip
            if not numeric:
                ax.set_xticks([*at.values()], [fill(str(x), 11) for x in columns], fontsize=9)
                ax.grid(axis="x", visible=False)
            ax.set(title=title, ylim=limits)
            _name_ends(ax, ends, limits)
        around(figure, axes[0], xlabel, ylabel, fontsize=8)
    return figure


def _name_ends(ax: Axes, ends: Mapping[str, float], limits: tuple[float, float]) -> None:
    """Class names beside the last points of their lines, pushed apart where they would touch.

    A thin line leads from each name to the point that it belongs to.
    """
    order = sorted(ends, key=lambda one: ends[one])
    steps = APART * (limits[1] - limits[0]) * np.arange(len(order))
    # Up from the lowest, then down again from the top edge.
    heights = np.maximum.accumulate([ends[one] for one in order] - steps) + steps
    heights = np.minimum(heights, limits[1] - steps[::-1])
    ax.margins(x=0.02)
    for one, height in zip(order, heights, strict=True):
        ax.annotate(
            one, (1.0, ends[one]), xycoords=("axes fraction", "data"),
            xytext=(1.04, height), textcoords=("axes fraction", "data"), va="center", fontsize=7,
            color="#444444", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#b0b0b0", "linewidth": 0.5},
        )  # fmt: skip
