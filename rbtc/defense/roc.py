"""How well scores tell the modified weights from the others: ROC curve, its area, thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rbtc.layers import Masks, check_masks, check_same_layers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Roc:
    """A receiver operating characteristic, pooled over layers.

    Attributes:
        false_positive: Fraction of the unmodified weights with a score of at least the threshold.
        true_positive: The same fraction of the modified ones: the recall.
        threshold: The scores themselves, falling; infinity for the first point (0, 0).
        true: How many weights are modified.
        total: How many there are.
    """

    false_positive: np.ndarray
    true_positive: np.ndarray
    threshold: np.ndarray
    true: int
    total: int

    @property
    def auc(self) -> float:
        """Area under the curve: the chance that a modified weight scores higher; ties count half.

        1 when the scores give every one away, 1/2 when they say nothing.
        """
        return float(np.trapezoid(self.true_positive, self.false_positive))

    def at(self, threshold: float) -> dict[str, float]:
        """What naming every weight of at least this score gets.

        Returns:
            threshold, named (fraction of all weights), precision (NaN where none is named), recall.
        """
        index = int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1
        hits = self.true_positive[index] * self.true
        named = hits + self.false_positive[index] * (self.total - self.true)
        return {
            "threshold": float(threshold),
            "named": float(named / self.total),
            "precision": float(hits / named) if named else math.nan,
            "recall": float(self.true_positive[index]),
        }

    def sweep(self, thresholds: Sequence[float]) -> pd.DataFrame:
        """`at` for several thresholds, one line each."""
        import pandas as pd

        return pd.DataFrame([self.at(threshold) for threshold in thresholds])

    def curve(self, points: int = 101) -> pd.DataFrame:
        """The curve at evenly spaced false positive rates: false_positive, true_positive."""
        import pandas as pd

        x = np.linspace(0, 1, points)
        y = np.interp(x, self.false_positive, self.true_positive)
        return pd.DataFrame({"false_positive": x, "true_positive": y})


def roc(scores: Mapping[str, Tensor], truth: Masks) -> Roc:
    """ROC of scores that are to be high where a weight is modified, pooled over layers.

    Equal scores are named together, so ties count half in the area.

    Args:
        scores: Weight name -> (rows, columns), any float dtype, finite.
        truth: Weight name -> bool (rows, columns), True = modified.

    Raises:
        ValueError: When layers or shapes differ, a score is not finite, or one of the two groups is
            empty.
    """
    check_same_layers(truth, scores)
    check_masks(truth)
    names = sorted(truth)
    score = torch.cat([scores[name].detach().double().flatten().cpu() for name in names]).numpy()
    modified = torch.cat([truth[name].flatten().cpu() for name in names]).numpy()
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite: some are NaN or infinite")
    true, total = int(modified.sum()), len(modified)
    if not 0 < true < total:
        raise ValueError(f"{true} of {total} weights are modified: there is nothing to tell apart")
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), total - 1]  # ends of runs of equal scores
    hits = np.cumsum(modified[order])[last]
    return Roc(
        np.r_[0, (last + 1 - hits) / (total - true)],
        np.r_[0, hits / true],
        np.r_[np.inf, score[order][last]],
        true,
        total,
    )
