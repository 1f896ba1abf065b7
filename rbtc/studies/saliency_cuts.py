"""The cuts that chapter 09 compares: by activations, by gradients, in which layers, how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbtc.attack.completion import Completion
from rbtc.attack.sign_accuracy import SignAccuracy, count_signs
from rbtc.defense.detection import spare_whole_rows
from rbtc.layers import Masks, Weights, density, zero_masks
from rbtc.matrices import ALL_KINDS, FEED_FORWARD, LayerKind
from rbtc.models.subjects import Subject
from rbtc.pruning.saliency import Ranking, Score
from rbtc.studies.saliency import FF

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

ALL = "all"
"""Name of a cut: attention and convolutions with the feed-forward outputs."""


@dataclass(frozen=True)
class Cut:
    """Where the gradient scores cut, and how much.

    Attributes:
        name: Its short name.
        kinds: The layers.
        per: "layer" cuts the same share of every matrix; "all" ranks all weights together.
        budget: Weights to cut, as a share of those that ConceptPrune cuts.
    """

    name: str
    kinds: tuple[LayerKind, ...] = FEED_FORWARD
    per: Ranking = "layer"
    budget: float = 1.0


def gradient_cuts(wide: bool, budgets: Sequence[float]) -> list[Cut]:
    """The cuts of a study: always the feed-forward outputs, the same share of each.

    Args:
        wide: also the same number of weights out of all layers, the same share of each.
        budgets: also by the ranking of all feed-forward weights together, for each of these.

    Raises:
        ValueError: a budget outside (0, 1].
    """
    if wrong := [budget for budget in budgets if not 0 < budget <= 1]:
        raise ValueError(f"budgets must lie in (0, 1], not {wrong}")
    return [
        Cut(FF),
        *([Cut(ALL, ALL_KINDS)] if wide else []),
        *(Cut(together(budget), per="all", budget=budget) for budget in budgets),
    ]


def together(budget: float) -> str:
    """Name of a cut by the ranking of all feed-forward weights together."""
    return f"ff together x {budget:g}"


def missing_places(weights: Weights) -> Masks | None:
    """What an attacker completes: the exact zeros, except in rows that hold nothing else.

    None where no row is cut as a whole, which is what `Attacker.attack` takes for all zeros.
    """
    zeros = zero_masks(weights)
    if not any(bool(mask.all(dim=1).any()) for mask in zeros.values()):
        return None
    return spare_whole_rows(zeros)


def pruned_by(lab: Lab, subject: Subject, score: Score | None, cut: Cut, **options: Any) -> Variant:
    """The model pruned for a concept: by ConceptPrune where there is no score, else by ``cut``.

    Options are fields of `rbtc.pruning.saliency.SaliencyConfig`.
    """
    if score is None:
        return lab.owner.pruned(subject)
    share = cut.budget * density(lab.owner.masks(subject))
    if cut.name == ALL:  # the same number of weights, out of more
        narrow = sum(weight.numel() for weight in lab.pretrained.weights.values())
        broad = sum(weight.numel() for weight in lab.pipeline_state.matrices(cut.kinds).values())
        share *= narrow / broad
    return lab.owner.salient(subject, score, share=share, kinds=cut.kinds, per=cut.per, **options)


def facts_of(
    lab: Lab, subject: Subject, pruned: Variant, found: Mapping[str, Completion], cut: Cut
) -> dict[str, float]:
    """How much was cut, and how much of it the completion got right; see `SaliencyStudy.cuts`."""
    zeros = zero_masks(pruned.weights)
    shared = [zeros[name] & mask for name, mask in lab.owner.masks(subject).items()]
    truth = lab.pipeline_state.matrices(cut.kinds)
    signs = sum(count_signs(found, truth).values(), SignAccuracy(0, 0))
    return {
        "weights": sum(mask.numel() for mask in zeros.values()),
        "cut": sum(int(mask.sum()) for mask in zeros.values()),
        "densest": max(float(mask.double().mean()) for mask in zeros.values()),
        "shared": sum(int(mask.sum()) for mask in shared),
        "whole_rows": sum(int(mask.all(dim=1).sum()) for mask in zeros.values()),
        "signs": signs.n,
        "right": signs.correct,
    }
