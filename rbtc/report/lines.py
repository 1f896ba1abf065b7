"""Lines with their 95 % intervals: in one figure, in panels, and a thin one per class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.report import style
from rbtc.report.style import COLOURS, around, errors, house_style, new_figure, panel_axes
from rbtc.report.tables import Values, accuracies, long_form

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DODGE = 0.012  # of the horizontal axis, between the marks of neighbouring series

APART = 0.055  # of the vertical axis, between two class names


def lines_with_intervals(
    values: Values, *, paper: Values | None = None, colours: style.Colours = None,
    limits: tuple[float, float] | None = None, log_x: bool = False, **axes: str,
) -> Figure:  # fmt: skip
    """Lines over a number: `values[series][x]` with 95 % intervals; see `draw_lines`.

    The other arguments are those of `rbtc.report.charts.bars_with_intervals`.
    """
    if not any(values.values()):
        raise ValueError("a figure needs at least one value, got none")
    with house_style():
        figure, ax = new_figure(1, 1, (6.4, 3.4))
        draw_lines(ax, values, style.palette(list(values), colours), paper or {}, log_x=log_x)
        ax.set(ylim=limits, **{"ylabel": "accuracy", **axes})
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def small_multiples(
    panels: Mapping[str, Values], *, paper: Mapping[str, Values] | None = None,
    levels: Collection[Any] = (), across: int = 2, xlabel: str = "", ylabel: str = "accuracy",
    limits: tuple[float, float] = (-0.02, 1.02), colours: style.Colours = None,
) -> Figure:  # fmt: skip
    """`panels[title][series][x]`: `draw_lines` in panels of one scale, as wide as the page.

    Args:
        panels: title -> series -> x -> estimate.
        paper: printed values of the same places.
        levels: series of one height throughout, drawn as a dotted line without an interval.
        across: panels side by side.
        xlabel: under the figure.
        ylabel: beside the figure.
        limits: ends of the vertical axis.
        colours: series -> colour, where the book's own are not wanted.

    Raises:
        ValueError: no panel, or one without a series.
    """
    series = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    if not series or not all(panels.values()):
        raise ValueError("small multiples need at least one panel and one series in each")
    with house_style():
        figure, axes = panel_axes(len(panels), across, 2.3, sharex=True, sharey=True)
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            printed = (paper or {}).get(title, {})
            draw_lines(ax, panel, style.palette(series, colours), printed, levels)
            ax.set(title=title, ylim=limits)
        places = sorted({x for panel in panels.values() for own in panel.values() for x in own})
        if len(places) <= 8 and all(float(x).is_integer() for x in places):  # counted things
            axes[0].set_xticks(places)
        around(figure, axes[0], xlabel, ylabel, fontsize=8)
    return figure


def draw_lines(
    ax: Axes, values: Values, colour_of: Mapping[Any, str], paper: Values,
    levels: Collection[Any] = (), *, log_x: bool = False,
) -> None:  # fmt: skip
    """A line with 95 % intervals a series; those at one place stand beside each other.

    Args:
        ax: where.
        values: series -> x -> estimate.
        colour_of: series -> colour.
        paper: printed values of the same places, drawn dashed in the series' colour.
        levels: series of one height throughout, drawn as a dotted line without an interval.
        log_x: logarithmic horizontal axis.
    """
    frame = long_form(values)
    frame["at"] = np.log10(frame["x"].astype(float)) if log_x else frame["x"].astype(float)
    step = DODGE * (np.ptp(frame["at"]) or 1.0)
    for number, name in enumerate(colour_of):
        own = frame.loc[frame["series"] == name].sort_values(by="at")
        colour, mark = colour_of[name], style.MARKS[number % len(style.MARKS)]
        if name in levels and len(own):
            ax.axhline(own["value"].iloc[0], color=colour, linestyle=":", label=str(name))
        elif len(own):
            at = own["at"] + (number - (len(colour_of) - 1) / 2) * step
            ax.errorbar(
                10**at if log_x else at, own["value"], errors(own), color=colour, marker=mark,
                markersize=4.5, elinewidth=0.9, capsize=1.5, label=str(name),
            )  # fmt: skip
        if printed := paper.get(name):
            x = sorted(printed)
            heights = [printed[key] for key in x]
            ax.plot(x, heights, "--", color=colour, linewidth=1.2, label=f"{name}, paper")
    ax.set_xscale("log" if log_x else "linear")


def class_lines(
    panels: Mapping[str, pd.DataFrame], by: str = "model", *, paper: Values | None = None,
    xlabel: str = "", ylabel: str = "accuracy", limits: tuple[float, float] = (-0.02, 1.02),
) -> Figure:  # fmt: skip
    """A thin grey line per class, its name at the end, and the mean over them with its interval.

    Args:
        panels: title -> one line per picture: concept, asked, seed, hit, and ``by``.
        by: column along the horizontal axis. Where its values are numbers they are placed as such,
            else one beside the other in order of appearance.
        paper: title -> value of the column -> the paper's mean, drawn dashed.
        xlabel: under the last panel.
        ylabel: beside the figure.
        limits: ends of the vertical axis.

    Raises:
        ValueError: no panel, or a panel without a picture.
    """
    if not panels or any(hits.empty for hits in panels.values()):
        raise ValueError("class lines need at least one panel with values")
    name = "mean over the classes"
    with house_style():
        figure, axes = panel_axes(len(panels), 1, 2.9)
        for ax, (title, hits) in zip(axes, panels.items(), strict=True):
            means = accuracies(hits, [by])
            numeric = all(isinstance(x, int | float) for x in means)
            at = {x: float(x) if numeric else float(i) for i, x in enumerate(means)}
            ends: dict[str, float] = {}
            for one, own in hits.groupby("concept", sort=False):
                found = own.groupby(by)["hit"].mean().rename(at).sort_index()
                ax.plot(found.index, found, color="#9a9a9a", linewidth=0.9, alpha=0.8)
                ends[one] = found.iloc[-1]
            draw_lines(
                ax, {name: {at[x]: share for x, share in means.items()}},
                {name: COLOURS["revived"]},
                {name: {at[x]: value for x, value in (paper or {}).get(title, {}).items()}},
            )  # fmt: skip
            if not numeric:
                ax.set_xticks([*at.values()], [fill(str(x), 11) for x in means], fontsize=9)
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
