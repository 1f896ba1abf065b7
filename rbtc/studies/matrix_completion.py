"""How many signs matrix completion recovers, and what it takes (paper Sec. 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.intervals import Difference, paired_means
from rbtc.models.subjects import Subject
from rbtc.paper import load_table
from rbtc.report.comparisons import Row
from rbtc.stats import Proportion
from rbtc.studies.common import Pictures

PAPER_EXAMPLE = "golf ball"
"""The one concept for which Tables 5 and 6 are printed."""


def paper_sign_accuracy() -> float:
    """Sign accuracy over all pruned weights that Table 6 implies, averaged over its lines.

    Top K and the rest together are everything: K top + (1 - K) rest.
    """
    wide = load_table(6).pivot(index="row", columns="column", values="value")
    ratios = wide.index.astype(float).to_numpy()
    return float((ratios * wide["Top-K"] + (1 - ratios) * wide["Rest"]).mean())


@dataclass(frozen=True, eq=False)
class CompletionStudy:
    """Signs found per concept, solver and layer, and what it took.

    Attributes:
        subjects: The first is the example in figures of single layers.
        layers: One row per concept, solver and layer: n weights, correct signs, iterations,
            converged.
        seconds: One row per concept and solver: seconds for all layers, and the device.
        residuals: The released iteration on the example's layers: layer, iteration, residual.
        spectra: Singular values of the example's layers: layer, state ("pretrained", "pruned" or
            "completed"), place (rank over their number), value (over the largest), largest.
        norms: One row per layer of the example: layer, nuclear norm in each state, and of the
            pretrained weights "effective rank / size" and "smallest / largest" singular value.
        images: Concept -> model -> pictures.
    """

    subjects: tuple[Subject, ...]
    layers: pd.DataFrame
    seconds: pd.DataFrame
    residuals: pd.DataFrame
    spectra: pd.DataFrame
    norms: pd.DataFrame
    images: Pictures

    claim = 0.70
    """"more than 70% of the signs of the pruned weights" (paper Sec. 1)."""

    @property
    def concepts(self) -> list[str]:
        """Labels of the concepts, as the tables name them."""
        return [subject.label for subject in self.subjects]

    def accuracy(self, solver: str = "released", **where: str) -> Proportion:
        """Share of right signs of a solver, over everything or where columns have a value."""
        return _share(_of(self.layers, solver=solver, **where))

    def by_concept(self, solver: str = "released") -> dict[str, dict[str, Proportion]]:
        """`{solver: {concept: share}}`, for a bar chart."""
        return {solver: {name: self.accuracy(solver, concept=name) for name in self.concepts}}

    def by_layer(self, solver: str = "released") -> dict[str, dict[str, Proportion]]:
        """`{concept: {layer: share}}`, for a bar chart."""
        return {
            name: {
                short: _share(own)
                for short, own in _of(self.layers, solver=solver, concept=name).groupby(
                    "short", sort=False
                )
            }
            for name in self.concepts
        }

    def rows(self) -> list[Row]:
        """Sign accuracy of the released completion beside the paper's, concept by concept."""
        return [
            Row(name, "sign accuracy", paper, self.accuracy(concept=name))
            for name, paper in zip(self.concepts, self._printed(), strict=True)
        ]

    def paper(self) -> dict[str, dict[str, float]]:
        """`{"released": {concept: number}}` where the paper has one, for the marks of a chart."""
        known = zip(self.concepts, self._printed(), strict=True)
        return {"released": {name: value for name, value in known if value is not None}}

    def _printed(self) -> list[float | None]:
        same = [subject.paper == PAPER_EXAMPLE for subject in self.subjects]
        return [paper_sign_accuracy() if is_same else None for is_same in same]

    def spectrum(self, state: str = "pretrained") -> pd.DataFrame:
        """Singular values of the example's layers before pruning, after, or completed."""
        return _of(self.spectra, state=state)

    def structure(self) -> pd.DataFrame:
        """Per layer of the example: effective rank, spread of the spectrum, nuclear norms, signs.

        The effective rank is exp(entropy) of the singular values as shares of their sum, here
        divided by the number of rows or columns, whichever is smaller.
        """
        table = self.norms.set_index("layer")
        shares = [self.accuracy(concept=self.concepts[0], short=short) for short in table.index]
        return table.assign(
            **{"right signs": [share.value for share in shares]},
            low=[share.low for share in shares],
            high=[share.high for share in shares],
        )

    def change(self, before: str, after: str) -> Difference:
        """Paired change of the share of right signs from one solver to another.

        Every layer of every concept is a pair, for the weights of one matrix are not independent.
        """
        wide = self._by_matrix()
        return paired_means(wide[before], wide[after])

    def over_chance(self, solver: str = "released") -> Difference:
        """Distance of the share of right signs from a coin's half, over layers and concepts."""
        shares = self._by_matrix()[solver]
        return paired_means([0.5] * len(shares), list(shares))

    def _by_matrix(self) -> pd.DataFrame:
        frame = self.layers.assign(share=self.layers["correct"] / self.layers["n"])
        return frame.pivot(index=["concept", "short"], columns="solver", values="share")

    def race(self) -> pd.DataFrame:
        """One line per solver: right signs, iterations, seconds, and the paired change.

        The change is seen from the released iteration.
        """
        lines = {}
        for name, own in self.layers.groupby("solver", sort=False):
            change = "" if name == "released" else f"{self.change('released', name):+.3f}"
            lines[name] = {
                "right signs": _share(own).value,
                "weights": _share(own).n,
                "change from released": change,
                "iterations per layer": float(own["iterations"].median()),
                "most": own["iterations"].max(),
                "converged": float(own["converged"].mean()),
                "seconds per model": float(_of(self.seconds, solver=name)["seconds"].mean()),
            }
        return pd.DataFrame(lines).T.rename_axis(index="solver")


def _of(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The lines of a table in which every named column has the given value."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _share(lines: pd.DataFrame) -> Proportion:
    return Proportion(int(lines["correct"].sum()), int(lines["n"].sum()))


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


@dataclass(frozen=True, eq=False)
class MatrixStudy:
    """What the chapter shows.

    Attributes:
        completion: Signs found by every solver.
        descent: The released iteration on one layer of the first concept, step by step.
    """

    completion: CompletionStudy
    descent: Descent
