"""A figure for guesses: how suspect each word is to an attacker, and which one was the truth."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.report.style import COLOURS, WIDTH, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def guess_map(
    values: pd.DataFrame,
    truth: Collection[tuple[str, str]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    scale: str = "",
) -> Figure:
    """A line per case, a column per word: dark cells are suspect, framed ones are the truth.

    The most suspect cell of a line carries a dot. Where dot and frame meet, the guess is right.

    Args:
        values: cases by words, in [0, 1].
        truth: (case, word) of the cells to frame.
        xlabel: under the words.
        ylabel: beside the cases.
        scale: name of the colour scale.

    Raises:
        ValueError: no cell, or a truth that has none.
    """
    if values.empty:
        raise ValueError("a map needs at least one case and one word")
    if lost := [cell for cell in truth if cell[0] not in values.index or cell[1] not in values]:
        raise ValueError(f"the map has no cell for {lost[0]}")
    lines, columns = values.shape
    from matplotlib.patches import Rectangle

    with house_style():
        figure, ax = new_figure(1, 1, (WIDTH, 0.3 * lines + 1.9))
        image = ax.imshow(values.to_numpy(float), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for place, word in enumerate(values.to_numpy(float).argmax(axis=1)):
            ax.plot(word, place, "o", color="white", markersize=5, markeredgecolor="#1b1b1b")
        for case, word in truth:
            x, y = list(values.columns).index(word), list(values.index).index(case)
            ax.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=COLOURS["pruned"],
                          linewidth=2.5, clip_on=False)
            )  # fmt: skip
        ax.grid(False)
        ax.set_xticks(np.arange(columns), list(values.columns), rotation=90, fontsize=8)
        ax.set_yticks(np.arange(lines), list(values.index), fontsize=8)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        figure.colorbar(image, ax=ax, label=scale, fraction=0.04, pad=0.02)
    return figure
