# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.several_concepts` is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one
from rbtc.studies.measuring.concept_sets import attacked, drawn_order, nested_sets
from rbtc.studies.measuring.unknown_concept import drawn_words, guessed_cases, unknown_study
from rbtc.studies.several_concepts import (
    MODELS,
    SeveralChapter,
    SeveralStudy,
    Together,
    column_title,
    row_title,
)

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant


def measure(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    *,
    counts_together: Sequence[int] = (1, 2, 3, 5),
    sets: int = 2,
    images: int = 3,
    other_images: int = 1,
    guesses: int = 6,
    word_images: int = 1,
    other_words: int = 0,
    coins: bool = False,
    order_seed: int = 0,
    seed: int = 0,
) -> SeveralChapter:
    """What the chapter shows.

    Args:
        lab: the models.
        concepts: paper classes or words of the model; those outside a set are its preserved ones.
        counts_together: how many concepts to erase together, growing.
        sets: how many sets.
        images: pictures of each erased concept per model.
        other_images: pictures of each preserved concept per model.
        guesses: how many models that lost one concept the attacker guesses about.
        word_images: pictures of each word of the attacker's vocabulary and model.
        other_words: words of the vocabulary that are no concept.
        coins: also draw with coin signs, see `rbtc.studies.unknown_concept.unknown_study`.
        order_seed: of the order of the concepts on the circle, and of the other words.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: see `several_study`, `rbtc.studies.unknown_concept.guessed_cases`,
            `rbtc.studies.unknown_concept.drawn_words` and `unknown_study`.
    """
    several = several_study(
        lab, concepts, images, counts=counts_together, sets=sets, other_images=other_images,
        order_seed=order_seed, seed=seed,
    )  # fmt: skip
    cases = guessed_cases(several.cases, several.order, guesses)
    words = drawn_words(lab, several.order, other_words, order_seed)
    unknown = unknown_study(lab, cases, words, word_images, coins=coins, seed=seed)
    return SeveralChapter(several, unknown)


def several_study(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    counts: Sequence[int] = (1, 2, 3, 5),
    sets: int = 2,
    other_images: int = 1,
    order_seed: int = 0,
    seed: int = 0,
) -> SeveralStudy:
    """Erase growing sets of concepts, attack each model, and count on all concepts.

    Args:
        lab: the models.
        concepts: paper classes or words of the model; those outside a set are its preserved ones.
        images: pictures of each erased concept per model.
        counts: how many concepts to erase together, growing.
        sets: how many sets.
        other_images: pictures of each preserved concept per model.
        order_seed: of the order of the concepts on the circle.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: see `nested_sets`; a count of pictures below one, or an unknown concept.
    """
    at_least_one(images=images, other_images=other_images)
    order = drawn_order(lab, concepts, order_seed)
    cases = nested_sets(order, counts, sets)
    lab.judges.require("object")
    frames, matrices = [], []
    plate = cases[len(counts) - 1]  # the first set, with all its concepts
    shown: dict[str, dict[str, np.ndarray]] = {}
    for case in cases:
        variants = attacked(lab, case)
        preserved = [one for one in order if one not in case.concepts]
        asked = [(one, images) for one in case.concepts] + [(o, other_images) for o in preserved]
        frames += [
            _placed(lab.measure.hits(variant, asked, seed), case, model)
            for model, variant in variants.items()
        ]
        matrices.append(_matrices(lab, case, variants["pruned"]))
        if case.name == plate.name:
            shown |= _shown(lab, case, plate.concepts, variants, seed, first=not shown)
    frame = pd.concat(frames, ignore_index=True)
    found = pd.concat(matrices, ignore_index=True)
    return SeveralStudy(tuple(order), tuple(cases), frame, found, shown)


def _shown(
    lab: Lab,
    case: Together,
    columns: Sequence[Subject],
    variants: Mapping[str, Variant],
    seed: int,
    *,
    first: bool,
) -> dict[str, dict[str, np.ndarray]]:
    """A line of the plate: pruned and revived; before the first one, a line of the pretrained."""
    lines: dict[str, dict[str, np.ndarray]] = {}
    for one in columns:
        before, pruned, revived = (lab.measure.shown(variants[m], one, 1, seed) for m in MODELS)
        if first:
            pair = np.concatenate([before, np.full_like(before, 255)])
            lines.setdefault(row_title(0), {})[column_title(one)] = pair
        lines.setdefault(row_title(case.count), {})[column_title(one)] = np.concatenate(
            [pruned, revived]
        )
    return lines


def _placed(hits: pd.DataFrame, case: Together, model: str) -> pd.DataFrame:
    place = {word: number for number, word in enumerate(case.words, start=1)}
    position = hits["asked"].map(place).fillna(0).astype(int)
    classes = np.where(position > 0, "erased", "preserved")
    columns = {"concept": case.name, "count": case.count, "model": model}
    frame = hits.assign(**columns, classes=classes, position=position)
    first = [*columns, "classes", "position"]
    return frame[[*first, *hits.columns]]


def _matrices(lab: Lab, case: Together, pruned: Variant) -> pd.DataFrame:
    """Density and signs of one pruned model, matrix by matrix."""
    from rbtc.attack.sign_accuracy import count_signs
    from rbtc.layers import density, short_name, zero_masks

    signs = count_signs(lab.attacker.complete(pruned), lab.pretrained.weights)
    single = [lab.owner.masks(one) for one in case.concepts]
    rows = []
    for name, zeros in zero_masks(pruned.weights).items():
        left = np.prod([1 - density({name: masks[name]}) for masks in single])
        counted = signs.get(name)
        rows.append(
            {
                "concept": case.name,
                "count": case.count,
                "matrix": short_name(name),
                "cut": density({name: zeros}),
                "unrelated": float(1 - left),
                "correct": counted.correct if counted else 0,
                "n": counted.n if counted and counted.n else np.nan,
            }
        )
    return pd.DataFrame(rows)
