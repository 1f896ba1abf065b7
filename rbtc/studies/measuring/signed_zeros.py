# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.signed_zeros` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.stats import pool
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, judged, subjects
from rbtc.studies.signed_zeros import AVERAGE, EXACT, PAPER, SignedZeroStudy

if TYPE_CHECKING:
    from torch import Tensor

    from rbtc.lab import Lab, Variant

MODELS = ("pretrained", "pruned", PAPER, EXACT, AVERAGE)

PIECE = (16, 32)
"""Rows and columns of the piece of a matrix that is shown."""


def signed_zero_study(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    images: int = 6,
    *,
    pictures: int = 1,
    seed: int = 0,
) -> SignedZeroStudy:
    """Cut every concept by multiplication, read the file, revive, and count; then the fix.

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures per model and concept.
        pictures: how many of each to show.
        seed: of the pictures.

    Raises:
        ValueError: a count below one, or no or unknown concepts.
    """
    from rbtc.layers import short_name
    from rbtc.studies.zero_files import file_lines, sign_patch, stored_bytes
    from rbtc.studies.zero_operations import cutting_table, handling_table

    at_least_one(images=images, pictures=pictures)
    chosen = subjects(lab, concepts)
    lab.judges.require("object")
    frames, files, guessed, shown = [], [], [], {}
    for subject in chosen:
        lines = file_lines(lab.pretrained.weights, lab.owner.masks(subject))
        files.append(lines.assign(concept=subject.label))
        guessed.append(lab.sign_accuracy(subject))
        variants = _variants(lab, subject)
        models = [({"model": name}, variant) for name, variant in variants.items()]
        frames.append(judged(lab, subject, models, images, first_seed=seed))
        shown[subject.label] = {
            name.replace(" ", "\n"): lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in variants.items()
        }
    name, weight, mask = _fullest(lab, chosen[0])
    return SignedZeroStudy(
        subjects=tuple(chosen),
        hits=pd.concat(frames, ignore_index=True),
        files=pd.concat(files, ignore_index=True),
        guessed=pool(guessed),
        patch=sign_patch(weight, mask, lab.completions(chosen[0])[name], PIECE),
        stored=stored_bytes(weight, mask),
        cutting=cutting_table(weight, mask),
        handling=handling_table(weight, mask),
        layer=short_name(name),
        pixel=_pixel(lab, chosen[0], pictures, seed),
        pictures=shown,
    )


def _fullest(lab: Lab, subject: Subject) -> tuple[str, Tensor, Tensor]:
    """Name, weight and mask of the layer of which the largest share is cut."""
    masks = lab.owner.masks(subject)
    name = max(masks, key=lambda name: float(masks[name].float().mean()))
    return name, lab.pretrained.weights[name].cpu(), masks[name].cpu()


def _leaking(lab: Lab, subject: Subject) -> Variant:
    """The pruned model as the reference recipe makes it."""
    from rbtc.audit.signed_zeros import prune_by_multiplying
    from rbtc.lab.variant import derived

    return derived(
        lab.owner.pruned(subject),
        "pruned by multiplying",
        lambda: prune_by_multiplying(lab.pretrained.weights, lab.owner.masks(subject)),
        prune_by_multiplying,
        kind="multiplied",
    )


def _variants(lab: Lab, subject: Subject) -> dict[str, Variant]:
    from rbtc.audit.signed_zeros import revive_exactly
    from rbtc.lab.variant import derived
    from rbtc.studies.zero_files import round_trip

    leaking = _leaking(lab, subject)
    exact = [
        derived(
            leaking, name,
            # The attacker has the file, no more.
            lambda strategy=strategy: revive_exactly(
                round_trip(leaking.weights), strategy=strategy
            ),
            revive_exactly, kind="exact signs", strategy=strategy,
        )
        for name, strategy in ((EXACT, "neuron_max"), (AVERAGE, "neuron_average"))
    ]  # fmt: skip
    made = (lab.pretrained, lab.owner.pruned(subject), lab.revived(subject), *exact)
    return dict(zip(MODELS, made, strict=True))


def _pixel(lab: Lab, subject: Subject, images: int, seed: int) -> int:
    """Largest difference between pictures of the two pruned models.

    Drawn anew for both, side by side: pictures from the store may have been drawn in batches of
    another size, which rounds differently.
    """
    from rbtc.models.generate import generate
    from rbtc.models.prompts import evaluation_prompt

    profile = lab.profile
    pair = [
        generate(
            lab.apply(variant),
            [evaluation_prompt(profile, subject.word)] * images,
            list(range(seed, seed + images)),
            batch_size=profile.batch_size,
            steps=profile.steps,
            guidance=profile.guidance,
        ).astype(int)
        for variant in (_leaking(lab, subject), lab.owner.pruned(subject))
    ]
    return int(np.abs(pair[0] - pair[1]).max())
