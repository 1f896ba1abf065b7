"""How `rbtc.studies.sign_vs_magnitude` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rbtc.attack.sign_accuracy import cosine
from rbtc.lab import Lab
from rbtc.studies.measuring.common import PAPER_CLASSES, Tally, each_once, over_draws, subjects
from rbtc.studies.sign_vs_magnitude import MAGNITUDE, REFILLS, SIGN, SignStudy

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
    `rbtc.studies.measuring.overview.overview`.

    Raises:
        ValueError: a count below one, an unknown concept, or no or equal draw seeds.
    """
    each_once(draw_seeds=draw_seeds)
    chosen = subjects(lab, concepts)
    tally = Tally(lab, images, pictures=pictures, seed=seed)
    cosines = []
    for subject in chosen:
        masks, truth = lab.owner.masks(subject), lab.pretrained
        tally.add(subject, "pretrained", truth, draw=-1)
        tally.add(subject, "pruned", lab.owner.pruned(subject), draw=-1)
        for name, mode in REFILLS.items():
            for draw in draw_seeds if name in DRAWN else draw_seeds[:1]:
                variant = lab.owner.idealised(subject, mode, draw)
                title = name.replace(", ", ",\n") if draw == draw_seeds[0] else None
                tally.add(subject, name, variant, title=title, draw=draw)
                angle = cosine(variant.weights, truth.weights, masks)
                cosines.append((subject.label, name, draw, angle))
    frame = pd.DataFrame(cosines, columns=["concept", "model", "draw", "cosine"])
    return SignStudy(tuple(chosen), over_draws(tally.hits), frame, tally.shown)
