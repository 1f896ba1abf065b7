# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Signs against magnitudes: which half of a weight carries a concept (paper Sec. 3, App. A).

The cut weights are refilled with one half of the truth, their pretrained sign or their pretrained
magnitude, and the other half drawn or borrowed from the row's survivors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.paper import printed
from rbtc.report.spread import Spread, changes_table, class_values
from rbtc.report.tables import Row, accuracies, cell, effect
from rbtc.stats import Difference, Share
from rbtc.studies.common import (
    PAPER_CLASSES,
    Pictures,
    at_least_one,
    check_draws,
    judged,
    over_draws,
    subjects,
)

if TYPE_CHECKING:
    from rbtc.idealised import IdealMode
    from rbtc.lab import Lab

MAGNITUDE = "true magnitude, drawn sign"
SIGN = "true sign, drawn magnitude"
SIGN_MAX = "true sign, neuron max"
SIGN_AVERAGE = "true sign, neuron average"
REFILLS: dict[str, IdealMode] = {
    MAGNITUDE: "pretrained_magnitude_random_sign",
    SIGN: "pretrained_sign_random_magnitude",
    SIGN_MAX: "pretrained_sign_neuron_max",
    SIGN_AVERAGE: "pretrained_sign_neuron_average",
}

DRAWN = (MAGNITUDE, SIGN)
"""The refills of which one half is drawn, so that there is one for every draw."""

PRINTED = {"pretrained": "erased: pretrained", "pruned": "erased: ConceptPrune"}
"""The models of this study whose accuracies the paper prints, and their columns of its Table 1."""


@dataclass(frozen=True, eq=False)
class SignStudy:
    """What one half of the truth is worth (paper Sec. 3, Fig. 2, App. A).

    Attributes:
        subjects: The concepts.
        hits: One line per trial, see `rbtc.studies.common.judged` and `over_draws`.
        cosines: concept, model, draw, cosine between the refilled and the true values of the cut
            weights.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    cosines: pd.DataFrame
    pictures: Pictures

    def summary(self) -> pd.DataFrame:
        """Per refill the accuracy, its spread over classes, and the cosine with the cut weights.

        The cosine is the mean over the classes.
        """
        values = self.values()
        cosines = dict(self.cosines.groupby("model")["cosine"].mean())
        lines = {
            model: {
                "accuracy on the erased class": cell(share),
                "mean ± spread over classes": f"{Spread.of(values[model])}",
                "cosine with the cut weights": cell(cosines.get(model)),
            }
            for model, share in self.means().items()
        }
        return pd.DataFrame(lines).T

    def rows(self) -> list[Row]:
        """The table that Appendix A announces: classes by models, accuracy on the erased class.

        The paper has its first two columns elsewhere (Table 1); of the refills it prints nothing.
        """
        found = accuracies(self.hits, ["concept", "model"])
        rows = []
        for subject in self.subjects:
            own = self.hits[self.hits["concept"] == subject.label]
            paper = {name: printed(1, subject.paper, column) for name, column in PRINTED.items()}
            for model in dict.fromkeys(own["model"]):
                before = {"pretrained": None, "pruned": "pretrained"}.get(model, "pruned")
                rows.append(
                    Row(
                        subject.label,
                        model,
                        paper.get(model),
                        found[subject.label, model],
                        effect(own, before, model) if before else None,
                        paper.get(before or ""),
                    )
                )
        return rows

    def means(self) -> dict[str, Share]:
        """`{model: accuracy}` over all classes."""
        return accuracies(self.hits, ["model"])

    def values(self) -> dict[str, dict[str, float]]:
        """`{model: {class: accuracy}}`, for a thin line per class."""
        return class_values(self.hits, "model")

    def changes(self) -> pd.DataFrame:
        """From the pruned model to each refill: over pictures, over classes, class by class."""
        return changes_table(self.hits, {name: ("pruned", name) for name in REFILLS}, "refill")

    def contrasts(self) -> dict[str, Difference]:
        """What the paper compares, and our paired changes from the one to the other."""
        pairs = [(MAGNITUDE, SIGN), ("pruned", SIGN), ("pruned", MAGNITUDE), (SIGN, SIGN_MAX),
                 (SIGN_AVERAGE, SIGN_MAX)]  # fmt: skip
        return {f"{one} to {other}": effect(self.hits, one, other) for one, other in pairs}


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
    from rbtc.sign_accuracy import cosine

    at_least_one(images=images, pictures=pictures)
    check_draws(draw_seeds)
    chosen = subjects(lab, concepts)
    lab.jury.require("object")
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
