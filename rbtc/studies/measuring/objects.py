# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.objects` is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.common import STRATEGIES
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, check_draws, judged, subjects
from rbtc.studies.objects import ObjectStudy

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

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
    at_least_one(images=images, other_images=other_images, pictures=pictures)
    lab.judges.require("object")
    if not isinstance(other_classes, int) or other_classes < 0:
        raise ValueError(f"other_classes must be a whole number from 0 on, not {other_classes!r}")
    check_draws(draw_seeds)
    chosen = subjects(lab, concepts)
    frames, shown = [], {}
    for subject in chosen:
        row: dict[str, Variant] = {}

        def models(
            subject: Subject = subject, row: dict[str, Variant] = row
        ) -> Iterator[tuple[Mapping[str, Any], Variant]]:
            row["pretrained"] = lab.pretrained
            row["pruned"] = lab.owner.pruned(subject)
            row["Quant Recover"] = lab.owner.quantized(subject)
            for name, strategy in STRATEGIES.items():
                row[name] = lab.revived(subject, strategy=strategy, seed=draw_seeds[0])
            for name, variant in row.items():
                draw = draw_seeds[0] if name == DRAWN else pd.NA
                yield {"model": name, "draw": draw}, variant
            for draw in draw_seeds[1:]:
                again = lab.revived(subject, strategy=STRATEGIES[DRAWN], seed=draw)
                yield {"model": DRAWN, "draw": draw}, again

        frames.append(
            judged(
                lab, subject, models(), images, other_images=other_images,
                others=following(lab, subject, other_classes), first_seed=seed,
            )
        )  # fmt: skip
        shown[subject.label] = {
            name.replace(" ", "\n"): lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in row.items()
        }
    hits = pd.concat(frames, ignore_index=True).astype({"draw": "Int64"})
    return ObjectStudy(tuple(chosen), hits, shown)


def following(lab: Lab, subject: Subject, count: int) -> list[Subject]:
    """The ``count`` classes after one in the profile's order, round the end; 0 takes them all."""
    others = lab.others(subject)
    order = list(dict.fromkeys(lab.profile.classes.values()))
    start = order.index(subject.word) if subject.word in order else 0
    return [*others[start:], *others[:start]][: count or len(others)]
