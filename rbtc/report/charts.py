"""Bars and lines with their 95 % intervals.

Every function returns a `matplotlib` Figure that is closed for pyplot, so a notebook shows it
once, as the value of its cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.report import style
from rbtc.report.style import house_style, new_figure
from rbtc.stats import Estimate, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 9.0  # inches of a bar chart: wider ones cannot be read in a column

DODGE = 0.012  # of the horizontal axis, between the marks of neighbouring series

Values = Mapping[Any, Mapping[Any, Estimate | float]]
Printed = Mapping[Any, Mapping[Any, float]]
Colours = Mapping[Any, str] | None


def bars_with_intervals(
    values: Values, *, paper: Printed | None = None, colours: Colours = None,
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


def lines_with_intervals(
    values: Values, *, paper: Printed | None = None, colours: Colours = None,
    limits: tuple[float, float] | None = None, log_x: bool = False, **axes: str,
) -> Figure:  # fmt: skip
    """Lines over a number: `values[series][x]` with 95 % intervals; see `draw_lines`.

    The other arguments are those of `bars_with_intervals`.
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
    panels: Mapping[str, Values], *, paper: Mapping[str, Printed] | None = None,
    levels: Collection[Any] = (), across: int = 2, xlabel: str = "", ylabel: str = "accuracy",
    limits: tuple[float, float] = (-0.02, 1.02), colours: Colours = None,
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
        figure, axes = style.panel_axes(len(panels), across, 2.3, sharex=True, sharey=True)
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            printed = (paper or {}).get(title, {})
            draw_lines(ax, panel, style.palette(series, colours), printed, levels)
            ax.set(title=title, ylim=limits)
        places = sorted({x for panel in panels.values() for own in panel.values() for x in own})
        if len(places) <= 8 and all(float(x).is_integer() for x in places):  # counted things
            axes[0].set_xticks(places)
        style.around(figure, axes[0], xlabel, ylabel, fontsize=8)
    return figure


def draw_lines(
    ax: Axes, values: Values, colour_of: Mapping[Any, str], paper: Printed,
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


def long_form(values: Values) -> pd.DataFrame:
    """`values[series][x]` as a table: series, x, value, low, high, n. The numbers of a figure."""
    points = [(name, x, ours) for name, own in values.items() for x, ours in own.items()]
    lines = [(name, x, *interval(ours), getattr(ours, "n", None)) for name, x, ours in points]
    if not lines:
        raise ValueError("a figure needs at least one value, got none")
    frame = pd.DataFrame(lines, columns=["series", "x", "value", "low", "high", "n"])
    return frame.astype({"n": "Int64"})


def errors(frame: pd.DataFrame) -> np.ndarray:
    """How far the intervals of `long_form` reach below and above, (2, lines); NaN for none."""
    reach = np.array([frame["value"] - frame["low"], frame["high"] - frame["value"]], dtype=float)
    return np.where(frame["high"] > frame["low"], np.maximum(reach, 0), np.nan)
