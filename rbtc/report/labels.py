"""Labels that do not touch: measured as they will be drawn, then turned, wrapped or set smaller."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 4.0  # points between neighbours


def turn_ticks(figure: Figure, ax: Axes) -> None:
    """Turn the labels of the horizontal axis where they would touch, no further than needed."""
    for angle in (0, 30, 90):
        for text in ax.get_xticklabels():
            text.set(rotation=angle, ha="right" if 0 < angle < 90 else "center")
        figure.draw_without_rendering()
        texts = ax.get_xticklabels()
        boxes = [text.get_window_extent() for text in texts]
        gap = GAP * figure.dpi / 72
        if angle == 0:
            free = all(one.x1 + gap <= other.x0 for one, other in pairwise(boxes))
        else:
            places = ax.transData.transform([(text.get_position()[0], 0) for text in texts])[:, 0]
            height = 1.1 * float(texts[0].get_fontsize()) * figure.dpi / 72
            free = all(
                (right - left) * np.sin(np.radians(angle)) >= height
                for left, right in pairwise(places)
            )
        if free:
            return


def fit_headings(figure: Figure, axes: Sequence[Axes]) -> bool:
    """Wrap the headings over `axes` to the room of a column; all smaller if a word is too wide.

    Returns whether anything was changed, so that the layout has to be found anew.
    """
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in axes]
    middles = [(box.x0 + box.x1) / 2 for box in boxes]
    edge = 2 * (figure.bbox.width - middles[-1])
    room = min([edge, *(right - left for left, right in pairwise(middles))])
    room -= GAP * figure.dpi / 72

    def width(ax: Axes) -> float:
        return ax.title.get_window_extent().width

    wide = [ax for ax in axes if width(ax) > room]
    lines = max(ax.get_title().count("\n") for ax in axes)
    for ax in wide:
        text = ax.get_title()
        for letters in range(max(map(len, text.split("\n"))), 0, -1):
            wrapped = [fill(line, letters, break_long_words=False) for line in text.split("\n")]
            ax.title.set_text("\n".join(wrapped))
            if width(ax) <= room:
                break
    size = float(axes[0].title.get_fontsize())
    shrunk = size * min(1.0, room / max(1.0, *map(width, axes)))
    for ax in axes:
        ax.title.set_fontsize(shrunk)
    more = max(ax.get_title().count("\n") for ax in axes) - lines
    if more > 0:
        figure.set_figheight(figure.get_figheight() + more * 1.2 * shrunk / 72)
    return bool(wide) or shrunk < size
