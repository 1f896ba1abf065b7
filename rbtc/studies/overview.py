"""The overview: pretrained, pruned and revived, side by side (paper Table 1, Fig. 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.intervals import Difference
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import effects
from rbtc.studies.common import Judged, Pictures, average_printed, known

MODELS = {"pretrained": "pretrained", "pruned": "ConceptPrune", "revived": "NMS"}
"""The three models, and what the columns of the paper's Table 1 call them."""

BEFORE = {"pruned": "pretrained", "revived": "pruned"}
"""The step that leads to each model."""


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
        return effects(self.part("erased"), BEFORE[model], model, "concept")

    def paper(self) -> dict[str, dict[str, float]]:
        """The printed accuracy of the erased class, `[model][label]`."""
        found = {
            model: {s.label: printed(1, s.paper, f"erased: {column}") for s in self.subjects}
            for model, column in MODELS.items()
        }
        return known(found)

    def rows(self) -> list[Row]:
        """The averages over the concepts, beside the paper's over the same classes (Table 1)."""
        return [
            Row(
                f"{model} ({column})" if column != model else model,
                title,
                average_printed(1, self.subjects, f"{classes}: {column}"),
                self.accuracy(classes, model),
                self.step(classes, before, model) if before else None,
                average_printed(1, self.subjects, f"{classes}: {MODELS[before]}")
                if before
                else None,
                500 * len(self.subjects),
            )
            for model, column in MODELS.items()
            for classes, title in (("erased", "erased class"), ("preserved", "preserved classes"))
            for before in [BEFORE.get(model)]
        ]
