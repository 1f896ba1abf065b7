# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.unknown_concept` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.attack.concept_identification import feature_change, random_signs
from rbtc.models.prompts import evaluation_prompt, vocabulary
from rbtc.models.subjects import Subject
from rbtc.studies.measuring.common import at_least_one
from rbtc.studies.measuring.concept_sets import attacked
from rbtc.studies.several_concepts import Together
from rbtc.studies.unknown_concept import ALONE, CHANGE, UnknownStudy

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

JUDGED = "change, judge features"

GAIN = "better fit to the word (CLIP)"

STEADY = "change, CLIP features, less that of coin signs"


def guessed_cases(
    cases: Sequence[Together], order: Sequence[Subject], guesses: int
) -> list[Together]:
    """The cases given, and single concepts, the nearest on the circle, until there are so many.

    Raises:
        ValueError: more singles than concepts.
    """
    if not 1 <= guesses <= len(order):
        raise ValueError(f"guesses must lie from 1 to the {len(order)} concepts, not {guesses}")
    wanted = list(dict.fromkeys(one for case in cases for one in case.concepts))
    wanted += [one for one in order if one not in wanted]
    have = [case.concepts[0] for case in cases if case.count == 1]
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
    places = np.random.default_rng(seed).permutation(len(spare))[:others]
    return (*own, *(spare[place] for place in places))


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
        cases: what was erased; the attacker is not told.
        words: the vocabulary, with every erased word in it.
        word_images: pictures of each word and model; a word's score is the mean over them.
        coins: also draw with coin signs, to subtract how fragile a word's pictures are.
        seed: the pictures of each word have this seed and the following ones.

    Raises:
        ValueError: no cases, a case given twice, or a word that is missing or given twice.
    """
    at_least_one(word_images=word_images)
    names = [case_name(case) for case in cases]
    lost = {word for case in cases for word in case.words}
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected one or more cases, each once, got {names}")
    if len(set(words)) < len(words) or not lost <= set(words):
        raise ValueError("the vocabulary must hold every erased word, and each word once")
    lab.judges.require("object", "clip")
    frames = []
    for name, case in zip(names, cases, strict=True):
        measured = _measured(lab, case, words, word_images, coins, seed)
        for measure, values in measured.items():
            scores = np.asarray(values).reshape(len(words), word_images).mean(axis=1)
            columns: dict[str, Any] = {"case": name, "count": case.count, "measure": measure}
            columns |= {"word": list(words), "score": scores}
            frames.append(pd.DataFrame(columns))
            frames[-1]["erased"] = frames[-1]["word"].isin(case.words)
    return UnknownStudy(tuple(words), pd.concat(frames, ignore_index=True))


def case_name(case: Together) -> str:
    """How a table names a model."""
    return case.name if case.count == 1 else f"{case.name} + {case.count - 1}"


def _measured(
    lab: Lab, case: Together, words: Sequence[str], word_images: int, coins: bool, seed: int
) -> dict[str, np.ndarray]:
    """Per measure, how suspect each picture is: words by seeds, flat."""
    from rbtc.models.evaluate import clip_similarity

    prompts = [evaluation_prompt(lab.profile, word) for word in words for _ in range(word_images)]
    seeds = [seed + number for _ in words for number in range(word_images)]

    def drawn(variant: Variant) -> np.ndarray:
        return lab.measure.images(variant, prompts, seeds)

    clip, judge = lab.judges.get("clip"), lab.judges.get("object")
    variants = attacked(lab, case)
    pruned, revived = drawn(variants["pruned"]), drawn(variants["revived"])
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
        tossed = drawn(_tossed(variants["pruned"], variants["revived"]))
        made[STEADY] = moved - feature_change(embedded, clip.image_features(tossed))
    return made


def _tossed(pruned: Variant, revived: Variant) -> Variant:
    from rbtc.lab.variant import derived
    from rbtc.layers import Weights, zero_masks

    def weights() -> Weights:
        return random_signs(revived.weights, zero_masks(pruned.weights))

    return derived(revived, "coin signs", weights, random_signs, kind="coin signs", seed=0)
