# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Defences judged by an attacker who infers the cut places from the defended weights alone.

What the attacker infers is in `rbtc.defense.mask_inference`, what the defences copy of the
survivors in `rbtc.defense.fills`; the models are made in
`rbtc.studies.measuring.honest_attacker`. Which defence to recommend is decided in
`rbtc.studies.defense_choice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracy, effect, power
from rbtc.stats import Difference, Share
from rbtc.studies.common import Pictures, average_printed
from rbtc.studies.defense_attacks import ATTACKERS, table_12_column

if TYPE_CHECKING:
    from rbtc.defense.mask_inference import Evidence

HONEST: Evidence = "columns"
"""The evidence of the attacker who judges all defences."""


TOLD = {
    "budget": "fixed budget", "threshold": "knows sigma_M",
    "magnitudes": "infers, magnitudes", "columns": "infers, columns",
}  # fmt: skip
"""Attackers as tables call them."""

PARAMETERS = {"share": "share", "sigma_modified": "sigma_M", "sigma_unmodified": "sigma_U"}

PLATE = 3
"""Concepts in the picture grid: the first ones."""


def noise(sigma: float) -> str:
    """Name of the paper's defence at one noise level."""
    return f"noise {power(sigma)}"


def attacked(defence: str, attacker: str = HONEST) -> str:
    """Name of a defended model after an attack."""
    return f"{defence}, {attacker}"


@dataclass(frozen=True, eq=False)
class HonestStudy:
    """Defences, what three attackers see of them, and what they make of it.

    Attributes:
        subjects: The erased concepts.
        defences: Their names: the paper's noise by level, then the fills of `rbtc.defense.fills`.
        sigmas: Noise levels of the paper's defence, as standard deviations.
        hits: One line per picture; besides `measuring.common.Tally`, defence and attacker
            (empty where there is none). Models are "pretrained", "pruned", "revived" (the attack on
            the pruned one), a defence, and "noise 1e-6, budget" and the like.
        guesses: One line per attack: concept, defence, attacker, named (share of all weights),
            precision, recall, possible (where not, the defended model stands for the attacked one).
        seen: One line per concept, defence and evidence: auc, and what it names at even odds.
        sweeps: One line per concept, defence, evidence and threshold: named, precision, recall.
        curves: One line per concept, defence, evidence and false positive rate: true_positive.
        estimates: One line per concept, defence and layer: what the mixture fit says of share,
            sigma_modified and sigma_unmodified, and the truth.
        images: Concept -> model -> pictures, of the first concepts (`PLATE`).
    """

    subjects: tuple[Subject, ...]
    defences: tuple[str, ...]
    sigmas: tuple[float, ...]
    hits: pd.DataFrame
    guesses: pd.DataFrame
    seen: pd.DataFrame
    sweeps: pd.DataFrame
    curves: pd.DataFrame
    estimates: pd.DataFrame
    images: Pictures

    def only(self, chosen: Sequence[Subject]) -> pd.DataFrame:
        """The pictures of some erased concepts."""
        return self.hits[self.hits["concept"].isin([subject.label for subject in chosen])]

    def accuracy(
        self, model: str, classes: str = "erased", chosen: Sequence[Subject] | None = None
    ) -> Share:
        """Accuracy of a model over some of the concepts, all by default."""
        own = self.only(chosen or self.subjects)
        return accuracy(own[own["classes"] == classes], model)

    def change(
        self,
        before: str,
        after: str,
        classes: str = "erased",
        chosen: Sequence[Subject] | None = None,
    ) -> Difference:
        """Paired change from one model to another."""
        own = self.only(chosen or self.subjects)
        return effect(own[own["classes"] == classes], before, after)

    def auc(
        self, defence: str, evidence: str = HONEST, chosen: Sequence[Subject] | None = None
    ) -> float:
        """Area under the ROC curve, mean over the concepts."""
        labels = [subject.label for subject in chosen or self.subjects]
        own = self.seen[(self.seen["defence"] == defence) & (self.seen["evidence"] == evidence)]
        return float(own.loc[own["concept"].isin(labels), "auc"].mean())

    def table_12(self) -> list[Row]:
        """Table 12's right half by attacker: the paper's noise levels across.

        The change is that of the attack, from the defended model on. The paper's attacker is the
        one with a fixed budget.
        """
        rows = []
        for attacker in (*ATTACKERS, HONEST):
            for sigma in self.sigmas:
                column = table_12_column("attacked", sigma) if attacker == "budget" else None
                before = table_12_column("defended", sigma) if attacker == "budget" else None
                paper, start = (
                    None if name is None else average_printed(12, self.subjects, name)
                    for name in (column, before)
                )
                model = attacked(noise(sigma), attacker)
                change, pictures = self.change(noise(sigma), model), 500 * len(self.subjects)
                rows.append(
                    Row(TOLD[attacker], noise(sigma), paper, self.accuracy(model), change, start,
                        pictures)
                )  # fmt: skip
        return rows

    def gains(self) -> dict[str, Difference]:
        """What inference gives the attacker over each of chapter 05's two, at each noise level."""
        return {
            f"{noise(sigma)}: {TOLD[attacker]} to {TOLD[HONEST]}": self.change(
                attacked(noise(sigma), attacker), attacked(noise(sigma))
            )
            for sigma in self.sigmas
            for attacker in ATTACKERS
        }

    def visibility(self) -> pd.DataFrame:
        """AUC of both evidences per defence: mean over the concepts, lowest to highest."""
        lines: dict[str, dict[str, str]] = {}
        for (defence, evidence), own in self.seen.groupby(["defence", "evidence"], sort=False):
            low, high = own["auc"].min(), own["auc"].max()
            lines.setdefault(defence, {})[f"AUC, {evidence}"] = (
                f"{own['auc'].mean():.3f} ({low:.3f} to {high:.3f})"
            )
        return pd.DataFrame(lines).T.rename_axis(index="defence")

    def mean_curves(self, evidence: Evidence) -> pd.DataFrame:
        """The ROC curves of one evidence, mean over the concepts at each false positive rate."""
        own = self.curves[self.curves["evidence"] == evidence]
        by = ["defence", "false_positive"]
        return own.groupby(by, sort=False, as_index=False)["true_positive"].mean()

    def sweep_table(self, evidence: Evidence = HONEST) -> pd.DataFrame:
        """Precision and recall by defence and threshold, mean over the concepts."""
        own = self.sweeps[self.sweeps["evidence"] == evidence]
        columns = ["precision", "recall"]
        found = own.groupby(["defence", "threshold"], sort=False)[columns].mean()
        return found.unstack("threshold").loc[list(self.defences)]

    def plate(self) -> Pictures:
        """The picture grid: a line per defence, its models of each concept side by side."""
        lines: dict[str, dict[str, np.ndarray]] = {}
        for subject in self.subjects[:PLATE]:
            own = self.images[subject.label]
            pairs = {"none": ("pruned", "revived")}
            pairs |= {defence: (defence, attacked(defence)) for defence in self.defences}
            for line, models in pairs.items():
                for column, model in zip(("defended", "attacked"), models, strict=True):
                    cells = lines.setdefault(line, {})
                    cells[f"{subject.word}\n{column}"] = own[model]
        return lines

    def levels(self) -> dict[str, float]:
        """Erased accuracy without a defence: of the pruned model, and of the attack on it."""
        return {
            "pruned, no defence": self.accuracy("pruned").value,
            "attacked, no defence": self.accuracy("revived").value,
        }

    def fit(self) -> pd.DataFrame:
        """How near the fitted parameters are to the truth: median over layers and concepts.

        One line per defence: estimate over truth of share, sigma_M and sigma_U, with quartiles.
        """
        lines: dict[str, dict[str, str]] = {}
        for defence, own in self.estimates.groupby("defence", sort=False):
            for name, title in PARAMETERS.items():
                ratio = own[name] / own[f"true_{name}"]
                low, middle, high = ratio.quantile([0.25, 0.5, 0.75])
                lines.setdefault(defence, {})[title] = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        return pd.DataFrame(lines).T.rename_axis(index="defence")
