# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.audit` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.studies.audit import CHOICES, AuditStudy
from rbtc.studies.measuring.common import at_least_one, subjects

if TYPE_CHECKING:
    from torch import Tensor

    from rbtc.attack.completion import Completion
    from rbtc.lab import Lab

CLASSES = ("church", "golf ball", "parachute", "French horn", "spider web", "candle")


def audit_study(
    lab: Lab,
    concepts: Sequence[str] = CLASSES,
    *,
    factors: Sequence[float] = (0.5, 1.0, 2.0),
    share: float = 0.02,
    repeats: int = 1,
    seed: int = 0,
) -> AuditStudy:
    """Cut classes at several ratios, estimate every layer's sign accuracy, and count the truth.

    The truth is that of the released completion, as everywhere in the book. The estimates see the
    pruned weights only.

    Args:
        lab: the models.
        concepts: two or more, paper classes or words of the model.
        factors: ratios of pruning, as multiples of the profile's.
        share: see `rbtc.attack.recoverability.estimate_sign_accuracy`, like repeats and seed.
        repeats: how often to hide and complete.
        seed: of the random choices.

    Raises:
        ValueError: fewer than two concepts, no factors or one twice, or a bad share.
    """
    from rbtc.layers import short_name

    at_least_one(repeats=repeats)
    chosen = subjects(lab, concepts)
    if len(chosen) < 2:
        raise ValueError("intervals over classes need at least two concepts, got one")
    if not factors or len({*factors}) < len(factors) or min(factors) <= 0:
        raise ValueError(f"expected one or more factors above 0, each once, got {list(factors)}")
    lines = []
    for subject in chosen:
        for factor in factors:
            ratio = factor * lab.profile.conceptprune.ratio
            pruned = lab.owner.pruned(subject, ratio=ratio).weights
            found = lab.completions(subject, ratio=ratio)
            for name, completion in found.items():
                place = {"concept": subject.label, "ratio": ratio, "layer": short_name(name)}
                original = lab.pretrained.weights[name]
                for choice in CHOICES:
                    line = _line(
                        pruned[name], original, completion, choice,
                        fraction=share, repeats=repeats, seed=seed,
                    )  # fmt: skip
                    lines.append({**place, "choice": choice, **line})
    return AuditStudy(tuple(chosen), pd.DataFrame(lines))


def _line(
    pruned: Tensor, original: Tensor, completion: Completion, choice: str, **options: float
) -> dict[str, float]:
    """Estimate, truth and circumstances of one layer."""
    import torch

    from rbtc.attack.recoverability import estimate_sign_accuracy, fast_complete
    from rbtc.attack.sign_accuracy import count_signs

    missing = completion.missing
    seen: list[Tensor] = []

    def watched(weight: Tensor, gone: Tensor) -> Completion:
        seen.append(gone)
        return fast_complete(weight, gone)

    estimate = estimate_sign_accuracy(
        pruned, missing, choose=CHOICES[choice], complete=watched, **options
    )
    alive = ~missing.all(dim=1)
    hidden = torch.zeros_like(missing)
    hidden[alive] = torch.stack(seen).any(dim=0) & ~missing[alive]
    truth = count_signs({"": completion}, {"": original})[""]
    crowded = missing.float().mean(dim=0).expand_as(pruned)  # (rows, columns)
    crowding = float(crowded[missing].mean())
    return {
        "estimated": estimate.value,
        "true": truth.value,
        "error": estimate.value - truth.value,
        "hidden": estimate.n,
        "cut": truth.n,
        "density": float(missing.float().mean()),
        "crowding": crowding,
        "gap": float(crowded[hidden].mean()) - crowding,
        "size": float(original[hidden].abs().mean() / original[missing].abs().mean()),
    }
