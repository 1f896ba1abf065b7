"""What chapter 16 says of its numbers: tables, and sentences that the numbers choose."""

from __future__ import annotations

import pandas as pd

from rbtc.stats import Difference
from rbtc.studies.several_concepts import SeveralStudy
from rbtc.studies.unknown_concept import ALONE, TOPS, UnknownStudy

_HEIGHT = {
    "rises": "is **revived better** in company than alone",
    "falls": "is **revived less well** in company than alone",
    "undecided": "is not clearly revived better or less well in company than alone",
}
_KEPT = {
    "rises": "are recognised **more often**",
    "falls": "are recognised **less often**",
    "undecided": "are not recognised clearly more or less often",
}
_FOUND = {
    "rises": "a **larger** share in company",
    "falls": "a **smaller** share in company",
    "undecided": "no clearly different share in company",
}


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


def several_answer(study: SeveralStudy) -> str:
    """Does one attack revive all of them? In Markdown, from the numbers."""
    changes, few, most = study.changes(), study.counts[0], study.counts[-1]
    back = returned(study).loc[most]
    step, others = (
        study.steps(classes, "pruned", "revived")[most] for classes in ("erased", "preserved")
    )
    first, kept = changes["the first concept, revived"], changes["preserved classes, revived"]
    pruned, signs = changes["preserved classes, pruned"], study.sign_change()
    total = back["erased concepts, over all sets"]
    return (
        f"**Does one attack revive all of them?** {_verdict(step, back['come back'] == total)} "
        f"Of the concepts erased {most} at a time, {back['come back']} of {total} come back by "
        f"their own interval, {back['undecided']} are undecided and {back['fall further']} fall "
        f"further; over all of them the attack changes the accuracy by {step}. The first concept "
        f"of a set {_HEIGHT[first.direction]}: {first} from {few} to {most}. The classes that "
        f"nobody erased {_KEPT[pruned.direction]} after pruning {most} concepts than after pruning "
        f"{few} ({pruned}), and {_KEPT[kept.direction]} after the attacks on these models "
        f"({kept}); on them the attack changes the accuracy by {others} at {most}. "
        f"Of the signs, the completion finds {_FOUND[signs.direction]} ({signs})."
    )


def _verdict(step: Difference, every: bool) -> str:
    """The answer in a few words, from the change over all concepts and whether each came back."""
    if step.direction == "rises":
        return "Yes, every one." if every else "On the whole yes; not each of them shows it."
    return {"falls": "No: it makes them worse.", "undecided": "Undecided."}[step.direction]


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


def unknown_answer(study: UnknownStudy, measure: str) -> str:
    """Does the attacker learn what was erased? In Markdown, from the numbers."""
    parts = []
    for top in TOPS:
        hit, chance = study.hit(measure, top), study.chance(top)
        better = (
            "**better than a blind guess**" if hit.low > chance
            else "**worse than a blind guess**" if hit.high < chance
            else "not shown to be better than a blind guess"
        )  # fmt: skip
        where = "first" if top == 1 else f"among the first {top}"
        parts.append(f"{where} in {hit.hits} of {hit.n} models ({hit}), {better} ({chance:.2f})")
    gain = study.against(measure, ALONE, TOPS[-1])
    told = {
        "rises": "tells the attacker **more** than the pruned model alone",
        "falls": "tells the attacker **less** than the pruned model alone",
        "undecided": "is not shown to tell more than the pruned model alone",
    }[gain.direction]
    return (
        f"**Does the attacker learn what was erased?** Ranked by {measure}, the erased concept "
        f"stands {'; '.join(parts)}. Reviving {told}: {gain} in the share found among the "
        f"first {TOPS[-1]}, paired over {gain.n} models."
    )
