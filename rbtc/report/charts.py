"""The book's figures, in one style: bars, lines, matrices and a surface.

Every function returns a `matplotlib` Figure that is closed for pyplot, so a notebook shows it
once, as the value of its cell.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.report.labels import turn_ticks
from rbtc.report.style import (
    COLOURS,
    DASHES,
    MARKS,
    Lines,
    apart,
    dashes,
    house_style,
    new_figure,
    palette,
    run_together,
)
from rbtc.stats import Estimate, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    series: str,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    log_x: bool = False,
    log_y: bool = False,
    level: float | None = None,
    diagonal: bool = False,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Many thin lines without intervals, coloured in the order of their series.

    More than six take turns in four dash patterns, so that neighbours can be told apart. Where
    some run together over a stretch all carry marks in turn, as long as there are marks enough.

    Args:
        frame: one row per point.
        x: column of the horizontal place.
        y: column of the height; rows where it is missing are left out.
        series: column that says to which line a point belongs.
        title: over the axes.
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
        log_x: logarithmic horizontal axis.
        log_y: logarithmic vertical axis.
        level: draw a dashed horizontal line there.
        diagonal: draw a dotted line from (0, 0) to (1, 1).
        limits: ends of the vertical axis.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    lines = [(name, own.dropna(subset=[y])) for name, own in frame.groupby(series, sort=False)]
    if not lines:
        raise ValueError("a figure needs at least one curve, got none")
    with house_style():
        colours = sns.color_palette("viridis", len(lines))
        figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
        plt.close(figure)
        styles = DASHES if len(lines) > 6 else DASHES[:1]
        heights = {
            name: dict(zip(own[x], np.log10(own[y]) if log_y else own[y], strict=True))
            for name, own in lines
        }
        marked = len(lines) <= len(MARKS) and _any_together(heights, limits)
        for number, ((name, own), colour) in enumerate(zip(lines, colours, strict=True)):
            style = styles[number % len(styles)]
            # In turn along the way: no mark comes to stand on another line's.
            turn = {"marker": MARKS[number % len(MARKS)], "markersize": 5,
                    "markevery": (EVERY * (number + 0.5) / len(lines), EVERY)}  # fmt: skip
            ax.plot(own[x], own[y], style, color=colour, linewidth=1.2, label=str(name),
                    **(turn if marked else {}))  # fmt: skip
        if diagonal:
            ax.plot([0, 1], [0, 1], ":", color="#1b1b1b", linewidth=1)
        if level is not None:
            ax.axhline(level, color="#1b1b1b", linestyle="--", linewidth=1)
        if log_x:
            ax.set_xscale("log")
        if log_y:
            ax.set_yscale("log")
        if limits is not None:
            ax.set_ylim(*limits)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if title:
            ax.set_title(title)
        columns = 1 if len(lines) <= 12 else 2
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, ncols=columns)
    return figure


def heat_maps(
    matrices: Mapping[str, pd.DataFrame],
    *,
    xlabel: str = "",
    ylabel: str = "",
    limits: tuple[float, float] = (0.0, 0.5),
) -> Figure:
    """Matrices of shares side by side on one colour scale, every value written in its cell.

    Args:
        matrices: title -> matrix, whose index and columns are the labels.
        xlabel: under each matrix.
        ylabel: beside the first.
        limits: ends of the colour scale.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    if not matrices:
        raise ValueError("a figure needs at least one matrix, got none")
    with house_style():
        size = (3.3 * len(matrices) + 0.6, 3.2)
        figure, axes = plt.subplots(
            1, len(matrices), figsize=size, layout="constrained", squeeze=False
        )
        plt.close(figure)
        for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
            sns.heatmap(
                matrix, ax=ax, vmin=limits[0], vmax=limits[1], cmap="cividis", annot=True,
                fmt=".2f", cbar=False, square=True, linewidths=0.5, annot_kws={"size": 9},
            )  # fmt: skip
            ax.set(title=title, xlabel=xlabel, ylabel=ylabel if ax is axes[0, 0] else "")
            ax.tick_params(length=0, rotation=0)
        figure.colorbar(axes[0, 0].collections[0], ax=axes[0].tolist(), shrink=0.8)
    return figure


WIDEST = 9.0  # inches of a bar chart: wider ones cannot be read in a column

NEAR = 0.015  # of the vertical axis: lines that are closer hide each other

SIDE_BY_SIDE = 0.025  # of either axis: marks that are closer hide each other

EVERY = 0.35  # of the diagonal of the axes, between two marks of a line that runs with others

Values = Mapping[Any, Mapping[Any, Estimate | float]]


def bars_with_intervals(
    values: Values,
    *,
    paper: Mapping[Any, Mapping[Any, float]] | None = None,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "accuracy",
    colours: Mapping[Any, str] | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Grouped bars: `values[series][label]`, with the 95 % interval of each estimate.

    `paper[series][label]` draws the printed number as a black mark on the same bar.
    """
    import seaborn as sns

    frame = long_form(values)
    series, labels = list(values), list(dict.fromkeys(frame["x"]))
    width = min(max(4.5, 0.32 * len(series) * len(labels) + 2), WIDEST)
    with house_style():
        figure, ax = new_figure(1, 1, (width, 3.4))
        sns.barplot(
            frame,
            x="x",
            y="value",
            hue="series",
            order=labels,
            hue_order=series,
            palette=palette(series, colours),
            saturation=1,
            errorbar=None,
            ax=ax,
        )
        # Drawn by hand: seaborn would compute intervals of its own from the one value it has.
        thickness = 0.8 / len(series)
        marked = False
        for number, name in enumerate(series):
            shift = (number + 0.5) * thickness - 0.4
            for place, label in enumerate(labels):
                if label in values[name]:
                    value, low, high = interval(values[name][label])
                    if high > low:
                        error = [[max(value - low, 0)], [max(high - value, 0)]]
                        ax.errorbar(
                            place + shift,
                            value,
                            error,
                            fmt="none",
                            ecolor="#1b1b1b",
                            elinewidth=1,
                            capsize=2,
                        )
                printed = (paper or {}).get(name, {}).get(label)
                if printed is not None:
                    ax.plot(
                        place + shift,
                        printed,
                        "D",
                        color=COLOURS["paper"],
                        markersize=4,
                        label=None if marked else "paper",
                    )
                    marked = True
        _finish(ax, title, xlabel, ylabel, limits)
        turn_ticks(figure, ax)
    return figure


def lines_with_intervals(
    values: Values,
    *,
    paper: Mapping[Any, Mapping[Any, float]] | None = None,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "accuracy",
    colours: Mapping[Any, str] | None = None,
    limits: tuple[float, float] | None = None,
    log_x: bool = False,
) -> Figure:
    """Lines over a number: `values[series][x]`, each with a band for its 95 % intervals.

    `paper[series][x]` is drawn dashed in the series' colour. Points that would hide each other
    stand side by side, and lines that run together differ in their dashes.
    """
    frame = long_form(values)
    series = list(values)
    colour_of = palette(series, colours)
    lines = {
        name: dict(zip(own["x"], own["value"], strict=True))
        for name, own in frame.groupby("series", sort=False)
    }
    low, high = limits or (min(frame["low"].tolist()), max(frame["high"].tolist()))
    places = np.log10(frame["x"].to_numpy(float)) if log_x else frame["x"].to_numpy(float)
    at = apart(
        lines,
        step=SIDE_BY_SIDE * (np.ptp(places) or 1.0),
        reach=SIDE_BY_SIDE * (high - low),
        log=log_x,
    )
    # The paper's lines have the dashes.
    styles = [style for style in DASHES if not (paper and style == "--")]
    style_of = dashes(lines, reach=NEAR * (high - low), styles=styles)
    with house_style():
        figure, ax = new_figure(1, 1, (5.5, 3.4))
        for number, name in enumerate(series):
            own = frame.loc[frame["series"] == name].sort_values(by="x")
            ax.plot(
                [at[name][x] for x in own["x"]],
                own["value"],
                style_of[name],
                color=colour_of[name],
                marker=MARKS[number % len(MARKS)],
                markeredgecolor="white",
                label=str(name),
            )
            ax.fill_between(
                own["x"].to_numpy(float),
                own["low"].to_numpy(float),
                own["high"].to_numpy(float),
                color=colour_of[name],
                alpha=0.18,
                linewidth=0,
            )
            printed = (paper or {}).get(name)
            if printed:
                x = sorted(printed)
                ax.plot(
                    x,
                    [printed[key] for key in x],
                    "--",
                    color=colour_of[name],
                    marker="D",
                    markersize=4,
                    label=f"{name}, paper",
                )
        if log_x:
            ax.set_xscale("log")
        # Dashes need room to be told apart.
        handle = 3.0 if len(set(style_of.values())) > 1 else None
        _finish(ax, title, xlabel, ylabel, limits, handle=handle)
    return figure


def surface(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    z: np.ndarray,
    *,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    zlabel: str = "",
    log_x: bool = False,
    log_y: bool = False,
    levels: int = 10,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """A function of two numbers as a filled contour map with labelled lines (the paper's Fig. 7).

    `z` is (len(y), len(x)); `limits` are the ends of the colour scale, cut into `levels` steps.
    """
    x, y, z = (np.asarray(values, dtype=float) for values in (x, y, z))
    if x.ndim != 1 or y.ndim != 1 or z.shape != (len(y), len(x)):
        raise ValueError(
            f"expected z of shape (len(y), len(x)) = ({y.size}, {x.size}), got {z.shape}"
        )
    steps = np.linspace(*limits, levels + 1)
    with house_style():
        figure, ax = new_figure(1, 1, (5.5, 4))
        # Before the lines are drawn: their labels take gaps on the axes as they are by then.
        if log_x:
            ax.set_xscale("log")
        if log_y:
            ax.set_yscale("log")
        inside = limits[0] <= np.nanmin(z) and np.nanmax(z) <= limits[1]
        filled = ax.contourf(
            x, y, z, levels=steps, cmap="cividis", extend="neither" if inside else "both"
        )
        if np.nanmin(z) < np.nanmax(z):
            with warnings.catch_warnings():
                # A map without a crossing of some level is no fault of the caller's.
                warnings.filterwarnings("ignore", message="No contour levels were found")
                lines = ax.contour(x, y, z, levels=steps, colors="white", linewidths=0.6)
                ax.clabel(lines, fmt="%.2g", fontsize=7)
        figure.colorbar(filled, ax=ax, label=zlabel)
        ax.grid(False)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if title:
            ax.set_title(title)
    return figure


def long_form(values: Values) -> pd.DataFrame:
    """`values[series][x]` as a table: series, x, value, low, high, n. The numbers of a figure."""
    lines = [
        {
            "series": name,
            "x": x,
            **dict(zip(("value", "low", "high"), interval(ours), strict=True)),
            "n": getattr(ours, "n", None),
        }
        for name, own in values.items()
        for x, ours in own.items()
    ]
    if not lines:
        raise ValueError("a figure needs at least one value, got none")
    frame = pd.DataFrame(lines)
    frame["n"] = frame["n"].astype("Int64")
    return frame


def _any_together(lines: Lines, limits: tuple[float, float] | None) -> bool:
    heights = [height for own in lines.values() for height in own.values()]
    low, high = limits or (min(heights), max(heights))
    near = NEAR * (high - low)
    return any(run_together(one, other, near) for one, other in combinations(lines.values(), 2))


def _finish(
    ax: Axes,
    title: str | None,
    xlabel: str,
    ylabel: str,
    limits: tuple[float, float] | None,
    *,
    handle: float | None = None,
) -> None:
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if limits is not None:
        ax.set_ylim(*limits)
    if title:
        ax.set_title(title)
    # Beside the axes: over the data it would hide an interval sooner or later.
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=None, handlelength=handle)
