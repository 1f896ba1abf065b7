# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.topk_alignment` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.studies.measuring.common import at_least_one, subjects
from rbtc.studies.topk_alignment import AlignmentStudy

if TYPE_CHECKING:
    from rbtc.attack.completion import Completion
    from rbtc.lab import Lab
    from rbtc.layers import Weights

GROUPS = 5
"""Groups of equal count in the paper's Table 5."""


def alignment_study(
    lab: Lab,
    concepts: Sequence[str] = ("golf ball", "church", "parachute"),
    *,
    ratios: Sequence[float] = (0.2, 0.3, 0.5, 0.7, 0.9),
    shown: Sequence[float] = (0.2, 0.6, 1.0),
    images: int = 4,
    seed: int = 0,
) -> AlignmentStudy:
    """Compare the released completion's magnitudes with those before pruning (paper App. B).

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model; the first is also shown on its own.
        ratios: values of K.
        shown: values of K in the picture grid.
        images: pictures per model in the picture grid.
        seed: first seed of the pictures.

    Raises:
        ValueError: no picture, a K outside (0, 1], or an unknown concept.
    """
    from rbtc.attack.sign_accuracy import top_rest_accuracy
    from rbtc.attack.topk import check_keep
    from rbtc.layers import short_name

    at_least_one(images=images)
    for k in (*ratios, *shown):
        check_keep(k)
    chosen = subjects(lab, concepts)
    original = lab.pretrained.weights
    recovered: dict[str, Completion] = {}
    truth: Weights = {}
    matrices, signs, images_of = {}, [], {}
    for subject in chosen:
        found = lab.completions(subject)
        recovered |= {f"{subject.word}/{name}": one for name, one in found.items()}
        truth |= {f"{subject.word}/{name}": original[name] for name in found}
        matrices[subject.label] = _matrix(found, original)
        for name, one in found.items():
            lines = top_rest_accuracy({name: one}, {name: original[name]}, ratios)
            for line in lines.to_dict("records"):
                for series, column in (("top K", "top"), ("rest", "rest")):
                    n = int(line[f"n_{column}"])
                    correct = round(line[column] * n) if n else 0
                    place = {"concept": subject.label, "layer": short_name(name)}
                    signs.append(
                        {**place, "ratio": float(line["ratio"]), "series": series,
                         "correct": correct, "n": n}
                    )  # fmt: skip
        variants = {"pretrained": lab.pretrained, "pruned": lab.owner.pruned(subject)}
        variants |= {f"K = {ratio:g}": lab.revived(subject, keep_ratio=ratio) for ratio in shown}
        images_of[subject.label] = {
            name: lab.measure.shown(variant, subject, images, seed)
            for name, variant in variants.items()
        }
    if len(chosen) > 1:
        matrices[f"all {len(chosen)} concepts"] = _matrix(recovered, truth)
    return AlignmentStudy(tuple(chosen), matrices, pd.DataFrame(signs), images_of)


def _matrix(found: dict[str, Completion], truth: Weights) -> pd.DataFrame:
    from rbtc.attack.sign_accuracy import alignment_matrix

    return pd.DataFrame(
        alignment_matrix(found, truth, GROUPS).numpy(),
        index=[f"R{i}" for i in range(1, GROUPS + 1)],
        columns=[f"P{i}" for i in range(1, GROUPS + 1)],
    )
