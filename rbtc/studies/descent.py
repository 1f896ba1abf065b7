"""The released completion, step by step, as a descent on the nuclear norm (paper Sec. 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Descent:
    """The released iteration on one layer, in float64 and with full decompositions.

    Attributes:
        layer: Short name.
        frame: One row per iteration: s_min, nuclear_norm (before the step), step (largest change
            of an entry), update_error (between the two forms of the step, relative to it) and
            gradient_error (of slopes, relative to the steepest one).
    """

    layer: str
    frame: pd.DataFrame

    @property
    def falls(self) -> int:
        """In how many steps the nuclear norm fell."""
        return int((np.diff(self.frame["nuclear_norm"]) < 0).sum())

    @property
    def fallen(self) -> float:
        """By what share the nuclear norm fell in all."""
        norms = self.frame["nuclear_norm"].to_numpy()
        return float(1 - norms[-1] / norms[0])
