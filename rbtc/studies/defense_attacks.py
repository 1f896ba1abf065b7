# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The attack on the defended model: three attackers, and what they make of it (Table 12, right).

The budget attacker zeroes a fixed share of the smallest weights, the density attacker as many as
were pruned, the threshold attacker all weights below a multiple of the noise
(`rbtc.defense.detection`); all then complete, keep signs and scale as on an undefended model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.paper import load_table
from rbtc.report.comparisons import Row
from rbtc.report.tables import power
from rbtc.stats import Difference

if TYPE_CHECKING:
    from rbtc.studies.defense import DefenseStudy

Attacker = Literal["budget", "density", "threshold"]
ATTACKERS: tuple[Literal["budget", "threshold"], ...] = ("budget", "threshold")
"""What chapter 15 compares its own attacker with."""
EVERY: tuple[Attacker, ...] = ("budget", "density", "threshold")
"""The attackers of chapter 05."""


def defended(sigma: float) -> str:
    """Name of a defended model."""
    return f"defended, {power(sigma)}"


def attacked(attacker: str, sigma: float) -> str:
    """Name of a defended model after an attack."""
    return f"{attacker}, {power(sigma)}"


def attacks(study: DefenseStudy) -> list[tuple[Attacker, float]]:
    """Every (attacker, sigma) of a study, attacker by attacker."""
    made = dict.fromkeys(study.guesses[["attacker", "sigma"]].itertuples(index=False, name=None))
    return sorted(made, key=lambda one: (EVERY.index(one[0]), one[1]))


def attack_rows(study: DefenseStudy, *, together: bool = False) -> list[Row]:
    """Accuracy after the attack beside Table 12's right half: classes by attacks.

    The effect is that of the attack, from the defended model on. Nothing of ours stands where the
    attack was impossible; over all classes, where it was for one of them.

    Args:
        study: the pictures.
        together: only all classes together, attacks down.
    """
    rows = []
    for subject, name in study.lines(together=together):
        for attacker, sigma in attacks(study):
            model, budget = attacked(attacker, sigma), attacker != "threshold"
            known = _possible(study, attacker, sigma, subject)
            place = (model, name)
            rows.append(
                Row(
                    *(place if together else place[::-1]),
                    study.paper("attacked", sigma, subject) if budget else None,
                    study.accuracy(model, "erased", subject) if known else None,
                    study.change(defended(sigma), model, "erased", subject) if known else None,
                    study.paper("defended", sigma, subject) if budget else None,
                    500 * len(study.some(subject)),
                )
            )
    return rows


def resistance(study: DefenseStudy) -> dict[str, Difference]:
    """What the defence takes from the attacker, over the classes where the attack was possible.

    Paired change of the erased class's accuracy from the attack on the pruned model to the attack
    on the defended one; below zero, the defence resists.
    """
    own = study.hits["model"]
    return {
        attacked(attacker, sigma): study.change("revived", attacked(attacker, sigma))
        for attacker, sigma in attacks(study)
        if (own == attacked(attacker, sigma)).any()
    }


def guess_table(study: DefenseStudy) -> pd.DataFrame:
    """What each attacker found, over the classes: mean, and lowest to highest.

    Returns:
        One line per attacker and noise level: named (share of all weights), precision, recall, and
        in how many classes it left something to complete from.
    """
    lines = {}
    for attacker, sigma in attacks(study):
        own = study.guesses[
            (study.guesses["attacker"] == attacker) & (study.guesses["sigma"] == sigma)
        ]
        lines[attacked(attacker, sigma)] = {
            **{
                name: f"{own[name].mean():.3f} ({own[name].min():.3f} to {own[name].max():.3f})"
                for name in ("named", "precision", "recall")
            },
            "possible": f"{int(own['possible'].sum())} of {len(own)}",
        }
    return pd.DataFrame(lines).T.rename_axis(index="attack")


def table_12_column(half: str, level: float) -> str | None:
    """The column of Table 12 for a noise level: "defended: 1e-6", "attacked: 1e-2", or None."""
    for column in load_table(12)["column"].unique():
        kind, _, printed_level = column.partition(": ")
        if kind == half and math.isclose(float(printed_level), level, rel_tol=1e-9):
            return column
    return None


def _possible(study: DefenseStudy, attacker: str, sigma: float, subject: Subject | None) -> bool:
    own = study.guesses[(study.guesses["attacker"] == attacker) & (study.guesses["sigma"] == sigma)]
    if subject is not None:
        own = own[own["concept"] == subject.label]
    return bool(len(own)) and bool(own["possible"].all())
