"""The look of the book's figures: colours, marks, and how what would coincide is kept apart.

Importing this module changes nothing; the style holds only inside `house_style()`. Figures are
white, so they read the same on a light and on a dark page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import inf, log10
from statistics import fmean
from typing import Any

import numpy as np

# One colour per role in the whole book, told apart also without colour vision.
COLOURS = {
    "pretrained": "#949494",
    "pruned": "#d55e00",
    "revived": "#0173b2",
    "defended": "#029e73",
    "paper": "#1b1b1b",
}

OTHERS = ("#de8f05", "#cc78bc", "#56b4e9", "#882255", "#ca9161", "#999933", "#332288")
"""For everything without a role; none of them is the colour of one."""

MARKS = "osD^vPX*"
DASHES = ("-", "--", "-.", ":")

Lines = Mapping[Any, Mapping[Any, float]]


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """The book's look for everything drawn inside; the settings before are put back after."""
    import matplotlib as mpl
    import seaborn as sns
    from cycler import cycler

    style: dict[Any, Any] = {
        **sns.axes_style("whitegrid"),
        **sns.plotting_context("notebook", font_scale=0.9),
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.dpi": 110,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=OTHERS),
    }
    with mpl.rc_context(style):
        yield


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple:
    """A new figure of `size` inches that pyplot has already let go of, and its axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
    plt.close(figure)
    return figure, axes


def palette(series: Sequence[Any], colours: Mapping[Any, str] | None = None) -> dict[Any, str]:
    """Colour per series: the given one, that of its role, else the next of `OTHERS`.

    Only where there are more series than colours do two share one.
    """
    known = {**COLOURS, **(colours or {})}
    taken = {known[name] for name in series if name in known}
    others = [colour for colour in OTHERS if colour not in taken]
    spare = iter(others * (1 + len(series) // len(others)))
    return {name: known[name] if name in known else next(spare) for name in series}


def apart(
    lines: Lines, *, step: float, reach: float = inf, log: bool = False
) -> dict[Any, dict[Any, float]]:
    """Where to draw points so that none hides another: `{series: {x: place beside x}}`.

    Points that would touch stand side by side about their mean, in the order of x and then of
    the series. All others stay where they are.

    Args:
        lines: series -> x -> height.
        step: least distance of neighbours, in the unit of x; in decades where it is logarithmic.
        reach: points whose heights differ by less can touch, in the unit of the heights.
        log: the horizontal axis is logarithmic.
    """
    points = [(name, x) for name, own in lines.items() for x in own]
    true = [log10(x) if log else float(x) for _, x in points]
    heights = [lines[name][x] for name, x in points]
    at = list(true)
    groups = [[number] for number in range(len(points))]

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
    placed: dict[Any, dict[Any, float]] = {name: {} for name in lines}
    for (name, x), place in zip(points, at, strict=True):
        placed[name][x] = 10**place if log else place
    return placed


def run_together(first: Mapping[Any, float], second: Mapping[Any, float], reach: float) -> bool:
    """Whether two lines, x -> height, are closer than `reach` over a stretch, not at a crossing."""
    ends = [(min(line), max(line)) for line in (first, second) if line]
    if len(ends) < 2:
        return False
    left, right = max(low for low, _ in ends), min(high for _, high in ends)
    x = np.array(sorted(at for at in {*first, *second} if left <= at <= right), dtype=float)
    heights = [
        np.interp(x, xs, [line[at] for at in xs])
        for line, xs in ((first, sorted(first)), (second, sorted(second)))
    ]
    near = np.abs(heights[0] - heights[1]) < reach
    return bool((near[:-1] & near[1:]).any())


def dashes(lines: Lines, *, reach: float, styles: Sequence[str] = DASHES) -> dict[Any, str]:
    """Line style per series: the first of `styles` that no earlier line on its way has."""
    chosen: dict[Any, str] = {}
    for name, own in lines.items():
        met = [chosen[other] for other in chosen if run_together(lines[other], own, reach)]
        chosen[name] = min(styles, key=met.count)
    return chosen
