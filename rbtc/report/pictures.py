"""Pictures in grids and on disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from rbtc.files import write_whole
from rbtc.report.labels import fit_headings
from rbtc.report.outputs import output_path
from rbtc.report.style import COLOURS, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


GAP = 2  # white pixels between the pictures of one cell


def picture_grid(
    images: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str | None = None,
    cell_width: float | None = None,
    framed: Collection[tuple[str, str]] = (),
) -> Figure:
    """Rows of concepts, columns of models: `images[row][column]` is (n, h, w, 3) uint8.

    The n pictures of a cell stand side by side, at most four to a line. Columns keep the order of
    their first appearance; a cell that is not there stays empty. `cell_width` in inches, by
    default as wide as the pictures of a line need. Headings are wrapped, and set smaller where a
    word is wider than its column. Cells named in `framed`, (row, column), get a
    frame in the colour of pruning.
    """
    rows = list(images)
    columns = list(dict.fromkeys(column for row in images.values() for column in row))
    if not rows or not columns:
        raise ValueError("a picture grid needs at least one row and one column, got none")
    tiles = {
        (row, column): tile(images[row][column], what=f"images[{row!r}][{column!r}]")
        for row in rows
        for column in images[row]
    }
    # Height over width of the tallest cell of each row, so that no row wastes paper.
    shapes = [
        max(t.shape[0] / t.shape[1] for (r, _), t in tiles.items() if r == row)
        if images[row]
        else 1.0
        for row in rows
    ]
    if cell_width is None:
        across = max(min(len(cell), 4) for row in images.values() for cell in row.values())
        cell_width = max(1.4, 0.8 * across)
    size = (cell_width * len(columns) + 0.9, cell_width * sum(shapes) + (0.8 if title else 0.4))
    with house_style():
        figure, axes = new_figure(
            len(rows), len(columns), size, squeeze=False, height_ratios=shapes,
            subplot_kw={"xticks": [], "yticks": []},
        )  # fmt: skip
        for number, row in enumerate(rows):
            for place, column in enumerate(columns):
                ax = axes[number, place]
                ax.grid(False)
                for spine in ax.spines.values():
                    spine.set(visible=(row, column) in framed, linewidth=3)
                    spine.set_edgecolor(COLOURS["pruned"])
                if (row, column) in tiles:
                    ax.imshow(tiles[row, column])
                if number == 0:
                    ax.set_title(_heading(column, cell_width))
                if place == 0:
                    ax.set_ylabel(row, rotation=0, ha="right", va="center")
        if title:
            figure.suptitle(title, weight="bold")
        if fit_headings(figure, axes[0]):
            figure.draw_without_rendering()
        figure.set_layout_engine("none")  # found; looking for it at every drawing takes seconds
    return figure


def _heading(text: str, inches: float) -> str:
    """A column's heading in lines that its cell has room for; one that has lines keeps them."""
    return text if "\n" in text else fill(text, max(8, int(10 * inches)), break_long_words=False)


def tile(images: np.ndarray, *, per_line: int = 4, what: str = "images") -> np.ndarray:
    """Set (n, h, w, 3) uint8 pictures side by side, `per_line` to a line, on white.

    Raises ValueError for another shape or dtype; `what` names the pictures in the message.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            f"{what}: expected uint8 pictures of shape (n, height, width, 3) with n > 0, "
            f"got {images.dtype} {images.shape}"
        )
    n, height, width, _ = images.shape
    across = min(n, per_line)
    lines = -(-n // across)
    sheet = np.full(
        (lines * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, dtype=np.uint8
    )
    for number, picture in enumerate(images):
        top, left = number // across * (height + GAP), number % across * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, whole or not at all; equal figures give equal files.

    A relative path is taken as in `rbtc.report.outputs`.
    """
    settings = {"format": "png", "dpi": 150, "metadata": {"Software": None}}
    return write_whole(output_path(path), lambda target: figure.savefig(target, **settings))
