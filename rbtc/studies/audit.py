# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How well the signs that come back can be foretold without the weights before pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.bootstrap import Mean, crossed, mean
from rbtc.models.subjects import Subject

if TYPE_CHECKING:

    from rbtc.attack.recoverability import Choice


CHOICES: dict[str, Choice] = {
    "largest in the row": "largest",
    "any": "random",
    "like the cut": "alike",
}
"""Which survivors are hidden."""

REASONS = {
    "density": "share of the layer that was cut",
    "crowding": "share cut in the columns of the cut weights",
    "gap": "share cut in the hidden weights' columns, less that of the cut ones'",
    "size": "size of the hidden weights over that of the cut ones",
}
"""What may go along with an error, by its column."""


@dataclass(frozen=True, eq=False)
class AuditStudy:
    """Estimated and true sign accuracy of layers.

    Attributes:
        subjects: The classes that were cut.
        lines: One line per class, ratio, layer and choice: estimated, true, hidden, cut (counts
            behind the two), error (estimated less true), and the columns of `REASONS`.
    """

    subjects: tuple[Subject, ...]
    lines: pd.DataFrame

    def own(self, choice: str) -> pd.DataFrame:
        """The lines of one choice, a title of `CHOICES`."""
        return self.lines[self.lines["choice"] == choice].reset_index(drop=True)

    def panels(self) -> dict[str, pd.DataFrame]:
        """Choice -> points, for `rbtc.report.calibration.calibration`."""
        series = self.lines.assign(series=[f"{ratio:g}" for ratio in self.lines["ratio"]])
        return {choice: series[series["choice"] == choice] for choice in CHOICES}

    def score(self, choice: str, what: Callable[[pd.DataFrame, np.ndarray], np.ndarray]) -> Mean:
        """A weighted statistic of the lines of a choice, over layers and classes anew."""
        own = self.own(choice)
        return crossed(lambda weights: what(own, weights), own["concept"], own["layer"])

    def score_table(self) -> pd.DataFrame:
        """Per choice: correlation with the truth, mean absolute error, mean error."""
        return pd.DataFrame(
            {
                choice: {
                    "correlation": _told(self.score(choice, correlation)),
                    "mean absolute error": _told(self.score(choice, absolute_error)),
                    "mean error": _told(self.score(choice, mean_error), signed=True),
                    "layers": len(self.own(choice)),
                }
                for choice in CHOICES
            }
        ).T.rename_axis(index="hidden")

    def models(self, choice: str) -> pd.DataFrame:
        """Whole models: per class and ratio estimated and true, layers by how much was cut."""
        own = self.own(choice)
        by = ["concept", "ratio"]
        sums = own.assign(
            estimated=own["estimated"] * own["cut"], true=own["true"] * own["cut"]
        ).groupby(by, sort=False)[["estimated", "true", "cut"]].sum()  # fmt: skip
        found = pd.DataFrame(sums[["estimated", "true"]]).div(sums["cut"], axis=0)
        return found.assign(error=found["estimated"] - found["true"]).reset_index()

    def model_table(self) -> pd.DataFrame:
        """Per choice and ratio: truth and estimate of whole models, and how far off it is."""
        lines = {}
        for choice in CHOICES:
            for ratio, own in self.models(choice).groupby("ratio"):
                lines[choice, f"{ratio:g}"] = {
                    "true, mean": f"{own['true'].mean():.2f}",
                    "estimated, mean": f"{own['estimated'].mean():.2f}",
                    "mean absolute error": f"{mean(own['error'].abs())}",
                    "largest error": f"{own['error'].abs().max():.2f}",
                }
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis(["hidden", "ratio"])

    def by(self, column: str, choice: str) -> pd.DataFrame:
        """Per layer, or per ratio: means of what was estimated, of the truth, and of the error."""
        columns = ["density", "true", "estimated", "error"]
        own = self.own(choice).assign(off=lambda frame: frame["error"].abs())
        found = own.groupby(column, sort=False)[[*columns, "off"]].mean()
        return pd.DataFrame(found).rename(columns={"off": "absolute error"})

    def reason_table(self) -> pd.DataFrame:
        """Correlations of each choice's error with what could explain it."""
        return pd.DataFrame(
            {
                choice: {
                    told: _told(self.reason(choice, column), signed=True)
                    for column, told in REASONS.items()
                }
                for choice in CHOICES
            }
        )

    def reason(self, choice: str, column: str) -> Mean:
        """Correlation of the error with a column of `REASONS`."""
        return self.score(choice, lambda lines, w: _correlation(lines[column], lines["error"], w))

    def best(self) -> str:
        """The choice with the smallest mean absolute error."""
        return min(CHOICES, key=lambda choice: self.own(choice)["error"].abs().mean())


def correlation(lines: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation of estimate and truth."""
    return _correlation(lines["estimated"], lines["true"], weights)


def absolute_error(lines: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Mean absolute error of the estimate."""
    return _average(lines["error"].abs(), weights)


def mean_error(lines: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Mean error of the estimate: above zero it promises the attacker too much."""
    return _average(lines["error"], weights)


def _average(values: pd.Series | np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means: weights (draws, n), values (n,) or (draws, n) -> (draws,)."""
    return (np.asarray(values, float) * weights).sum(axis=-1) / weights.sum(axis=-1)


def _correlation(first: pd.Series, second: pd.Series, weights: np.ndarray) -> np.ndarray:
    x, y = (np.asarray(of, float) - _average(of, weights)[:, None] for of in (first, second))
    spread = _average(x * x, weights) * _average(y * y, weights)
    found = np.full(len(weights), np.nan)
    np.divide(_average(x * y, weights), np.sqrt(spread), out=found, where=spread > 0)
    return found


def _told(one: Mean, signed: bool = False) -> str:
    spec = "+.2f" if signed else ".2f"
    return f"{one.value:{spec}} [{one.low:{spec}}, {one.high:{spec}}]"
