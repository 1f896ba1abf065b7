"""Explorers: pictures in one sheet, numbers in one file, and the markup that a page shows.

An explorer is a row of pictures for each concept, over the steps of a slider. The site needs no
server for it: the pictures of an explorer lie in one sheet, its numbers in the page itself, and
``book/_static/explorer.js`` puts the two together. Without scripts the page shows the sheet.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbtc.files import write_whole
from rbtc.report.outputs import output_path

FOLDER = "book/_static/explorer"
QUALITY = 90
"""Of the sheets' WebP: a 64-pixel picture takes some two kilobytes."""

LIMIT = 16_383
"""Pixels that a side of a WebP picture may have."""


@dataclass(frozen=True)
class Fact:
    """A share shown as a bar beside a picture.

    Attributes:
        name: What it is.
        value: In [0, 1].
        text: How it is written, with its count.
    """

    name: str
    value: float
    text: str


Facts = tuple[Fact, ...]


@dataclass(frozen=True)
class Bars:
    """Two histograms over the same bins, as shares of all weights.

    Attributes:
        rest: Weights that were not cut.
        cut: Weights that were.
    """

    rest: tuple[float, ...]
    cut: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Explorer:
    """Pictures and numbers over a slider.

    Attributes:
        name: Of its files: letters only.
        slider: What the slider moves.
        steps: Its places.
        kinds: Further choices beside the concept, one empty text for none.
        views: The pictures of one place, side by side.
        concepts: Concepts.
        pictures: uint8 (concepts, kinds, steps, views, height, width, 3).
        facts: Numbers of each (concept, kind, step); places without any may be missing.
        bars: Histograms of each (concept, step), likewise.
        start: The first place shown.
        ends: What the two ends of the histogram's axis are.
    """

    name: str
    slider: str
    steps: tuple[str, ...]
    kinds: tuple[str, ...]
    views: tuple[str, ...]
    concepts: tuple[str, ...]
    pictures: np.ndarray
    facts: dict[tuple[int, int, int], Facts]
    bars: dict[tuple[int, int], Bars] = field(default_factory=dict)
    start: int = 0
    ends: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        counts = tuple(map(len, (self.concepts, self.kinds, self.steps, self.views)))
        shape = np.shape(self.pictures)
        if len(shape) != 7 or shape[:4] != counts or shape[6] != 3 or 0 in shape:
            raise ValueError(
                f"explorer {self.name!r}: expected pictures of shape {counts} + (height, width, 3),"
                f" none of them zero, got {shape}"
            )
        if self.pictures.dtype != np.uint8:
            raise ValueError(f"explorer {self.name!r}: expected uint8, got {self.pictures.dtype}")
        if not self.name.isalpha() or not 0 <= self.start < len(self.steps):
            raise ValueError(
                f"an explorer needs a name of letters and a start among its {len(self.steps)} "
                f"steps, got {self.name!r} and {self.start}"
            )

    def sheet(self) -> np.ndarray:
        """All pictures in one: steps across; concepts, kinds and views down; uint8 (h, w, 3)."""
        steps, width = self.pictures.shape[2], self.pictures.shape[5]
        rows = self.pictures.transpose(0, 1, 3, 4, 2, 5, 6)  # concept, kind, view, y, step, x, rgb
        sheet = rows.reshape(-1, steps * width, 3)
        if max(sheet.shape[:2]) > LIMIT:
            raise ValueError(f"the sheet of {self.name!r} has a side of more than {LIMIT} pixels")
        return sheet

    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        height, width = self.pictures.shape[4:6]
        return {
            **{key: getattr(self, key) for key in ("slider", "steps", "kinds", "views")},
            "concepts": self.concepts,
            "start": self.start,
            "size": [width, height],
            "sheet": f"{self.name}.webp",
            "ends": self.ends,
            "facts": {
                ",".join(map(str, place)): [[f.name, round(f.value, 4), f.text] for f in facts]
                for place, facts in self.facts.items()
                if facts
            },
            "bars": {
                ",".join(map(str, place)): [_short(bars.rest), _short(bars.cut)]
                for place, bars in self.bars.items()
            },
        }

    def frame(self) -> pd.DataFrame:
        """The numbers, one line per concept, choice, step and fact."""
        lines = [
            {
                "explorer": self.name,
                "concept": self.concepts[concept],
                "choice": self.kinds[kind],
                "step": self.steps[step],
                "fact": fact.name,
                "value": fact.value,
                "text": fact.text,
            }
            for (concept, kind, step), facts in self.facts.items()
            for fact in facts
        ]
        return pd.DataFrame(lines)

    def markup(self, static: str = "../_static/explorer") -> str:
        """HTML of the explorer; ``static`` is the folder of the sheets, seen from the page.

        The script builds the controls. Without one, the sheet is shown with its order in words.
        """
        down = self.concepts if len(self.kinds) * len(self.views) == 1 else (
            f"{' / '.join(filter(None, (concept, kind, view if len(self.views) > 1 else '')))}"
            for concept in self.concepts
            for kind in self.kinds
            for view in self.views
        )  # fmt: skip
        order = f"{self.slider}, from left to right: {', '.join(self.steps)}. "
        order += f"From top to bottom: {', '.join(down)}."
        data = json.dumps(self.data(), separators=(",", ":")).replace("</", "<\\/")
        source = f"{static}/{self.name}.webp"
        return (
            f'<div class="explorer" id="explore-{self.name}" data-static="{html.escape(static)}">\n'
            f'<script type="application/json">{data}</script>\n'
            f'<noscript><img src="{html.escape(source)}" alt="All pictures of this explorer">'
            f"<p>{html.escape(order)}</p></noscript>\n</div>"
        )


def _short(values: Sequence[float]) -> list[float]:
    return [round(float(value), 5) for value in values]


def save(explorers: Sequence[Explorer], folder: str | Path = FOLDER) -> list[Path]:
    """Write every sheet, and the numbers of all as ``explorer.json``; return the paths.

    A relative folder is taken as in `rbtc.report.outputs`. Equal explorers give equal files.
    """
    from PIL import Image

    folder = output_path(folder)
    paths = [
        write_whole(
            folder / f"{one.name}.webp",
            partial(Image.fromarray(one.sheet()).save, format="webp", quality=QUALITY, method=6),
        )
        for one in explorers
    ]
    text = json.dumps({one.name: one.data() for one in explorers}, indent=0) + "\n"
    write = partial(Path.write_text, data=text, encoding="utf-8")
    return [*paths, write_whole(folder / "explorer.json", write)]
