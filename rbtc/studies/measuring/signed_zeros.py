"""How `rbtc.studies.signed_zeros` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rbtc.audit.signed_zeros import prune_by_multiplying, revive_exactly
from rbtc.lab import Lab, Variant
from rbtc.lab.variant import derived
from rbtc.layers import short_name
from rbtc.models.generate import generate
from rbtc.models.prompts import evaluation_prompt
from rbtc.models.subjects import Subject
from rbtc.stats import pool
from rbtc.studies.measuring.common import PAPER_CLASSES, Tally, subjects
from rbtc.studies.signed_zeros import AVERAGE, EXACT, PAPER, SignedZeroStudy
from rbtc.studies.zero_files import file_lines, round_trip, sign_patch, stored_bytes
from rbtc.studies.zero_operations import cutting_table, handling_table

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
    chosen = subjects(lab, concepts)
    tally = Tally(lab, images, pictures=pictures, seed=seed)
    truth, files, guessed = lab.pretrained.weights, [], []
    for subject in chosen:
        lines = file_lines(truth, lab.owner.masks(subject))
        files.append(lines.assign(concept=subject.label))
        guessed.append(lab.sign_accuracy(subject))
        leaking = _leaking(lab, subject)
        models = {
            "pretrained": lab.pretrained,
            "pruned": lab.owner.pruned(subject),
            PAPER: lab.revived(subject),
            EXACT: _exact(leaking, EXACT, "neuron_max"),
            AVERAGE: _exact(leaking, AVERAGE, "neuron_average"),
        }
        for name, variant in models.items():
            tally.add(subject, name, variant, title=name.replace(" ", "\n"))
    masks = lab.owner.masks(chosen[0])
    name = max(masks, key=lambda name: float(masks[name].float().mean()))  # the most pruned layer
    weight, mask = truth[name].cpu(), masks[name].cpu()
    return SignedZeroStudy(
        subjects=tuple(chosen),
        hits=tally.hits,
        files=pd.concat(files, ignore_index=True),
        guessed=pool(guessed),
        patch=sign_patch(weight, mask, lab.completions(chosen[0])[name], PIECE),
        stored=stored_bytes(weight, mask),
        cutting=cutting_table(weight, mask),
        handling=handling_table(weight, mask),
        layer=short_name(name),
        pixel=_pixel(lab, chosen[0], pictures, seed),
        pictures=tally.shown,
    )


def _leaking(lab: Lab, subject: Subject) -> Variant:
    """The pruned model as the reference recipe makes it."""
    return derived(
        lab.owner.pruned(subject),
        "pruned by multiplying",
        lambda: prune_by_multiplying(lab.pretrained.weights, lab.owner.masks(subject)),
        prune_by_multiplying,
        kind="multiplied",
    )


def _exact(leaking: Variant, name: str, strategy: str) -> Variant:
    """The leaking model revived by who has its file, and no more."""
    return derived(
        leaking,
        name,
        lambda: revive_exactly(round_trip(leaking.weights), strategy=strategy),
        revive_exactly,
        kind="exact signs",
        strategy=strategy,
    )


def _pixel(lab: Lab, subject: Subject, images: int, seed: int) -> int:
    """Largest difference between pictures of the two pruned models.

    Drawn anew for both, side by side: pictures from the store may have been drawn in batches of
    another size, which rounds differently.
    """
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
