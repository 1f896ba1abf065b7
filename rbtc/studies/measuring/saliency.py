# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.saliency` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.studies.measuring.common import at_least_one, judged, subjects
from rbtc.studies.saliency import FF, METHODS, SaliencyStudy, model_name

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

BUDGETS = (1.0, 1 / 16)
"""Shares of ConceptPrune's number of weights, where the gradient scores rank all together."""


def saliency_study(
    lab: Lab,
    concepts: Sequence[str] = ("golf ball", "church", "parachute"),
    images: int = 8,
    *,
    other_images: int = 1,
    wide: bool = True,
    budgets: Sequence[float] = BUDGETS,
    pictures: int = 2,
    seed: int = 0,
    forget: int = 48,
    passes: int = 4,
    loss_guidance: float = 1.0,
) -> SaliencyStudy:
    """Cut each concept in three ways, attack each, and count (paper App. E).

    The gradient scores cut the share of every feed-forward output matrix that ConceptPrune cuts of
    them all for the same concept. The forget set is drawn by the pretrained model, see
    `rbtc.pruning.saliency`.

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures of the erased concept per model.
        other_images: pictures per other class and model.
        wide: also cut the same number of weights in all layers, attention and convolutions with
            the feed-forward outputs, the same share of each.
        budgets: also cut by the ranking of all feed-forward outputs together, this share of
            ConceptPrune's number of weights.
        pictures: how many of each model to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.
        forget: pictures in the forget set.
        passes: how often each of them is used.
        loss_guidance: guidance inside the loss; 1 is the loss the model was trained with.

    Raises:
        ValueError: a bad count, concept or setting, before any work.
    """
    from rbtc.pruning.saliency import SaliencyConfig
    from rbtc.studies.saliency_cuts import ALL, facts_of, gradient_cuts, missing_places, pruned_by

    at_least_one(images=images, other_images=other_images, pictures=pictures, forget=forget)
    lab.judges.require("object")
    options = {"pictures": forget, "passes": passes, "loss_guidance": float(loss_guidance)}
    SaliencyConfig(**options)  # refuses what cannot be, before any work
    cuts = gradient_cuts(wide, budgets)
    chosen = subjects(lab, concepts)
    plain = {"stage": "", "method": "", "layers": ""}
    frames, facts, shown, others = [], [], {}, {}
    for subject in chosen:
        models: list[tuple[dict[str, str], Variant]] = [
            ({"model": "pretrained", **plain}, lab.pretrained)
        ]
        for cut in cuts:
            for method, score in METHODS.items():
                if score is None and cut.name != FF:
                    continue
                pruned = pruned_by(lab, subject, score, cut, **options)
                missing = missing_places(pruned.weights)
                # Hundreds of matrices: straight to the limit of the released iteration.
                solver = {"fast": True} if cut.name == ALL else {}
                revived = lab.attacker.attack(pruned, missing=missing, **solver)
                for stage, variant in (("pruned", pruned), ("revived", revived)):
                    columns = {"stage": stage, "method": method, "layers": cut.name}
                    models.append(
                        ({"model": model_name(stage, method, cut.name), **columns}, variant)
                    )
                own = {"concept": subject.label, "method": method, "layers": cut.name}
                found = lab.attacker.complete(pruned, missing=missing, **solver)
                facts.append({**own, **facts_of(lab, subject, pruned, found, cut)})
        frames.append(
            judged(lab, subject, models, images, other_images=other_images, first_seed=seed)
        )
        drawn = {
            name["model"]: lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in models
        }
        for stage in ("pruned", "revived"):
            shown[f"{subject.label}, {stage}"] = {
                "pretrained": drawn["pretrained"],
                **{method: drawn[model_name(stage, method, FF)] for method in METHODS},
            }
            others[f"{subject.label}, {stage}"] = {
                f"{name['method']},\n{name['layers']}": drawn[name["model"]]
                for name, _ in models
                if name["stage"] == stage and name["layers"] != FF
            }
    return SaliencyStudy(
        tuple(chosen),
        pd.concat(frames, ignore_index=True),
        pd.DataFrame(facts),
        shown,
        others if len(cuts) > 1 else {},
    )
