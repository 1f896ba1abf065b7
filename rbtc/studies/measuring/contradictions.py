"""What the weights of a model say of the paper's contradictions and open ends.

No picture is drawn but those that pruning needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.attack.sign_accuracy import count_signs
from rbtc.layers import density
from rbtc.models.subjects import Subject
from rbtc.report.misprints import Check
from rbtc.studies.contradictions import WeightStudy
from rbtc.studies.measuring.common import subjects

if TYPE_CHECKING:
    from rbtc.lab import Lab


def keep_scope(lab: Lab, concept: Subject) -> Check:
    """Right signs among those kept when K is counted per layer, per row, or over all layers."""
    base, masks = lab.owner.pruned(concept), lab.owner.masks(concept)
    numbers = {}
    for per in ("layer", "row", "global"):
        kept = lab.attacker.attack(base, per=per).weights
        signs = {name: kept[name].sign() * masks[name] for name in kept}
        found = count_signs(signs, lab.pretrained.weights).values()
        right, total = sum(one.correct for one in found), sum(one.n for one in found)
        numbers[f"right signs, K per {per}"] = f"{right / total:.3f}"
    return Check(numbers)


def drawn_magnitudes(lab: Lab, concept: Subject) -> Check:
    """Mean magnitude that the two readings of Neuron Sample write, relative to NMS's."""
    base, masks = lab.owner.pruned(concept), lab.owner.masks(concept)
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
        numbers[f"cut weights still zero, {code}"] = f"{zeros / total:.3f}"
    return Check(numbers, "supports" if set(numbers.values()) == {"1.000"} else "against")


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
    share = 1 - density(lab.owner.masks(concept))
    return Check({"entries observed": f"{share:.3f}"}, "supports" if share > 0.5 else "against")


CHECKS = (keep_scope, drawn_magnitudes, quantised_zeros, natural_zeros, observed_share)
"""By their names in `data/paper/contradictions.csv`."""


def measure(lab: Lab, concepts: Sequence[str] = ("golf ball",)) -> WeightStudy:
    """Look at the weights of the first concept's models.

    Raises:
        ValueError: no concept, an unknown one, or one given twice.
    """
    concept = subjects(lab, concepts)[0]
    lines = []
    for check in CHECKS:
        found = check(lab, concept)
        lines += [(check.__name__, *number, found.support) for number in found.numbers.items()]
    return WeightStudy(pd.DataFrame(lines, columns=["check", "number", "value", "support"]))
