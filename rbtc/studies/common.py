"""What the studies of the chapters share: names, counts and the paper's means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rbtc.intervals import Difference, Share
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracies, accuracy, effect, effects

Pictures = Mapping[str, Mapping[str, np.ndarray]]
"""Concept -> model -> pictures (n, h, w, 3), for `rbtc.report.pictures.picture_grid`."""

HALVES = {"erased": "erased class", "preserved": "preserved classes"}
"""The two halves of the paper's Table 1, for readers."""

STRATEGIES: dict[str, Any] = {
    "Neuron Sample": "neuron_sample",
    "Neuron Average": "neuron_average",
    "NMS": "neuron_max",
}
"""The columns of the paper's tables, and our names for them."""


def average_printed(table: int, chosen: Sequence[Subject], column: str) -> float | None:
    """Mean of a printed column over our concepts; None unless the paper has them all."""
    values = [printed(table, subject.paper, column) for subject in chosen]
    return None if None in values or not values else sum(values) / len(values)


def model_name(strategy: str, keep_ratio: float) -> str:
    """`"NMS", 0.6` -> `"NMS, K = 0.6"`."""
    return f"{strategy}, K = {keep_ratio:g}"


def known(values: Mapping[Any, Mapping[Any, float | None]]) -> dict[Any, dict[Any, float]]:
    """Printed values, `{series: {place: value}}`, without the places where the paper has none."""
    return {
        series: {place: value for place, value in of.items() if value is not None}
        for series, of in values.items()
    }


def before(model: str) -> str | None:
    """The model that another was made from; every attack starts from the pruned one."""
    return {"pretrained": None, "pruned": "pretrained"}.get(model, "pruned")


def class_rows(
    hits: pd.DataFrame, subjects: Sequence[Subject], columns: Mapping[str, str]
) -> list[Row]:
    """Classes by models, beside Table 1; a change is seen `before` the model.

    Args:
        hits: one line per trial of one half of the classes.
        subjects: the erased classes.
        columns: model -> its column of the paper's Table 1, "" where it has none.
    """
    found = accuracies(hits, ["concept", "model"])
    changes = {m: effects(hits, before(m), m, "concept") for m in columns if before(m)}
    return [
        Row(
            one.label,
            model,
            printed(1, one.paper, column),
            found[one.label, model],
            changes[model][one.label] if first else None,
            printed(1, one.paper, columns[first]) if first else None,
        )
        for one in subjects
        for model, column in columns.items()
        for first in [before(model)]
    ]


class Judged:
    """What a study of judged pictures says of its models, over all its concepts."""

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame

    def part(self, classes: str) -> pd.DataFrame:
        """The pictures of the "erased" or of the "preserved" classes."""
        return self.hits[self.hits["classes"] == classes]

    def accuracy(self, classes: str, model: str) -> Share:
        """Accuracy of a model."""
        return accuracy(self.part(classes), model)

    def step(self, classes: str, before: str, after: str) -> Difference:
        """Paired change from one model to another."""
        return effect(self.part(classes), before, after)

    def table_1(self, models: Mapping[str, str]) -> list[Row]:
        """Models by halves of Table 1, each seen from the model it was made from.

        The paper's numbers are the means of its printed values over the same classes.

        Args:
            models: model -> what the columns of Table 1 call it.
        """

        def paper(half: str, model: str) -> float | None:
            return average_printed(1, self.subjects, f"{half}: {models[model]}")

        return [
            Row(
                model,
                title,
                paper(half, model),
                self.accuracy(half, model),
                self.step(half, first, model) if first else None,
                paper(half, first) if first else None,
                500 * len(self.subjects),
            )
            for model in models
            for half, title in HALVES.items()
            for first in [before(model)]
        ]

    def printed(self, models: Mapping[str, str], half: str) -> dict[str, dict[str, float]]:
        """The values of Table 1, `{model: {class: accuracy}}`, of the classes that it has."""
        found = {
            model: {one.label: printed(1, one.paper, f"{half}: {of}") for one in self.subjects}
            for model, of in models.items()
        }
        return known(found)


class Defended:
    """What a study of defended models says of them, over all its concepts or some."""

    hits: pd.DataFrame

    def part(self, classes: str, chosen: Subject | Sequence[Subject] | None = None) -> pd.DataFrame:
        """Pictures of the "erased" or of the "preserved" classes; all concepts by default."""
        own = self.hits[self.hits["classes"] == classes]
        if chosen is None:
            return own
        some = [chosen] if isinstance(chosen, Subject) else chosen
        return own[own["concept"].isin([subject.label for subject in some])]

    def accuracy(
        self,
        model: str,
        classes: str = "erased",
        chosen: Subject | Sequence[Subject] | None = None,
    ) -> Share:
        """Accuracy of a model."""
        return accuracy(self.part(classes, chosen), model)

    def change(
        self,
        before: str,
        after: str,
        classes: str = "erased",
        chosen: Subject | Sequence[Subject] | None = None,
    ) -> Difference:
        """Paired change from one model to another."""
        return effect(self.part(classes, chosen), before, after)
