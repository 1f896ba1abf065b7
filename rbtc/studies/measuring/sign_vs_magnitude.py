# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.sign_vs_magnitude` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.studies.measuring.common import (
    PAPER_CLASSES,
    at_least_one,
    check_draws,
    judged,
    over_draws,
    subjects,
)
from rbtc.studies.sign_vs_magnitude import MAGNITUDE, REFILLS, SIGN, SignStudy

if TYPE_CHECKING:
    from rbtc.lab import Lab

DRAWN = (MAGNITUDE, SIGN)
"""The refills of which one half is drawn, so that there is one for every draw."""


def sign_study(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    images: int = 8,
    *,
    pictures: int = 1,
    seed: int = 0,
    draw_seeds: Sequence[int] = (2021,),
) -> SignStudy:
    """Refill the cut weights with true signs or true magnitudes, and count.

    One model of each refill that draws is made and judged for each of the ``draw_seeds``; drawn
    signs and magnitudes share their draws. The other arguments are those of
    `rbtc.studies.overview.overview`.

    Raises:
        ValueError: a count below one, an unknown concept, or no or equal draw seeds.
    """
    from rbtc.attack.sign_accuracy import cosine

    at_least_one(images=images, pictures=pictures)
    check_draws(draw_seeds)
    chosen = subjects(lab, concepts)
    lab.judges.require("object")
    frames, cosines, shown = [], [], {}
    for subject in chosen:
        masks = lab.owner.masks(subject)
        variants = {"pretrained": lab.pretrained, "pruned": lab.owner.pruned(subject)}
        models = [({"model": name, "draw": -1}, variant) for name, variant in variants.items()]
        for name, mode in REFILLS.items():
            for draw in draw_seeds if name in DRAWN else draw_seeds[:1]:
                variant = lab.owner.idealised(subject, mode, draw)
                variants.setdefault(name, variant)
                models.append(({"model": name, "draw": draw}, variant))
                angle = cosine(variant.weights, lab.pretrained.weights, masks)
                line = {"concept": subject.label, "model": name, "draw": draw, "cosine": angle}
                cosines.append(line)
        hits = judged(lab, subject, models, images, first_seed=seed)
        frames.append(over_draws(hits))
        shown[subject.label] = {
            name.replace(", ", ",\n"): lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in variants.items()
        }
    return SignStudy(
        tuple(chosen), pd.concat(frames, ignore_index=True), pd.DataFrame(cosines), shown
    )
