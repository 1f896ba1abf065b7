# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""The paper's contradictions and open ends, each with our reading and what bears on it.

`data/paper/contradictions.csv` lists them. What bears on one is arithmetic on the printed tables
(`rbtc.report.misprints`), what other chapters measured, or a look at the weights of a model
(`rbtc.studies.measuring.contradictions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.paper import paper_list
from rbtc.report import markdown
from rbtc.report.misprints import PRINTED, Check, Support
from rbtc.report.tables import power

if TYPE_CHECKING:
    from rbtc.report.claims import Studies

COLUMNS = ("id", "where", "issue", "reading", "confidence", "check", "claims", "page")


@dataclass(frozen=True, eq=False)
class WeightStudy:
    """What the weights of a model say.

    Attributes:
        numbers: One line per number of a check: check (its name), number, value (as text), support
            (of our reading; empty where the number only illustrates).
    """

    numbers: pd.DataFrame

    def check(self, name: str) -> Check:
        """The numbers of one check."""
        own = self.numbers[self.numbers["check"] == name]
        return Check(dict(zip(own["number"], own["value"], strict=True)), own["support"].iloc[0])


# ---- from what the chapters measured -----------------------------------------------------------


def noise_readings(studies: Studies) -> Check:
    """What the smallest level does, read as a standard deviation and as a variance."""
    from rbtc.studies.defense import defended

    study = studies["05_defense"][0].defense
    if not study.variances:
        raise LookupError("no noise was read as a variance")
    least, smallest = min(study.variances), min(study.sigmas)
    numbers = {
        f"{power(level)} as {words} changes the erased class by": (
            f"{study.change('pruned', defended(sigma)).value:+.2f}"
        )
        for words, level, sigma in (
            ("standard deviation", smallest, smallest),
            ("variance", least, study.variances[least]),
        )
    }
    # Both may leave the pictures as they were; then the model cannot tell the readings apart.
    return Check(numbers, "undecided")


def visible_noise(studies: Studies) -> Check:
    """The two attackers on the smallest noise: what they find, and what it gives them."""
    from rbtc.studies.defense import ATTACKERS, attacked

    study = studies["05_defense"][0].defense
    sigma = float(study.guesses["sigma"].min())
    models = [attacked(attacker, sigma) for attacker in ATTACKERS]
    if missing := {*models} - {*study.hits["model"]}:
        raise LookupError(f"no pictures of {', '.join(sorted(missing))}")
    own = study.guesses[study.guesses["sigma"] == sigma].groupby("attacker")["recall"].mean()
    numbers = {
        f"{attacker}: cut places found, accuracy after": (
            f"{own[attacker]:.2f}, {study.accuracy(model).value:.2f}"
        )
        for attacker, model in zip(ATTACKERS, models, strict=True)
    }
    said: dict[str, Support] = {"rises": "supports", "falls": "against"}
    return Check(numbers, said.get(study.change(*models).direction, "undecided"))


def blind_formula(studies: Studies) -> Check:
    """Eq. 7 and the AUC at the largest noise."""
    points = studies["05_defense"][0].detection.points
    last = points.sort_values("sigma").iloc[-1]
    numbers = {f"at sigma_M = {last['sigma']:g}: Eq. 7": f"{last['eq7']:.2f}",
               "AUC (half: invisible)": f"{last['auc']:.2f}"}  # fmt: skip
    return Check(numbers, "supports" if last["auc"] < 0.4 and last["eq7"] < 0.1 else "against")


def solvers(studies: Studies) -> Check:
    """Right signs of the released iteration and of the text's SoftImpute."""
    study = studies["02_matrix_completion"][0].completion
    names = {"released": "released", "SoftImpute, path": "softimpute"}
    return Check({told: f"{study.accuracy(name).value:.3f}" for told, name in names.items()})


def pooled_or_averaged(studies: Studies) -> Check:
    """The sign accuracy of the first concept, pooled over weights and averaged over layers."""
    study = studies["02_matrix_completion"][0].completion
    name = study.concepts[0]
    pooled, layers = study.accuracy(concept=name).value, study.by_layer()[name].values()
    mean = fmean(one.value for one in layers)
    return Check({"pooled": f"{pooled:.3f}", "mean of layers": f"{mean:.3f}"})


def our_keep_ratio(studies: Studies) -> Check:
    """The K at which NMS is best here, concept by concept; ties name the largest K."""
    study = studies["04_nms_ablations"][0]
    by_k = pd.DataFrame(study.sweep_values()).sort_index(axis=1, ascending=False)
    best = by_k.idxmax(axis=1)
    return Check({f"ours, {s.label}": f"Top {best[s.label]:g}" for s in study.subjects})


MEASURED: dict[str, Callable[[Studies], Check]] = {
    one.__name__: one
    for one in (noise_readings, visible_noise, blind_formula, solvers, pooled_or_averaged,
                our_keep_ratio)
}  # fmt: skip
"""The checks by name."""


# ---- the list -----------------------------------------------------------------------------------


def contradictions(
    weights: WeightStudy, studies: Studies, path: str | Path = "contradictions.csv"
) -> pd.DataFrame:
    """The list with all that can be checked: printed tables, what was measured, and weights.

    Args:
        weights: what they say.
        studies: of the chapters.
        path: the list, in `data/paper`.

    Returns:
        One line per contradiction. The list's own columns: id, where (places of the paper), issue,
        reading (what we take for meant), confidence (in it), check (names of what bears on it),
        claims (keys of those that test it, see `rbtc.studies.paper_claims`), page (the chapter that
        treats it). And kind ("printed" where numbers of the paper decide, "measured", "reading"
        where nothing does), found (a list of `Check`), support (what they together say of our
        reading), missing (why a check could not be made).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: other columns, a key given twice, or an unknown check.
    """
    frame = paper_list(path, COLUMNS)
    if (twice := frame["id"].duplicated()).any():
        raise ValueError(f"{path}: {frame.loc[twice, 'id'].tolist()} twice")
    checks: dict[str, Callable[[], Check]] = {
        **{name: partial(weights.check, name) for name in weights.numbers["check"]},
        **{name: partial(check, studies) for name, check in MEASURED.items()},
        **PRINTED,
    }
    lines = []
    for line in frame.to_dict("records"):
        names, found, missing = line["check"].split(), [], []
        if unknown := {*names} - {*checks}:
            raise ValueError(
                f"{path}, {line['id']}: unknown checks {sorted(unknown)}; a new one of the weights "
                "needs `rbtc measure 11_contradictions`"
            )
        for name in names:
            try:
                found.append(checks[name]())
            except LookupError as error:
                missing.append(str(error.args[0]))
        kind = "measured" if names or line["claims"] else "reading"
        if names and {*names} <= {*PRINTED}:
            kind = "printed"
        lines.append({**line, "kind": kind, "found": found, "support": _support(found),
                      "missing": "; ".join(missing)})  # fmt: skip
    return pd.DataFrame(lines)


def _support(found: Sequence[Check]) -> Support:
    """What several checks together say of our reading."""
    said = {check.support for check in found} - {""}
    decided = said - {"undecided"}
    if len(decided) == 1:
        return decided.pop()
    return "undecided" if said else ""


def frame_of(found: pd.DataFrame) -> pd.DataFrame:
    """One line per number, for a CSV: id, where, number, value, support."""
    lines = [
        (line.id, line.where, *number, check.support)
        for line in found.itertuples()
        for check in line.found
        for number in check.numbers.items()
    ]
    return pd.DataFrame(lines, columns=["id", "where", "number", "value", "support"])


def kinds(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The contradictions by what bears on them, see `contradictions`."""
    return {str(kind): own for kind, own in found.groupby("kind")}


def reading_table(found: pd.DataFrame, *, pages: str = "") -> pd.DataFrame:
    """One line per contradiction, as Markdown: what does not fit, our reading, what bears on it.

    Args:
        found: what to show.
        pages: folder of the chapters, seen from the page that shows the table.
    """
    lines = []
    for one in found.itertuples():
        numbers = [f"{name}: {text}" for check in one.found for name, text in check.numbers.items()]
        support = f"**{one.support}**" if one.support else ""
        claims = f"claims {', '.join(one.claims.split())}" if one.claims else ""
        page = markdown.chapter(one.page, pages)
        lines.append(
            {
                "what does not fit": f"**{one.id}** {one.issue} *{one.where}*",
                "our reading": f"{one.reading} *Confidence: {one.confidence}.*",
                "what bears on it": markdown.joined([*numbers, support, one.missing, claims, page]),
            }
        )
    return pd.DataFrame(lines)
