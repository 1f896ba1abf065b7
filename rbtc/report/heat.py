"""Matrices of shares, every value written in its cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.report.style import house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_maps(
    matrices: Mapping[str, pd.DataFrame],
    *,
    xlabel: str = "",
    ylabel: str = "",
    limits: tuple[float, float] = (0.0, 0.5),
) -> Figure:
    """Matrices side by side on one colour scale.

    Args:
        matrices: title -> matrix, whose index and columns are the labels.
        xlabel: under each matrix.
        ylabel: beside the first.
        limits: ends of the colour scale.
    """
    if not matrices:
        raise ValueError("a figure needs at least one matrix, got none")
    with house_style():
        size = (3.3 * len(matrices) + 0.6, 3.2)
        figure, axes = new_figure(1, len(matrices), size, squeeze=False)
        for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
            image = ax.imshow(matrix, vmin=limits[0], vmax=limits[1], cmap="cividis")
            for (row, column), value in np.ndenumerate(matrix.to_numpy(float)):
                dark = value < sum(limits) / 2
                ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9,
                        color="white" if dark else "black")  # fmt: skip
            ax.set_xticks(range(matrix.shape[1]), list(matrix.columns))
            ax.set_yticks(range(matrix.shape[0]), list(matrix.index))
            ax.grid(False)
            ax.set(title=title, xlabel=xlabel, ylabel=ylabel if ax is axes[0, 0] else "")
        figure.colorbar(image, ax=axes[0].tolist(), shrink=0.8)
    return figure
