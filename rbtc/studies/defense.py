# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The Gaussian defence at work: what it costs, and whether it stops the attack.

Paper Sec. 4.4 and 5.5, Fig. 6 and Table 12. What attackers make of the defended models is told in
`rbtc.studies.defense_attacks`, which noise can be seen in `rbtc.studies.detection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracy, effect, power
from rbtc.stats import Difference, Share
from rbtc.studies.common import Pictures, average_printed
from rbtc.studies.defense_attacks import defended, table_12_column
from rbtc.studies.detection import DetectionStudy

Reading = Literal["sigma", "variance"]
"""What a printed noise level is taken for: a standard deviation, or a variance."""


@dataclass(frozen=True, eq=False)
class DefenseStudy:
    """Accuracies with and without the defence, before and after the attack.

    Attributes:
        subjects: The erased concepts.
        sigmas: Noise levels of the sweep, standard deviations.
        variances: Noise levels read as variances -> their standard deviations.
        hits: One line per picture; besides `measuring.common.Tally`, sigma and attacker (empty
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

    def part(self, classes: str, subject: Subject | None = None) -> pd.DataFrame:
        """Pictures of the "erased" or of the "preserved" classes, of one concept or of all."""
        own = self.hits[self.hits["classes"] == classes]
        return own if subject is None else own[own["concept"] == subject.label]

    @property
    def example(self) -> Subject:
        """The first concept for which the other classes were drawn too."""
        drawn = set(self.part("preserved")["concept"])
        return next(subject for subject in self.subjects if subject.label in drawn)

    def accuracy(
        self, model: str, classes: str = "erased", subject: Subject | None = None
    ) -> Share:
        """Accuracy of a model over the concepts."""
        return accuracy(self.part(classes, subject), model)

    def change(
        self, before: str, after: str, classes: str = "erased", subject: Subject | None = None
    ) -> Difference:
        """Paired change from one model to another."""
        return effect(self.part(classes, subject), before, after)

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
        noise = self._noise(reading)
        if reading == "sigma":
            noise = {sigma: sigma for sigma in self.levels()}
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
        if reading == "sigma":
            return {sigma: sigma for sigma in self.sigmas}
        return dict(self.variances)


@dataclass(frozen=True, eq=False)
class DefenseChapter:
    """What the chapter shows.

    Attributes:
        defense: Accuracies; its pictures are those of the first half of the concepts.
        detection: How visible the noise is, for the first concept.
    """

    defense: DefenseStudy
    detection: DetectionStudy
