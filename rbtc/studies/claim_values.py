# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportAssignmentType=false
# (pandas cannot say whether a selection is a frame or a series)
"""What bears on the paper's claims, read from the chapters' loaded studies.

Each function takes a study and what to read of it, and returns values (`rbtc.report.claims`). None
depends on which concepts, levels or K were measured: it takes what the study holds. The claims and
the shorter expressions are in `rbtc.studies.paper_claims`. A chapter's module is imported where its
study is read: it is loaded by then, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from rbtc.intervals import Share
from rbtc.paper import printed, wide_table
from rbtc.report.claims import Rule, Value, change, estimated, exact
from rbtc.report.tables import accuracies, power
from rbtc.results import printed_point
from rbtc.stats import paired_ratio
from rbtc.studies.common import average_printed, model_name

MODERATE = 1e-2
"""The largest noise at which the paper's model still works (Table 12, Sec. 5.5)."""


def _minus(after: float | None, before: float | None) -> float | None:
    """The paper's own effect; None where it does not print both numbers."""
    return None if after is None or before is None else after - before


def _of(frame: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """The lines in which columns have these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def paper_keep_ratio() -> float:
    """K of the paper's main tables."""
    return float(printed_point()["keep_ratio"])


def _ablated(study: Any, strategy: str, keep_ratio: float) -> float | None:
    """Mean of Tables 3 and 8 to 10 over the study's classes; None unless the paper has them all."""
    found = [study.paper(one).get(strategy, {}).get(keep_ratio) for one in study.subjects]
    return None if None in found else fmean(found)


# ---- chapters 02 to 04: estimates, signs and K --------------------------------------------------


def right_signs(study: Any, solver: str) -> list[Value]:
    """Chapter 02: share of right signs among each concept's cut weights."""
    own = study.completion.by_concept(solver)[solver]
    return [exact(one.value, name) for name, one in own.items()]


def overlap(study: Any, row: str, column: str) -> Value:
    """Chapter 03: share of a group of estimates that stands at a group of weights."""
    own = {one.label: study.matrices[one.label].loc[row, column] for one in study.subjects}
    return exact(study.everything.loc[row, column], by_class=own)


def diagonal(study: Any) -> list[Value]:
    """Chapter 03: of each group, its share at its own group less the largest at another one."""

    def lead(matrix: pd.DataFrame, place: int) -> float:
        row = matrix.iloc[place]
        return float(row.iloc[place] - row.drop(row.index[place]).max())

    return [
        exact(lead(study.everything, i), f"R{i + 1}",
              {one.label: lead(study.matrices[one.label], i) for one in study.subjects})
        for i in range(len(study.everything))
    ]  # fmt: skip


def top_signs(study: Any) -> list[Value]:
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


def over_rival(study: Any, rival: str) -> list[Value]:
    """Chapter 04: from another magnitude to NMS at each K, over the classes with every strategy."""
    return [
        change(study.tables, model_name(rival, k), model_name("NMS", k), f"K = {k:g}",
               paper=_minus(_ablated(study, "NMS", k), _ablated(study, rival, k)))
        for k in study.keep_ratios
    ]  # fmt: skip


def over_the_best(study: Any) -> list[Value]:
    """Chapter 04: from the better of the other magnitudes to NMS, for each class and K."""
    found = []
    rivals = [name for name in study.strategies if name != "NMS"]
    for subject in study.subjects:
        hits, paper = study.of(subject), study.paper(subject)
        means = hits.groupby("model")["hit"].mean()
        for k in study.keep_ratios:
            best = means[[model_name(name, k) for name in rivals]].idxmax()
            theirs = [paper[name][k] for name in rivals if k in paper.get(name, {})]
            effect = _minus(paper.get("NMS", {}).get(k), max(theirs, default=None))
            label = f"{subject.label}, K = {k:g}"
            found.append(change(hits, best, model_name("NMS", k), label, paper=effect))
    return found


def rise_and_fall(study: Any) -> Value:
    """Chapter 04: from the better end of K to the best K between, ours and in four tables.

    Above zero where the accuracy first rises and then falls. Each class has a best K of its own.

    Raises:
        LookupError: fewer than three K.
    """
    columns = [wide_table(number)["NMS"].to_numpy() for number in (3, 8, 9, 10)]
    paper = fmean(float(one[1:-1].max() - max(one[0], one[-1])) for one in columns)
    models = [model_name("NMS", k) for k in sorted(study.keep_ratios, reverse=True)]
    if len(models) < 3:
        raise LookupError("no three K to compare")

    def of(own: pd.DataFrame, label: str = "") -> Value:
        means = own.groupby("model")["hit"].mean()[models]
        end, best = means.iloc[[0, -1]].idxmax(), means.iloc[1:-1].idxmax()
        return change(own, end, best, label, paper=paper)

    classes = study.sweep.groupby("concept", sort=False)
    return replace(of(study.sweep), by_class={str(n): of(own, str(n)) for n, own in classes})


# ---- chapters 06 to 09: styles, restricted content, objects, other prunings ---------------------


def objects(study: Any, half: str, before: str, after: str, label: str = "") -> Value:
    """Chapter 08: a paired change over the classes of Table 1."""
    means = study.paper_means(half)
    paper = _minus(means.get(after), means.get(before))
    return change(study.part(half), before, after, label, paper=paper)


def erased(study: Any) -> list[Value]:
    """Chapter 08: accuracy of the pruned model on each erased class."""
    shares = accuracies(_of(study.part("erased"), model="pruned"), ["concept"])
    return [estimated(share, name) for name, share in shares.items()]


def cuts(study: Any, half: str) -> list[Value]:
    """Chapter 09: what the attack does to every cut; of the other classes, since pretrained."""
    from rbtc.studies.saliency import PRINTED

    found = []
    for name in study.names():
        table, cut, back, others = PRINTED[name.split(",")[0]]
        before, start, end = f"pruned, {name}", (table, cut), back
        if half == "preserved":
            before, start, end = "pretrained", (1, "preserved: pretrained"), others
        known = [average_printed(n, study.subjects, x) for n, x in ((table, end), start)]
        found.append(
            change(study.part(half), before, f"revived, {name}", name, paper=_minus(*known))
        )
    return found


def styles(study: Any, measure: str, before: str, after: str, label: str = "") -> Value:
    """Chapter 06: a paired change of a measure, over all styles and in each."""
    from rbtc.studies import art

    column = art.PRINTED.get(measure, "")
    theirs = [printed(2, "Average", f"{art.PAPER.get(x, x)}: {column}") for x in (after, before)]
    by_class = {}
    for style in study.styles:
        own = {"hits": study.hits, "neutral": study.neutral}
        own = {name: _of(frame, concept=style.word) for name, frame in own.items()}
        if measure != art.NAME:  # distances are kept for all styles together
            by_class[style.word] = replace(study, **own).change(measure, before, after)
    start = None
    if measure == art.SCORE:
        start = float(_of(study.erased, model=before)["below"].mean())
    return estimated(study.change(measure, before, after), label, by_class=by_class,
                     paper=_minus(*theirs), start=start)  # fmt: skip


def counted(study: Any, before: str, after: str) -> list[Value]:
    """Chapter 07: change of the share of counted pictures, set by set.

    The sets differ in how many pictures the pretrained model shows. So the paper's change is its
    counts over its pretrained model's, times the share of pictures that ours shows.
    """
    from rbtc.studies.nsfw import PRINTED

    found = []
    for one in study.restricted.sets:
        hits = _of(study.restricted.hits, set=one).assign(concept=lambda x: x["asked"])
        whole = printed(7, "pretrained", one)
        step = _minus(*(printed(7, PRINTED.get(m, m), one) for m in (after, before)))
        share = float(_of(hits, model="pretrained")["hit"].mean())
        paper = None if step is None or not whole else step / whole * share
        found.append(change(hits, before, after, f"{one}, {after}", paper=paper))
    return found


def counted_at_each_k(study: Any) -> list[Value]:
    """Chapter 07: the attack at every K, set by set."""
    attacks = [f"Top-{float(k)}" for k in study.restricted.keep_ratios]
    return [one for name in attacks for one in counted(study, "pruned", name)]


def left_for_adversaries(study: Any) -> list[Value]:
    """Chapter 07: pictures that searched prompts get from the pruned model, over the pretrained's.

    Raises:
        LookupError: no prompts were searched.
    """

    def ratio(wide: pd.DataFrame) -> Share | None:
        return paired_ratio(wide["pretrained"], wide["pruned"])

    own, found = study.restricted, []
    for name in own.prompts.dropna(subset="distance")["set"].unique():
        index = ["asked", "prompt", "repeat", "seed"]
        wide = _of(own.hits, set=name).pivot(index=index, columns="model", values="hit")
        classes = {str(n): ratio(one) for n, one in wide.groupby(level="asked", sort=False)}
        if (over_all := ratio(wide)) is not None:
            known = {n: one for n, one in classes.items() if one is not None}
            found.append(estimated(over_all, name, by_class=known))
    if not found:
        raise LookupError("no prompts that were searched")
    return found


# ---- chapters 05 and 15: the defence, and who attacks it ----------------------------------------


def noise(study: Any, half: str, *, largest: bool = False) -> list[Value]:
    """Chapter 05: from pruned to defended, at each moderate level or at the largest."""
    from rbtc.studies.defense import defended

    sigmas = study.defense.sigmas
    chosen = [max(sigmas)] if largest else [one for one in sigmas if one <= MODERATE]
    hits = _of(study.defense.hits, classes=half)
    return [change(hits, "pruned", defended(one), f"sigma_M = {power(one)}") for one in chosen]


def shape(study: Any, column: str) -> list[Value]:
    """Chapter 05: the survivors' shape, layer by layer."""
    layers = study.detection.layers
    if column not in layers:
        raise LookupError(f"{column} of the layers was not measured")
    known = layers.dropna(subset=column)
    return [exact(one, name) for name, one in zip(known["short"], known[column], strict=True)]


def eq_7(study: Any) -> list[Value]:
    """Chapter 05: cut weights among those near zero, from Eq. 7 to counted, layer by layer."""
    frame = study.detection.by_layer.query("near > 0")
    frame = frame.assign(gap=frame["modified_near"] / frame["near"] - frame["eq7"])
    return [
        exact(own["gap"].mean(), f"sigma_M = {power(sigma)}",
              dict(zip(own["short"], own["gap"], strict=True)))
        for sigma, own in frame.groupby("sigma")
    ]  # fmt: skip


def visible(study: Any) -> Value:
    """Chapter 05: AUC of magnitudes at the smallest noise."""
    points = study.detection.points
    line = points.loc[points["sigma"].idxmin()]
    return exact(line["auc"], f"sigma_M = {power(line['sigma'])}")


def hidden(
    study: Any, evidence: str = "magnitudes", margins: Mapping[str, Rule] | None = None
) -> Value:
    """Chapters 05 and 15: AUC of an evidence under the defence that hides best from it.

    Args:
        study: of chapter 05, whose defences are levels of noise, or of chapter 15.
        evidence: chapter 05 knows magnitudes only.
        margins: "erased" or "preserved" -> a rule for the change from pruned to defended; defences
            that clearly break one are left out.
    """
    own = getattr(study, "defense", study)
    rules = [(rule, _of(own.hits, classes=half)) for half, rule in (margins or {}).items()]
    seen = _by_noise(study) if own is not study else _by_defence(study, evidence)
    left = [
        value
        for name, value in seen.items()
        if all(
            hits.empty or rule.judge(change(hits, "pruned", name)) != "does not hold"
            for rule, hits in rules
        )
    ]
    none = exact(1.0, "no defence leaves the classes alone")
    return min(left, key=lambda one: one.value, default=none)


def _by_noise(study: Any) -> dict[str, Value]:
    """Chapter 05: AUC of magnitudes, between measured levels by a line over log sigma_M."""
    from rbtc.studies.defense import defended

    points = study.detection.points.sort_values("sigma")
    logs = np.log(points["sigma"])
    return {
        defended(one): exact(
            _told_apart(float(np.interp(np.log(one), logs, points["auc"]))),
            f"sigma_M = {power(one)}",
        )
        for one in study.defense.levels()
    }


def _by_defence(study: Any, evidence: str) -> dict[str, Value]:
    """Chapter 15: AUC of an evidence, mean over the concepts and of each."""
    found = {}
    for name in study.defences:
        own = _of(study.seen, evidence=evidence, defence=name)
        aucs = {str(n): _told_apart(x) for n, x in zip(own["concept"], own["auc"], strict=True)}
        found[name] = exact(fmean(aucs.values()), name, aucs)
    return found


def _told_apart(auc: float) -> float:
    """An AUC below a half tells the two apart as well as one above."""
    return max(auc, 1 - auc)


def _attacks(study: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Chapters 05 and 15: attacks on defended models, and the pictures of the erased classes.

    Returns:
        One line per attack of which there are pictures: attacker; defence and model, the names of
        the defended and of the attacked model; recall, and budget (weights that it names over those
        that were cut), means over the concepts. One line per picture.
    """
    from rbtc.studies.defense import attacked, defended

    own = getattr(study, "defense", study)
    lines = own.guesses.assign(budget=own.guesses["recall"] / own.guesses["precision"])
    if "sigma" in lines:
        made = list(zip(lines["attacker"], lines["sigma"], strict=True))
        lines["defence"] = [defended(sigma) for _, sigma in made]
        lines["model"] = [attacked(*one) for one in made]
    else:
        lines["model"] = lines["defence"] + ", " + lines["attacker"]
    by = ["defence", "attacker", "model"]
    found = lines.groupby(by, sort=False, as_index=False)[["recall", "budget"]].mean()
    erased = _of(own.hits, classes="erased")
    return found[found["model"].isin(erased["model"])], erased


def without_places(study: Any) -> list[Value]:
    """Chapters 05, 15: from attackers who find less than half of the places to one who reads them.

    Raises:
        LookupError: every attacker found more.
    """
    attacks, erased = _attacks(study)
    models = attacks.loc[attacks["recall"] < 0.5, "model"]
    if models.empty:
        raise LookupError("every attacker found more than half of the places")
    return [change(erased, one, "revived", one) for one in models]


def attacked_noise(study: Any, threshold: bool | None = None) -> list[Value]:
    """Chapters 05 and 15: from defended by noise to attacked.

    An attacker who names fewer weights than were cut finds little by construction and is left out.

    Args:
        study: of one of the chapters.
        threshold: only the attacker with a threshold, or only the others; None takes all.

    Raises:
        LookupError: no such attack was made, or only with too small a budget.
    """
    attacks, erased = _attacks(study)
    found = []
    for one in attacks[attacks["defence"].str.match("noise |defended, ")].itertuples():
        fair = one.attacker in ("threshold", "columns") or one.budget >= 0.9
        if fair and threshold in (None, one.attacker == "threshold"):
            sigma = one.defence.split()[-1]
            label = f"{one.attacker}, {sigma}" if threshold is None else f"sigma_M = {sigma}"
            found.append(change(erased, one.defence, one.model, label))
    if not found:
        raise LookupError("no such attacker with a budget of the model's own density")
    return found
