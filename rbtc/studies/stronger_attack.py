# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Attacks that use more of what the survivors tell than the paper's does, against the paper's.

Every attack sees the same pruned models. Signs need no pictures and are counted for a ladder of
attacks, each with one ingredient more; pictures are drawn for the paper's attack and for the last
rung, with magnitudes given to its signs in several ways. What an attack has to choose for its signs
it chooses by hide and complete on the model under attack; how its signs get magnitudes is chosen on
held-out concepts (`rbtc.studies.stronger_point`), as the paper's K is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.tables import accuracies, effect
from rbtc.stats import Difference, Proportion, Share, paired_means
from rbtc.studies.common import Pictures, at_least_one, judged, subjects

if TYPE_CHECKING:
    from rbtc.completion import Completion
    from rbtc.lab import Lab, Variant
    from rbtc.magnitudes import Strategy
    from rbtc.stronger import Choice, Setting

CLASSES = ("church", "golf ball", "parachute", "French horn", "spider web", "candle")

PAPER = "the paper's"
LADDER = ("exponent", "partners", "odds")
"""The stronger attacks, each with one ingredient more than the one before it."""

BEST = "odds"

MAXIMUM = "odds, row maximum"
"""The signs of the best attack with the paper's Top-K and Neuron-Max: signs without magnitudes."""

CHOSEN = "odds, chosen"
"""The signs of the best attack, with magnitudes given in the way that was chosen for them."""

SIGNS_TARGET = 0.05
"""Gain in the share of right signs from which on an attack counts as stronger here."""

REVIVED_TARGET = 0.10
"""Gain in the accuracy of the revived models from which on it does."""


@dataclass(frozen=True)
class Way:
    """How signs get magnitudes: one of `rbtc.magnitudes.Strategy`, and the share K that is kept."""

    strategy: str
    keep_ratio: float

    def __str__(self) -> str:
        return f"{self.strategy.replace('_', ' ')}, K = {self.keep_ratio:g}"


@dataclass(frozen=True, eq=False)
class StrongerStudy:
    """The paper's attack and stronger ones on the same pruned models.

    Attributes:
        subjects: The erased concepts.
        signs: One row per concept, attack and layer: n weights, correct signs.
        chosen: One row per concept, attack and layer: exponent, ridge, and the estimated share.
        magnitudes: One row per concept and layer: how well two guesses follow the cut magnitudes.
        side: One row per layer and half of the input projection: what it tells of the weights.
        cosines: Concepts by revived models: cosine with the pretrained weights at the cut places.
        hits: One line per picture, see `rbtc.studies.common.judged`.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    signs: pd.DataFrame
    chosen: pd.DataFrame
    magnitudes: pd.DataFrame
    side: pd.DataFrame
    cosines: pd.DataFrame
    hits: pd.DataFrame
    pictures: Pictures

    def accuracy(self, attack: str) -> Proportion:
        """Share of right signs over all concepts and layers."""
        own = self.signs[self.signs["attack"] == attack]
        return Proportion(int(own["correct"].sum()), int(own["n"].sum()))

    def by_concept(self) -> pd.DataFrame:
        """Share of right signs, concepts by attacks."""
        sums = self.signs.groupby(["concept", "attack"], sort=False)[["correct", "n"]].sum()
        return (sums["correct"] / sums["n"]).unstack("attack")[[PAPER, *LADDER]]

    def by_layer(self) -> pd.DataFrame:
        """Share of right signs over all concepts, layers by attacks."""
        sums = self.signs.groupby(["layer", "attack"], sort=False)[["correct", "n"]].sum()
        return (sums["correct"] / sums["n"]).unstack("attack")[[PAPER, *LADDER]]

    def gain(self, before: str, after: str) -> Difference:
        """Paired change of the share of right signs; the concepts are the pairs."""
        wide = self.by_concept()
        return paired_means(wide[before], wide[after])

    def gains(self) -> dict[str, dict[str, Difference]]:
        """What each rung adds to the one before it, and to the paper's attack."""
        order = [PAPER, *LADDER]
        steps = pairwise(order)
        return {
            "over the rung before": {after: self.gain(before, after) for before, after in steps},
            "over the paper's attack": {after: self.gain(PAPER, after) for after in LADDER},
        }

    def revived(self) -> dict[str, Share]:
        """Accuracy on the erased concepts of each model that drew pictures."""
        return accuracies(self.hits, ["model"])

    def revived_change(self, before: str = PAPER, after: str = CHOSEN) -> Difference:
        """Paired change of the accuracy, from the paper's attack to the stronger one."""
        return effect(self.hits, before, after)

    def revived_changes(self) -> dict[str, Difference]:
        """From the pruned model to the paper's attack, and from there on."""
        return {
            f"{before} to {after}": self.revived_change(before, after)
            for before, after in (
                ("pruned", PAPER),
                (PAPER, MAXIMUM),
                (PAPER, BEST),
                (PAPER, CHOSEN),
            )
        }

    def choices(self) -> pd.DataFrame:
        """How often each setting was chosen, over concepts and layers."""
        counted = self.chosen.groupby(["attack", "exponent", "ridge"], sort=False).size()
        return counted.rename("layers").reset_index()


@dataclass(frozen=True, eq=False)
class StrongerChapter:
    """The attacks, and how the way in which signs get magnitudes was chosen.

    Attributes:
        attacks: The paper's attack and the stronger ones.
        way: How the best attack's signs get magnitudes.
        ways: What it was chosen from, see `rbtc.studies.stronger_point.way_sweep`; empty where
            nothing was swept for the profile.
    """

    attacks: StrongerStudy
    way: Way
    ways: pd.DataFrame


def ways_table(sweep: pd.DataFrame) -> pd.Series:
    """A `rbtc.studies.stronger_point.way_sweep` pooled over its concepts.

    Returns:
        Accuracy by attack, strategy and K.
    """
    pooled = sweep.groupby(["attack", "strategy", "keep_ratio"], sort=False)[["hits", "n"]].sum()
    shares = [Proportion(int(hits), int(n)) for hits, n in pooled.to_numpy()]
    return pd.Series(shares, index=pooled.index, name="accuracy")


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
    from rbtc.sign_accuracy import cosine
    from rbtc.studies.attack_information import magnitude_rows, side_information

    at_least_one(images=images, pictures=pictures)
    chosen = subjects(lab, concepts)
    if len(chosen) < 2:
        raise ValueError("gains are paired over concepts: give at least two")
    lab.jury.require("object")
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
    from rbtc.stronger import EXPONENTS, WITH_PARTNERS

    return EXPONENTS if rung == "exponent" else WITH_PARTNERS


def attack_signs(
    lab: Lab, subject: Subject, *, share: float = 0.02
) -> tuple[dict[str, dict[str, Completion]], dict[str, dict[str, Choice]]]:
    """Completions of one pruned model by every attack, and what they chose.

    The odds are set upon the choice of the partners.
    """
    from rbtc.partners import find_partners
    from rbtc.stronger import complete_stronger

    pruned = lab.owner.pruned(subject)
    partners = find_partners(lab.pipeline.unet)  # pruning leaves them as they are
    attacks = {PAPER: lab.completions(subject)}
    picked: dict[str, dict[str, Choice]] = {}
    for name in LADDER:
        soft = name == BEST
        attacks[name], picked[name] = complete_stronger(
            pruned.weights, partners, settings_of(name), soft=soft, share=share,
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
    from rbtc.revive import revive

    pruned, strategy = lab.owner.pruned(subject).weights, cast("Strategy", way.strategy)
    own = revive(
        pruned, completions=completions, strategy=strategy, keep_ratio=way.keep_ratio
    ).weights
    return lab.owner.custom(f"revived (odds, {way})", own)


def sign_rows(
    lab: Lab, subject: Subject, attacks: Mapping[str, Mapping[str, Completion]]
) -> list[dict[str, Any]]:
    """Right signs per attack and layer."""
    from rbtc.layers import short_name
    from rbtc.sign_accuracy import count_signs

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
