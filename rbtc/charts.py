"""Two figures that `rbtc.figures` does not have: bundles of curves, and matrices side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.figures import house_style

if TYPE_CHECKING:
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
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Many thin lines without intervals, coloured in the order of their series.

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
        for (name, own), colour in zip(lines, colours, strict=True):
            ax.plot(own[x], own[y], color=colour, linewidth=1.2, label=str(name))
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
