# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false
"""How `rbtc.studies.stronger_attack` is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.measuring.common import at_least_one, judged, subjects
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

if TYPE_CHECKING:
    from rbtc.attack.completion import Completion
    from rbtc.attack.magnitudes import Strategy
    from rbtc.attack.stronger import Choice, Setting
    from rbtc.lab import Lab, Variant

CLASSES = ("church", "golf ball", "parachute", "French horn", "spider web", "candle")


def measure(
    lab: Lab,
    concepts: Sequence[str] = CLASSES,
    images: int = 16,
    *,
    pictures: int = 1,
    seed: int = 0,
) -> StrongerChapter:
    """What the chapter shows; the way of giving magnitudes is the one chosen for the profile.

    Args:
        lab: the models.
        concepts: at least two paper classes or words of the model.
        images: pictures per concept and model.
        pictures: how many of each to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: see `stronger_study`; or the table of ways is of another edition.
    """
    from rbtc.studies.stronger_point import chosen_way, read_ways

    way = chosen_way(lab.profile)
    found = stronger_study(lab, concepts, images, way=way, pictures=pictures, seed=seed)
    return StrongerChapter(found, way, read_ways(lab.profile))


def stronger_study(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    way: Way,
    pictures: int = 1,
    share: float = 0.02,
    seed: int = 0,
) -> StrongerStudy:
    """Attack the pruned model of each concept in the paper's way and in stronger ones.

    Args:
        lab: the models.
        concepts: at least two paper classes or words of the model.
        images: pictures per concept and model.
        way: how the best attack's signs get magnitudes, see `rbtc.studies.stronger_point`.
        pictures: how many of each to show; they are the first ones counted.
        share: of each row that is hidden to choose settings.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: a count below one, or fewer than two concepts.
    """
    from rbtc.attack.sign_accuracy import cosine
    from rbtc.studies.attack_information import magnitude_rows, side_information

    at_least_one(images=images, pictures=pictures)
    chosen = subjects(lab, concepts)
    if len(chosen) < 2:
        raise ValueError("gains are paired over concepts: give at least two")
    lab.judges.require("object")
    signs, settings, sizes, frames, shown = [], [], [], [], {}
    cosines = {}
    for subject in chosen:
        attacks, picked = attack_signs(lab, subject, share=share)
        signs += sign_rows(lab, subject, attacks)
        settings += choice_rows(subject, picked)
        sizes += magnitude_rows(lab, subject)
        models = drawn_models(lab, subject, attacks[BEST], way)
        masks, truth = lab.owner.masks(subject), lab.pretrained.weights
        cosines[subject.label] = {
            name: cosine(variant.weights, truth, masks)
            for name, variant in models.items()
            if name != "pruned"
        }
        named: Iterator[tuple[Mapping[str, Any], Variant]] = (
            ({"model": name}, variant) for name, variant in models.items()
        )
        frames.append(judged(lab, subject, named, images, first_seed=seed))
        shown[subject.label] = {
            name.replace(", ", ",\n"): lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in models.items()
        }
    return StrongerStudy(
        tuple(chosen), pd.DataFrame(signs), pd.DataFrame(settings), pd.DataFrame(sizes),
        side_information(lab), pd.DataFrame(cosines).T, pd.concat(frames, ignore_index=True), shown,
    )  # fmt: skip


def settings_of(rung: str) -> tuple[Setting, ...]:
    """What a rung of `LADDER` chooses from, layer by layer."""
    from rbtc.attack.stronger import EXPONENTS, WITH_PROJECTION

    return EXPONENTS if rung == "exponent" else WITH_PROJECTION


def attack_signs(
    lab: Lab, subject: Subject, *, share: float = 0.02
) -> tuple[dict[str, dict[str, Completion]], dict[str, dict[str, Choice]]]:
    """Completions of one pruned model by every attack, and what they chose.

    The odds are set upon the choice of the partners.
    """
    from rbtc.attack.input_projection import find_input_projections
    from rbtc.attack.stronger import complete_stronger

    pruned = lab.owner.pruned(subject)
    projections = find_input_projections(lab.pipeline.unet)  # pruning leaves them as they are
    attacks = {PAPER: lab.completions(subject)}
    picked: dict[str, dict[str, Choice]] = {}
    for name in LADDER:
        soft = name == BEST
        attacks[name], picked[name] = complete_stronger(
            pruned.weights, projections, settings_of(name), soft=soft, fraction=share,
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
    ways = {
        MAXIMUM: Way("neuron_max", lab.profile.revive.keep_ratio),
        BEST: Way("completed", 1.0),
        CHOSEN: way,
    }
    return {
        "pruned": lab.owner.pruned(subject),
        PAPER: lab.revived(subject),
        **{name: given(lab, subject, completions, one) for name, one in ways.items()},
    }


def given(lab: Lab, subject: Subject, completions: Mapping[str, Completion], way: Way) -> Variant:
    """The pruned model with the signs of completions and magnitudes given in one way."""
    from rbtc.attack.revive import revive

    pruned, strategy = lab.owner.pruned(subject).weights, cast("Strategy", way.strategy)
    own = revive(
        pruned, completions=completions, strategy=strategy, keep_ratio=way.keep_ratio
    ).weights
    return lab.owner.custom(f"revived (odds, {way})", own)


def sign_rows(
    lab: Lab, subject: Subject, attacks: Mapping[str, Mapping[str, Completion]]
) -> list[dict[str, Any]]:
    """Right signs per attack and layer."""
    from rbtc.attack.sign_accuracy import count_signs
    from rbtc.layers import short_name

    return [
        {"concept": subject.label, "attack": attack, "layer": short_name(name),
         "correct": count.correct, "n": count.n}
        for attack, found in attacks.items()
        for name, count in count_signs(found, lab.pretrained.weights).items()
    ]  # fmt: skip


def choice_rows(
    subject: Subject, picked: Mapping[str, Mapping[str, Choice]]
) -> list[dict[str, Any]]:
    """What each attack chose in each layer, and what it expected of it."""
    from rbtc.layers import short_name

    return [
        {"concept": subject.label, "attack": attack, "layer": short_name(name),
         "exponent": choice.setting.exponent, "ridge": choice.setting.ridge,
         "estimated": choice.estimates[choice.setting].value if choice.estimates else float("nan")}
        for attack, choices in picked.items()
        for name, choice in choices.items()
    ]  # fmt: skip
