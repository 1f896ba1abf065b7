"""Defences judged by an attacker who infers the cut places from the defended weights alone.

What the attacker infers is in `rbtc.defense.mask_inference`, what the defences copy of the
survivors in `rbtc.defense.fills`; the models are made in `rbtc.studies.inferred_masks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.intervals import Difference, Share
from rbtc.models.subjects import Subject
from rbtc.report.comparisons import Row, cell
from rbtc.report.tables import power
from rbtc.studies.common import Defended, Pictures, average_printed
from rbtc.studies.defense import ATTACKERS, table_12_column

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


MARGIN = 0.05
"""A defence may cost this much: erased accuracy gained, or preserved accuracy lost."""


@dataclass(frozen=True)
class Choice:
    """The outcome of the rule in `HonestStudy.choose`.

    Attributes:
        name: The recommended defence; None where none keeps within the margin.
        tied: All defences whose revival cannot be told from the least one's, by rising AUC.
        costly: Defences that the margin excludes.
        doubtful: Those of them whose cost is not above the margin for sure: an interval of it
            reaches within.
        chosen_on: Concepts whose numbers decided.
        tried_on: The others; empty for a single concept.
    """

    name: str | None
    tied: tuple[str, ...]
    costly: tuple[str, ...]
    doubtful: tuple[str, ...]
    chosen_on: tuple[Subject, ...]
    tried_on: tuple[Subject, ...]


@dataclass(frozen=True, eq=False)
class HonestStudy(Defended):
    """Defences, what three attackers see of them, and what they make of it.

    Attributes:
        subjects: The erased concepts.
        defences: Their names: the paper's noise by level, then the fills of `rbtc.defense.fills`.
        sigmas: Noise levels of the paper's defence, as standard deviations.
        hits: One line per picture; besides `measuring.common.judged`, defence and attacker
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
                start, paper = (
                    average_printed(12, self.subjects, column) if column else None
                    for half in ("defended", "attacked")
                    for column in [attacker == "budget" and table_12_column(half, sigma)]
                )
                before, model = noise(sigma), attacked(noise(sigma), attacker)
                ours, change = self.accuracy(model), self.change(before, model)
                many = 500 * len(self.subjects)
                rows.append(Row(TOLD[attacker], before, paper, ours, change, start, many))
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

    # ---- which defence to recommend -------------------------------------------------------------

    def choose(self, *, margin: float = MARGIN) -> Choice:
        """Recommend a defence, from every other concept.

        Admitted are the defences that keep the erasure and the other classes: pruned to defended,
        the erased accuracy rises by at most the margin and the preserved one falls by at most the
        margin. Of these the one that revives least under the inferring attacker is *least*; those
        from which its paired change holds zero are tied with it, and of the tied the least
        detectable wins, by AUC.

        Args:
            margin: of accuracy, in (0, 1).

        Raises:
            ValueError: a margin outside (0, 1).
        """
        if not 0 < margin < 1:
            raise ValueError(f"margin is an accuracy and must lie in (0, 1), not {margin}")
        chosen, rest = self.subjects[::2], self.subjects[1::2]
        costs = {
            name: [self.change("pruned", name, half, chosen) for half in ("erased", "preserved")]
            for name in self.defences
        }
        costly = tuple(
            name for name, (up, down) in costs.items() if up.value > margin or down.value < -margin
        )
        doubtful = tuple(
            name
            for name in costly
            if costs[name][0].low <= margin and costs[name][1].high >= -margin
        )
        admitted = [name for name in self.defences if name not in costly]
        if not admitted:
            return Choice(None, (), costly, doubtful, chosen, rest)
        least = min(admitted, key=lambda name: self.accuracy(attacked(name), chosen=chosen).value)
        tied = [
            name
            for name in admitted
            if name == least
            or self.change(attacked(least), attacked(name), chosen=chosen).direction == "undecided"
        ]
        tied.sort(key=lambda name: self.auc(name, HONEST, chosen))
        return Choice(tied[0], tuple(tied), costly, doubtful, chosen, rest)

    def revival(self, defence: str) -> Difference:
        """What the inferring attack changes under a defence, on the erased class."""
        return self.change(defence, attacked(defence))

    def front(self) -> pd.DataFrame:
        """One line per defence: what it costs, how visible it is, what comes back, unrounded.

        Returns:
            defence, auc, auc_magnitudes, and of erased, preserved and revived accuracy the value
            with its 95 % interval and n; revived is the erased accuracy after the inferring attack.
        """
        lines = []
        for name in self.defences:
            line = {
                "defence": name,
                "auc": self.auc(name),
                "auc_magnitudes": self.auc(name, "magnitudes"),
            }
            for title, found in self._accuracies(name).items():
                line |= {title: found.value, f"{title}_low": found.low, f"{title}_high": found.high,
                         f"{title}_n": found.n}  # fmt: skip
            lines.append(line)
        return pd.DataFrame(lines)

    def front_table(self) -> pd.DataFrame:
        """The front as a chapter shows it: accuracies with intervals, and the paired changes."""
        lines = {}
        for name in self.defences:
            erased, preserved, revived = (
                cell(found, counts=False) for found in self._accuracies(name).values()
            )
            lines[name] = {
                "AUC": f"{self.auc(name):.3f}",
                "erased": erased,
                "preserved": preserved,
                "preserved, change": f"{self.change('pruned', name, 'preserved')}",
                "erased, attacked": revived,
                "attack's change": f"{self.revival(name)}",
            }
        return pd.DataFrame(lines).T.rename_axis(index="defence")

    def _accuracies(self, defence: str) -> dict[str, Share]:
        return {
            "erased": self.accuracy(defence),
            "preserved": self.accuracy(defence, "preserved"),
            "revived": self.accuracy(attacked(defence)),
        }

    def tried_table(self, choice: Choice) -> pd.DataFrame:
        """The chosen defence on the concepts that had no part in the choice; empty without any."""
        if choice.name is None or not choice.tried_on:
            return pd.DataFrame()
        after, tried = attacked(choice.name), choice.tried_on
        line = {
            "tried on": ", ".join(subject.label for subject in tried),
            "AUC, columns": f"{self.auc(choice.name, HONEST, tried):.3f}",
            "erased, attacked": f"{self.accuracy(after, chosen=tried)}",
            "change from the undefended model": f"{self.change('revived', after, chosen=tried)}",
            "other classes, change": f"{self.change('pruned', choice.name, 'preserved', tried)}",
        }
        return pd.DataFrame([line], index=[choice.name])
