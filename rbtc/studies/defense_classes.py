# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The defence class by class: the models without noise, and the spread over the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from rbtc.paper import printed
from rbtc.studies.defense_attacks import table_12_column

if TYPE_CHECKING:
    from rbtc.studies.defense import DefenseStudy

PLAIN = {"pretrained": "pretrained", "pruned": "ConceptPrune", "revived": "NMS"}
"""The models without noise, and their names in the paper's Table 1."""


def summary(study: DefenseStudy) -> pd.DataFrame:
    """The models without a defence: accuracy per concept, erased and preserved."""
    lines = {}
    for subject, name in study.lines():
        lines[name] = {
            (classes, model): f"{study.accuracy(model, classes, subject)}"
            for classes in ("erased", "preserved")
            if not study.part(classes, subject).empty
            for model in PLAIN
        }
    return pd.DataFrame(lines).T.fillna("")


def spread(study: DefenseStudy) -> pd.DataFrame:
    """Erased accuracy of each model over the classes: mean, standard deviation, extremes.

    Beside it the paper's over the same classes (Tables 1 and 12; levels as standard deviations),
    empty unless it has them all.

    Returns:
        One line per model: classes (how many), "ours, mean", ..., "paper, mean", ...
    """
    lines = {}
    for model, own in study.part("erased").groupby("model", sort=False):
        rates = own.groupby("concept", sort=False)["hit"].mean()
        known = _paper(study, str(model), float(own["sigma"].iloc[0]), own["attacker"].iloc[0])
        lines[model] = {
            "classes": len(rates),
            **{f"ours, {name}": value for name, value in _spread(rates).items()},
            **{f"paper, {name}": value for name, value in _spread(known).items()},
        }
    return pd.DataFrame(lines).T.rename_axis(index="model").astype({"classes": int})


def _paper(study: DefenseStudy, model: str, sigma: float, attacker: str) -> pd.Series:
    """The printed accuracies of all our classes for one model; empty if one is missing."""
    if model in PLAIN:
        table, column = 1, f"erased: {PLAIN[model]}"
    elif attacker == "threshold":
        return pd.Series(dtype=float)  # the paper has no such attacker
    else:
        table, column = 12, table_12_column("attacked" if attacker else "defended", sigma)
    if column is None:
        return pd.Series(dtype=float)
    values = [printed(table, subject.paper, column) for subject in study.subjects]
    return pd.Series([] if None in values else values, dtype=float)


def _spread(values: pd.Series) -> dict[str, float]:
    return {
        "mean": values.mean(),
        "sd": values.std(ddof=0),
        "lowest": values.min(),
        "highest": values.max(),
    }
