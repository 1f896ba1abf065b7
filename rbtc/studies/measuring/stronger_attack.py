"""How `rbtc.studies.stronger_attack` is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pandas as pd

from rbtc.attack.completion import Completion
from rbtc.attack.input_projection import find_input_projections
from rbtc.attack.magnitudes import Strategy
from rbtc.attack.revive import revive
from rbtc.attack.sign_accuracy import cosine, count_signs
from rbtc.attack.stronger import (
    EXPONENTS,
    WITH_PROJECTION,
    ChosenSetting,
    Setting,
    complete_stronger,
)
from rbtc.lab import Lab, Variant
from rbtc.layers import short_name
from rbtc.models.subjects import Subject
from rbtc.studies.attack_information import magnitude_rows, side_information
from rbtc.studies.measuring.common import SIX_CLASSES, Tally, subjects
from rbtc.studies.stronger_attack import (
    BEST,
    CHOSEN,
    LADDER,
    MAXIMUM,
    PAPER,
    StrongerChapter,
    StrongerStudy,
    Way,
)


def measure(
    lab: Lab,
    concepts: Sequence[str] = SIX_CLASSES,
    images: int = 16,
    *,
    pictures: int = 1,
    seed: int = 0,
) -> StrongerChapter:
    """Attack the pruned model of each concept in the paper's way and in stronger ones.

    The way of giving magnitudes is the one chosen for the profile, see
    `rbtc.studies.stronger_point`.

    Args:
        lab: the models.
        concepts: at least two paper classes or words of the model: gains are paired over them.
        images: pictures per concept and model.
        pictures: how many of each to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: a count below one, or fewer than two concepts; or the table of ways is of
            another edition.
    """
    from rbtc.studies.stronger_point import chosen_way, read_ways  # which import `attack_signs`

    way = chosen_way(lab.profile)
    chosen = subjects(lab, concepts, least=2)
    tally = Tally(lab, images, pictures=pictures, seed=seed)
    truth, cosines = lab.pretrained.weights, {}
    signs, settings, magnitudes = [], [], []
    for subject in chosen:
        attacks, picked = attack_signs(lab, subject)
        for attack, found in attacks.items():
            for name, count in count_signs(found, truth).items():
                layer = {"concept": subject.label, "attack": attack, "layer": short_name(name)}
                signs.append({**layer, "correct": count.correct, "n": count.n})
        for attack, choices in picked.items():
            for name, choice in choices.items():
                layer = {"concept": subject.label, "attack": attack, "layer": short_name(name)}
                own, told = choice.setting, choice.estimates
                estimated = told[own].value if told else float("nan")
                settings.append(
                    {**layer, "exponent": own.exponent, "ridge": own.ridge, "estimated": estimated}
                )
        magnitudes += magnitude_rows(lab, subject)
        masks, cosines[subject.label] = lab.owner.masks(subject), {}
        for name, variant in drawn_models(lab, subject, attacks[BEST], way).items():
            tally.add(subject, name, variant, title=name.replace(", ", ",\n"))
            if name != "pruned":
                cosines[subject.label][name] = cosine(variant.weights, truth, masks)
    study = StrongerStudy(
        tuple(chosen), pd.DataFrame(signs), pd.DataFrame(settings), pd.DataFrame(magnitudes),
        side_information(lab), pd.DataFrame(cosines).T, tally.hits, tally.shown,
    )  # fmt: skip
    return StrongerChapter(study, way, read_ways(lab.profile))


def settings_of(rung: str) -> tuple[Setting, ...]:
    """What a rung of `LADDER` chooses from, layer by layer."""
    return EXPONENTS if rung == "exponent" else WITH_PROJECTION


def attack_signs(
    lab: Lab, subject: Subject
) -> tuple[dict[str, dict[str, Completion]], dict[str, dict[str, ChosenSetting]]]:
    """Completions of one pruned model by every attack, and what they chose.

    The odds are set upon the choice of the partners.
    """
    pruned = lab.owner.pruned(subject)
    projections = find_input_projections(lab.pipeline.unet)  # pruning leaves them as they are
    attacks = {PAPER: lab.completions(subject)}
    picked: dict[str, dict[str, ChosenSetting]] = {}
    for name in LADDER:
        soft = name == BEST
        attacks[name], picked[name] = complete_stronger(
            pruned.weights, projections, settings_of(name), soft=soft,
            choices=picked["partners"] if soft else None,
        )  # fmt: skip
    return attacks, picked


def drawn_models(
    lab: Lab, subject: Subject, completions: Mapping[str, Completion], way: Way
) -> dict[str, Variant]:
    """The models that draw: pruned, revived as in the paper, and in three ways with better signs.

    Args:
        lab: the models.
        subject: the erased concept.
        completions: of the best attack.
        way: the third of the three.
    """
    own = Way("neuron_max", lab.profile.revive.keep_ratio)
    ways = {MAXIMUM: own, BEST: Way("completed", 1.0), CHOSEN: way}
    return {
        "pruned": lab.owner.pruned(subject),
        PAPER: lab.revived(subject),
        **{name: given(lab, subject, completions, one) for name, one in ways.items()},
    }


def given(lab: Lab, subject: Subject, completions: Mapping[str, Completion], way: Way) -> Variant:
    """The pruned model with the signs of completions and magnitudes given in one way."""
    pruned, strategy = lab.owner.pruned(subject).weights, cast("Strategy", way.strategy)
    made = revive(pruned, completions=completions, strategy=strategy, keep_ratio=way.keep_ratio)
    return lab.owner.custom(f"revived (odds, {way})", made.weights)
