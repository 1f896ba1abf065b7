# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""What the studies of the chapters share: names, counts and the paper's means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rbtc.models.subjects import Subject
from rbtc.paper import printed

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
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def model_name(strategy: str, keep_ratio: float) -> str:
    """`"NMS", 0.6` -> `"NMS, K = 0.6"`."""
    return f"{strategy}, K = {keep_ratio:g}"
