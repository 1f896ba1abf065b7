"""Estimates against the truth: a panel per way to estimate, a point per thing estimated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.report.style import MARKS, WIDTH, around, house_style, panel_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def calibration(
    panels: Mapping[str, pd.DataFrame],
    *,
    xlabel: str = "estimated",
    ylabel: str = "true",
    legend: str = "",
    across: int = 3,
) -> Figure:
    """Points on square axes of one scale; on the dashed line an estimate is right.

    Args:
        panels: title -> frame with the columns estimated, true and series; a series has one colour
            and mark in all panels.
        xlabel: under the figure.
        ylabel: beside the figure.
        legend: heading of the series.
        across: panels side by side.

    Raises:
        ValueError: no panel, or one without a point.
    """
    import matplotlib as mpl

    if not panels or any(frame.empty for frame in panels.values()):
        raise ValueError("a calibration plot needs one or more panels with points")
    whole = pd.concat(panels.values())
    series = list(dict.fromkeys(whole["series"]))
    low = min(0.5, float(whole[["estimated", "true"]].min().min())) - 0.02
    with house_style():
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.8, len(series)))
        height = WIDTH / min(across, len(panels)) + 0.2
        figure, axes = panel_axes(len(panels), across, height, sharex=True, sharey=True)
        for ax, (title, frame) in zip(axes, panels.items(), strict=True):
            ax.plot([low, 1.01], [low, 1.01], "--", color="#1b1b1b", linewidth=1)
            for number, name in enumerate(series):
                own = frame[frame["series"] == name]
                ax.scatter(
                    own["estimated"], own["true"], s=14, color=[colours[number]], alpha=0.75,
                    marker=MARKS[number % len(MARKS)], linewidths=0, label=str(name),
                )  # fmt: skip
            ax.set_title(title, fontsize=9)
            ax.set(xlim=(low, 1.01), ylim=(low, 1.01), aspect="equal")
        around(figure, axes[0], xlabel, ylabel, len(series), title=legend)
    return figure
