# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false
"""How `rbtc.studies.honest_attacker` is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.studies.honest_attacker import PLATE, HonestStudy, noise
from rbtc.studies.measuring.common import at_least_one, judged, subjects

if TYPE_CHECKING:
    from rbtc.defense.fills import Fill
    from rbtc.lab import Lab

HIDINGS: tuple[Fill, ...] = ("layer", "row", "resampled", "permuted", "correlated")
"""The defences besides the paper's."""


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
        other_classes: how many other classes, see `rbtc.studies.objects.following`; 0 takes all.
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the fills.

    Raises:
        ValueError: no concept, an unknown one, no defence, a level that is not positive, a count
            below one, or a share or probability outside (0, 1].
    """
    from rbtc.studies.inferred_masks import DefendedConcept
    from rbtc.studies.measuring.objects import following

    if wrong := [sigma for sigma in (*sigmas, threshold_sigmas) if not 0 < sigma < math.inf]:
        raise ValueError(f"a noise level must be a positive finite number, not {wrong}")
    if not 0 < share < 1 or not 0 < cutoff <= 1:
        raise ValueError(f"share and cutoff must lie in (0, 1), not {share} and {cutoff}")
    if not sigmas or {*hidings} - {*HIDINGS}:
        raise ValueError(f"expected noise levels and hidings of {HIDINGS}, not {sigmas}, {hidings}")
    at_least_one(images=images, other_images=other_images, shown=shown)
    chosen = subjects(lab, concepts)
    lab.judges.require("object")
    made = [
        DefendedConcept(lab, subject, sigmas, hidings, noise_seed=noise_seed, share=share,
                        threshold_sigmas=threshold_sigmas, cutoff=cutoff)
        for subject in chosen
    ]  # fmt: skip
    frames, grid = [], {}
    for one in made:
        others = following(lab, one.subject, other_classes)
        frames += [
            judged(lab, one.subject, one.defended(), images, other_images=other_images,
                   others=others, first_seed=seed),
            judged(lab, one.subject, one.attacks(), images, first_seed=seed),
        ]  # fmt: skip
        if one in made[:PLATE]:
            grid[one.subject.label] = {
                name: lab.measure.shown(variant, one.subject, shown, seed)
                for name, variant in one.row.items()
                if name != "pretrained"
            }
    tables = {
        name: pd.DataFrame([line for one in made for line in getattr(one, name)])
        for name in ("guesses", "seen", "estimates")
    }
    sweeps, curves = (
        pd.concat([frame for one in made for frame in getattr(one, name)], ignore_index=True)
        for name in ("sweeps", "curves")
    )
    names = (*map(noise, sigmas), *hidings)
    return HonestStudy(
        tuple(chosen), names, tuple(map(float, sigmas)), pd.concat(frames, ignore_index=True),
        tables["guesses"], tables["seen"], sweeps, curves, tables["estimates"], grid,
    )  # fmt: skip
