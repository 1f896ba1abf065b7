"""How `rbtc.studies.several_concepts` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rbtc.attack.sign_accuracy import count_signs
from rbtc.lab import Lab, Variant
from rbtc.layers import density, short_name, zero_masks
from rbtc.models.subjects import Subject
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, subjects
from rbtc.studies.measuring.unknown_concept import (
    attacked,
    drawn_words,
    guessed_cases,
    unknown_study,
)
from rbtc.studies.several_concepts import (
    MODELS,
    SeveralChapter,
    SeveralStudy,
    Together,
    column_title,
    row_title,
)


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
    """Erase growing sets of concepts, attack each model, count, and guess what was erased.

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
        coins: see `rbtc.studies.measuring.unknown_concept.unknown_study`.
        order_seed: of the order of the concepts on the circle, and of the other words.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: see `nested_sets`, and `guessed_cases`, `drawn_words` and `unknown_study` of
            `rbtc.studies.measuring.unknown_concept`; a count of pictures below one, or an unknown
            concept.
    """
    at_least_one(images=images, other_images=other_images, word_images=word_images)
    order = drawn_order(lab, concepts, order_seed)
    cases = nested_sets(order, counts_together, sets)
    guessed = guessed_cases(cases, order, guesses)
    words = drawn_words(lab, order, other_words, order_seed)
    lab.judges.require("object", "clip")
    frames, matrices = [], []
    shown: dict[str, dict[str, np.ndarray]] = {}
    plate = cases[len(counts_together) - 1]  # the first set, with all its concepts
    for case in cases:
        variants = attacked(lab, case)
        preserved = [one for one in order if one not in case.concepts]
        asked = [(one, images) for one in case.concepts] + [(o, other_images) for o in preserved]
        for model, variant in variants.items():
            frames.append(_positioned(lab.measure.hits(variant, asked, seed), case, model))
        matrices += _matrices(lab, case, variants["pruned"])
        for one in plate.concepts if case.name == plate.name else ():
            before, pruned, revived = (lab.measure.shown(variants[m], one, 1, seed) for m in MODELS)
            pair = np.concatenate([before, np.full_like(before, 255)])
            shown.setdefault(row_title(0), {})[column_title(one)] = pair
            pair = np.concatenate([pruned, revived])
            shown.setdefault(row_title(case.count), {})[column_title(one)] = pair
    several = SeveralStudy(
        tuple(order), tuple(cases), pd.concat(frames, ignore_index=True), pd.DataFrame(matrices),
        shown,
    )  # fmt: skip
    unknown = unknown_study(lab, guessed, words, word_images, coins=coins, seed=seed)
    return SeveralChapter(several, unknown)


def drawn_order(lab: Lab, concepts: Sequence[str], seed: int) -> list[Subject]:
    """The concepts in an order drawn by the seed; their own order does not matter."""
    known = sorted(subjects(lab, concepts), key=lambda one: one.word)
    return [known[index] for index in np.random.default_rng(seed).permutation(len(known))]


def nested_sets(order: Sequence[Subject], counts: Sequence[int], sets: int) -> list[Together]:
    """Sets that start evenly spaced on the circle of concepts, each in every count.

    Raises:
        ValueError: counts that do not grow, or that leave no concept to preserve; more sets than
            concepts.
    """
    at_least_one(sets=sets, **{f"counts[{i}]": count for i, count in enumerate(counts)})
    counts, size = list(counts), len(order)
    if not counts or sorted(set(counts)) != counts or counts[-1] >= size:
        raise ValueError(
            f"counts must grow and stay below the {size} concepts, so that one is preserved, "
            f"not {counts}"
        )
    if sets > size:
        raise ValueError(f"{size} concepts make at most {size} sets, not {sets}")
    made = []
    for number in range(sets):
        start = number * size // sets
        turned = [*order[start:], *order[:start]]
        made += [Together(turned[0].label, tuple(turned[:count])) for count in counts]
    return made


def _positioned(hits: pd.DataFrame, case: Together, model: str) -> pd.DataFrame:
    """Hits with the case, the model, and which concept of the set was asked for: 0 for none."""
    number = {word: number for number, word in enumerate(case.words, start=1)}
    position = hits["asked"].map(number).fillna(0).astype(int)
    classes = np.where(position > 0, "erased", "preserved")
    columns = {"concept": case.name, "count": case.count, "model": model, "classes": classes}
    frame = hits.assign(**columns, position=position)
    return frame[[*columns, "position", *hits.columns]]


def _matrices(lab: Lab, case: Together, pruned: Variant) -> list[dict[str, object]]:
    """Density and signs of one pruned model, matrix by matrix."""
    signs = count_signs(lab.attacker.complete(pruned), lab.pretrained.weights)
    single = [lab.owner.masks(one) for one in case.concepts]
    rows: list[dict[str, object]] = []
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
    return rows
