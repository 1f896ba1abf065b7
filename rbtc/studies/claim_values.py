# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportAssignmentType=false
# (pandas cannot say whether a selection is a frame or a series)
"""What bears on the paper's claims, read from the chapters' loaded studies.

Each function takes a study, the K of its profile and what to read, and returns values
(`rbtc.report.claims`). None depends on which concepts, levels or K were measured: it takes what
the study holds, and a claim about "the" K the K of the profile. `rbtc.studies.paper_claims` lists
the claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from rbtc.models.profiles import load_profile
from rbtc.paper import printed, wide_table
from rbtc.report.claims import Rule, Value, change, estimated, exact, peak
from rbtc.report.tables import power
from rbtc.stats import paired_ratio
from rbtc.studies import art as art_effects
from rbtc.studies import honest_attacker as honest
from rbtc.studies import saliency
from rbtc.studies.common import average_printed
from rbtc.studies.defense import attacked, defended
from rbtc.studies.nms_ablations import TABLES, model_name
from rbtc.studies.nsfw import PRINTED as COUNTED
from rbtc.studies.objects import MODELS, Half

MODERATE = 1e-2
"""The largest noise at which the paper's model still works (Table 12, Sec. 5.5)."""


# ---- the paper's own effects --------------------------------------------------------------------


def _minus(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of numbers; None unless all are there."""
    found = list(values)
    known = [one for one in found if one is not None]
    return fmean(known) if known and len(known) == len(found) else None


def _table_1(study: Any, half: Half, model: str) -> float | None:
    return average_printed(1, study.subjects, f"{half}: {MODELS[model]}")


def _ablated(study: Any, strategy: str, keep_ratio: float) -> float | None:
    """Mean of Tables 3 and 8 to 10 over the study's classes."""
    own = [study.paper(one).get(strategy, {}).get(keep_ratio) for one in study.subjects]
    return _mean(own)


def _own_peak() -> float:
    """Mean over Tables 3 and 8 to 10: from the better end of K to the best K between."""
    columns = [wide_table(number)["NMS"].to_numpy() for number in TABLES.values()]
    return fmean(float(one[1:-1].max() - max(one[0], one[-1])) for one in columns)


def paper_keep_ratio() -> float:
    """K of the paper's main tables."""
    return load_profile("sd15").revive.keep_ratio


# ---- values of the chapters ---------------------------------------------------------------------


def objects(
    study: Any, keep_ratio: float, half: Half, before: str, after: str, told: bool = False
) -> Value:
    """Chapter 08: a paired change over the classes of Table 1; ``told`` names the K."""
    paper = _minus(_table_1(study, half, after), _table_1(study, half, before))
    label = f"K = {keep_ratio:g}" if told else ""
    return change(study.part(half), before, after, label, paper=paper)


def signs(study: Any, keep_ratio: float, before: str, after: str) -> Value:
    """Chapter 01: a paired change; the paper prints no numbers of this study."""
    return change(study.hits, before, after)


def sign_shares(study: Any, keep_ratio: float, solver: str) -> list[Value]:
    """Chapter 02: right signs of each concept's cut weights."""
    own = study.completion.by_concept(solver)[solver]
    return [exact(one.value, name) for name, one in own.items()]


def overlap(study: Any, keep_ratio: float, row: str, column: str) -> Value:
    """Chapter 03: share of a group of estimates that stands at a group of weights."""
    own = {one.label: study.matrices[one.label].loc[row, column] for one in study.subjects}
    return exact(study.everything.loc[row, column], by_class=own)


def diagonal(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 03: of each group, its share at its own group less the largest at another one."""

    def lead(matrix: pd.DataFrame, place: int) -> float:
        row = matrix.iloc[place]
        return float(row.iloc[place] - row.drop(row.index[place]).max())

    return [
        exact(lead(study.everything, i), f"R{i + 1}",
              {one.label: lead(study.matrices[one.label], i) for one in study.subjects})
        for i in range(len(study.everything))
    ]  # fmt: skip


def top_signs(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 03: right signs from the rest to the top K, paired over layers and concepts."""
    names = [one.label for one in study.subjects]
    own = {name: replace(study, signs=_of(study.signs, concept=name)) for name in names}
    return [
        estimated(study.change(k), f"K = {k:g}", by_class={n: s.change(k) for n, s in own.items()})
        for k in dict.fromkeys(study.signs["ratio"])
    ]


def untuned(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 04: what the attack does at each K but the profile's own."""
    theirs = paper_keep_ratio()
    return [
        change(study.sweep, "pruned", name, f"K = {k:g}{' of the paper' * (k == theirs)}")
        for name, k in study.sweep_models().items()
        if k != keep_ratio
    ]


def dropped(study: Any, keep_ratio: float) -> Value:
    """Chapter 04: from all signs kept to the profile's K."""
    paper = _minus(_ablated(study, "NMS", paper_keep_ratio()), _ablated(study, "NMS", 1.0))
    names = [model_name("NMS", k) for k in (1.0, keep_ratio)]
    return change(study.sweep, *names, f"K = {keep_ratio:g}", paper=paper)


def over_rival(study: Any, keep_ratio: float, rival: str) -> list[Value]:
    """Chapter 04: from another magnitude to NMS at each K, over the classes with every strategy."""
    return [
        change(study.tables, model_name(rival, k), model_name("NMS", k), f"K = {k:g}",
               paper=_minus(_ablated(study, "NMS", k), _ablated(study, rival, k)))
        for k in study.keep_ratios
    ]  # fmt: skip


def over_the_best(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 04: from the better of the other magnitudes to NMS, for each class and K."""
    found = []
    for subject in study.subjects:
        hits, paper = study.of(subject), study.paper(subject)
        for k in study.keep_ratios:
            rivals = [model_name(name, k) for name in study.strategies if name != "NMS"]
            best = max(rivals, key=lambda name: hits.loc[hits["model"] == name, "hit"].mean())
            theirs = [of.get(k) for name, of in paper.items() if name != "NMS"]
            known = max((one for one in theirs if one is not None), default=None)
            found.append(
                change(hits, best, model_name("NMS", k), f"{subject.label}, K = {k:g}",
                       paper=_minus(paper.get("NMS", {}).get(k), known))
            )  # fmt: skip
    return found


def rise_and_fall(study: Any, keep_ratio: float) -> Value:
    """Chapter 04: from the better end of K to the best K between."""
    models = [model_name("NMS", k) for k in sorted(study.keep_ratios, reverse=True)]
    return peak(study.sweep, models, paper=_own_peak())


def cuts(study: Any, keep_ratio: float, half: Half) -> list[Value]:
    """Chapter 09: what the attack does to every cut; of the other classes, since pretrained."""
    found = []
    for name in study.names():
        table, cut, back, others = saliency.PRINTED[name.split(",")[0]]
        columns = {"erased": (table, cut, back), "preserved": (1, "preserved: pretrained", "")}
        number, first, last = columns[half]
        start = average_printed(number, study.subjects, first)
        end = average_printed(table, study.subjects, last or others)
        before = f"pruned, {name}" if half == "erased" else "pretrained"
        found.append(
            change(study.part(half), before, f"revived, {name}", name, paper=_minus(end, start))
        )
    return found


def styles(
    study: Any, keep_ratio: float, measure: str, before: str, after: str, told: bool = False
) -> Value:
    """Chapter 06: a paired change of a measure, over all styles and in each."""
    column = art_effects.PRINTED.get(measure, "")
    names = [art_effects.PAPER.get(one, one) for one in (before, after)]
    theirs = [printed(2, "Average", f"{name}: {column}") for name in names]
    by_class = {}
    if measure != art_effects.NAME:  # distances are kept for all styles together
        for style in study.styles:
            own = replace(study, hits=_of(study.hits, concept=style.word),
                          neutral=_of(study.neutral, concept=style.word))  # fmt: skip
            by_class[style.word] = own.change(measure, before, after)
    found = study.change(measure, before, after)
    start = None
    if measure == art_effects.SCORE:
        start = float(_of(study.erased, model=before)["below"].mean())
    label = f"K = {keep_ratio:g}" if told else ""
    return estimated(found, label, by_class=by_class, paper=_minus(*theirs[::-1]), start=start)


def counted(study: Any, keep_ratio: float, before: str, after: str = "") -> list[Value]:
    """Chapter 07: change of the share of counted pictures, set by set; "" attacks at our K.

    The sets differ in how many pictures the pretrained model shows. So the paper's change is its
    counts over its pretrained model's, times the share of pictures that ours shows.
    """
    after, found = after or f"Top-{float(keep_ratio)}", []
    for one in study.restricted.sets:
        hits = _of(study.restricted.hits, set=one).assign(concept=lambda x: x["asked"])
        whole = printed(7, "pretrained", one)
        step = _minus(*(printed(7, COUNTED.get(m, m), one) for m in (after, before)))
        share = float(_of(hits, model="pretrained")["hit"].mean())
        paper = None if step is None or not whole else step / whole * share
        found.append(change(hits, before, after, f"{one}, {after}", paper=paper))
    return found


def counted_at_each_k(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 07: the attack at every K, set by set."""
    return [one for k in study.restricted.keep_ratios for one in counted(study, k, "pruned")]


def left_for_adversaries(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 07: pictures that searched prompts get from the pruned model, over the pretrained's.

    Raises:
        LookupError: no prompts were searched.
    """
    own, found = study.restricted, []
    searched = own.prompts.dropna(subset="distance")["set"]
    for name in dict.fromkeys(searched):
        hits = _of(own.hits, set=name)
        wide = hits.pivot(
            index=["asked", "prompt", "repeat", "seed"], columns="model", values="hit"
        )
        ratio = paired_ratio(wide["pretrained"], wide["pruned"])
        parts = {
            str(asked): paired_ratio(one["pretrained"], one["pruned"])
            for asked, one in wide.groupby(level="asked", sort=False)
        }
        if ratio is not None:
            known = {asked: one for asked, one in parts.items() if one is not None}
            found.append(estimated(ratio, name, by_class=known))
    if not found:
        raise LookupError("no prompts that were searched")
    return found


def noise(study: Any, keep_ratio: float, half: Half, largest: bool = False) -> list[Value]:
    """Chapter 05: from pruned to defended, at each moderate level or at the largest."""
    own = study.defense
    levels = [one for one in own.sigmas if one <= MODERATE]
    hits = own.part(half)
    if hits.empty:
        raise LookupError("no pictures of the other classes")
    return [
        change(hits, "pruned", defended(one), f"sigma_M = {power(one)}")
        for one in ([max(own.sigmas)] if largest else levels)
    ]


def shape(study: Any, keep_ratio: float, column: str) -> list[Value]:
    """Chapter 05: the survivors' shape, layer by layer."""
    layers = study.detection.layers
    if column not in layers:
        raise LookupError(f"{column} of the layers was not measured")
    known = layers.dropna(subset=column)
    return [exact(one, name) for name, one in zip(known["short"], known[column], strict=True)]


def eq_7(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 05: cut weights among those near zero, from Eq. 7 to counted, layer by layer."""
    frame = study.detection.by_layer
    frame = frame[frame["near"] > 0]
    gap = frame["modified_near"] / frame["near"] - frame["eq7"]
    return [
        exact(own["gap"].mean(), f"sigma_M = {power(sigma)}",
              dict(zip(own["short"], own["gap"], strict=True)))
        for sigma, own in frame.assign(gap=gap).groupby("sigma")
    ]  # fmt: skip


def visible(study: Any, keep_ratio: float) -> Value:
    """Chapter 05: AUC of magnitudes at the smallest noise."""
    points = study.detection.points
    line = points.loc[points["sigma"].idxmin()]
    return exact(line["auc"], f"sigma_M = {power(line['sigma'])}")


def _told_apart(auc: float) -> float:
    """An AUC below a half tells the two apart as well as one above."""
    return max(auc, 1 - auc)


def _auc(study: Any, sigma: float) -> float:
    """Chapter 05: AUC of magnitudes, between measured levels by a line over log sigma_M."""
    points = study.detection.points.sort_values("sigma")
    return _told_apart(float(np.interp(np.log(sigma), np.log(points["sigma"]), points["auc"])))


def best_hidden(study: Any, keep_ratio: float) -> Value:
    """Chapter 05: AUC of magnitudes at the level of noise where it tells least."""
    least, sigma = min((_auc(study, sigma), sigma) for sigma in study.defense.levels())
    return exact(least, f"sigma_M = {power(sigma)}")


def hidden_from(study: Any, keep_ratio: float, evidence: str) -> Value:
    """Chapter 15: AUC of an evidence under the defence that hides best."""
    return min((_seen(study, evidence, one) for one in study.defences), key=lambda x: x.value)


def _seen(study: Any, evidence: str, defence: str) -> Value:
    own = _of(study.seen, evidence=evidence, defence=defence)
    by_class = {str(n): _told_apart(auc) for n, auc in zip(own["concept"], own["auc"], strict=True)}
    return exact(fmean(by_class.values()), defence, by_class)


def without_places(study: Any, keep_ratio: float) -> list[Value]:
    """Chapters 05, 15: from attackers who find less than half of the places to one who reads them.

    Raises:
        LookupError: every attacker found more.
    """
    own = getattr(study, "defense", study)
    what = "defence" if "defence" in own.guesses else "sigma"
    found = own.guesses.groupby([what, "attacker"], sort=False)["recall"].mean()
    models = [
        honest.attacked(*key) if what == "defence" else attacked(key[1], key[0])
        for key, recall in found.items()
        if recall < 0.5
    ]
    erased = _of(own.hits, classes="erased")
    values = [change(erased, one, "revived", one) for one in models if one in set(erased["model"])]
    if not values:
        raise LookupError("every attacker found more than half of the places")
    return values


def attacked_noise(study: Any, keep_ratio: float, threshold: bool) -> list[Value]:
    """Chapter 05: from defended to attacked, of the threshold attacker or of the others.

    Raises:
        LookupError: no such attack was made, or only with too small a budget.
    """
    own, found = study.defense, []
    erased = own.part("erased")
    for (sigma, attacker), lines in own.guesses.groupby(["sigma", "attacker"], sort=False):
        model = attacked(attacker, sigma)
        wanted = (attacker == "threshold") == threshold and _fair(lines, attacker)
        if wanted and model in set(erased["model"]):
            label = f"sigma_M = {power(sigma)}"
            found.append(change(erased, defended(sigma), model, label))
    if not found:
        raise LookupError("no such attacker with a budget of the model's own density")
    return found


def inferred_noise(study: Any, keep_ratio: float) -> list[Value]:
    """Chapter 15: from noise to attacked, of every attacker on the paper's defence."""
    erased, found = _of(study.hits, classes="erased"), []
    for sigma in study.sigmas:
        defence = honest.noise(sigma)
        for attacker, lines in _of(study.guesses, defence=defence).groupby("attacker", sort=False):
            model = honest.attacked(defence, attacker)
            if _fair(lines, attacker) and model in set(erased["model"]):
                found.append(change(erased, defence, model, f"{attacker}, {power(sigma)}"))
    return found


def _fair(lines: pd.DataFrame, attacker: str) -> bool:
    """Whether an attacker with a budget names about as many weights as were cut, or more.

    One that names fewer finds little by construction.
    """
    cut = lines["precision"] * lines["named"] / lines["recall"]
    return attacker in ("threshold", honest.HONEST) or bool((lines["named"] / cut).mean() >= 0.9)


def balanced(study: Any, keep_ratio: float, margins: Mapping[Half, Rule]) -> Value:
    """Chapter 05: the best hidden level among those that leave both kinds of classes alone."""
    own = study.defense
    halves = {half: own.part(half) for half in margins}
    left = [one for one in own.levels() if _harmless(halves, defended(one), margins)]
    if not left:
        return exact(1.0, "no level leaves the classes alone")
    least, sigma = min((_auc(study, sigma), sigma) for sigma in left)
    return exact(least, f"sigma_M = {power(sigma)}")


def balanced_columns(study: Any, keep_ratio: float, margins: Mapping[Half, Rule]) -> Value:
    """Chapter 15: the same of every defence, seen by an attacker who looks at columns."""
    halves = {half: _of(study.hits, classes=half) for half in margins}
    left = [one for one in study.defences if _harmless(halves, one, margins)]
    if not left:
        return exact(1.0, "no defence leaves the classes alone")
    return min((_seen(study, "columns", one) for one in left), key=lambda x: x.value)


def _harmless(
    halves: Mapping[Half, pd.DataFrame], defence: str, margins: Mapping[Half, Rule]
) -> bool:
    """Whether neither kind of classes clearly leaves its margin."""
    return all(
        margins[half].judge(change(hits, "pruned", defence)) != "does not hold"
        for half, hits in halves.items()
        if not hits.empty
    )


def _of(frame: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """The lines in which columns have these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame
