"""What came of the defence: its accuracies beside the paper's Table 12, in tables and in words.

`rbtc.studies_defense` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rbtc.detection import Detection
from rbtc.paper import load_table
from rbtc.stats import Proportion
from rbtc.studies import Subject, plural, pool, printed
from rbtc.tables import Row, cell
from rbtc.wording import listing, percent, power, relation

Attacker = Literal["budget", "threshold"]
MODELS = ("pretrained", "pruned", "revived")
"""The models without a defence; "revived" is the attack on the pruned one."""

MOST_NAMED = 0.5
"""An attacker that names more than this share of all weights has found nothing to revive."""


@dataclass(frozen=True)
class Defended:
    """A defended model: noise level, and accuracy on the erased and on the other classes.

    Attributes:
        subject: The erased concept.
        sigma: Standard deviation of the noise.
        erased: Accuracy on the erased concept.
        preserved: Accuracy on the other classes.
    """

    subject: Subject
    sigma: float
    erased: Proportion
    preserved: Proportion


@dataclass(frozen=True)
class Attacked:
    """An attack on a defended model.

    Attributes:
        subject: The erased concept.
        sigma: Standard deviation of the noise.
        attacker: How the cut places were guessed.
        found: Precision and recall of the guess.
        named: Share of all weights that was guessed.
        revived: Accuracy on the erased concept afterwards; None when the guess was too large to
            complete anything (more than `MOST_NAMED` of all weights).
    """

    subject: Subject
    sigma: float
    attacker: Attacker
    found: Detection
    named: float
    revived: Proportion | None


@dataclass(frozen=True, eq=False)
class DefenseStudy:
    """Accuracies with and without the defence, before and after the attack.

    Attributes:
        subjects: The erased concepts.
        plain: (label, model of `MODELS`) -> accuracy on the erased, and on the other classes.
        defended: Every concept at every noise level, of both readings.
        attacked: The attacks on some of them.
        sigmas: Noise levels of the sweep, standard deviations.
        variances: Noise levels read as variances.
        images: Concept -> model -> pictures.
    """

    subjects: tuple[Subject, ...]
    plain: Mapping[tuple[str, str], tuple[Proportion, Proportion]]
    defended: tuple[Defended, ...]
    attacked: tuple[Attacked, ...]
    sigmas: tuple[float, ...]
    variances: tuple[float, ...]
    images: Mapping[str, Mapping[str, np.ndarray]]

    def erased(self, model: str, subject: Subject | None = None) -> Proportion:
        """Accuracy of an undefended model on the erased concept; None pools the concepts."""
        return pool(self.plain[own.label, model][0] for own in self._some(subject))

    def preserved(self, model: str, subject: Subject | None = None) -> Proportion:
        """Accuracy of an undefended model on the other classes; None pools the concepts."""
        return pool(self.plain[own.label, model][1] for own in self._some(subject))

    def at(self, sigma: float, subject: Subject | None = None) -> tuple[Proportion, Proportion]:
        """Erased and preserved accuracy of the defended model at a noise level."""
        points = [
            point
            for point in self.defended
            if point.sigma == sigma and subject in (None, point.subject)
        ]
        return pool(p.erased for p in points), pool(p.preserved for p in points)

    def _some(self, subject: Subject | None) -> tuple[Subject, ...]:
        return self.subjects if subject is None else (subject,)

    def sweep(self) -> dict[str, dict[float, Proportion]]:
        """`{series: {sigma: accuracy}}` over all concepts, with the pruned model as level lines."""
        ends = (min(self.sigmas), max(self.sigmas))
        every = sorted({point.sigma for point in self.defended})
        return {
            "erased": {sigma: self.at(sigma)[0] for sigma in every},
            "preserved": {sigma: self.at(sigma)[1] for sigma in every},
            "erased, no noise": {sigma: self.erased("pruned") for sigma in ends},
            "preserved, no noise": {sigma: self.preserved("pruned") for sigma in ends},
        }

    def paper_sweep(self) -> dict[str, dict[float, float]]:
        """Erased accuracy of Table 12 over its noise levels, averaged over these concepts."""
        levels = {s: self._paper("defended", s, None) for s in self.sigmas}
        return {"erased": {s: value for s, value in levels.items() if value is not None}}

    def rows(self, reading: Literal["sigma", "variance"] = "sigma") -> list[Row]:
        """Erased accuracy beside Table 12: noise levels by concepts, then all concepts.

        Args:
            reading: what the paper's numbers are taken for; "variance" compares its 1e-6 with our
                noise of standard deviation 1e-3.
        """
        given = self.sigmas if reading == "sigma" else self.variances
        rows = []
        for subject in self._lines():
            name = f"all {len(self.subjects)}" if subject is None else subject.label
            for level in given:
                sigma = level if reading == "sigma" else standard_deviation(level)
                paper = self._paper("defended", level, subject)
                row = f"{reading} {power(level)}"
                rows.append(Row(row, name, paper, self.at(sigma, subject)[0]))
        return rows

    def attack_rows(self) -> list[Row]:
        """Accuracy after the attack beside Table 12's right half, both attackers."""
        rows = []
        for subject in self._lines():
            name = f"all {len(self.subjects)}" if subject is None else subject.label
            for attacker, sigma in dict.fromkeys((a.attacker, a.sigma) for a in self.attacked):
                after = self.after(attacker, sigma, subject)
                paper = self._paper("attacked", sigma, subject) if attacker == "budget" else None
                rows.append(Row(f"{attacker}, {power(sigma)}", name, paper, after))
        return rows

    def after(
        self, attacker: str, sigma: float, subject: Subject | None = None
    ) -> Proportion | None:
        """Accuracy on the erased concepts after an attack; None where it was not possible."""
        found = [
            attack.revived
            for attack in self.attacked
            if (attack.attacker, attack.sigma) == (attacker, sigma)
            and subject in (None, attack.subject)
        ]
        known = [each for each in found if each is not None]
        return pool(known) if known and len(known) == len(found) else None

    def attacks(self) -> pd.DataFrame:
        """One line per attack: guess, precision, recall, accuracy before and after."""
        lines = []
        for attack in self.attacked:
            before, _ = self.at(attack.sigma, attack.subject)
            after = attack.revived
            lines.append(
                {
                    "concept": attack.subject.label,
                    "sigma_M": power(attack.sigma),
                    "attacker": attack.attacker,
                    "named": attack.named,
                    "precision": attack.found.precision,
                    "recall": attack.found.recall,
                    "defended": cell(before),
                    "after the attack": "not possible" if after is None else cell(after),
                }
            )
        return pd.DataFrame(lines).set_index(["concept", "sigma_M", "attacker"])

    def summary(self) -> pd.DataFrame:
        """The models without a defence: accuracy per concept, erased and preserved."""
        lines = {}
        for subject in self.subjects:
            lines[subject.label] = {
                (side, model): cell(self.plain[subject.label, model][place])
                for place, side in enumerate(("erased", "preserved"))
                for model in MODELS
            }
        return pd.DataFrame(lines).T

    def frame(self) -> pd.DataFrame:
        """Every accuracy in long form, for a CSV."""
        lines = []
        for (label, model), (erased, preserved) in self.plain.items():
            for side, share in (("erased", erased), ("preserved", preserved)):
                lines.append(_line(label, model, None, side, share))
        for point in self.defended:
            for side, share in (("erased", point.erased), ("preserved", point.preserved)):
                lines.append(_line(point.subject.label, "defended", point.sigma, side, share))
        for attack in self.attacked:
            if attack.revived is not None:
                model = f"attacked ({attack.attacker})"
                label = attack.subject.label
                lines.append(_line(label, model, attack.sigma, "erased", attack.revived))
        return pd.DataFrame(lines)

    def grid(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """For `rbtc.figures.picture_grid`."""
        return self.images

    def _lines(self) -> list[Subject | None]:
        return [*self.subjects, *([None] if len(self.subjects) > 1 else [])]

    def _paper(self, half: str, level: float, subject: Subject | None) -> float | None:
        """Table 12 for one concept, or the mean over these concepts where it has all of them."""
        column = next(
            (
                name
                for name in load_table(12)["column"].unique()
                if name.startswith(f"{half}: ")
                and math.isclose(float(name.split(": ")[1]), level, rel_tol=1e-9)
            ),
            None,
        )
        if column is None:
            return None
        values = [printed(12, own.paper, column) for own in self._some(subject)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    # ---- in words ------------------------------------------------------------------------------

    def describe(self) -> str:
        """What the noise does to the erased and to the other classes, in words."""
        erased, kept = self.erased("pruned"), self.preserved("pruned")
        pretrained, revived = self.erased("pretrained"), self.erased("revived")
        back = [s for s in self.sigmas if relation(self.at(s)[0], erased) == "above"]
        hurt = [s for s in self.sigmas if relation(self.at(s)[1], kept) == "below"]
        sentences = [
            f"Over {plural(len(self.subjects), 'concept')}: pruning takes the accuracy on the "
            f"erased class from {pretrained} to {erased}, and the attack on the undefended model "
            f"takes it to {revived}, {relation(revived, erased)} the pruned model.",
            "Noise brings the erased class back at no level tried, as far as these pictures tell."
            if not back
            else f"Noise alone brings the erased class back at sigma_M = "
            f"{listing(power(s) for s in back)}.",
            "The other classes do not lose accuracy at any level beyond what chance would do."
            if not hurt
            else f"The other classes lose accuracy to the noise at sigma_M = "
            f"{listing(power(s) for s in hurt)}.",
        ]
        return " ".join(sentences)

    def describe_attacks(self) -> str:
        """What the attackers got out of the defended models, in words."""
        revived = self.erased("revived")
        sentences = []
        for attacker, sigma in dict.fromkeys((a.attacker, a.sigma) for a in self.attacked):
            own = [a for a in self.attacked if (a.attacker, a.sigma) == (attacker, sigma)]
            recall = sum(a.found.hits for a in own) / sum(a.found.true for a in own)
            guessed = sum(a.found.guessed for a in own)
            precision = sum(a.found.hits for a in own) / guessed if guessed else 0.0
            who = "The budget attacker" if attacker == "budget" else "The threshold attacker"
            what = (
                f"{who} at sigma_M = {power(sigma)} finds {percent(recall)} of the cut weights "
                f"({percent(precision)} of its guesses are right)"
            )
            after = self.after(attacker, sigma)
            if after is None:
                sentences.append(
                    f"{what}; for some concept it names more than {percent(MOST_NAMED)} of all "
                    "weights and has nothing to complete from."
                )
                continue
            before, _ = self.at(sigma)
            sentences.append(
                f"{what}, and the erased class is at {after} after its attack: "
                f"{relation(after, before)} the defended model ({before}), and "
                f"{relation(after, revived)} what the attack gains without a defence."
            )
        return " ".join(sentences)


def _line(
    label: str, model: str, sigma: float | None, side: str, share: Proportion
) -> dict[str, object]:
    return {
        "concept": label, "model": model, "sigma": sigma, "classes": side,
        "accuracy": share.value, "low": share.low, "high": share.high, "n": share.n,
    }  # fmt: skip


def standard_deviation(variance: float) -> float:
    """The square root, rounded so that the variance 1e-6 gives exactly the sigma 1e-3.

    Equal noise then has one name, and its pictures are made once.
    """
    if not (math.isfinite(variance) and variance > 0):
        raise ValueError(f"variance must be a positive finite number, not {variance}")
    return float(f"{math.sqrt(variance):.12g}")
