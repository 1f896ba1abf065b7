# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Trade-offs as a picture: a mark per choice, in panels that share the vertical axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.report.charts import _figure, _palette, house_style
from rbtc.report.panels import MARKS, WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def front(
    frame: pd.DataFrame,
    *,
    name: str,
    y: str,
    panels: Mapping[str, str],
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    ringed: Sequence[str] = (),
) -> Figure:
    """One panel per horizontal measure, one mark per line of the frame.

    A column ``c`` is drawn with the 95 % interval in ``c_low`` and ``c_high`` where the frame has
    them. Choices are told apart by mark and colour, the same in all panels.

    Args:
        frame: one line per choice.
        name: column with the names of the choices.
        y: column of the vertical axis.
        panels: column of the horizontal axis -> its label.
        ylabel: of the vertical axis.
        levels: label -> height of a dotted line through all panels.
        ringed: choices to draw a ring around.

    Raises:
        ValueError: no choice or no panel.
    """
    if frame.empty or not panels:
        raise ValueError("a front needs at least one choice and one panel")
    names = frame[name].tolist()
    with house_style():
        figure, axes = _figure(
            1, len(panels), (WIDTH, 3.6), squeeze=False, sharey=True
        )  # inches: the page's column
        colours = _palette(names, None)
        for ax, (x, xlabel) in zip(axes[0], panels.items(), strict=True):
            for number, line in enumerate(frame.to_dict("records")):
                ax.errorbar(
                    line[x], line[y], xerr=_errors(line, x), yerr=_errors(line, y),
                    fmt=MARKS[number % len(MARKS)], color=colours[line[name]], markersize=6,
                    elinewidth=0.9, capsize=1.5, label=line[name],
                )  # fmt: skip
                if line[name] in ringed:
                    ax.plot(line[x], line[y], "o", color="#1b1b1b", markersize=13, fillstyle="none")
            for number, (label, height) in enumerate((levels or {}).items()):
                style = (":", "--", "-.")[number % 3]
                ax.axhline(height, color="#555555", linewidth=1, linestyle=style, label=label)
            ax.set(xlabel=xlabel, ylim=(-0.03, 1.03))
        axes[0, 0].set_ylabel(ylabel)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _errors(line: Mapping[str, float], column: str) -> list[list[float]] | None:
    low, high = line.get(f"{column}_low"), line.get(f"{column}_high")
    if low is None or high is None:
        return None
    return [[max(line[column] - low, 0.0)], [max(high - line[column], 0.0)]]
