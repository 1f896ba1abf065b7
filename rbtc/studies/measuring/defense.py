# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.defense` is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.tables import power
from rbtc.studies.defense import EVERY, DefenseChapter, DefenseStudy, attacked, defended
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, judged, subjects
from rbtc.studies.measuring.defense_attacks import attack
from rbtc.studies.measuring.detection import detection_study

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

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
    """Measure the chapter: see `defense_study`, and `rbtc.studies.detection.detection_study`."""
    attackers: dict[str, Any] = {"share": share, "threshold_sigmas": threshold_sigmas}
    study = defense_study(
        lab, concepts, sigmas=sigmas, variances=variances, attack_sigmas=attack_sigmas,
        images=images, preserved=preserved, preserved_for=preserved_for, shown=shown, seed=seed,
        noise_seed=noise_seed, **attackers,
    )  # fmt: skip
    half = list(study.images.items())[: (len(study.images) + 1) // 2]
    found = detection_study(
        lab, concepts[0], sigmas=sigmas, w_over_sigma=w_over_sigma, noise_seed=noise_seed,
        **attackers,
    )  # fmt: skip
    return DefenseChapter(replace(study, images=dict(half)), found)


def defense_study(
    lab: Lab,
    concepts: Sequence[str],
    *,
    sigmas: Sequence[float] = LEVELS,
    variances: Sequence[float] = (),
    attack_sigmas: Sequence[float] = (1e-6, 1e-2),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    images: int = 100,
    preserved: int = 2,
    preserved_for: Sequence[str] | None = None,
    shown: int = 4,
    seed: int = 0,
    noise_seed: int = 0,
) -> DefenseStudy:
    """Hide the cut weights of several concepts at several noise levels, and attack the result.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model, at least one.
        sigmas: noise levels, standard deviations.
        variances: further noise levels, as variances.
        attack_sigmas: at which standard deviations to attack; they have to be among `sigmas`.
        share: budget of the first attacker: the smallest weights, this share of all.
        threshold_sigmas: the second attacker takes all weights below this many sigma_M.
        images: pictures of the erased concept per model.
        preserved: pictures of each other class per model.
        preserved_for: concepts for which the other classes are drawn too, out of `concepts`; None
            is all of them. The paper's Fig. 6 has one, the golf ball.
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the noise.

    Raises:
        ValueError: no concept, an unknown one, a noise level that is not positive, a noise level to
            attack that is not swept, or a concept in `preserved_for` that is not erased.
    """
    from rbtc.defense.gaussian import standard_deviation

    if strangers := [sigma for sigma in attack_sigmas if sigma not in sigmas]:
        raise ValueError(f"attack_sigmas holds {strangers}, which are not among sigmas {sigmas}")
    if wrong := [sigma for sigma in (*sigmas, *variances) if not 0 < sigma < math.inf]:
        raise ValueError(f"a noise level must be a positive finite number, not {wrong}")
    at_least_one(images=images, preserved=preserved, shown=shown)
    if not 0 < share <= 1 or not 0 < threshold_sigmas < math.inf:
        raise ValueError(
            f"share must lie in (0, 1] and threshold_sigmas be positive, not {share} and "
            f"{threshold_sigmas}"
        )
    chosen = subjects(lab, concepts)
    wide = chosen if preserved_for is None else [lab.subject(name) for name in preserved_for]
    if others := [subject.label for subject in wide if subject not in chosen]:
        raise ValueError(f"preserved_for holds {others}, which are not among {list(concepts)}")
    lab.judges.require("object")
    as_noise = {float(variance): standard_deviation(variance) for variance in variances}
    levels = sorted({*map(float, sigmas), *as_noise.values()})
    frames, guesses, grid = [], [], {}
    for subject in chosen:
        row: dict[str, Variant] = {}

        def models(
            subject: Subject = subject, row: dict[str, Variant] = row
        ) -> Iterator[tuple[Mapping[str, Any], Variant]]:
            plain = {"sigma": math.nan, "attacker": ""}
            row |= {
                "pretrained": lab.pretrained,
                "pruned": lab.owner.pruned(subject),
                "revived": lab.revived(subject),
            }
            for name in ("pretrained", "pruned", "revived"):
                yield {"model": name, **plain}, row[name]
            for sigma in levels:
                variant = lab.owner.obfuscated(subject, sigma=sigma, seed=noise_seed)
                yield {"model": defended(sigma), "sigma": sigma, "attacker": ""}, variant
                if sigma not in attack_sigmas:
                    continue
                row[f"defended\n{power(sigma)}"] = variant
                for attacker in EVERY:
                    limit = threshold_sigmas * sigma
                    guess, after = attack(lab, subject, variant, attacker, share, limit)
                    place = {"concept": subject.label, "sigma": sigma, "attacker": attacker}
                    guesses.append({**place, **guess})
                    if after is not None:
                        row[f"{attacker}\n{power(sigma)}"] = after
                        yield {"model": attacked(attacker, sigma), "sigma": sigma,
                               "attacker": attacker}, after  # fmt: skip

        others = preserved if subject in wide else 0
        frames.append(judged(lab, subject, models(), images, other_images=others, first_seed=seed))
        grid[subject.label] = {
            name: lab.measure.shown(variant, subject, min(shown, images), seed)
            for name, variant in row.items()
        }
    return DefenseStudy(
        tuple(chosen), tuple(map(float, sigmas)), as_noise,
        pd.concat(frames, ignore_index=True), pd.DataFrame(guesses, columns=GUESSED), grid,
    )  # fmt: skip
