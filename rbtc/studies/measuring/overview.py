# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.overview` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, judged, subjects
from rbtc.studies.overview import Overview

if TYPE_CHECKING:
    from rbtc.lab import Lab

def overview(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    images: int = 25,
    *,
    other_images: int = 3,
    pictures: int = 4,
    seed: int = 0,
) -> Overview:
    """Prune and revive each concept, and count on it and on the other classes (paper Table 1).

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures of the erased concept per model.
        other_images: pictures per other class and model.
        pictures: how many to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.

    Raises:
        ValueError: a count below one, or an unknown concept.
    """
    at_least_one(images=images, other_images=other_images, pictures=pictures)
    return _three_models(lab, subjects(lab, concepts), images, other_images, pictures, seed)


def watch(profile: str, concept: str, images: int = 4) -> Overview:
    """Prune, attack and draw one concept now, reading nothing that was computed before.

    Args:
        profile: name of the profile; the miniature takes less than a minute on two cores.
        concept: paper class or word of the model.
        images: pictures per model, all of them shown.

    Returns:
        The three models of the concept, judged on the erased class only.
    """
    from tempfile import TemporaryDirectory

    from rbtc.lab import Lab

    at_least_one(images=images)
    with TemporaryDirectory(prefix="rbtc-watch-") as empty:
        lab = Lab(profile, store=empty)
        return _three_models(lab, subjects(lab, [concept]), images, 0, images, 0)


def _three_models(
    lab: Lab, chosen: Sequence[Subject], images: int, other_images: int, pictures: int, seed: int
) -> Overview:
    """`overview`; without ``other_images`` nothing is asked of the other classes."""
    lab.judges.require("object")
    frames, shown = [], {}
    for subject in chosen:
        variants = {
            "pretrained": lab.pretrained,
            "pruned": lab.owner.pruned(subject),
            "revived": lab.revived(subject),
        }
        models = [({"model": name}, variant) for name, variant in variants.items()]
        frames.append(
            judged(lab, subject, models, images, other_images=other_images, first_seed=seed)
        )
        shown[subject.label] = {
            name: lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in variants.items()
        }
    return Overview(tuple(chosen), pd.concat(frames, ignore_index=True), shown)
