# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""What the measurements share: whom they are about, and how models are judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

PAPER_CLASSES = (
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn", "mountain bike",
    "starfish", "spider web", "school bus", "racket", "candle",
)  # fmt: skip
"""The classes of the paper's Table 1, in its order."""

Models = Iterable[tuple[Mapping[str, Any], "Variant"]]
"""What to write beside each picture (a "model", and settings), and the variant that draws it."""


def subjects(lab: Lab, concepts: Sequence[str]) -> list[Subject]:
    """Look the concepts up, given as paper classes or as words of the model.

    Raises:
        ValueError: no concept, an unknown one, or one given twice.
    """
    if isinstance(concepts, str):
        raise ValueError(f"concepts must be a list of names, not the one name {concepts!r}")
    found = [lab.subject(concept) for concept in concepts]
    if not found or len({subject.word for subject in found}) < len(found):
        raise ValueError(f"expected one or more concepts, each once, got {list(concepts)}")
    return found


def at_least_one(**counts: int) -> None:
    """Refuse counts below one, before any work.

    Raises:
        ValueError: naming the count.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {count!r}")


def judged(
    lab: Lab,
    subject: Subject,
    models: Models,
    images: int,
    *,
    other_images: int = 0,
    others: Sequence[Subject] | None = None,
    first_seed: int = 0,
) -> pd.DataFrame:
    """One line per picture that each model drew of the erased concept and of the other classes.

    The variants are asked for one at a time: on the paper's model each holds 100 MB of weights.

    Args:
        lab: the judges.
        subject: the erased concept.
        models: see `Models`.
        images: pictures of the erased concept per model.
        other_images: pictures of each other class per model; 0 leaves them out.
        others: which other classes; None takes all of the profile.
        first_seed: of each class.

    Returns:
        concept (label of the erased one), the columns of ``models``, classes ("erased" or
        "preserved"), asked, prompt, seed, seen, hit.
    """
    asked = [(subject, images)]
    if other_images:
        chosen = lab.others(subject) if others is None else others
        asked += [(other, other_images) for other in chosen]
    frames = []
    for columns, variant in models:
        hits = lab.measure.hits(variant, asked, first_seed)
        classes = np.where(hits["asked"] == subject.word, "erased", "preserved")
        frames.append(hits.assign(concept=subject.label, **columns, classes=classes))
    frame = pd.concat(frames, ignore_index=True)
    first = ["concept", *[name for name in frame if name not in ("concept", *hits.columns)]]
    return frame[[*first, *hits.columns]]


def check_draws(draw_seeds: Sequence[int]) -> None:
    """Refuse anything but one or more seeds, each once, before any work.

    Raises:
        ValueError: naming the seeds.
    """
    if not draw_seeds or len({*draw_seeds}) < len(draw_seeds):
        raise ValueError(f"expected one or more draw seeds, each once, got {list(draw_seeds)}")


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
