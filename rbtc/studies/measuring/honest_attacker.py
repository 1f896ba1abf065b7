"""How `rbtc.studies.honest_attacker` is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pandas as pd

from rbtc.defense.fills import Fill
from rbtc.defense.gaussian import sigma_by_layer
from rbtc.defense.mask_inference import Evidence, name_modified
from rbtc.defense.mixture import Mixture, fit_layers
from rbtc.defense.roc import roc
from rbtc.lab import Lab, Variant
from rbtc.layers import Masks
from rbtc.studies.defense import ATTACKERS
from rbtc.studies.honest_attacker import HONEST, PLATE, HonestStudy, attacked, noise
from rbtc.studies.measuring.common import Tally, at_least_one, in_range, subjects
from rbtc.studies.measuring.defense_attacks import attack, attack_places
from rbtc.studies.measuring.objects import following

HIDINGS: tuple[Fill, ...] = ("layer", "row", "resampled", "permuted", "correlated")
"""The defences besides the paper's."""

EVIDENCE: tuple[Evidence, ...] = get_args(Evidence)

THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Probabilities at which the inferred mask is held against the true one."""


def honest_study(
    lab: Lab,
    concepts: Sequence[str] = ("golf ball", "church"),
    *,
    sigmas: Sequence[float] = (1e-6, 1e-2, 0.0316),
    hidings: Sequence[Fill] = HIDINGS,
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    cutoff: float = 0.5,
    images: int = 6,
    other_images: int = 1,
    other_classes: int = 3,
    shown: int = 1,
    seed: int = 0,
    noise_seed: int = 0,
) -> HonestStudy:
    """Defend several pruned models in several ways, and attack each with an inferred mask.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model.
        sigmas: noise levels of the paper's defence, standard deviations; chapter 05's two attackers
            attack these too.
        hidings: further defences, see `rbtc.defense.fills`.
        share: budget of the first attacker: the smallest weights, this share of all.
        threshold_sigmas: the second attacker takes all weights below this many sigma_M.
        cutoff: the inferring attacker completes the places of at least this probability.
        images: pictures of the erased concept per model.
        other_images: pictures of each other class per defended model.
        other_classes: how many other classes, see `rbtc.studies.measuring.objects.following`; 0
            takes all.
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the fills.

    Raises:
        ValueError: no concept, an unknown one, no defence, a level that is not positive, a count
            below one, or a share or probability outside (0, 1].
    """
    if {*hidings} - {*HIDINGS}:
        raise ValueError(f"expected hidings of {HIDINGS}, not {hidings}")
    in_range(sigmas=sigmas, threshold_sigmas=threshold_sigmas)
    in_range(1, share=share, cutoff=cutoff)
    at_least_one(images=images, other_images=other_images, shown=shown)
    chosen = subjects(lab, concepts)
    tally = Tally(lab, images, other_images=other_images, pictures=shown, seed=seed)
    guesses, seen, estimates, sweeps, curves = [], [], [], [], []
    for place, subject in enumerate(chosen):
        title = "" if place < PLATE else None
        masks, others = lab.owner.masks(subject), following(lab, subject, other_classes)
        plain = {"others": others, "defence": "", "attacker": ""}
        tally.add(subject, "pretrained", lab.pretrained, title=None, **plain)
        tally.add(subject, "pruned", lab.owner.pruned(subject), title=title, **plain)
        tally.add(subject, "revived", lab.revived(subject), title=title, **plain)
        defences = [
            (noise(sigma), sigma, lab.owner.obfuscated(subject, sigma=sigma, seed=noise_seed))
            for sigma in sigmas
        ] + [
            (how, math.nan, lab.owner.hidden(subject, how=how, seed=noise_seed)) for how in hidings
        ]
        for defence, _, variant in defences:
            tally.add(subject, defence, variant, title=None, **{**plain, "defence": defence})
        for defence, sigma, variant in defences:
            if title is not None:
                tally.show(subject, defence, variant)
            own = {"concept": subject.label, "defence": defence}
            fits = fit_layers(variant.weights)
            scores = {e: lab.attacker.infer(variant, evidence=e, fits=fits) for e in EVIDENCE}
            for evidence, probabilities in scores.items():
                found, looked = roc(probabilities, masks), {**own, "evidence": evidence}
                seen.append({**looked, "auc": found.auc, **found.at(cutoff)})
                sweeps.append(found.sweep(THRESHOLDS).assign(**looked))
                curves.append(found.curve().assign(**looked))
            estimates += [{**own, **line} for line in _estimates(variant, masks, fits)]
            attacks = {
                attacker: attack(lab, subject, variant, attacker, share, threshold_sigmas * sigma)
                for attacker in (() if math.isnan(sigma) else ATTACKERS)
            }
            places = name_modified(scores[HONEST], cutoff)
            attacks[HONEST] = attack_places(lab, subject, variant, places)
            for attacker, (guess, after) in attacks.items():
                guesses.append({**own, "attacker": attacker, **guess})
                tally.add(
                    subject, attacked(defence, attacker), after or variant, others=(),
                    title=title if attacker == HONEST else None, defence=defence, attacker=attacker,
                )  # fmt: skip
    return HonestStudy(
        tuple(chosen), (*map(noise, sigmas), *hidings), tuple(map(float, sigmas)), tally.hits,
        pd.DataFrame(guesses), pd.DataFrame(seen), pd.concat(sweeps, ignore_index=True),
        pd.concat(curves, ignore_index=True), pd.DataFrame(estimates), tally.shown,
    )  # fmt: skip


def _estimates(variant: Variant, masks: Masks, fits: Mapping[str, Mixture]) -> list[dict[str, Any]]:
    """The mixture fit of each layer of a defended model beside the truth."""
    survivors = sigma_by_layer(variant.weights, masks).set_index("name")
    inverted = {name: ~mask for name, mask in masks.items()}
    fills = sigma_by_layer(variant.weights, inverted).set_index("name")
    return [
        {
            "layer": survivors.loc[name, "short"],
            "share": fit.fraction,
            "sigma_modified": fit.sigma_modified,
            "sigma_unmodified": fit.sigma_unmodified,
            "gain": fit.gain,
            "true_share": float(masks[name].double().mean()),
            "true_sigma_modified": fills.loc[name, "sigma"],
            "true_sigma_unmodified": survivors.loc[name, "sigma"],
        }
        for name, fit in fits.items()
    ]
