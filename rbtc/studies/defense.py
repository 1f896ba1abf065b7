"""The Gaussian defence at work: what it costs, and whether it stops the attack.

Paper Sec. 4.4 and 5.5, Fig. 6 and Table 12. Three attackers meet the defended model: the budget
attacker zeroes a fixed share of the smallest weights, the density attacker as many as were pruned,
the threshold attacker all weights below a multiple of the noise (`rbtc.defense.detection`); all
then complete, keep signs and scale as on an undefended model. Which noise can be seen is told in
`rbtc.studies.detection`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rbtc.intervals import Difference, Share
from rbtc.models.subjects import Subject
from rbtc.paper import load_table, printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import power
from rbtc.studies.common import Defended, Pictures, average_printed
from rbtc.studies.detection import DetectionStudy

Reading = Literal["sigma", "variance"]
"""What a printed noise level is taken for: a standard deviation, or a variance."""

Attacker = Literal["budget", "density", "threshold"]
ATTACKERS: tuple[Literal["budget", "threshold"], ...] = ("budget", "threshold")
"""What chapter 15 compares its own attacker with."""
EVERY: tuple[Attacker, ...] = ("budget", "density", "threshold")
"""The attackers of chapter 05."""

PLAIN = {"pretrained": "pretrained", "pruned": "ConceptPrune", "revived": "NMS"}
"""The models without noise, and their names in the paper's Table 1."""


def defended(sigma: float) -> str:
    """Name of a defended model."""
    return f"defended, {power(sigma)}"


def attacked(attacker: str, sigma: float) -> str:
    """Name of a defended model after an attack."""
    return f"{attacker}, {power(sigma)}"


def table_12_column(half: str, level: float) -> str | None:
    """The column of Table 12 for a noise level: "defended: 1e-6", "attacked: 1e-2", or None."""
    for column in load_table(12)["column"].unique():
        kind, _, printed_level = column.partition(": ")
        if kind == half and math.isclose(float(printed_level), level, rel_tol=1e-9):
            return column
    return None


@dataclass(frozen=True, eq=False)
class DefenseStudy(Defended):
    """Accuracies with and without the defence, before and after the attack.

    Attributes:
        subjects: The erased concepts.
        sigmas: Noise levels of the sweep, standard deviations.
        variances: Noise levels read as variances -> their standard deviations.
        hits: One line per picture; besides `measuring.common.judged`, sigma and attacker (empty
            where there is none). Models are "pretrained", "pruned", "revived" (the attack on the
            pruned one), "defended, 1e-3" and "budget, 1e-3".
        guesses: One line per attack: concept, sigma, attacker, named (share of all weights),
            precision, recall, possible (whether it left anything to complete from).
        images: Concept -> model -> pictures.
    """

    subjects: tuple[Subject, ...]
    sigmas: tuple[float, ...]
    variances: Mapping[float, float]
    hits: pd.DataFrame
    guesses: pd.DataFrame
    images: Pictures

    @property
    def example(self) -> Subject:
        """The first concept for which the other classes were drawn too."""
        drawn = set(self.part("preserved")["concept"])
        return next(subject for subject in self.subjects if subject.label in drawn)

    def levels(self) -> list[float]:
        """Every noise level, of both readings."""
        return sorted({*self.sigmas, *self.variances.values()})

    def sweep(
        self, reading: Reading = "sigma", subject: Subject | None = None
    ) -> dict[str, dict[float, Share]]:
        """`{series: {level: accuracy}}`, with the pruned model as level lines (Fig. 6).

        Args:
            reading: levels as standard deviations (those of both readings), or as variances.
            subject: one concept; None takes all together. Classes without pictures are left out.
        """
        found: dict[str, dict[float, Share]] = {}
        noise = {s: s for s in self.levels()} if reading == "sigma" else self._noise(reading)
        for classes in ("erased", "preserved"):
            if self.part(classes, subject).empty:
                continue
            found[classes] = {
                level: self.accuracy(defended(sigma), classes, subject)
                for level, sigma in noise.items()
            }
            plain = self.accuracy("pruned", classes, subject)
            found[f"{classes}, no noise"] = dict.fromkeys((min(noise), max(noise)), plain)
        return found

    def costs(self, classes: str) -> dict[str, Difference]:
        """Change from the pruned to the defended model at each noise level."""
        return {
            f"sigma_M = {power(s)}": self.change("pruned", defended(s), classes)
            for s in self.levels()
        }

    def paper_sweep(
        self, reading: Reading = "sigma", subject: Subject | None = None
    ) -> dict[str, dict[float, float]]:
        """What is printed of Fig. 6: erased accuracy of Table 12, averaged over these concepts.

        The preserved accuracy is printed without noise only, in Table 1; it is a level line, and
        given for one concept.
        """
        levels = list(self._noise(reading))
        found = {level: self.paper("defended", level, subject) for level in levels}
        lines = {"erased": {level: v for level, v in found.items() if v is not None}}
        plain = None if subject is None else printed(1, subject.paper, "preserved: ConceptPrune")
        if plain is not None and levels:
            lines["preserved, no noise"] = dict.fromkeys((min(levels), max(levels)), plain)
        return lines

    def rows(self, reading: Reading = "sigma", *, together: bool = False) -> list[Row]:
        """Erased accuracy beside Table 12: classes by noise levels.

        The effect is that of the noise, from the pruned to the defended model; the paper's pruned
        model is in its Table 1.

        Args:
            reading: what the paper's numbers are taken for; "variance" compares its 1e-6 with our
                noise of standard deviation 1e-3.
            together: only all classes together, noise levels down.
        """
        rows = []
        for subject, name in self.lines(together=together):
            before = average_printed(1, self.some(subject), "erased: ConceptPrune")
            for level, sigma in self._noise(reading).items():
                place = (f"{reading} {power(level)}", name)
                rows.append(
                    Row(
                        *(place if together else place[::-1]),
                        self.paper("defended", level, subject),
                        self.accuracy(defended(sigma), "erased", subject),
                        self.change("pruned", defended(sigma), "erased", subject),
                        before,
                        500 * len(self.some(subject)),
                    )
                )
        return rows

    def some(self, subject: Subject | None) -> tuple[Subject, ...]:
        """One concept, or all of them for None."""
        return self.subjects if subject is None else (subject,)

    def lines(self, *, together: bool = False) -> list[tuple[Subject | None, str]]:
        """Concepts with their names, then all of them; with ``together`` the last line only."""
        lines: list[tuple[Subject | None, str]] = [(own, own.label) for own in self.subjects]
        if len(lines) > 1:
            lines.append((None, f"all {len(lines)}"))
        return lines[-1:] if together else lines

    def paper(self, half: str, level: float, subject: Subject | None) -> float | None:
        """Table 12 for one concept, or the mean over these concepts where it has all of them."""
        column = table_12_column(half, level)
        return None if column is None else average_printed(12, self.some(subject), column)

    def _noise(self, reading: Reading) -> dict[float, float]:
        """`{level: standard deviation}` of one reading."""
        return {s: s for s in self.sigmas} if reading == "sigma" else dict(self.variances)

    # ---- the attacks ----------------------------------------------------------------------------

    def attacks(self) -> list[tuple[Attacker, float]]:
        """Every (attacker, sigma), attacker by attacker."""
        made = set(self.guesses[["attacker", "sigma"]].itertuples(index=False, name=None))
        return sorted(made, key=lambda one: (EVERY.index(one[0]), one[1]))

    def attack_rows(self, *, together: bool = False) -> list[Row]:
        """Accuracy after the attack beside Table 12's right half: classes by attacks.

        The effect is that of the attack, from the defended model on. Nothing of ours stands where
        the attack was impossible; over all classes, where it was for one of them. With ``together``
        only all classes together, attacks down.
        """
        rows = []
        for subject, name in self.lines(together=together):
            labels = [one.label for one in self.some(subject)]
            for attacker, sigma in self.attacks():
                model, budget = attacked(attacker, sigma), attacker != "threshold"
                own = self._guesses(attacker, sigma)
                known = own["possible"][own["concept"].isin(labels)]
                possible = bool(len(known)) and bool(known.all())
                place = (model, name)
                rows.append(
                    Row(
                        *(place if together else place[::-1]),
                        self.paper("attacked", sigma, subject) if budget else None,
                        self.accuracy(model, "erased", subject) if possible else None,
                        self.change(defended(sigma), model, "erased", subject)
                        if possible
                        else None,
                        self.paper("defended", sigma, subject) if budget else None,
                        500 * len(self.some(subject)),
                    )
                )
        return rows

    def resistance(self) -> dict[str, Difference]:
        """What the defence takes from the attacker, over the classes where it was possible.

        Paired change of the erased class's accuracy from the attack on the pruned model to the
        attack on the defended one; below zero, the defence resists.
        """
        made = [attacked(*one) for one in self.attacks()]
        drawn = set(self.hits["model"])
        return {model: self.change("revived", model) for model in made if model in drawn}

    def guess_table(self) -> pd.DataFrame:
        """What each attacker found, over the classes: mean, and lowest to highest.

        Returns:
            One line per attacker and noise level: named (share of all weights), precision, recall,
            and in how many classes it left something to complete from.
        """
        lines = {}
        for attack in self.attacks():
            own = self._guesses(*attack)
            lines[attacked(*attack)] = {
                **{
                    name: f"{own[name].mean():.3f} ({own[name].min():.3f} to {own[name].max():.3f})"
                    for name in ("named", "precision", "recall")
                },
                "possible": f"{int(own['possible'].sum())} of {len(own)}",
            }
        return pd.DataFrame(lines).T.rename_axis(index="attack")

    def _guesses(self, attacker: str, sigma: float) -> pd.DataFrame:
        own = self.guesses
        return own[(own["attacker"] == attacker) & (own["sigma"] == sigma)]

    # ---- class by class -------------------------------------------------------------------------

    def summary(self) -> pd.DataFrame:
        """The models without a defence: accuracy per concept, erased and preserved."""
        lines = {
            name: {
                (classes, model): f"{self.accuracy(model, classes, subject)}"
                for classes in ("erased", "preserved")
                if not self.part(classes, subject).empty
                for model in PLAIN
            }
            for subject, name in self.lines()
        }
        return pd.DataFrame(lines).T.fillna("")

    def spread(self) -> pd.DataFrame:
        """Erased accuracy of each model over the classes: mean, standard deviation, extremes.

        Beside it the paper's over the same classes (Tables 1 and 12; levels as standard
        deviations), empty unless it has them all.

        Returns:
            One line per model: classes (how many), "ours, mean", ..., "paper, mean", ...
        """
        lines = {}
        for model, own in self.part("erased").groupby("model", sort=False):
            rates = own.groupby("concept", sort=False)["hit"].mean()
            known = self._printed(str(model), float(own["sigma"].iloc[0]), own["attacker"].iloc[0])
            lines[model] = {"classes": len(rates)} | {
                f"{whose}, {name}": value
                for whose, values in (("ours", rates), ("paper", known))
                for name, value in (
                    ("mean", values.mean()), ("sd", values.std(ddof=0)), ("lowest", values.min()),
                    ("highest", values.max()),
                )
            }  # fmt: skip
        return pd.DataFrame(lines).T.rename_axis(index="model").astype({"classes": int})

    def _printed(self, model: str, sigma: float, attacker: str) -> pd.Series:
        """The printed accuracies of all our classes for one model; empty if one is missing."""
        table, column = 12, table_12_column("attacked" if attacker else "defended", sigma)
        if model in PLAIN:
            table, column = 1, f"erased: {PLAIN[model]}"
        elif attacker == "threshold":
            column = None  # the paper has no such attacker
        values = [printed(table, one.paper, column) if column else None for one in self.subjects]
        return pd.Series([] if None in values else values, dtype=float)


@dataclass(frozen=True, eq=False)
class DefenseChapter:
    """What the chapter shows.

    Attributes:
        defense: Accuracies; its pictures are those of the first half of the concepts.
        detection: How visible the noise is, for the first concept.
    """

    defense: DefenseStudy
    detection: DetectionStudy
