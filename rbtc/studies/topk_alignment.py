"""Whether a large estimate means a large weight, and a sign that is right (paper App. B)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.intervals import Difference, paired_means
from rbtc.models.subjects import Subject
from rbtc.paper import printed, wide_table
from rbtc.report.comparisons import Row
from rbtc.stats import Proportion
from rbtc.studies.common import Pictures, known

SERIES = {"top K": "Top-K", "rest": "Rest"}
"""The two parts of the estimates, and what the columns of the paper's Table 6 call them."""


@dataclass(frozen=True, eq=False)
class AlignmentStudy:
    """Rank agreement of magnitudes (Table 5), and sign accuracy by magnitude (Table 6).

    Attributes:
        subjects: The concepts.
        matrices: Concept -> groups of recovered magnitudes (rows) by groups of original ones; the
            last entry is over all concepts where there are several.
        signs: One row per concept, layer, K and series: correct, n.
        images: Concept -> model -> pictures.
    """

    subjects: tuple[Subject, ...]
    matrices: dict[str, pd.DataFrame]
    signs: pd.DataFrame
    images: Pictures

    def heat_maps(self) -> dict[str, pd.DataFrame]:
        """The paper's matrix, that of the first concept, and that of all."""
        titles = list(dict.fromkeys([next(iter(self.matrices)), list(self.matrices)[-1]]))
        ours = {f"ours, {title}": self.matrices[title] for title in titles}
        return {"paper, golf ball": wide_table(5), **ours}

    @property
    def everything(self) -> pd.DataFrame:
        """The matrix over all concepts."""
        return list(self.matrices.values())[-1]

    def on_diagonal(self) -> float:
        """Mean share on its diagonal; 1 / groups where the orders have nothing in common."""
        return float(np.trace(self.everything.to_numpy()) / len(self.everything))

    def shares(self, subject: Subject | None = None) -> dict[str, dict[float, Proportion]]:
        """`{"top K" | "rest": {K: share of right signs}}` of one concept, or of all."""
        own = self.signs if subject is None else self.signs[self.signs["concept"] == subject.label]
        found: dict[str, dict[float, Proportion]] = {name: {} for name in SERIES}
        for (series, ratio), of in own.groupby(["series", "ratio"], sort=False):
            if of["n"].sum():
                found[series][ratio] = Proportion(int(of["correct"].sum()), int(of["n"].sum()))
        return found

    def change(self, ratio: float) -> Difference:
        """From the rest to the top K, paired over layers and concepts that have both."""
        own = self.signs[(self.signs["ratio"] == ratio) & (self.signs["n"] > 0)]
        own = own.assign(share=own["correct"] / own["n"])
        wide = own.pivot(index=["concept", "layer"], columns="series", values="share").dropna()
        return paired_means(wide["rest"], wide["top K"])

    def changes(self) -> dict[str, Difference]:
        """`change` for every K of the table."""
        return {
            f"K = {ratio:g}": self.change(ratio) for ratio in dict.fromkeys(self.signs["ratio"])
        }

    def paper_lines(self) -> dict[str, dict[float, float]]:
        """Table 6 as printed, for the dashed lines of a chart."""
        ratios = dict.fromkeys(self.signs["ratio"])
        lines = {
            name: {ratio: printed(6, f"{ratio:g}", column) for ratio in ratios}
            for name, column in SERIES.items()
        }
        return known(lines)

    def rows(self) -> list[Row]:
        """Table 6: per K, the signs of the top K and of the rest, of the first concept.

        The effect is that of size: from the rest to the top K.
        """
        printed_ = self.paper_lines()
        rows = []
        for series, shares in self.shares(self.subjects[0]).items():
            for ratio, share in shares.items():
                top = series == "top K"
                rows.append(
                    Row(
                        f"K = {ratio:g}",
                        series,
                        printed_[series].get(ratio),
                        share,
                        self.change(ratio) if top and 0 < ratio < 1 else None,
                        printed_["rest"].get(ratio) if top else None,
                        paper_images=10_000,  # weights, not pictures: the printed gap is no noise
                    )
                )
        return rows

    def frame(self) -> pd.DataFrame:
        """The matrices in long form, the paper's among them: matrix, recovered, original, share."""
        lines = [
            {"matrix": title, "recovered": row, "original": column, "share": share}
            for title, matrix in self.heat_maps().items()
            for row, of in matrix.to_dict("index").items()
            for column, share in of.items()
        ]
        return pd.DataFrame(lines)
