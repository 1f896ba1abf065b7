"""A piece of a matrix as its signs: what was cut, what somebody makes of it, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.report.style import WIDTH, house_style, panel_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLUS, MINUS, LEFT, WRONG = "#0173b2", "#de8f05", "#ececec", "#1b1b1b"


def long_form(panels: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Panels as a table: panel, row, column and sign of every cut weight of the piece."""
    return pd.DataFrame(
        {"panel": name, "row": row, "column": column, "sign": int(signs[row, column])}
        for name, signs in panels.items()
        for row, column in zip(*np.nonzero(~np.isnan(signs)), strict=True)
    )


def sign_maps(panels: Mapping[str, np.ndarray], *, across: int = 2, title: str = "") -> Figure:
    """Pieces of one matrix side by side, a square per weight.

    The first panel is the truth: in the others a cross marks every square of another sign, and the
    heading counts the right ones.

    Args:
        panels: title -> (rows, columns), the sign -1, 0 or 1 of every cut weight, NaN at those that
            were not cut.
        across: panels side by side.
        title: over the figure.

    Raises:
        ValueError: no panel, or panels of different shapes or with other cut places.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if len({panel.shape for panel in panels.values()}) != 1:
        raise ValueError("sign maps need one or more panels (rows, columns) of one shape")
    truth = next(iter(panels.values()))
    cut, shape = ~np.isnan(truth), truth.shape
    if any((~np.isnan(panel) != cut).any() for panel in panels.values()):
        raise ValueError("the panels of a sign map must have the same cut places")
    colours = ListedColormap([MINUS, "white", PLUS])
    with house_style():
        height = WIDTH / min(across, len(panels)) * shape[0] / shape[1] + 0.35
        figure, axes = panel_axes(len(panels), across, height)
        for ax, (name, panel) in zip(axes, panels.items(), strict=True):
            ax.set_facecolor(LEFT)  # seen through NaN
            ax.imshow(panel, cmap=colours, vmin=-1, vmax=1, aspect="equal")
            rows, columns = np.nonzero(cut & (panel != truth))
            ax.plot(columns, rows, "x", color=WRONG, markersize=110 / shape[1], markeredgewidth=1.1)
            right = int(cut.sum()) - len(rows)
            told = "" if panel is truth else f": {right} of {cut.sum()} right"
            ax.set_title(f"{name}{told}", fontsize=9)
            ax.grid(False)
            ax.set(xticks=[], yticks=[])
        handles = [
            Patch(facecolor=PLUS, label="+"), Patch(facecolor=MINUS, label="−"),
            Patch(facecolor=LEFT, label="not cut"),
            Line2D([], [], color=WRONG, marker="x", linestyle="", label="wrong sign"),
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        if title:
            figure.suptitle(title, weight="bold", fontsize="medium")
    return figure
