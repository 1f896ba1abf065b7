"""Functions as figures: many thin lines, or a map over two numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.report.style import MARKS, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVERY = 0.35  # of the diagonal of the axes, between two marks of a line


def curves(
    frame: pd.DataFrame, *, x: str, y: str, series: str, log_x: bool = False, log_y: bool = False,
    level: float | None = None, diagonal: bool = False, limits: tuple[float, float] | None = None,
    **axes: str,
) -> Figure:  # fmt: skip
    """Many thin lines without intervals, coloured in the order of their series.

    As long as there are marks enough all carry marks, in turn along the way; more lines take turns
    in four dash patterns, so that neighbours can be told apart.

    Args:
        frame: one row per point.
        x: column of the horizontal place.
        y: column of the height; rows where it is missing are left out.
        series: column that says to which line a point belongs.
        log_x: logarithmic horizontal axis.
        log_y: logarithmic vertical axis.
        level: draw a dashed horizontal line there.
        diagonal: draw a dotted line from (0, 0) to (1, 1).
        limits: ends of the vertical axis.
        axes: title, xlabel and ylabel.
    """
    import matplotlib as mpl

    lines = list(frame.dropna(subset=[y]).groupby(series, sort=False))
    if not lines:
        raise ValueError("a figure needs at least one curve, got none")
    with house_style():
        figure, ax = new_figure(1, 1, (6.4, 3.6))
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(lines)))
        for number, (name, own) in enumerate(lines):
            line = ax.plot(own[x], own[y], color=colours[number], linewidth=1.2, label=str(name))[0]
            if len(lines) <= len(MARKS):
                start = EVERY * (number + 0.5) / len(lines)  # no mark comes to stand on another's
                line.set(marker=MARKS[number], markersize=5, markevery=(start, EVERY))
            else:
                line.set_linestyle(("-", "--", "-.", ":")[number % 4])
        if diagonal:
            ax.plot([0, 1], [0, 1], ":", color="#1b1b1b", linewidth=1)
        if level is not None:
            ax.axhline(level, color="#1b1b1b", linestyle="--", linewidth=1)
        ax.set_xscale("log" if log_x else "linear")
        ax.set_yscale("log" if log_y else "linear")
        ax.set(ylim=limits, **axes)
        columns = 1 if len(lines) <= 12 else 2
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, ncols=columns)
    return figure


def surface(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, z: np.ndarray, *,
    zlabel: str = "", log_x: bool = False, log_y: bool = False, levels: int = 10,
    limits: tuple[float, float] = (0.0, 1.0), **axes: str,
) -> Figure:  # fmt: skip
    """A function of two numbers as a filled contour map with labelled lines (the paper's Fig. 7).

    `z` is (len(y), len(x)); `limits` are the ends of the colour scale, cut into `levels` steps;
    `axes` are title, xlabel and ylabel.
    """
    z = np.asarray(z, dtype=float)
    if z.shape != (len(y), len(x)):
        raise ValueError(f"expected z of shape (len(y), len(x)) = {len(y), len(x)}, got {z.shape}")
    steps = np.linspace(*limits, levels + 1)
    with house_style():
        figure, ax = new_figure(1, 1, (5.5, 4))
        # Before the lines are drawn: their labels take gaps on the axes as they are by then.
        ax.set_xscale("log" if log_x else "linear")
        ax.set_yscale("log" if log_y else "linear")
        inside = limits[0] <= np.nanmin(z) and np.nanmax(z) <= limits[1]
        filled = ax.contourf(
            x, y, z, levels=steps, cmap="cividis", extend="neither" if inside else "both"
        )
        with warnings.catch_warnings():
            # A map without a crossing of some level is no fault of the caller's.
            warnings.filterwarnings("ignore", message="No contour levels were found")
            lines = ax.contour(x, y, z, levels=steps, colors="white", linewidths=0.6)
        ax.clabel(lines, fmt="%.2g", fontsize=7)
        figure.colorbar(filled, ax=ax, label=zlabel)
        ax.grid(False)
        ax.set(**axes)
    return figure
