"""How `rbtc.studies.defense` is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from rbtc.defense.gaussian import standard_deviation
from rbtc.lab import Lab
from rbtc.report.tables import power
from rbtc.studies.defense import EVERY, DefenseChapter, DefenseStudy, attacked, defended
from rbtc.studies.measuring.common import PAPER_CLASSES, Tally, at_least_one, subjects
from rbtc.studies.measuring.defense_attacks import attack
from rbtc.studies.measuring.detection import detection_study

EXAMPLE = "golf ball"
"""The concept of the paper's Fig. 6."""

CONCEPTS = (EXAMPLE, *(name for name in PAPER_CLASSES if name != EXAMPLE))

LEVELS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Noise levels of the paper's Table 12."""

GUESSED = ["concept", "sigma", "attacker", "named", "precision", "recall", "possible"]


def measure(
    lab: Lab,
    concepts: Sequence[str] = CONCEPTS,
    *,
    preserved_for: Sequence[str] = (EXAMPLE,),
    sigmas: Sequence[float] = LEVELS,
    variances: Sequence[float] = LEVELS,
    attack_sigmas: Sequence[float] = (1e-6, 1e-2),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    w_over_sigma: float = 0.1,
    images: int = 4,
    preserved: int = 1,
    shown: int = 1,
    seed: int = 0,
    noise_seed: int = 0,
) -> DefenseChapter:
    """Hide the cut weights of several concepts at several noise levels, and attack the result.

    How visible the noise is, is measured for the first concept; the pictures are those of the first
    half.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model, at least one.
        preserved_for: concepts for which the other classes are drawn too, out of `concepts`. The
            paper's Fig. 6 has one, the golf ball.
        sigmas: noise levels, standard deviations.
        variances: further noise levels, as variances.
        attack_sigmas: at which standard deviations to attack; they have to be among `sigmas`.
        share: budget of the first attacker: the smallest weights, this share of all.
        threshold_sigmas: the second attacker takes all weights below this many sigma_M.
        w_over_sigma: see `rbtc.studies.measuring.detection.detection_study`.
        images: pictures of the erased concept per model.
        preserved: pictures of each other class per model.
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the noise.

    Raises:
        ValueError: no concept, an unknown one, a noise level that is not positive, a noise level to
            attack that is not swept, or a concept in `preserved_for` that is not erased.
    """
    if strangers := [sigma for sigma in attack_sigmas if sigma not in sigmas]:
        raise ValueError(f"attack_sigmas holds {strangers}, which are not among sigmas {sigmas}")
    as_noise = {float(variance): standard_deviation(variance) for variance in variances}
    at_least_one(images=images, preserved=preserved, shown=shown)
    chosen = subjects(lab, concepts)
    wide = [lab.subject(name) for name in preserved_for]
    if others := [subject.label for subject in wide if subject not in chosen]:
        raise ValueError(f"preserved_for holds {others}, which are not among {list(concepts)}")
    pictures = min(shown, images)
    tally = Tally(lab, images, other_images=preserved, pictures=pictures, seed=seed)
    detection = detection_study(
        lab, concepts[0], sigmas=sigmas, w_over_sigma=w_over_sigma, share=share,
        threshold_sigmas=threshold_sigmas, noise_seed=noise_seed,
    )  # fmt: skip
    levels = sorted({*map(float, sigmas), *as_noise.values()})
    guesses = []
    for subject in chosen:
        others = None if subject in wide else ()
        plain = {"others": others, "sigma": math.nan, "attacker": ""}
        tally.add(subject, "pretrained", lab.pretrained, **plain)
        tally.add(subject, "pruned", lab.owner.pruned(subject), **plain)
        tally.add(subject, "revived", lab.revived(subject), **plain)
        for sigma in levels:
            variant = lab.owner.obfuscated(subject, sigma=sigma, seed=noise_seed)
            title = f"defended\n{power(sigma)}" if sigma in attack_sigmas else None
            tally.add(subject, defended(sigma), variant, title=title, **{**plain, "sigma": sigma})
            for attacker in EVERY if sigma in attack_sigmas else ():
                limit = threshold_sigmas * sigma
                guess, after = attack(lab, subject, variant, attacker, share, limit)
                own = {"sigma": sigma, "attacker": attacker}
                guesses.append({"concept": subject.label, **own, **guess})
                if after is not None:
                    name, title = attacked(attacker, sigma), f"{attacker}\n{power(sigma)}"
                    tally.add(subject, name, after, title=title, others=others, **own)
    study = DefenseStudy(
        tuple(chosen), tuple(map(float, sigmas)), as_noise, tally.hits,
        pd.DataFrame(guesses, columns=GUESSED),
        dict(list(tally.shown.items())[: (len(chosen) + 1) // 2]),
    )  # fmt: skip
    return DefenseChapter(study, detection)
