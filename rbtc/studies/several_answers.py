"""Tables of chapter 16: which concepts come back, and which an attacker can name."""

from __future__ import annotations

import pandas as pd

from rbtc.studies.several_concepts import SeveralStudy
from rbtc.studies.unknown_concept import TOPS, UnknownStudy


def returned(study: SeveralStudy) -> pd.DataFrame:
    """One line per count: how many of the erased concepts the attack brings back, one by one."""
    lines = {}
    for count, changes in study.each().items():
        told = [change.direction for change in changes]
        lines[count] = {
            "erased concepts, over all sets": len(told),
            "come back": told.count("rises"),
            "undecided": told.count("undecided"),
            "fall further": told.count("falls"),
            "smallest change one could show": f"{max(one.detectable for one in changes):.2f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index="erased together")


def hit_table(study: UnknownStudy) -> pd.DataFrame:
    """One line per measure: how often the erased concept is among the most suspect words."""
    lines = {}
    for measure in study.measures:
        places = list(study.ranks(measure).values())
        line = {f"top {top}": f"{study.hit(measure, top)}" for top in TOPS}
        lines[measure] = line | {"median rank": f"{pd.Series(places).median():g}"}
    chance = {f"top {top}": f"{study.chance(top):.2f}" for top in TOPS}
    chance["median rank"] = f"{(1 + len(study.words)) / 2:g}"
    lines[f"blind guess among {len(study.words)} words"] = chance
    return pd.DataFrame.from_dict(lines, orient="index")


def recall_table(study: UnknownStudy, measure: str) -> pd.DataFrame:
    """One line per count: share of k erased concepts among the k most suspect words."""
    lines = {
        count: {
            "found": f"{share}",
            "blind guess": f"{count / len(study.words):.2f}",
            "models": share.clusters,
        }
        for count, share in study.recall(measure).items()
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index="erased together")
