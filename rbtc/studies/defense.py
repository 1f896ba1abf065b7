# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The Gaussian defence at work: what it costs, and whether it stops the attack.

Paper Sec. 4.4 and 5.5, Fig. 6 and Table 12. Which noise can be seen is in `rbtc.studies.detection`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from rbtc.defense import standard_deviation
from rbtc.detection import detection, spare_whole_rows
from rbtc.lab import Lab, Variant
from rbtc.models.prompts import Subject
from rbtc.report.paper import load_table
from rbtc.report.tables import Row, accuracies, effect, power
from rbtc.stats import Difference, Share
from rbtc.studies.common import Pictures, at_least_one, average_printed, judged, subjects

Attacker = Literal["budget", "threshold"]
ATTACKERS: tuple[Attacker, ...] = ("budget", "threshold")

MOST_NAMED = 0.5
"""An attacker that names more than this share of all weights has found nothing to revive."""


@dataclass(frozen=True, eq=False)
class DefenseStudy:
    """Accuracies with and without the defence, before and after the attack.

    Attributes:
        subjects: The erased concepts.
        sigmas: Noise levels of the sweep, standard deviations.
        variances: Noise levels read as variances.
        hits: One line per picture; besides `rbtc.studies.common.judged`, sigma and attacker (empty
            where there is none). Models are "pretrained", "pruned", "revived" (the attack on the
            pruned one), "defended, 1e-3" and "budget, 1e-3".
        guesses: One line per attack: concept, sigma, attacker, named (share of all weights),
            precision, recall, possible (whether it left anything to complete from).
        images: Concept -> model -> pictures.
    """

    subjects: tuple[Subject, ...]
    sigmas: tuple[float, ...]
    variances: tuple[float, ...]
    hits: pd.DataFrame
    guesses: pd.DataFrame
    images: Pictures

    def part(self, classes: str, subject: Subject | None = None) -> pd.DataFrame:
        """Pictures of the "erased" or of the "preserved" classes, of one concept or of all."""
        own = self.hits[self.hits["classes"] == classes]
        return own if subject is None else own[own["concept"] == subject.label]

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
        return sorted({*self.sigmas, *map(standard_deviation, self.variances)})

    def sweep(self) -> dict[str, dict[float, Share]]:
        """`{series: {sigma: accuracy}}` over all concepts, with the pruned model as level lines."""
        ends = (min(self.sigmas), max(self.sigmas))
        found: dict[str, dict[float, Share]] = {}
        for classes in ("erased", "preserved"):
            found[classes] = {s: self.accuracy(defended(s), classes) for s in self.levels()}
            found[f"{classes}, no noise"] = dict.fromkeys(ends, self.accuracy("pruned", classes))
        return found

    def costs(self, classes: str) -> dict[str, Difference]:
        """Change from the pruned to the defended model at each noise level."""
        return {
            f"sigma_M = {power(s)}": self.change("pruned", defended(s), classes)
            for s in self.levels()
        }

    def paper_sweep(self) -> dict[str, dict[float, float]]:
        """Erased accuracy of Table 12 over its noise levels, averaged over these concepts."""
        levels = {s: self._paper("defended", s, None) for s in self.sigmas}
        return {"erased": {s: value for s, value in levels.items() if value is not None}}

    def rows(self, reading: Literal["sigma", "variance"] = "sigma") -> list[Row]:
        """Erased accuracy beside Table 12: noise levels by concepts, then all concepts.

        The effect is that of the noise, from the pruned to the defended model; the paper's pruned
        model is in its Table 1.

        Args:
            reading: what the paper's numbers are taken for; "variance" compares its 1e-6 with our
                noise of standard deviation 1e-3.
        """
        given = self.sigmas if reading == "sigma" else self.variances
        rows = []
        for subject, name in self._lines():
            before = average_printed(1, self._some(subject), "erased: ConceptPrune")
            for level in given:
                sigma = level if reading == "sigma" else standard_deviation(level)
                rows.append(
                    Row(
                        f"{reading} {power(level)}",
                        name,
                        self._paper("defended", level, subject),
                        self.accuracy(defended(sigma), "erased", subject),
                        self.change("pruned", defended(sigma), "erased", subject),
                        before,
                        500 * len(self._some(subject)),
                    )
                )
        return rows

    def attack_rows(self) -> list[Row]:
        """Accuracy after the attack beside Table 12's right half, both attackers.

        The effect is that of the attack, from the defended model on.
        """
        rows = []
        for subject, name in self._lines():
            for attacker, sigma in dict.fromkeys(
                self.guesses[["attacker", "sigma"]].itertuples(index=False, name=None)
            ):
                model = attacked(attacker, sigma)
                known = model in set(self.part("erased", subject)["model"]) and self._possible(
                    attacker, sigma, subject
                )
                budget = attacker == "budget"
                rows.append(
                    Row(
                        f"{attacker}, {power(sigma)}",
                        name,
                        self._paper("attacked", sigma, subject) if budget else None,
                        self.accuracy(model, "erased", subject) if known else None,
                        self.change(defended(sigma), model, "erased", subject) if known else None,
                        self._paper("defended", sigma, subject) if budget else None,
                        500 * len(self._some(subject)),
                    )
                )
        return rows

    def summary(self) -> pd.DataFrame:
        """The models without a defence: accuracy per concept, erased and preserved."""
        lines = {}
        for subject, name in self._lines():
            lines[name] = {
                (classes, model): f"{self.accuracy(model, classes, subject)}"
                for classes in ("erased", "preserved")
                for model in ("pretrained", "pruned", "revived")
            }
        return pd.DataFrame(lines).T

    def _possible(self, attacker: str, sigma: float, subject: Subject | None) -> bool:
        own = self.guesses[
            (self.guesses["attacker"] == attacker) & (self.guesses["sigma"] == sigma)
        ]
        if subject is not None:
            own = own[own["concept"] == subject.label]
        return bool(own["possible"].all())

    def _some(self, subject: Subject | None) -> tuple[Subject, ...]:
        return self.subjects if subject is None else (subject,)

    def _lines(self) -> list[tuple[Subject | None, str]]:
        lines: list[tuple[Subject | None, str]] = [(own, own.label) for own in self.subjects]
        return [*lines, (None, f"all {len(lines)}")] if len(lines) > 1 else lines

    def _paper(self, half: str, level: float, subject: Subject | None) -> float | None:
        """Table 12 for one concept, or the mean over these concepts where it has all of them."""
        for column in load_table(12)["column"].unique():
            kind, _, printed_level = column.partition(": ")
            if kind == half and math.isclose(float(printed_level), level, rel_tol=1e-9):
                return average_printed(12, self._some(subject), column)
        return None


def defense_study(
    lab: Lab,
    concepts: Sequence[str],
    *,
    sigmas: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    variances: Sequence[float] = (),
    attack_sigmas: Sequence[float] = (1e-6, 1e-2),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    images: int = 100,
    preserved: int = 2,
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
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the noise.

    Raises:
        ValueError: no concept, an unknown one, a noise level that is not positive, or a noise level
            to attack that is not swept.
    """
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
    lab.jury.require("object")
    levels = sorted({*map(float, sigmas), *map(standard_deviation, variances)})
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
                    guess, after = _attack(lab, subject, variant, attacker, share, limit)
                    place = {"concept": subject.label, "sigma": sigma, "attacker": attacker}
                    guesses.append({**place, **guess})
                    if after is not None:
                        row[f"{attacker}\n{power(sigma)}"] = after
                        yield {"model": attacked(attacker, sigma), "sigma": sigma,
                               "attacker": attacker}, after  # fmt: skip

        frames.append(
            judged(lab, subject, models(), images, other_images=preserved, first_seed=seed)
        )
        grid[subject.label] = {
            name: lab.measure.shown(variant, subject, min(shown, images), seed)
            for name, variant in row.items()
        }
    return DefenseStudy(
        tuple(chosen), tuple(map(float, sigmas)), tuple(map(float, variances)),
        pd.concat(frames, ignore_index=True), pd.DataFrame(guesses), grid,
    )  # fmt: skip


def _attack(
    lab: Lab, subject: Subject, variant: Variant, attacker: Attacker, share: float, threshold: float
) -> tuple[dict[str, Any], Variant | None]:
    """One attack on a defended model: what it found, and the model it made, if any."""
    masks = lab.owner.masks(subject)
    guess = lab.attacker.guess(variant, attacker=attacker, share=share, threshold=threshold)
    found = detection(guess, masks)
    named = found.guessed / sum(mask.numel() for mask in masks.values())
    usable = any(bool(mask.any()) for mask in spare_whole_rows(guess).values())
    possible = named <= MOST_NAMED and usable
    after = lab.attacker.attack_guessed(variant, guess) if possible else None
    line = {"named": named, "precision": found.precision, "recall": found.recall}
    return {**line, "possible": possible}, after


def defended(sigma: float) -> str:
    """Name of a defended model."""
    return f"defended, {power(sigma)}"


def attacked(attacker: str, sigma: float) -> str:
    """Name of a defended model after an attack."""
    return f"{attacker}, {power(sigma)}"
