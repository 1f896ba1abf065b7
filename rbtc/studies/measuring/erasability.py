# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.erasability` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.studies.erasability import JudgeStudy
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, subjects

if TYPE_CHECKING:
    from rbtc.lab import Lab


def judge_study(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    images: int = 20,
    *,
    shown: int = 100,
    seed: int = 0,
) -> JudgeStudy:
    """Judge the same pictures of pretrained, pruned and revived models by every judge of objects.

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures of the erased class per model.
        shown: how many accepted revived and how many rejected pruned pictures to keep at most, as
            equally over the classes as there are enough; the first seeds of each.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: a count below one.
    """
    at_least_one(images=images, shown=shown)
    judges = lab.judges.of_objects()
    lab.judges.require(*judges.values())
    chosen = subjects(lab, concepts)
    frames = []
    for subject in chosen:
        for model, variant in (
            ("pretrained", lab.pretrained),
            ("pruned", lab.owner.pruned(subject)),
            ("NMS", lab.revived(subject)),
        ):
            for name, kind in judges.items():
                hits = lab.measure.hits(variant, [(subject, images)], seed, judge=kind)
                frames.append(hits.assign(concept=subject.label, model=model, judge=name))
    hits = pd.concat(frames, ignore_index=True)
    usual = hits[hits["judge"] == next(iter(judges))]
    sheets = {
        "revived": usual[(usual["model"] == "NMS") & (usual["hit"] == 1)],
        "pruned": usual[(usual["model"] == "pruned") & (usual["hit"] == 0)],
    }
    of = {subject.label: subject for subject in chosen}
    sheet, pictures = [], {}
    for kind, own in sheets.items():
        # One of each class in turn, until there are enough.
        turn = own.groupby("concept", sort=False).cumcount()
        own = own.assign(turn=turn).sort_values("turn", kind="stable").head(shown)
        own = own.sort_values(["concept", "seed"], kind="stable")
        drawn = []
        for label, some in own.groupby("concept", sort=False):
            subject = of[str(label)]
            variant = lab.revived(subject) if kind == "revived" else lab.owner.pruned(subject)
            drawn.append(lab.measure.images(variant, list(some["prompt"]), list(some["seed"])))
        sheet.append(own[["concept", "seed"]].assign(kind=kind))
        size = drawn[0].shape[1:] if drawn else (1, 1, 3)
        pictures[kind] = np.concatenate([np.empty((0, *size), np.uint8), *drawn])
    first = ["concept", "model", "judge", "asked", "prompt", "seed", "seen", "hit"]
    return JudgeStudy(
        tuple(chosen),
        hits[first],
        pictures["revived"],
        pictures["pruned"],
        pd.concat(sheet, ignore_index=True)[["kind", "concept", "seed"]],
    )
