# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The Gaussian defence at work: what it costs, and whether it stops the attack.

Paper Sec. 4.4 and 5.5, Fig. 6 and Table 12. What attackers make of the defended models is told in
`rbtc.studies.defense_attacks`, which noise can be seen in `rbtc.studies.detection`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.paper import printed
from rbtc.report.tables import Row, accuracies, effect, power
from rbtc.stats import Difference, Share
from rbtc.studies.common import (
    PAPER_CLASSES,
    Pictures,
    at_least_one,
    average_printed,
    judged,
    subjects,
)
from rbtc.studies.defense_attacks import ATTACKERS, attack, attacked, defended, table_12_column
from rbtc.studies.detection import DetectionStudy, detection_study

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

EXAMPLE = "golf ball"
"""The concept of the paper's Fig. 6."""

CONCEPTS = (EXAMPLE, *(name for name in PAPER_CLASSES if name != EXAMPLE))
LEVELS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Noise levels of the paper's Table 12."""

GUESSED = ["concept", "sigma", "attacker", "named", "precision", "recall", "possible"]

Reading = Literal["sigma", "variance"]
"""What a printed noise level is taken for: a standard deviation, or a variance."""


@dataclass(frozen=True, eq=False)
class DefenseStudy:
    """Accuracies with and without the defence, before and after the attack.

    Attributes:
        subjects: The erased concepts.
        sigmas: Noise levels of the sweep, standard deviations.
        variances: Noise levels read as variances -> their standard deviations.
        hits: One line per picture; besides `rbtc.studies.common.judged`, sigma and attacker (empty
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
        return accuracies(self.part(classes, subject), ["model"])[model]

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


def measure(
    lab: Lab,
    concepts: Sequence[str] = CONCEPTS,
    *,
    preserved_for: Sequence[str] = (EXAMPLE,),
    sigmas: Sequence[float] = LEVELS,
    variances: Sequence[float] = LEVELS,
    attack_sigmas: Sequence[float] = (1e-6, 1e-2),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    w_over_sigma: float = 0.1,
    images: int = 4,
    preserved: int = 1,
    shown: int = 1,
    seed: int = 0,
    noise_seed: int = 0,
) -> DefenseChapter:
    """Measure the chapter: see `defense_study`, and `rbtc.studies.detection.detection_study`."""
    attackers: dict[str, Any] = {"share": share, "threshold_sigmas": threshold_sigmas}
    study = defense_study(
        lab, concepts, sigmas=sigmas, variances=variances, attack_sigmas=attack_sigmas,
        images=images, preserved=preserved, preserved_for=preserved_for, shown=shown, seed=seed,
        noise_seed=noise_seed, **attackers,
    )  # fmt: skip
    half = list(study.images.items())[: (len(study.images) + 1) // 2]
    found = detection_study(
        lab, concepts[0], sigmas=sigmas, w_over_sigma=w_over_sigma, noise_seed=noise_seed,
        **attackers,
    )  # fmt: skip
    return DefenseChapter(replace(study, images=dict(half)), found)


def defense_study(
    lab: Lab,
    concepts: Sequence[str],
    *,
    sigmas: Sequence[float] = LEVELS,
    variances: Sequence[float] = (),
    attack_sigmas: Sequence[float] = (1e-6, 1e-2),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    images: int = 100,
    preserved: int = 2,
    preserved_for: Sequence[str] | None = None,
    shown: int = 4,
    seed: int = 0,
    noise_seed: int = 0,
) -> DefenseStudy:
    """Hide the cut weights of several concepts at several noise levels, and attack the result.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model, at least one.
        sigmas: noise levels, standard deviations.
        variances: further noise levels, as variances.
        attack_sigmas: at which standard deviations to attack; they have to be among `sigmas`.
        share: budget of the first attacker: the smallest weights, this share of all.
        threshold_sigmas: the second attacker takes all weights below this many sigma_M.
        images: pictures of the erased concept per model.
        preserved: pictures of each other class per model.
        preserved_for: concepts for which the other classes are drawn too, out of `concepts`; None
            is all of them. The paper's Fig. 6 has one, the golf ball.
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the noise.

    Raises:
        ValueError: no concept, an unknown one, a noise level that is not positive, a noise level to
            attack that is not swept, or a concept in `preserved_for` that is not erased.
    """
    from rbtc.defense import standard_deviation

    if strangers := [sigma for sigma in attack_sigmas if sigma not in sigmas]:
        raise ValueError(f"attack_sigmas holds {strangers}, which are not among sigmas {sigmas}")
    if wrong := [sigma for sigma in (*sigmas, *variances) if not 0 < sigma < math.inf]:
        raise ValueError(f"a noise level must be a positive finite number, not {wrong}")
    at_least_one(images=images, preserved=preserved, shown=shown)
    if not 0 < share <= 1 or not 0 < threshold_sigmas < math.inf:
        raise ValueError(
            f"share must lie in (0, 1] and threshold_sigmas be positive, not {share} and "
            f"{threshold_sigmas}"
        )
    chosen = subjects(lab, concepts)
    wide = chosen if preserved_for is None else [lab.subject(name) for name in preserved_for]
    if others := [subject.label for subject in wide if subject not in chosen]:
        raise ValueError(f"preserved_for holds {others}, which are not among {list(concepts)}")
    lab.jury.require("object")
    as_noise = {float(variance): standard_deviation(variance) for variance in variances}
    levels = sorted({*map(float, sigmas), *as_noise.values()})
    frames, guesses, grid = [], [], {}
    for subject in chosen:
        row: dict[str, Variant] = {}

        def models(
            subject: Subject = subject, row: dict[str, Variant] = row
        ) -> Iterator[tuple[Mapping[str, Any], Variant]]:
            plain = {"sigma": math.nan, "attacker": ""}
            row |= {
                "pretrained": lab.pretrained,
                "pruned": lab.owner.pruned(subject),
                "revived": lab.revived(subject),
            }
            for name in ("pretrained", "pruned", "revived"):
                yield {"model": name, **plain}, row[name]
            for sigma in levels:
                variant = lab.owner.obfuscated(subject, sigma=sigma, seed=noise_seed)
                yield {"model": defended(sigma), "sigma": sigma, "attacker": ""}, variant
                if sigma not in attack_sigmas:
                    continue
                row[f"defended\n{power(sigma)}"] = variant
                for attacker in ATTACKERS:
                    limit = threshold_sigmas * sigma
                    guess, after = attack(lab, subject, variant, attacker, share, limit)
                    place = {"concept": subject.label, "sigma": sigma, "attacker": attacker}
                    guesses.append({**place, **guess})
                    if after is not None:
                        row[f"{attacker}\n{power(sigma)}"] = after
                        yield {"model": attacked(attacker, sigma), "sigma": sigma,
                               "attacker": attacker}, after  # fmt: skip

        others = preserved if subject in wide else 0
        frames.append(judged(lab, subject, models(), images, other_images=others, first_seed=seed))
        grid[subject.label] = {
            name: lab.measure.shown(variant, subject, min(shown, images), seed)
            for name, variant in row.items()
        }
    return DefenseStudy(
        tuple(chosen), tuple(map(float, sigmas)), as_noise,
        pd.concat(frames, ignore_index=True), pd.DataFrame(guesses, columns=GUESSED), grid,
    )  # fmt: skip
