"""How `rbtc.studies.objects` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rbtc.lab import Lab
from rbtc.models.subjects import Subject
from rbtc.studies.common import STRATEGIES
from rbtc.studies.measuring.common import PAPER_CLASSES, Tally, at_least_one, each_once, subjects
from rbtc.studies.objects import ObjectStudy

DRAWN = "Neuron Sample"
"""The one model whose magnitudes are drawn, so that there is one for every draw."""


def object_study(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    images: int = 10,
    *,
    other_images: int = 1,
    other_classes: int = 4,
    draw_seeds: Sequence[int] = (2021,),
    pictures: int = 1,
    seed: int = 0,
) -> ObjectStudy:
    """Erase each class, revive it in four ways, and count on it and on others (paper Table 1).

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures of the erased class per model.
        other_images: pictures per other class and model.
        other_classes: how many other classes to ask for: those that follow the erased one in the
            profile's order, so that over all of them each is asked for equally often; 0 takes all.
        draw_seeds: one model with drawn magnitudes is made and judged for each.
        pictures: how many of each model to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: a count below one, a negative number of classes, or no or equal draw seeds.
    """
    at_least_one(other_images=other_images, other_classes=other_classes or 1)
    each_once(draw_seeds=draw_seeds)
    chosen = subjects(lab, concepts)
    tally = Tally(lab, images, other_images=other_images, pictures=pictures, seed=seed)
    for subject in chosen:
        others = following(lab, subject, other_classes)
        models = {
            "pretrained": lab.pretrained,
            "pruned": lab.owner.pruned(subject),
            "Quant Recover": lab.owner.quantized(subject),
        }
        for name, strategy in STRATEGIES.items():
            models[name] = lab.revived(subject, strategy=strategy, seed=draw_seeds[0])
        for name, variant in models.items():
            draw = draw_seeds[0] if name == DRAWN else pd.NA
            title = name.replace(" ", "\n")
            tally.add(subject, name, variant, title=title, others=others, draw=draw)
        for draw in draw_seeds[1:]:
            again = lab.revived(subject, strategy=STRATEGIES[DRAWN], seed=draw)
            tally.add(subject, DRAWN, again, title=None, others=others, draw=draw)
    return ObjectStudy(tuple(chosen), tally.hits.astype({"draw": "Int64"}), tally.shown)


def following(lab: Lab, subject: Subject, count: int) -> list[Subject]:
    """The ``count`` classes after one in the profile's order, round the end; 0 takes them all."""
    others = lab.others(subject)
    order = list(dict.fromkeys(lab.profile.classes.values()))
    start = order.index(subject.word) if subject.word in order else 0
    return [*others[start:], *others[:start]][: count or len(others)]
