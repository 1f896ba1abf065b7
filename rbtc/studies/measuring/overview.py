"""How `rbtc.studies.overview` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import TemporaryDirectory

from rbtc.lab import Lab
from rbtc.studies.measuring.common import PAPER_CLASSES, Tally, at_least_one, subjects
from rbtc.studies.overview import Overview


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
    at_least_one(other_images=other_images)
    tally = Tally(lab, images, other_images=other_images, pictures=pictures, seed=seed)
    return _three_models(tally, concepts)


def watch(profile: str, concept: str, images: int = 4) -> Overview:
    """Prune, attack and draw one concept now, reading nothing that was computed before.

    Args:
        profile: name of the profile; the miniature takes less than a minute on two cores.
        concept: paper class or word of the model.
        images: pictures per model, all of them shown.

    Returns:
        The three models of the concept, judged on the erased class only.
    """
    with TemporaryDirectory(prefix="rbtc-watch-") as empty:
        lab = Lab(profile, store=empty)
        return _three_models(Tally(lab, images, pictures=images), [concept])


def _three_models(tally: Tally, concepts: Sequence[str]) -> Overview:
    lab = tally.lab
    chosen = subjects(lab, concepts)
    for subject in chosen:
        tally.add(subject, "pretrained", lab.pretrained)
        tally.add(subject, "pruned", lab.owner.pruned(subject))
        tally.add(subject, "revived", lab.revived(subject))
    return Overview(tuple(chosen), tally.hits, tally.shown)
