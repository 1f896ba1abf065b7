"""How `rbtc.studies.saliency` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rbtc.lab import Lab
from rbtc.pruning.saliency import SaliencyConfig
from rbtc.studies.measuring.common import Tally, at_least_one, subjects
from rbtc.studies.saliency import FF, METHODS, SaliencyStudy, model_name
from rbtc.studies.saliency_cuts import ALL, facts_of, gradient_cuts, missing_places, pruned_by

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
    at_least_one(other_images=other_images, forget=forget)
    options = {"pictures": forget, "passes": passes, "loss_guidance": float(loss_guidance)}
    SaliencyConfig(**options)  # refuses what cannot be
    cuts = gradient_cuts(wide, budgets)
    chosen = subjects(lab, concepts)
    tally = Tally(lab, images, other_images=other_images, pictures=pictures, seed=seed)
    facts, shown, others = [], {}, {}
    for subject in chosen:
        tally.add(subject, "pretrained", lab.pretrained, stage="", method="", layers="")
        ways = [(cut, *way) for cut in cuts for way in METHODS.items()]
        for cut, method, score in ways:
            if score is None and cut.name != FF:
                continue
            pruned = pruned_by(lab, subject, score, cut, **options)
            missing = missing_places(pruned.weights)
            # Hundreds of matrices: straight to the limit of the released iteration.
            solver = {"fast": True} if cut.name == ALL else {}
            revived = lab.attacker.attack(pruned, missing=missing, **solver)
            columns = {"method": method, "layers": cut.name}
            for stage, variant in (("pruned", pruned), ("revived", revived)):
                name = model_name(stage, method, cut.name)
                tally.add(subject, name, variant, stage=stage, **columns)
            found = lab.attacker.complete(pruned, missing=missing, **solver)
            own = {"concept": subject.label, **columns}
            facts.append({**own, **facts_of(lab, subject, pruned, found, cut)})
        drawn = tally.shown[subject.label]
        for stage in ("pruned", "revived"):
            shown[f"{subject.label}, {stage}"] = {
                "pretrained": drawn["pretrained"],
                **{method: drawn[model_name(stage, method, FF)] for method in METHODS},
            }
            others[f"{subject.label}, {stage}"] = {
                f"{method},\n{cut.name}": drawn[model_name(stage, method, cut.name)]
                for cut, method, score in ways
                if score is not None and cut.name != FF
            }
    return SaliencyStudy(
        tuple(chosen), tally.hits, pd.DataFrame(facts), shown, others if len(cuts) > 1 else {}
    )
