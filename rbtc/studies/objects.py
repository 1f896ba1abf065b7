# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Six models per class: erased, and revived in four ways (paper Sec. 5.2, Table 1, Figs 5, 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.paper import printed, wide_table
from rbtc.report.comparisons import Row
from rbtc.report.spread import class_values
from rbtc.report.tables import accuracies, accuracy, effect, effects
from rbtc.stats import Difference, Share
from rbtc.studies.common import STRATEGIES, Pictures, average_printed

Half = Literal["erased", "preserved"]
HALVES: dict[Half, str] = {"erased": "erased class", "preserved": "preserved classes"}

MODELS = {
    "pretrained": "pretrained",
    "pruned": "ConceptPrune",
    "Quant Recover": "Quant Recover",
    **{name: name for name in STRATEGIES},
}
"""The six models in the paper's order, and what the columns of its Table 1 call them."""


@dataclass(frozen=True, eq=False)
class ObjectStudy:
    """Table 1: six models of each class, judged on the class and on the other classes.

    Attributes:
        subjects: The classes.
        hits: One line per picture; besides `measuring.common.Tally`, draw (seed of the drawn
            magnitudes, empty for models that draw nothing).
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    pictures: Pictures

    def part(self, half: Half) -> pd.DataFrame:
        """One line per trial of the erased or of the preserved classes.

        Pictures of one trial that differ only in the draw of magnitudes are one line; its ``hit``
        is their mean.
        """
        own = self.hits[self.hits["classes"] == half]
        keys = ["concept", "model", "asked", "prompt", "seed"]
        return own.groupby(keys, sort=False, as_index=False).agg(hit=("hit", "mean"))

    def accuracy(self, half: Half, model: str) -> Share:
        """Accuracy of a model over all classes."""
        return accuracy(self.part(half), model)

    def step(self, half: Half, before: str, after: str) -> Difference:
        """Paired change from one model to another, over all classes."""
        return effect(self.part(half), before, after)

    def really_erased(self) -> list[str]:
        """Classes that pruning left at most as recognisable as the paper's most stubborn one.

        Chosen on the pruned model alone; in the order of what the attack brings back, least first.
        """
        limit = wide_table(1)["erased: ConceptPrune"].max()
        own = self.part("erased").pivot_table(index="concept", columns="model", values="hit")
        own = own[own["pruned"] <= limit]
        return list((own["NMS"] - own["pruned"]).sort_values(kind="stable").index)

    def rows(self) -> list[Row]:
        """Over all classes: models by halves of Table 1, each seen from the model it was made from.

        The paper's numbers are the means of its printed values over the same classes.
        """
        return [
            Row(
                model,
                HALVES[half],
                average_printed(1, self.subjects, f"{half}: {MODELS[model]}"),
                self.accuracy(half, model),
                self.step(half, before, model) if before else None,
                average_printed(1, self.subjects, f"{half}: {MODELS[before]}") if before else None,
                500 * len(self.subjects),
            )
            for model in MODELS
            for half in HALVES
            for before in [_before(model)]
        ]

    def class_rows(self, half: Half) -> list[Row]:
        """Table 1, one half of it: classes by models."""
        hits = self.part(half)
        found = accuracies(hits, ["concept", "model"])
        changes = {
            model: effects(hits, before, model, "concept")
            for model in MODELS
            if (before := _before(model)) is not None
        }
        return [
            Row(
                subject.label,
                model,
                printed(1, subject.paper, f"{half}: {MODELS[model]}"),
                found[subject.label, model],
                changes[model][subject.label] if before else None,
                printed(1, subject.paper, f"{half}: {MODELS[before]}") if before else None,
            )
            for subject in self.subjects
            for model in MODELS
            for before in [_before(model)]
        ]

    def values(self, half: Half) -> dict[str, dict[str, float]]:
        """`{model: {class: accuracy}}`, in the paper's order of the models."""
        found = class_values(self.part(half), "model")
        return {model: found[model] for model in MODELS}

    def means(self, half: Half) -> dict[str, Share]:
        """`{model: accuracy over all classes}`."""
        found = accuracies(self.part(half), ["model"])
        return {model: found[model] for model in MODELS}

    def paper(self, half: Half) -> dict[str, dict[str, float]]:
        """The printed values, `{model: {class: accuracy}}`, of the classes that the paper has."""
        found = {
            model: {s.label: printed(1, s.paper, f"{half}: {column}") for s in self.subjects}
            for model, column in MODELS.items()
        }
        return {
            model: {label: value for label, value in of.items() if value is not None}
            for model, of in found.items()
        }

    def paper_means(self, half: Half) -> dict[str, float]:
        """`{model: mean of the printed values}` over the same classes; empty if one is missing."""
        found = {m: average_printed(1, self.subjects, f"{half}: {c}") for m, c in MODELS.items()}
        return {model: value for model, value in found.items() if value is not None}


def _before(model: str) -> str | None:
    """The model that another was made from."""
    return {"pretrained": None, "pruned": "pretrained"}.get(model, "pruned")
