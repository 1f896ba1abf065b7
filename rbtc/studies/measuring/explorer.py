"""How `rbtc.studies.explorers` is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rbtc.models.subjects import Subject
from rbtc.report.sprites import Bars, Explorer, Fact, Facts
from rbtc.report.tables import power
from rbtc.studies.common import STRATEGIES
from rbtc.studies.defense import ATTACKERS
from rbtc.studies.explorers import MODELS, ExplorerStudy
from rbtc.studies.measuring.common import PAPER_CLASSES, subjects
from rbtc.studies.nms_ablations import KEEP_RATIOS

if TYPE_CHECKING:
    import torch

    from rbtc.lab import Lab, Variant
    from rbtc.layers import Masks, Weights

DECADES = np.linspace(-8, 0, 41)
"""Edges of the histogram's bins: powers of ten of a weight's magnitude."""


def measure(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    *,
    keep_ratios: Sequence[float] = KEEP_RATIOS,
    ratios: Sequence[float] = (0.02, 0.05, 0.08, 0.1, 0.15),
    sigmas: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    seed: int = 0,
    draw_seed: int = 2021,
    noise_seed: int = 0,
) -> ExplorerStudy:
    """What the page needs of a model.

    Args:
        lab: the models.
        concepts: at least two paper classes or words of the model.
        keep_ratios: K of the attack.
        ratios: of pruning.
        sigmas: of the defence, standard deviations.
        share: budget of the first attacker on the defended model.
        threshold_sigmas: the second attacker takes all weights below this many sigma.
        seed: of every picture.
        draw_seed: of drawn magnitudes.
        noise_seed: of the defence.

    Raises:
        ValueError: fewer than two concepts, or a bad ratio.
    """
    return ExplorerStudy(
        compare(lab, concepts, seed),
        keep(lab, concepts, keep_ratios, seed, draw_seed=draw_seed),
        prune_ratio(lab, concepts, ratios, seed),
        noise(lab, concepts, sigmas, seed, noise_seed=noise_seed, share=share,
              threshold_sigmas=threshold_sigmas),
    )  # fmt: skip


def _drawn(lab: Lab, variant: Variant, chosen: Sequence[Subject], seed: int) -> np.ndarray:
    """One picture of each concept, all with the same seed: (concepts, h, w, 3)."""
    return np.concatenate([lab.measure.shown(variant, one, 1, seed) for one in chosen])


def _stacked(
    chosen: Sequence[Subject], draw: Callable[[Subject], list[list[np.ndarray]]]
) -> np.ndarray:
    """What `draw` gives for each concept, kind by kind, step by step; see `Explorer.pictures`."""
    return np.stack([np.stack([np.stack(steps) for steps in draw(one)]) for one in chosen])


def compare(lab: Lab, concepts: Sequence[str], seed: int = 0) -> Explorer:
    """Pretrained, pruned and revived, same prompt and same seed."""
    chosen = subjects(lab, concepts)

    def draw(one: Subject) -> list[list[np.ndarray]]:
        variants = (lab.pretrained, lab.owner.pruned(one), lab.revived(one))
        return [[_drawn(lab, variant, [one], seed) for variant in variants]]

    return Explorer(
        "compare", "model", tuple(MODELS), ("",), ("",), _labels(chosen), _stacked(chosen, draw), {}
    )


def keep(
    lab: Lab,
    concepts: Sequence[str],
    keep_ratios: Sequence[float],
    seed: int = 0,
    *,
    draw_seed: int = 2021,
) -> Explorer:
    """The revived picture over K, for every magnitude strategy, with its share of right signs."""
    from rbtc.attack.sign_accuracy import SignAccuracy, count_signs
    from rbtc.attack.topk import check_keep, retain_signs

    for k in keep_ratios:
        check_keep(k)
    chosen = subjects(lab, concepts)

    def draw(one: Subject) -> list[list[np.ndarray]]:
        return [
            [
                _drawn(
                    lab, lab.revived(one, keep_ratio=k, strategy=way, seed=draw_seed), [one], seed
                )
                for k in keep_ratios
            ]
            for way in STRATEGIES.values()
        ]

    facts = {}
    for c, one in enumerate(chosen):
        completions = lab.completions(one)
        for step, k in enumerate(keep_ratios):
            kept = retain_signs(completions, keep_ratio=k)
            pooled = sum(count_signs(kept, lab.pretrained.weights).values(), SignAccuracy(0, 0))
            signs = Fact("right signs of those kept", pooled.value, f"{pooled.value:.2f}")
            for kind in range(len(STRATEGIES)):
                facts[c, kind, step] = (signs,)
    own = lab.profile.revive.keep_ratio
    return Explorer(
        "keep", "K", tuple(f"{k:g}" for k in keep_ratios), tuple(STRATEGIES), ("",),
        _labels(chosen), _stacked(chosen, draw), facts,
        start=list(keep_ratios).index(own) if own in keep_ratios else 0,
    )  # fmt: skip


def prune_ratio(
    lab: Lab, concepts: Sequence[str], ratios: Sequence[float], seed: int = 0
) -> Explorer:
    """The pruned model's picture of the erased class and of the next one, over the prune ratio."""
    for ratio in ratios:
        lab.owner.settings(ratio=ratio)
    chosen = subjects(lab, concepts)
    if len(chosen) < 2:
        raise ValueError("the erased class is shown beside another one: name two concepts")
    after = dict(zip(chosen, [*chosen[1:], chosen[0]], strict=True))

    def draw(one: Subject) -> list[list[np.ndarray]]:
        variants = [lab.owner.pruned(one, ratio=ratio) for ratio in ratios]
        pair = [one, after[one]]
        return [[_drawn(lab, variant, pair, seed) for variant in variants]]

    own, facts = lab.profile.conceptprune.ratio, {}
    for c, one in enumerate(chosen):
        for step, ratio in enumerate(ratios):
            cut = lab.density(one, ratio=ratio)
            facts[c, 0, step] = (Fact("share of weights cut", cut, f"{cut:.2f}"),)
    return Explorer(
        "ratio", "prune ratio", tuple(f"{ratio:g}" for ratio in ratios), ("",),
        ("erased class", "the next class"), _labels(chosen),
        _stacked(chosen, draw), facts,
        start=list(ratios).index(own) if own in ratios else 0,
    )  # fmt: skip


def noise(
    lab: Lab,
    concepts: Sequence[str],
    sigmas: Sequence[float],
    seed: int = 0,
    *,
    noise_seed: int = 0,
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
) -> Explorer:
    """The defended picture over the noise, where the weights lie, and what attackers find."""
    chosen = subjects(lab, concepts)
    facts, bars = {}, {}

    def draw(one: Subject) -> list[list[np.ndarray]]:
        c, masks, steps = chosen.index(one), lab.owner.masks(one), []
        for step, sigma in enumerate(sigmas):
            variant = lab.owner.obfuscated(one, sigma=sigma, seed=noise_seed)
            steps.append(_drawn(lab, variant, [one], seed))
            bars[c, step] = histogram(variant.weights, masks)
            facts[c, 0, step] = found(
                lab, variant, masks, share=share, threshold=threshold_sigmas * sigma
            )
        return [steps]

    pictures = _stacked(chosen, draw)
    return Explorer(
        "noise", "standard deviation of the noise", tuple(map(power, sigmas)), ("",), ("",),
        _labels(chosen), pictures, facts, bars, ends=("1e-8", "1"),
    )  # fmt: skip


def found(lab: Lab, variant: Variant, masks: Masks, *, share: float, threshold: float) -> Facts:
    """How much of the cut each attacker names, and how much of what it names was cut."""
    from rbtc.defense.detection import detection

    facts = []
    for attacker in ATTACKERS:
        guess = lab.attacker.guess(variant, attacker=attacker, share=share, threshold=threshold)
        seen = detection(guess, masks)
        facts.append(
            Fact(f"{attacker} attacker finds", seen.recall, f"{seen.recall:.2f} of the cut")
        )
        if seen.flagged:
            right = f"{seen.precision:.2f} of what it names"
            facts.append(Fact(f"{attacker} attacker is right", seen.precision, right))
    return tuple(facts)


def histogram(weights: Weights, masks: Masks) -> Bars:
    """Where the magnitudes of cut and of other weights lie, in the bins of `DECADES`.

    Args:
        weights: weight name -> (rows, columns).
        masks: weight name -> bool (rows, columns), True = cut.

    Returns:
        Shares of all weights. What lies outside the bins counts in the first and in the last one.
    """
    import torch

    parts: dict[bool, list[torch.Tensor]] = {False: [], True: []}
    for name in sorted(weights):
        for cut, own in parts.items():
            own.append(weights[name][masks[name] == cut].detach().abs().cpu().double())
    total = sum(mask.numel() for mask in masks.values())
    counts = {}
    for cut, own in parts.items():
        magnitudes = torch.cat(own).numpy().clip(10 ** DECADES[0], 10 ** DECADES[-1])
        counts[cut] = np.histogram(np.log10(magnitudes), DECADES)[0] / total
    return Bars(tuple(counts[False].tolist()), tuple(counts[True].tolist()))


def _labels(chosen: Sequence[Subject]) -> tuple[str, ...]:
    return tuple(subject.label for subject in chosen)
