"""Signs against magnitudes: which half of a weight carries a concept (paper Sec. 3, App. A).

The cut weights are refilled with one half of the truth, their pretrained sign or their pretrained
magnitude, and the other half drawn or borrowed from the row's survivors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.intervals import Difference
from rbtc.models.subjects import Subject
from rbtc.report.comparisons import Row, cell
from rbtc.report.spread import changes_table, class_values, mean_and_spread
from rbtc.report.tables import accuracies, effect
from rbtc.studies.common import Pictures, class_rows

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
        hits: One line per trial, see `measuring.common.judged` and `over_draws`.
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
        values = class_values(self.hits, "model")
        cosines = dict(self.cosines.groupby("model")["cosine"].mean())
        lines = {
            model: {
                "accuracy on the erased class": cell(share),
                "mean ± spread over classes": mean_and_spread(values[model]),
                "cosine with the cut weights": cell(cosines.get(model)),
            }
            for model, share in accuracies(self.hits, ["model"]).items()
        }
        return pd.DataFrame(lines).T

    def rows(self) -> list[Row]:
        """The table that Appendix A announces: classes by models, accuracy on the erased class.

        The paper has its first two columns elsewhere (Table 1); of the refills it prints nothing.
        """
        columns = {model: PRINTED.get(model, "") for model in dict.fromkeys(self.hits["model"])}
        return class_rows(self.hits, self.subjects, columns)

    def changes(self) -> pd.DataFrame:
        """From the pruned model to each refill: over pictures, over classes, class by class."""
        return changes_table(self.hits, {name: ("pruned", name) for name in REFILLS}, "refill")

    def contrasts(self) -> dict[str, Difference]:
        """What the paper compares, and our paired changes from the one to the other."""
        pairs = [(MAGNITUDE, SIGN), ("pruned", SIGN), ("pruned", MAGNITUDE), (SIGN, SIGN_MAX),
                 (SIGN_AVERAGE, SIGN_MAX)]  # fmt: skip
        return {f"{one} to {other}": effect(self.hits, one, other) for one, other in pairs}
