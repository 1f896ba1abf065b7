"""Six models per class: erased, and revived in four ways (paper Sec. 5.2, Table 1, Figs 5, 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rbtc.intervals import Share
from rbtc.models.subjects import Subject
from rbtc.paper import wide_table
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracies
from rbtc.studies.common import (
    STRATEGIES,
    Judged,
    Pictures,
    average_printed,
    class_rows,
    known,
)

Half = Literal["erased", "preserved"]

MODELS = {
    "pretrained": "pretrained",
    "pruned": "ConceptPrune",
    "Quant Recover": "Quant Recover",
    **{name: name for name in STRATEGIES},
}
"""The six models in the paper's order, and what the columns of its Table 1 call them."""


@dataclass(frozen=True, eq=False)
class ObjectStudy(Judged):
    """Table 1: six models of each class, judged on the class and on the other classes.

    Attributes:
        subjects: The classes.
        hits: One line per picture; besides `measuring.common.judged`, draw (seed of the drawn
            magnitudes, empty for models that draw nothing).
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    pictures: Pictures

    def part(self, classes: str) -> pd.DataFrame:
        """One line per trial of the erased or of the preserved classes.

        Pictures of one trial that differ only in the draw of magnitudes are one line; its ``hit``
        is their mean.
        """
        own = super().part(classes)
        keys = ["concept", "model", "asked", "prompt", "seed"]
        return own.groupby(keys, sort=False, as_index=False).agg(hit=("hit", "mean"))

    def really_erased(self) -> list[str]:
        """Classes that pruning left at most as recognisable as the paper's most stubborn one.

        Chosen on the pruned model alone; in the order of what the attack brings back, least first.
        """
        limit = wide_table(1)["erased: ConceptPrune"].max()
        own = self.part("erased").pivot_table(index="concept", columns="model", values="hit")
        own = own[own["pruned"] <= limit]
        return list((own["NMS"] - own["pruned"]).sort_values(kind="stable").index)

    def rows(self) -> list[Row]:
        """Over all classes: models by halves of Table 1."""
        return self.table_1(MODELS)

    def class_rows(self, half: Half) -> list[Row]:
        """Table 1, one half of it: classes by models."""
        columns = {model: f"{half}: {column}" for model, column in MODELS.items()}
        return class_rows(self.part(half), self.subjects, columns)

    def means(self, half: Half) -> dict[str, Share]:
        """`{model: accuracy over all classes}`."""
        found = accuracies(self.part(half), ["model"])
        return {model: found[model] for model in MODELS}

    def paper(self, half: Half) -> dict[str, dict[str, float]]:
        """The printed values, `{model: {class: accuracy}}`, of the classes that the paper has."""
        return self.printed(MODELS, half)

    def paper_means(self, half: Half) -> dict[str, float]:
        """`{model: mean of the printed values}` over the same classes; empty if one is missing."""
        found = {m: average_printed(1, self.subjects, f"{half}: {c}") for m, c in MODELS.items()}
        return known({half: found})[half]
