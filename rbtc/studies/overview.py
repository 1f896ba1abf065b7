"""The overview: pretrained, pruned and revived, side by side (paper Table 1, Fig. 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rbtc.intervals import Difference
from rbtc.models.subjects import Subject
from rbtc.report.comparisons import Row
from rbtc.report.tables import effects
from rbtc.studies.common import Judged, Pictures, before

MODELS = {"pretrained": "pretrained", "pruned": "ConceptPrune", "revived": "NMS"}
"""The three models, and what the columns of the paper's Table 1 call them."""


@dataclass(frozen=True, eq=False)
class Overview(Judged):
    """Three models per concept.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `measuring.common.judged`.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    pictures: Pictures

    def counted(self, subject: Subject) -> dict[str, dict[str, np.ndarray]]:
        """The pictures of one concept; each model's name says how many of all show it."""
        own = self.part("erased")
        own = own[own["concept"] == subject.label].groupby("model")["hit"].agg(["sum", "size"])
        return {
            subject.label: {
                f"{model}\n{own.loc[model, 'sum']} of {own.loc[model, 'size']} recognised": found
                for model, found in self.pictures[subject.label].items()
            }
        }

    def steps(self, model: str) -> dict[str, Difference]:
        """Change from the model before on the erased class, concept by concept."""
        return effects(self.part("erased"), before(model), model, "concept")

    def paper(self) -> dict[str, dict[str, float]]:
        """The printed accuracy of the erased class, `[model][label]`."""
        return self.printed(MODELS, "erased")

    def rows(self) -> list[Row]:
        """The averages over the concepts, beside the paper's over the same classes (Table 1)."""
        names = {model: f"{model} ({column})" for model, column in MODELS.items()}
        names["pretrained"] = "pretrained"
        return [replace(row, row=names[row.row]) for row in self.table_1(MODELS)]
