# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Signs against magnitudes: which half of a weight carries a concept (paper Sec. 3, App. A).

The cut weights are refilled with one half of the truth, their pretrained sign or their pretrained
magnitude, and the other half drawn or borrowed from the row's survivors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row, cell
from rbtc.report.spread import changes_table, class_values, mean_and_spread
from rbtc.report.tables import accuracies, effect
from rbtc.stats import Difference, Share
from rbtc.studies.common import Pictures

if TYPE_CHECKING:
    from rbtc.attack.idealised import IdealMode

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


PRINTED = {"pretrained": "erased: pretrained", "pruned": "erased: ConceptPrune"}
"""The models of this study whose accuracies the paper prints, and their columns of its Table 1."""


@dataclass(frozen=True, eq=False)
class SignStudy:
    """What one half of the truth is worth (paper Sec. 3, Fig. 2, App. A).

    Attributes:
        subjects: The concepts.
        hits: One line per trial, see `measuring.common.Tally` and `over_draws`.
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
                "mean ± spread over classes": mean_and_spread(values[model]),
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
