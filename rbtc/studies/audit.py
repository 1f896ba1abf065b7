"""How well the signs that come back can be foretold without the weights before pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.intervals import Share
from rbtc.models.subjects import Subject
from rbtc.stats import crossed, mean

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

    def score(self, choice: str, what: str) -> Share:
        """A statistic of the lines of a choice, with layers and classes drawn anew.

        Args:
            choice: a title of `CHOICES`.
            what: "correlation" of estimate and truth, "absolute error", "error" (above zero it
                promises the attacker too much), or a column of `REASONS`, for its correlation with
                the error.
        """
        own = self.own(choice)

        def statistic(weights: np.ndarray) -> np.ndarray:
            if what.endswith("error"):
                return _average(own["error"].abs() if "absolute" in what else own["error"], weights)
            if what == "correlation":
                return _correlation(own["estimated"], own["true"], weights)
            return _correlation(own[what], own["error"], weights)

        return crossed(statistic, own["concept"], own["layer"])

    def score_table(self) -> pd.DataFrame:
        """Per choice: correlation with the truth, mean absolute error, mean error."""
        return pd.DataFrame(
            {
                choice: {
                    "correlation": _told(self.score(choice, "correlation")),
                    "mean absolute error": _told(self.score(choice, "absolute error")),
                    "mean error": _told(self.score(choice, "error"), signed=True),
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
                    told: _told(self.score(choice, column), signed=True)
                    for column, told in REASONS.items()
                }
                for choice in CHOICES
            }
        )

    def best(self) -> str:
        """The choice with the smallest mean absolute error."""
        return min(CHOICES, key=lambda choice: self.own(choice)["error"].abs().mean())


def _average(values: pd.Series | np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means: weights (draws, n), values (n,) or (draws, n) -> (draws,)."""
    return (np.asarray(values, float) * weights).sum(axis=-1) / weights.sum(axis=-1)


def _correlation(first: pd.Series, second: pd.Series, weights: np.ndarray) -> np.ndarray:
    x, y = (np.asarray(of, float) - _average(of, weights)[:, None] for of in (first, second))
    spread = _average(x * x, weights) * _average(y * y, weights)
    found = np.full(len(weights), np.nan)
    np.divide(_average(x * y, weights), np.sqrt(spread), out=found, where=spread > 0)
    return found


def _told(one: Share, signed: bool = False) -> str:
    spec = "+.2f" if signed else ".2f"
    return f"{one.value:{spec}} [{one.low:{spec}}, {one.high:{spec}}]"
