# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The leak of the signed zeros, end to end: cut, save, load, read signs, revive; and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.spread import class_values
from rbtc.report.tables import accuracies, effect, percent
from rbtc.stats import Difference, Proportion, Share, pool
from rbtc.studies.common import PAPER_CLASSES, Pictures, at_least_one, judged, subjects

if TYPE_CHECKING:
    from torch import Tensor

    from rbtc.lab import Lab, Variant

PAPER, EXACT = "paper's attack", "exact signs"
MODELS = ("pretrained", "pruned", PAPER, EXACT)

CHANGES = {
    f"pruned to {PAPER}": ("pruned", PAPER),
    f"pruned to {EXACT}": ("pruned", EXACT),
    f"{PAPER} to {EXACT}": (PAPER, EXACT),
    f"{EXACT} to pretrained": (EXACT, "pretrained"),
}
"""Title -> models of a paired change."""


MULTIPLIED = "w * (1 - mask)"
"""The way to cut that leaks."""

KEEPS, LOSES = "keeps", "loses"
"""What an operation does to the signs of zeros."""

PIECE = (16, 32)
"""Rows and columns of the piece of a matrix that is shown."""


@dataclass(frozen=True, eq=False)
class SignedZeroStudy:
    """What the zeros of a file tell, and what it is worth.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `rbtc.studies.common.judged`.
        files: `rbtc.studies.zero_files.file_lines` of every concept.
        guessed: Cut weights whose sign the paper's completion gets right.
        patch: Panel -> signs of a piece of a matrix, for `rbtc.report.sign_maps.sign_maps`.
        stored: What half-precision files hold at a few cut places.
        cutting: `rbtc.studies.zero_operations.cutting_table` of that matrix.
        handling: `rbtc.studies.zero_operations.handling_table` of it.
        layer: Where patch, stored, cutting and handling come from.
        pixel: Largest difference of a pixel between pictures of the two pruned models, 0 to 255.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    files: pd.DataFrame
    guessed: Proportion
    patch: dict[str, np.ndarray]
    stored: pd.DataFrame
    cutting: pd.DataFrame
    handling: pd.DataFrame
    layer: str
    pixel: int
    pictures: Pictures

    def means(self) -> dict[str, Share]:
        """`{model: accuracy}` over all classes."""
        return accuracies(self.hits, ["model"])

    def values(self) -> dict[str, dict[str, float]]:
        """`{model: {class: accuracy}}`, for a thin line per class."""
        return class_values(self.hits, "model")

    def change(self, before: str, after: str) -> Difference:
        """Paired change of the accuracy, picture by picture."""
        return effect(self.hits, before, after)

    def read(self, *, fixed: bool, column: str = "right") -> Proportion:
        """Signs read right, over all leaking files or over all fixed ones.

        With the column "plus" it is the signs that are positive, which is what somebody who reads
        nothing and always says plus gets right.
        """
        own = self.files[(self.files["way"] != MULTIPLIED) == fixed]
        return Proportion(int(own[column].sum()), int(own["places"].sum()))

    def nothing_left(self) -> bool:
        """Whether the fixed files hold no -0.0, so that all their zeros are the same bits."""
        own = self.files[self.files["way"] != MULTIPLIED]
        return not own["negative"].any()

    def file_table(self) -> pd.DataFrame:
        """Per way of cutting, number format and container: what was read, over all concepts."""
        by = ["way", "format", "container"]
        columns = ["places", "misplaced", "negative", "right", "plus"]
        own = pd.DataFrame(self.files.groupby(by, sort=False)[columns].sum())
        heads = {"places": "cut weights", "misplaced": "wrong places", "negative": "-0.0"}
        table = pd.DataFrame(own[list(heads)]).rename(columns=heads)
        table["signs right"] = [percent(share) for share in own["right"].div(own["places"])]
        table["always plus"] = [percent(share) for share in own["plus"].div(own["places"])]
        return table.reset_index()


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
    lab.jury.require("object")
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
    from rbtc.lab.variant import derived
    from rbtc.signed_zeros import prune_by_multiplying

    return derived(
        lab.owner.pruned(subject),
        "pruned by multiplying",
        lambda: prune_by_multiplying(lab.pretrained.weights, lab.owner.masks(subject)),
        prune_by_multiplying,
        kind="multiplied",
    )


def _variants(lab: Lab, subject: Subject) -> dict[str, Variant]:
    from rbtc.lab.variant import derived
    from rbtc.signed_zeros import revive_exactly
    from rbtc.studies.zero_files import round_trip

    leaking = _leaking(lab, subject)
    exact = derived(
        leaking,
        EXACT,
        lambda: revive_exactly(round_trip(leaking.weights)),  # the attacker has the file, no more
        revive_exactly,
        kind="exact signs",
    )
    made = (lab.pretrained, lab.owner.pruned(subject), lab.revived(subject), exact)
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
