"""Pictures in grids and on disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from rbtc.files import write_whole
from rbtc.report.outputs import output_path
from rbtc.report.style import COLOURS, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


GAP = 2  # white pixels between the pictures of one cell


def picture_grid(
    images: Mapping[str, Mapping[str, np.ndarray]],
    *,
    cell_width: float | None = None,
    across: int = 4,
    framed: Collection[tuple[str, str]] = (),
) -> Figure:
    """Rows of concepts, columns of models: `images[row][column]` is (n, h, w, 3) uint8.

    The n pictures of a cell stand side by side, at most `across` to a line. Columns keep the order
    of their first appearance; a cell that is not there stays empty. `cell_width` in inches, by
    default as wide as the pictures of a line need. Headings are wrapped, and set smaller where a
    word is wider than its column. Cells named in `framed`, (row, column), get a frame in the colour
    of pruning.
    """
    rows = list(images)
    columns = list(dict.fromkeys(column for row in images.values() for column in row))
    if not rows or not columns:
        raise ValueError("a picture grid needs at least one row and one column, got none")
    tiles = {
        row: {
            name: tile(one, per_line=across, what=f"images[{row!r}][{name!r}]")
            for name, one in of.items()
        }
        for row, of in images.items()
    }
    # Height over width of the tallest cell of each row, so that no row wastes paper.
    shapes = [max((t.shape[0] / t.shape[1] for t in tiles[row].values()), default=1.0)
              for row in rows]  # fmt: skip
    if cell_width is None:
        widest = max(min(len(cell), across) for row in images.values() for cell in row.values())
        cell_width = max(1.4, 0.8 * widest)
    # A letter of a heading takes about a tenth of an inch.
    room = max(8, int(cell_width * 9))
    headings = [
        "\n".join(fill(line, room, break_long_words=False) for line in column.split("\n"))
        for column in columns
    ]
    longest = max(len(line) for text in headings for line in text.split("\n"))
    size = min(10.0, 90 * cell_width / longest)  # points
    top = max(text.count("\n") for text in headings) * 1.2 * size / 72 + 0.4
    with house_style():
        inches = (cell_width * len(columns) + 0.9, cell_width * sum(shapes) + top)
        figure, axes = new_figure(
            len(rows), len(columns), inches, squeeze=False, height_ratios=shapes,
            subplot_kw={"xticks": [], "yticks": []},
        )  # fmt: skip
        for (number, place), ax in np.ndenumerate(axes):
            cell = rows[number], columns[place]
            ax.spines[:].set(visible=cell in framed, linewidth=3, edgecolor=COLOURS["pruned"])
            if cell[1] in tiles[cell[0]]:
                ax.imshow(tiles[cell[0]][cell[1]])
            if number == 0:
                ax.set_title(headings[place], fontsize=size)
            if place == 0:
                ax.set_ylabel(cell[0], rotation=0, ha="right", va="center")
        for _ in range(2):  # before Matplotlib 3.9 one pass leaves a tall heading over the edge
            figure.draw_without_rendering()
        figure.set_layout_engine("none")  # found; looking for it at every drawing takes seconds
    return figure


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
    cells = np.full((lines * across, height + GAP, width + GAP, 3), 255, dtype=np.uint8)
    cells[:n, :height, :width] = images
    cells = cells.reshape(lines, across, *cells.shape[1:]).swapaxes(1, 2)
    return cells.reshape(lines * (height + GAP), -1, 3)[:-GAP, :-GAP]


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, whole or not at all; equal figures give equal files.

    A relative path is taken as in `rbtc.report.outputs`.
    """
    settings = {"format": "png", "dpi": 150, "metadata": {"Software": None}}
    return write_whole(output_path(path), lambda target: figure.savefig(target, **settings))
