"""How `rbtc.studies.topk_alignment` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rbtc.attack.completion import Completion
from rbtc.attack.sign_accuracy import alignment_matrix, top_rest_accuracy
from rbtc.lab import Lab
from rbtc.layers import Weights, short_name
from rbtc.studies.measuring.common import at_least_one, in_range, subjects
from rbtc.studies.topk_alignment import AlignmentStudy

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
    at_least_one(images=images)
    in_range(1, ratios=ratios, shown=shown)
    chosen = subjects(lab, concepts)
    original = lab.pretrained.weights
    recovered: dict[str, Completion] = {}
    truth: Weights = {}
    matrices, signs, pictures = {}, [], {}
    for subject in chosen:
        found = lab.completions(subject)
        recovered |= {f"{subject.word}/{name}": one for name, one in found.items()}
        truth |= {f"{subject.word}/{name}": original[name] for name in found}
        matrices[subject.label] = _matrix(found, original)
        for name, one in found.items():
            frame = top_rest_accuracy({name: one}, {name: original[name]}, ratios)
            for line in frame.to_dict("records"):
                for series, column in (("top K", "top"), ("rest", "rest")):
                    n = int(line[f"n_{column}"])
                    correct = round(line[column] * n) if n else 0
                    place = (subject.label, short_name(name), float(line["ratio"]))
                    signs.append((*place, series, correct, n))
        variants = {"pretrained": lab.pretrained, "pruned": lab.owner.pruned(subject)}
        variants |= {f"K = {ratio:g}": lab.revived(subject, keep_ratio=ratio) for ratio in shown}
        pictures[subject.label] = {
            name: lab.measure.shown(variant, subject, images, seed)
            for name, variant in variants.items()
        }
    if len(chosen) > 1:
        matrices[f"all {len(chosen)} concepts"] = _matrix(recovered, truth)
    columns = ["concept", "layer", "ratio", "series", "correct", "n"]
    return AlignmentStudy(tuple(chosen), matrices, pd.DataFrame(signs, columns=columns), pictures)


def _matrix(found: dict[str, Completion], truth: Weights) -> pd.DataFrame:
    shares = alignment_matrix(found, truth, GROUPS).numpy()
    groups = range(1, GROUPS + 1)
    return pd.DataFrame(shares, [f"R{i}" for i in groups], [f"P{i}" for i in groups])
