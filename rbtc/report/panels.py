"""Small multiples: many small axes of one scale, as wide as the column of a page.

Lines of several methods in a panel per class, or a thin line per class in a panel per measure.
Styles and colours are those of `rbtc.report.style`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rbtc.report.charts import Values
from rbtc.report.style import COLOURS, MARKS, apart, house_style, new_figure, palette
from rbtc.stats import Estimate, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.8
"""Inches; at the book's resolution the width of its text column."""

DODGE = 0.008  # of the axis, between the intervals of neighbouring methods
APART = 0.055  # of the axis, between two class names


def small_multiples(
    panels: Mapping[str, Values],
    *,
    paper: Mapping[str, Mapping[Any, Mapping[Any, float]]] | None = None,
    levels: Collection[Any] = (),
    across: int = 2,
    xlabel: str = "",
    ylabel: str = "accuracy",
    limits: tuple[float, float] = (-0.02, 1.02),
    colours: Mapping[Any, str] | None = None,
) -> Figure:
    """`panels[title][series][x]` as lines with their 95 % intervals, all on the same axes.

    Methods are told apart by mark and colour; the marks stand a little beside each other, so that
    no interval hides another.

    Args:
        panels: title -> series -> x -> estimate.
        paper: printed values of the same places, drawn dashed in the series' colour.
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
    across = min(across, len(panels))
    down = -(-len(panels) // across)
    places = [float(x) for panel in panels.values() for own in panel.values() for x in own]
    step = DODGE * ((max(places) - min(places)) or 1.0)
    with house_style():
        colour_of = palette(series, colours)
        figure, axes = new_figure(
            down, across, (WIDTH, 2.3 * down + 0.6), squeeze=False, sharex=True, sharey=True
        )
        for ax, (title, panel) in zip(axes.flat, panels.items(), strict=False):
            ax.set(title=title, ylim=limits)
            drawn = {
                name: {x: interval(one)[0] for x, one in own.items()}
                for name, own in panel.items()
                if name not in levels
            }
            at = apart(drawn, step=step)
            for name, own in panel.items():
                mark = MARKS[series.index(name) % len(MARKS)]
                colour = colour_of[name]
                _line(ax, name, own, colour, mark, at.get(name), level=name in levels)
                printed = (paper or {}).get(title, {}).get(name)
                if printed:
                    x = sorted(printed)
                    ax.plot(x, [printed[key] for key in x], "--", color=colour, linewidth=1.2)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        if len(set(places)) <= 8 and all(x.is_integer() for x in places):  # things that are counted
            axes[0, 0].set_xticks(sorted(set(places)))
        _legend(figure, axes.flat[0], dashed=bool(paper and any(paper.values())))
        figure.supxlabel(xlabel, fontsize="medium")
        figure.supylabel(ylabel, fontsize="medium")
    return figure


def class_lines(
    panels: Mapping[str, Mapping[Any, Mapping[str, float]]],
    means: Mapping[str, Mapping[Any, Estimate]],
    *,
    paper: Mapping[str, Mapping[Any, float]] | None = None,
    xlabel: str = "",
    ylabel: str = "accuracy",
    limits: tuple[float, float] = (-0.02, 1.02),
) -> Figure:
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
    with house_style():
        figure, axes = new_figure(len(panels), 1, (WIDTH, 2.9 * len(panels) + 0.4), squeeze=False)
        for ax, (title, columns) in zip(axes[:, 0], panels.items(), strict=True):
            names = list(columns)
            numeric = all(isinstance(x, int | float) for x in names)
            at = {x: float(x) if numeric else float(i) for i, x in enumerate(names)}
            lines: dict[str, list[tuple[float, float]]] = {}
            for x, values in columns.items():
                for concept, value in values.items():
                    lines.setdefault(concept, []).append((at[x], value))
            for points in lines.values():
                x, y = zip(*sorted(points), strict=True)
                ax.plot(x, y, color="#9a9a9a", linewidth=0.9, alpha=0.8)
            mean = {at[x]: share for x, share in means[title].items()}
            _line(ax, "mean over the classes", mean, COLOURS["revived"], "o", width=2.4)
            if printed := {at[x]: value for x, value in (paper or {}).get(title, {}).items()}:
                x = sorted(printed)
                ax.plot(x, [printed[key] for key in x], "D--", color=COLOURS["paper"],
                        linewidth=1.2, markersize=4, label="the paper's mean")  # fmt: skip
            if not numeric:
                ax.set_xticks(
                    list(at.values()), [fill(str(name), 11) for name in names], fontsize=9
                )
                ax.grid(axis="x", visible=False)
            ax.set(title=title, ylim=limits)
            _name_ends(ax, {c: max(points) for c, points in lines.items()}, limits)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8)
        axes[-1, 0].set_xlabel(xlabel)
        figure.supylabel(ylabel, fontsize="medium")
    return figure


def _line(
    ax: Axes,
    name: Any,
    own: Mapping[Any, Any],
    colour: Any,
    mark: str,
    at: Mapping[Any, float] | None = None,
    *,
    width: float = 1.5,
    level: bool = False,
) -> None:
    x = sorted(own)
    values = [interval(own[key]) for key in x]
    if level:
        ax.axhline(values[0][0], color=colour, linewidth=1.2, linestyle=":", label=str(name))
        return
    heights = [value for value, _, _ in values]
    errors = [
        [max(value - low, 0.0) for value, low, _ in values],
        [max(high - value, 0.0) for value, _, high in values],
    ]
    ax.errorbar(
        [at[key] if at else float(key) for key in x], heights, errors, color=colour, marker=mark,
        markersize=4.5, linewidth=width, elinewidth=0.9, capsize=1.5, label=str(name),
    )  # fmt: skip


def _name_ends(
    ax: Axes, ends: Mapping[str, tuple[float, float]], limits: tuple[float, float]
) -> None:
    """Class names beside the last points of their lines, pushed apart where they would touch.

    A thin line leads from each name to the point that it belongs to.
    """
    low, high = limits
    gap = APART * (high - low)
    order = sorted(ends, key=lambda concept: ends[concept][1])
    heights: list[float] = []
    for concept in order:
        height = ends[concept][1]
        heights.append(max(height, heights[-1] + gap) if heights else height)
    # Pushed up past the top edge: move the upper ones down again, from the top.
    ceiling = math.inf
    for number in reversed(range(len(heights))):
        top = high if number == len(heights) - 1 else ceiling - gap
        heights[number] = ceiling = min(heights[number], top)
    right = max(x for x, _ in ends.values())
    left, _ = ax.get_xlim()
    ax.set_xlim(left, right + 0.02 * (right - left))
    for concept, height in zip(order, heights, strict=True):
        ax.annotate(
            concept, (1.0, ends[concept][1]), xycoords=("axes fraction", "data"),
            xytext=(1.04, height), textcoords=("axes fraction", "data"), va="center", fontsize=7,
            color="#444444", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#b0b0b0", "linewidth": 0.5, "shrinkA": 1,
                        "shrinkB": 0},
        )  # fmt: skip


def _legend(figure: Figure, ax: Axes, *, dashed: bool) -> None:
    from matplotlib.lines import Line2D

    handles, labels = ax.get_legend_handles_labels()
    if dashed:
        handles.append(Line2D([], [], color=COLOURS["paper"], linestyle="--", linewidth=1.2))
        labels.append("paper, in the colour of its line")
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8)
