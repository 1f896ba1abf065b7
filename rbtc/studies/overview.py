# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The overview: pretrained, pruned and revived, side by side (paper Table 1, Fig. 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracy, effect, effects
from rbtc.stats import Difference, Share
from rbtc.studies.common import Pictures, average_printed

MODELS = {"pretrained": "pretrained", "pruned": "ConceptPrune", "revived": "NMS"}
"""The three models, and what the columns of the paper's Table 1 call them."""

BEFORE = {"pruned": "pretrained", "revived": "pruned"}
"""The step that leads to each model."""


@dataclass(frozen=True, eq=False)
class Overview:
    """Three models per concept.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `measuring.common.Tally`.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    pictures: Pictures

    def part(self, classes: str) -> pd.DataFrame:
        """The pictures of the "erased" or of the "preserved" classes."""
        return self.hits[self.hits["classes"] == classes]

    def accuracy(self, classes: str, model: str) -> Share:
        """Accuracy of a model over all concepts."""
        return accuracy(self.part(classes), model)

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

    def step(self, classes: str, model: str) -> Difference:
        """Change from the model before, over all concepts."""
        return effect(self.part(classes), BEFORE[model], model)

    def steps(self, model: str) -> dict[str, Difference]:
        """Change from the model before on the erased class, concept by concept."""
        return effects(self.part("erased"), BEFORE[model], model, "concept")

    def paper(self) -> dict[str, dict[str, float]]:
        """The printed accuracy of the erased class, `[model][label]`."""
        found = {
            model: {s.label: printed(1, s.paper, f"erased: {column}") for s in self.subjects}
            for model, column in MODELS.items()
        }
        return {
            model: {label: value for label, value in of.items() if value is not None}
            for model, of in found.items()
        }

    def rows(self) -> list[Row]:
        """The averages over the concepts, beside the paper's over the same classes (Table 1)."""
        rows = []
        for model, column in MODELS.items():
            for classes in ("erased", "preserved"):
                before = BEFORE.get(model)
                rows.append(
                    Row(
                        row=f"{model} ({column})" if column != model else model,
                        column=f"{classes} class" if classes == "erased" else f"{classes} classes",
                        paper=average_printed(1, self.subjects, f"{classes}: {column}"),
                        ours=self.accuracy(classes, model),
                        change=self.step(classes, model) if before else None,
                        paper_from=average_printed(1, self.subjects, f"{classes}: {MODELS[before]}")
                        if before
                        else None,
                        paper_images=500 * len(self.subjects),
                    )
                )
        return rows
