"""What the studies of the chapters share: names, counts and the paper's means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rbtc.intervals import Difference, Share
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.tables import accuracy, effect

Pictures = Mapping[str, Mapping[str, np.ndarray]]
"""Concept -> model -> pictures (n, h, w, 3), for `rbtc.report.pictures.picture_grid`."""

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


class Judged:
    """What a study of judged pictures says of its models, over all its concepts."""

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
