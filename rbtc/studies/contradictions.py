# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""The paper's contradictions and open ends, each with our reading and what bears on it.

`data/paper/contradictions.csv` lists them. What bears on one is arithmetic on the printed tables
(`rbtc.report.misprints`), what other chapters measured, or a look at the weights of a model. Only
the last is measured here; no picture is drawn but those that pruning needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.files import data_root, read_table
from rbtc.models.subjects import Subject
from rbtc.report.claims import RISES, Outcome, Studies, change
from rbtc.report.misprints import PRINTED, Check, Support
from rbtc.report.tables import power
from rbtc.studies.defense import ATTACKERS, attacked, defended
from rbtc.studies.measuring.common import subjects

if TYPE_CHECKING:
    from rbtc.lab import Lab

COLUMNS = ("id", "where", "issue", "reading", "confidence", "check", "claims", "page")

_SUPPORT: dict[Outcome, Support] = {"holds": "supports", "does not hold": "against"}


@dataclass(frozen=True)
class Contradiction:
    """A place where the paper contradicts itself, or leaves something open.

    Attributes:
        key: X01 and so on.
        where: Places of the paper.
        issue: What does not fit.
        reading: What we take for meant.
        confidence: In the reading: high, medium or low.
        checks: Names of what bears on it.
        claims: Keys of the claims that test it, see `rbtc.studies.paper_claims`.
        page: Chapter that treats it, empty if none.
        found: The checks' results; a check that could not be made is left out.
        missing: Why a check could not be made.
    """

    key: str
    where: str
    issue: str
    reading: str
    confidence: str
    checks: tuple[str, ...]
    claims: tuple[str, ...]
    page: str
    found: tuple[Check, ...] = ()
    missing: str = ""

    @property
    def support(self) -> Support:
        """What the checks together say of our reading."""
        said = {check.support for check in self.found} - {""}
        decided = said - {"undecided"}
        if len(decided) == 1:
            return decided.pop()
        return "undecided" if said else ""


# ---- from what the chapters measured -----------------------------------------------------------


def noise_readings(studies: Studies) -> Check:
    """What the smallest level does, read as a standard deviation and as a variance."""
    study = studies["05_defense"][0].defense
    if not study.variances:
        raise LookupError("no noise was read as a variance")
    least = min(study.variances)
    readings = {"standard deviation": (min(study.sigmas),) * 2,
                "variance": (least, study.variances[least])}  # fmt: skip
    numbers = {}
    for words, (level, sigma) in readings.items():
        one = change(study.part("erased"), "pruned", defended(sigma))
        numbers[f"{power(level)} as {words} changes the erased class by"] = f"{one.value:+.2f}"
    # Both may leave the pictures as they were; then the model cannot tell the readings apart.
    return Check(numbers, "undecided")


def visible_noise(studies: Studies) -> Check:
    """The two attackers on the smallest noise: what they find, and what it gives them."""
    study = studies["05_defense"][0].defense
    sigma, erased = float(study.guesses["sigma"].min()), study.part("erased")
    numbers = {}
    for attacker in ATTACKERS:
        own = study.guesses.query("attacker == @attacker and sigma == @sigma")
        hits = erased.loc[erased["model"] == attacked(attacker, sigma), "hit"]
        told = f"{own['recall'].mean():.2f}, {hits.mean():.2f}"
        numbers[f"{attacker}: cut places found, accuracy after"] = told
    gain = change(erased, *(attacked(attacker, sigma) for attacker in ATTACKERS))
    return Check(numbers, _SUPPORT.get(RISES.judge(gain), "undecided"))


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
    values = study.sweep_values()
    best = {
        one.label: max(sorted(values, reverse=True), key=lambda k, c=one.label: values[k][c])
        for one in study.subjects
    }
    return Check({f"ours, {name}": f"Top {k:g}" for name, k in best.items()})


# ---- from the weights ---------------------------------------------------------------------------


def keep_scope(lab: Lab, concept: Subject) -> Check:
    """Right signs among those kept when K is counted per layer, per row, or over all layers."""
    from rbtc.attack.sign_accuracy import count_signs

    truth = lab.pretrained.weights
    base = lab.owner.pruned(concept)
    masks = lab.owner.masks(concept)
    numbers = {}
    for per in ("layer", "row", "global"):
        kept = lab.attacker.attack(base, per=per).weights
        signs = {name: kept[name].sign() * masks[name] for name in kept}
        found = count_signs(signs, truth).values()
        right, total = sum(one.correct for one in found), sum(one.n for one in found)
        numbers[f"right signs, K per {per}"] = f"{right / total:.3f}"
    return Check(numbers)


def drawn_magnitudes(lab: Lab, concept: Subject) -> Check:
    """Mean magnitude that the two readings of Neuron Sample write, relative to NMS's."""
    base = lab.owner.pruned(concept)
    masks = lab.owner.masks(concept)
    means = {}
    for strategy in ("neuron_sample", "neuron_empirical", "neuron_max"):
        filled = lab.attacker.attack(base, strategy=strategy).weights
        written = [filled[name][mask].abs() for name, mask in masks.items()]
        means[strategy] = float(sum(w.sum() for w in written) / sum((w > 0).sum() for w in written))
    largest = means.pop("neuron_max")
    words = {"neuron_sample": "Gaussian fit", "neuron_empirical": "empirical"}
    return Check({f"{words[k]}, share of NMS": f"{v / largest:.2f}" for k, v in means.items()})


def quantised_zeros(lab: Lab, concept: Subject) -> Check:
    """Share of the cut weights that Quant Recover leaves at zero, for every 4-bit code."""
    masks = lab.owner.masks(concept)
    total = sum(int(mask.sum()) for mask in masks.values())
    numbers = {}
    for code in ("int", "fp4", "nf4"):
        weights = lab.owner.quantized(concept, codebook=code).weights
        zeros = sum(int((weights[name][mask] == 0).sum()) for name, mask in masks.items())
        numbers[code] = f"{zeros / total:.3f}"
    stay = all(text == "1.000" for text in numbers.values())
    return Check({f"cut weights still zero, {k}": v for k, v in numbers.items()},
                 "supports" if stay else "against")  # fmt: skip


def natural_zeros(lab: Lab, concept: Subject) -> Check:
    """Exact zeros that the candidate layers hold before any pruning, as they are and in halves."""
    weights = lab.pretrained.weights.values()
    total = sum(w.numel() for w in weights)
    return Check({
        name: f"{sum(int(((w.half() if half else w) == 0).sum()) for w in weights):,} of {total:,}"
        for name, half in (("zeros before pruning", False), ("in half precision", True))
    })  # fmt: skip


def observed_share(lab: Lab, concept: Subject) -> Check:
    """Share of a pruned layer's entries that completion can see."""
    from rbtc.layers import density

    share = 1 - density(lab.owner.masks(concept))
    return Check({"entries observed": f"{share:.3f}"}, "supports" if share > 0.5 else "against")


MEASURED: dict[str, Callable[[Studies], Check]] = {
    one.__name__: one
    for one in (noise_readings, visible_noise, blind_formula, solvers, pooled_or_averaged,
                our_keep_ratio)
}  # fmt: skip
WEIGHTS: dict[str, Callable[[Lab, Subject], Check]] = {
    one.__name__: one
    for one in (keep_scope, drawn_magnitudes, quantised_zeros, natural_zeros, observed_share)
}


@dataclass(frozen=True, eq=False)
class WeightStudy:
    """What the weights of a model say.

    Attributes:
        numbers: One line per number of the `WEIGHTS` checks: check, number, value (as text),
            support (of our reading; empty where the number only illustrates).
    """

    numbers: pd.DataFrame

    def check(self, name: str) -> Check:
        """The numbers of one check."""
        own = self.numbers[self.numbers["check"] == name]
        return Check(
            dict(zip(own["number"], own["value"], strict=True)), next(iter(own["support"]))
        )


def measure(lab: Lab, concepts: Sequence[str] = ("golf ball",)) -> WeightStudy:
    """Look at the weights of the first concept's models.

    Raises:
        ValueError: no concept, an unknown one, or one given twice.
    """
    concept = subjects(lab, concepts)[0]
    checks = {name: check(lab, concept) for name, check in WEIGHTS.items()}
    lines = [
        (name, number, text, check.support)
        for name, check in checks.items()
        for number, text in check.numbers.items()
    ]
    return WeightStudy(pd.DataFrame(lines, columns=["check", "number", "value", "support"]))


# ---- the list -----------------------------------------------------------------------------------


def load_contradictions(path: str | Path | None = None) -> list[Contradiction]:
    """Read the list, `data/paper/contradictions.csv` by default, without checking anything.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: other columns, a key given twice, or an unknown check.
    """
    path = data_root() / "paper" / "contradictions.csv" if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no contradictions in {path}: work in a clone of the repository")
    frame = pd.DataFrame(read_table(path, COLUMNS), columns=list(COLUMNS))
    if (twice := frame["id"].duplicated()).any():
        raise ValueError(f"{path}: {frame.loc[twice, 'id'].tolist()} twice")
    known = {*PRINTED, *MEASURED, *WEIGHTS}
    found = []
    for line in frame.to_dict("records"):
        checks = tuple(line["check"].split())
        if unknown := set(checks) - known:
            raise ValueError(f"{path}, {line['id']}: unknown checks {sorted(unknown)}")
        words = [line[name] for name in ("id", "where", "issue", "reading", "confidence")]
        found.append(Contradiction(*words, checks, tuple(line["claims"].split()), line["page"]))
    return found


def contradictions(weights: WeightStudy, studies: Studies) -> list[Contradiction]:
    """The list with all that can be checked: printed tables, what was measured, and weights.

    Args:
        weights: what they say.
        studies: of the chapters.
    """
    return [_checked(one, weights, studies) for one in load_contradictions()]


def frame_of(found: Sequence[Contradiction]) -> pd.DataFrame:
    """One line per number, for a CSV: id, where, number, value, support."""
    return pd.DataFrame(
        [
            {"id": one.key, "where": one.where, "number": name, "value": text,
             "support": check.support}
            for one in found
            for check in one.found
            for name, text in check.numbers.items()
        ]
    )  # fmt: skip


def _checked(one: Contradiction, weights: WeightStudy, studies: Studies) -> Contradiction:
    made, missing = [], []
    for name in one.checks:
        try:
            if name in PRINTED:
                made.append(PRINTED[name]())
            elif name in MEASURED:
                made.append(MEASURED[name](studies))
            else:
                made.append(weights.check(name))
        except LookupError as error:
            missing.append(str(error.args[0]))
    return Contradiction(one.key, one.where, one.issue, one.reading, one.confidence, one.checks,
                         one.claims, one.page, tuple(made), "; ".join(missing))  # fmt: skip
