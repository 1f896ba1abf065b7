"""Singular values of weight matrices: how much their rows have in common.

Matrix completion works to the extent that a matrix has few directions; how few can be read off its
singular values.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor
from torch.linalg import svdvals


def spectrum(weight: Tensor) -> pd.DataFrame:
    """Singular values of one matrix (rows, columns), computed in float64, descending.

    Returns:
        place: rank over their number, in (0, 1]. value: over the largest. largest: itself.
    """
    values = svdvals(weight.detach().cpu().double()).numpy()
    return pd.DataFrame(
        {
            "place": np.arange(1, len(values) + 1) / len(values),
            "value": values / max(values[0], np.finfo(float).tiny),
            "largest": values[0],
        }
    )


def effective_rank(values: np.ndarray) -> float:
    """exp(entropy) of singular values as parts of their sum; their number if all are equal.

    Roy and Vetterli, "The effective rank", EUSIPCO 2007.
    """
    parts = values[values > 0] / values.sum()
    return float(np.exp(-(parts * np.log(parts)).sum()))
