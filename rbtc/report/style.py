"""The look of the book's figures: colours, marks, new figures and what stands around their axes.

Importing this module changes nothing; the style holds only inside `house_style()`. Figures are
white, so they read the same on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# One colour per role in the whole book, told apart also without colour vision.
COLOURS = {
    "pretrained": "#949494", "pruned": "#d55e00", "revived": "#0173b2", "defended": "#029e73",
    "paper": "#1b1b1b",
}  # fmt: skip

OTHERS = ("#de8f05", "#cc78bc", "#56b4e9", "#882255", "#ca9161", "#999933", "#332288")
"""For everything without a role; none of them is the colour of one. As in ``book.mplstyle``."""

MARKS = "osD^vPX*"

Colours = Mapping[Any, str] | None
"""Series -> colour, where the book's own are not wanted."""

WIDTH = 6.8
"""Inches; at the book's resolution the width of its text column."""


def house_style() -> AbstractContextManager[None]:
    """The book's look for everything drawn inside; the settings before are put back after."""
    import matplotlib.style

    own = Path(__file__).with_name("book.mplstyle")
    return matplotlib.style.context(["seaborn-v0_8-whitegrid", own])


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple:
    """A new figure of `size` inches that pyplot has already let go of, and its axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
    plt.close(figure)
    return figure, axes


def panel_axes(count: int, across: int, height: float, **options: Any) -> tuple[Any, list]:
    """A figure as wide as the page with `count` panels of `height` inches, and their axes."""
    across = min(across, count)
    down = -(-count // across)
    size = (WIDTH, down * height + 0.6)
    figure, axes = new_figure(down, across, size, squeeze=False, **options)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, list(axes.flat[:count])


def around(
    figure: Any, ax: Any, xlabel: str, ylabel: str, columns: int = 3, **options: Any
) -> None:
    """Labels of a figure's axes, and above them the legend of one of its panels."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, **options)
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")


def palette(series: Sequence[Any], colours: Mapping[Any, str] | None = None) -> dict[Any, str]:
    """Colour per series: the given one, that of its role, else the next of `OTHERS`.

    Only where there are more series than colours do two share one.
    """
    known = {**COLOURS, **(colours or {})}
    taken = {known[name] for name in series if name in known}
    others = [colour for colour in OTHERS if colour not in taken]
    spare = iter(others * (1 + len(series) // len(others)))
    return {name: known[name] if name in known else next(spare) for name in series}


def errors(frame: pd.DataFrame) -> np.ndarray:
    """How far intervals (`rbtc.report.tables.long_form`) reach below and above, (2, n) or NaN."""
    reach = np.array([frame["value"] - frame["low"], frame["high"] - frame["value"]], dtype=float)
    return np.where(frame["high"] > frame["low"], np.maximum(reach, 0), np.nan)
