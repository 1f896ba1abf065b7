"""What the measurements share: whom they are about, checks, and how models are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.models.subjects import Kind, Subject

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

PAPER_CLASSES = (
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn", "mountain bike",
    "starfish", "spider web", "school bus", "racket", "candle",
)  # fmt: skip
"""The classes of the paper's Table 1, in its order."""

SIX_CLASSES = ("church", "golf ball", "parachute", "French horn", "spider web", "candle")
"""Half of them, for the chapters that complete each model several times."""


def subjects(
    lab: Lab, concepts: Sequence[str], kind: Kind = "object", *, least: int = 1
) -> list[Subject]:
    """Look the concepts up, given as paper classes or as words of the model.

    Raises:
        ValueError: fewer than ``least`` concepts, an unknown one, or one given twice.
    """
    if isinstance(concepts, str):
        raise ValueError(f"concepts must be a list of names, not the one name {concepts!r}")
    found = [lab.subject(concept, kind) for concept in concepts]
    if len(found) < least or len({subject.word for subject in found}) < len(found):
        raise ValueError(f"expected at least {least} concepts, each once, got {list(concepts)}")
    return found


def at_least_one(**counts: int) -> None:
    """Refuse counts below one, before any work.

    Raises:
        ValueError: naming the count.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {count!r}")


def in_range(highest: float = math.inf, /, **numbers: float | Sequence[float]) -> None:
    """Refuse numbers that are not finite, not above 0 or above the highest one, or no number.

    Raises:
        ValueError: naming them.
    """
    for name, given in numbers.items():
        each = [given] if isinstance(given, int | float) else list(given)
        right = [isinstance(x, int | float) and 0 < x <= highest and x < math.inf for x in each]
        if not right or not all(right):
            raise ValueError(f"{name} must be finite and lie in (0, {highest:g}], not {given}")


def each_once(**lists: Sequence[Any]) -> None:
    """Refuse an empty list, and one that holds something twice.

    Raises:
        ValueError: naming the list.
    """
    for name, given in lists.items():
        if not given or len({*given}) < len(given):
            raise ValueError(f"{name} must hold one or more, each once, not {list(given)}")


class Tally:
    """What a study draws: a line per counted picture, and the first pictures of each model.

    Models are added one at a time: on the paper's model each holds 100 MB of weights.

    Args:
        lab: the models and the judge of objects, which is loaded now.
        images: pictures of the erased concept per model.
        other_images: pictures of each other class per model; 0 leaves them out.
        pictures: how many of each model to show; they are the first ones counted.
        seed: first seed of each class.

    Attributes:
        shown: Label of the concept -> title of the model -> pictures (pictures, h, w, 3).

    Raises:
        ValueError: a count below one.
        FileNotFoundError: there is no judge.
    """

    def __init__(
        self, lab: Lab, images: int, *, other_images: int = 0, pictures: int = 1, seed: int = 0
    ) -> None:
        at_least_one(images=images, other_images=other_images or 1, pictures=pictures)
        lab.judges.require("object")
        self.lab, self.images, self.other_images = lab, images, other_images
        self.pictures, self.seed = pictures, seed
        self.frames: list[pd.DataFrame] = []
        self.shown: dict[str, dict[str, np.ndarray]] = {}

    def add(
        self, subject: Subject, model: str, variant: Variant, *, title: str | None = "",
        others: Sequence[Subject] | None = None, **columns: Any,
    ) -> pd.DataFrame:  # fmt: skip
        """Count a model, see `count`, and keep its first pictures.

        Args:
            subject: the erased concept.
            model: the model's name, a column of the lines.
            variant: its weights.
            title: what the model is called where its pictures are shown; "" takes its name, None
                does not show it.
            others: which other classes; None takes all of the profile.
            **columns: settings, to write beside each picture.
        """
        hits = self.count(subject, variant, others=others, model=model, **columns)
        if title is not None:
            self.show(subject, title or model, variant)
        return hits

    def count(
        self,
        subject: Subject,
        variant: Variant,
        *,
        others: Sequence[Subject] | None = None,
        **columns: Any,
    ) -> pd.DataFrame:
        """Judge a variant's pictures of the erased concept and of the other classes.

        Returns:
            The lines, as they stand in `hits`.
        """
        asked = [(subject, self.images)]
        if self.other_images:
            chosen = self.lab.others(subject) if others is None else others
            asked += [(other, self.other_images) for other in chosen]
        hits = self.lab.measure.hits(variant, asked, self.seed)
        classes = np.where(hits["asked"] == subject.word, "erased", "preserved")
        first = {"concept": subject.label, **columns, "classes": classes}
        for place, (name, column) in enumerate(first.items()):
            hits.insert(place, name, column)
        self.frames.append(hits)
        return hits

    def show(self, subject: Subject, title: str, variant: Variant) -> None:
        """Draw a model's pictures for the page without counting them."""
        drawn = self.lab.measure.shown(variant, subject, self.pictures, self.seed)
        self.shown.setdefault(subject.label, {})[title] = drawn

    @property
    def hits(self) -> pd.DataFrame:
        """A line per picture, model by model.

        Columns: concept (label of the erased one), those of the models, classes ("erased" or
        "preserved"), asked, prompt, seed, seen, hit.
        """
        return pd.concat(self.frames, ignore_index=True)


def over_draws(hits: pd.DataFrame) -> pd.DataFrame:
    """Pictures that differ only in the seed of drawn magnitudes as one line.

    Args:
        hits: one line per picture, with that seed in the column draw.

    Returns:
        The columns of ``hits`` without draw and seen; hit is the mean over the draws, and draws how
        many there were.
    """
    keys = [name for name in hits if name not in ("draw", "seen", "hit")]
    found = hits.groupby(keys, sort=False, dropna=False, as_index=False)
    return found.agg(draws=("hit", "size"), hit=("hit", "mean"))
