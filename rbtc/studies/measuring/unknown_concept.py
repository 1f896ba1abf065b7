"""How `rbtc.studies.unknown_concept` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rbtc.attack.concept_identification import feature_change, random_signs
from rbtc.lab import Lab, Variant
from rbtc.lab.variant import derived
from rbtc.layers import zero_masks
from rbtc.models.evaluate import clip_similarity
from rbtc.models.prompts import evaluation_prompt, vocabulary
from rbtc.models.subjects import Subject
from rbtc.studies.several_concepts import MODELS, Together
from rbtc.studies.unknown_concept import ALONE, CHANGE, UnknownStudy

JUDGED = "change, judge features"

GAIN = "better fit to the word (CLIP)"

STEADY = "change, CLIP features, less that of coin signs"


def attacked(lab: Lab, case: Together) -> dict[str, Variant]:
    """The three models of a case; the attacker gets the pruned weights and nothing else."""
    pruned = lab.owner.pruned_together(case.concepts)
    return dict(zip(MODELS, (lab.pretrained, pruned, lab.attacker.attack(pruned)), strict=True))


def guessed_cases(
    cases: Sequence[Together], order: Sequence[Subject], guesses: int
) -> list[Together]:
    """The cases given, and single concepts, the nearest on the circle, until there are so many.

    Raises:
        ValueError: more singles than concepts.
    """
    if not 1 <= guesses <= len(order):
        raise ValueError(f"guesses must lie from 1 to the {len(order)} concepts, not {guesses}")
    have = [case.concepts[0] for case in cases if case.count == 1]
    wanted = dict.fromkeys([*(one for case in cases for one in case.concepts), *order])
    more = [one for one in wanted if one not in have][: max(guesses - len(have), 0)]
    return [*cases, *(Together(one.label, (one,)) for one in more)]


def drawn_words(lab: Lab, order: Sequence[Subject], others: int, seed: int) -> tuple[str, ...]:
    """The attacker's vocabulary: the concepts' words, and ``others`` that the model knows besides.

    Of a model without a list of its words, the others are things of the profile.

    Raises:
        ValueError: the model does not list so many words.
    """
    own = tuple(one.word for one in order)
    known = vocabulary(lab.profile) or lab.profile.prompts.things
    spare = sorted(set(known) - set(own))
    if not 0 <= others <= len(spare):
        raise ValueError(f"the model lists {len(spare)} other words, so not {others} of them")
    indices = np.random.default_rng(seed).permutation(len(spare))[:others]
    return (*own, *(spare[index] for index in indices))


def unknown_study(
    lab: Lab,
    cases: Sequence[Together],
    words: Sequence[str],
    word_images: int,
    *,
    coins: bool = False,
    seed: int = 0,
) -> UnknownStudy:
    """Let an attacker rank a vocabulary for each model, knowing only pruned and revived pictures.

    Args:
        lab: the models.
        cases: what was erased, each once; the attacker is not told.
        words: the vocabulary, each word once and every erased one among them.
        word_images: pictures of each word and model; a word's score is the mean over them.
        coins: also draw with coin signs, to subtract how fragile a word's pictures are.
        seed: the pictures of each word have this seed and the following ones.
    """
    lines = []
    for case in cases:
        name = case.name if case.count == 1 else f"{case.name} + {case.count - 1}"
        for measure, values in _measured(lab, case, words, word_images, coins, seed).items():
            scores = np.asarray(values).reshape(len(words), word_images).mean(axis=1)
            for word, score in zip(words, scores, strict=True):
                lines.append((name, case.count, measure, word, score, word in case.words))
    columns = ["case", "count", "measure", "word", "score", "erased"]
    return UnknownStudy(tuple(words), pd.DataFrame(lines, columns=columns))


def _measured(
    lab: Lab, case: Together, words: Sequence[str], word_images: int, coins: bool, seed: int
) -> dict[str, np.ndarray]:
    """Per measure, how suspect each picture is: words by seeds, flat."""
    prompts = [evaluation_prompt(lab.profile, word) for word in words for _ in range(word_images)]
    seeds = [seed + number for _ in words for number in range(word_images)]
    clip, judge = lab.judges.get("clip"), lab.judges.get("object")
    _, before, after = attacked(lab, case).values()
    pruned, revived = (lab.measure.images(variant, prompts, seeds) for variant in (before, after))
    embedded = clip.image_features(pruned)
    moved = feature_change(embedded, clip.image_features(revived))
    fit = clip_similarity(pruned, prompts, clip)
    made = {
        CHANGE: moved,
        JUDGED: feature_change(judge.features(pruned), judge.features(revived)),
        GAIN: clip_similarity(revived, prompts, clip) - fit,
        ALONE: -fit,
    }
    if coins:
        tossed = derived(
            after, "coin signs", lambda: random_signs(after.weights, zero_masks(before.weights)),
            random_signs, kind="coin signs", seed=0,
        )  # fmt: skip
        drawn = lab.measure.images(tossed, prompts, seeds)
        made[STEADY] = moved - feature_change(embedded, clip.image_features(drawn))
    return made
