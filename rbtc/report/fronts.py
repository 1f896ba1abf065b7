"""Trade-offs as a picture: a mark per choice, in panels that share the vertical axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import inf
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.report.style import MARKS, WIDTH, house_style, new_figure, palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE_BY_SIDE = 0.04  # of a panel: marks that are nearer hide each other

ABOVE = 0.015  # of the vertical axis: the same for horizontal intervals


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
    them. Choices are told apart by mark and colour, the same in all panels. Marks and intervals
    that would hide each other are moved a little, until they stand beside each other.

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
    names, records = frame[name].tolist(), frame.to_dict("records")
    with house_style():
        figure, axes = new_figure(
            1, len(panels), (WIDTH, 3.6), squeeze=False, sharey=True
        )  # inches: the page's column
        colours = palette(names)
        heights = apart(frame[y].tolist(), step=ABOVE)
        for ax, (x, xlabel) in zip(axes[0], panels.items(), strict=True):
            ends = frame[[c for c in (x, f"{x}_low", f"{x}_high") if c in frame]]
            step = SIDE_BY_SIDE * ((ends.max().max() - ends.min().min()) or 1.0)
            places = apart(
                frame[x].tolist(), step=step, heights=frame[y].tolist(), reach=SIDE_BY_SIDE
            )
            for number, line in enumerate(records):
                at, height = places[number], heights[number]
                ax.errorbar(
                    at, height, xerr=_errors(line, x), yerr=_errors(line, y),
                    fmt=MARKS[number % len(MARKS)], color=colours[line[name]], markersize=6,
                    markeredgecolor="white", markeredgewidth=0.5, elinewidth=0.9,
                    capsize=1.5, label=line[name],
                )  # fmt: skip
                if line[name] in ringed:
                    ax.plot(at, height, "o", color="#1b1b1b", markersize=13, fillstyle="none")
            for number, (label, level) in enumerate((levels or {}).items()):
                style = (":", "--", "-.")[number % 3]
                ax.axhline(level, color="#555555", linewidth=1, linestyle=style, label=label)
            ax.set(xlabel=xlabel, ylim=(-0.04, 1.04))
        axes[0, 0].set_ylabel(ylabel)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _errors(line: Mapping[str, float], column: str) -> list[list[float]] | None:
    low, high = line.get(f"{column}_low"), line.get(f"{column}_high")
    if low is None or high is None:
        return None
    return [[max(line[column] - low, 0.0)], [max(high - line[column], 0.0)]]


def apart(
    true: Sequence[float], *, step: float, heights: Sequence[float] = (), reach: float = inf
) -> list[float]:
    """Where to draw points so that none hides another.

    Points that would touch stand side by side about their mean, in their order along the axis. All
    others stay where they are.

    Args:
        true: n places on an axis.
        step: least distance of neighbours.
        heights: their n places on the other axis; () takes them as equal.
        reach: points whose heights differ by less can touch.
    """
    at = list(true)
    heights = heights or [0.0] * len(at)
    groups = [[number] for number in range(len(at))]

    def touch(first: list[int], second: list[int]) -> bool:
        return any(
            abs(at[i] - at[j]) < step * (1 - 1e-6) and abs(heights[i] - heights[j]) < reach
            for i in first
            for j in second
        )

    # A group that grew can touch the next one.
    while pair := next((two for two in combinations(groups, 2) if touch(*two)), None):
        merged = sorted(pair[0] + pair[1], key=lambda number: (true[number], number))
        groups = [group for group in groups if group not in pair] + [merged]
        left = fmean(true[number] for number in merged) - (len(merged) - 1) / 2 * step
        for rank, number in enumerate(merged):
            at[number] = left + rank * step
    return at
