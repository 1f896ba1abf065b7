"""How `rbtc.studies.explorers` is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rbtc.attack.sign_accuracy import SignAccuracy, count_signs
from rbtc.attack.topk import retain_signs
from rbtc.defense.detection import detection
from rbtc.lab import Lab, Variant
from rbtc.layers import Masks, Weights
from rbtc.models.subjects import Subject
from rbtc.report.sprites import Bars, Explorer, Fact, Facts
from rbtc.report.tables import power
from rbtc.studies.common import STRATEGIES
from rbtc.studies.defense import ATTACKERS
from rbtc.studies.explorers import MODELS, ExplorerStudy
from rbtc.studies.measuring.common import PAPER_CLASSES, in_range, subjects
from rbtc.studies.nms_ablations import KEEP_RATIOS

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
    in_range(1, keep_ratios=keep_ratios, share=share)
    in_range(sigmas=sigmas, threshold_sigmas=threshold_sigmas)
    for ratio in ratios:
        lab.owner.settings(ratio=ratio)
    chosen = subjects(lab, concepts, least=2)  # the erased class is shown beside another one
    return ExplorerStudy(
        _compare(lab, chosen, seed),
        _keep(lab, chosen, keep_ratios, seed, draw_seed),
        _prune_ratio(lab, chosen, ratios, seed),
        _noise(lab, chosen, sigmas, seed, noise_seed, share, threshold_sigmas),
    )


def _compare(lab: Lab, chosen: Sequence[Subject], seed: int) -> Explorer:
    """Pretrained, pruned and revived, same prompt and same seed."""
    pictures = []
    for one in chosen:
        for variant in (lab.pretrained, lab.owner.pruned(one), lab.revived(one)):
            pictures.append(lab.measure.shown(variant, one, 1, seed))
    return _explorer("compare", "model", tuple(MODELS), chosen, pictures, {})


def _keep(
    lab: Lab, chosen: Sequence[Subject], keep_ratios: Sequence[float], seed: int, draw_seed: int
) -> Explorer:
    """The revived picture over K, for every magnitude strategy, with its share of right signs."""
    pictures, facts = [], {}
    for c, one in enumerate(chosen):
        completions = lab.completions(one)
        for strategy in STRATEGIES.values():
            for k in keep_ratios:
                revived = lab.revived(one, keep_ratio=k, strategy=strategy, seed=draw_seed)
                pictures.append(lab.measure.shown(revived, one, 1, seed))
        for step, k in enumerate(keep_ratios):
            kept = count_signs(retain_signs(completions, keep_ratio=k), lab.pretrained.weights)
            right = sum(kept.values(), SignAccuracy(0, 0)).value
            signs = Fact("right signs of those kept", right, f"{right:.2f}")
            facts |= {(c, kind, step): (signs,) for kind in range(len(STRATEGIES))}
    return _explorer(
        "keep", "K", keep_ratios, chosen, pictures, facts, kinds=tuple(STRATEGIES),
        own=lab.profile.revive.keep_ratio,
    )  # fmt: skip


def _prune_ratio(
    lab: Lab, chosen: Sequence[Subject], ratios: Sequence[float], seed: int
) -> Explorer:
    """The pruned model's picture of the erased class and of the next one, over the prune ratio."""
    pictures, facts = [], {}
    for c, one in enumerate(chosen):
        pair = (one, chosen[(c + 1) % len(chosen)])
        for step, ratio in enumerate(ratios):
            pruned = lab.owner.pruned(one, ratio=ratio)
            pictures += [lab.measure.shown(pruned, asked, 1, seed) for asked in pair]
            density = lab.density(one, ratio=ratio)
            facts[c, 0, step] = (Fact("share of weights cut", density, f"{density:.2f}"),)
    return _explorer(
        "ratio", "prune ratio", ratios, chosen, pictures, facts,
        views=("erased class", "the next class"), own=lab.profile.conceptprune.ratio,
    )  # fmt: skip


def _noise(
    lab: Lab,
    chosen: Sequence[Subject],
    sigmas: Sequence[float],
    seed: int,
    noise_seed: int,
    share: float,
    threshold_sigmas: float,
) -> Explorer:
    """The defended picture over the noise, where the weights lie, and what attackers find."""
    pictures, facts, bars = [], {}, {}
    for c, one in enumerate(chosen):
        masks = lab.owner.masks(one)
        for step, sigma in enumerate(sigmas):
            variant = lab.owner.obfuscated(one, sigma=sigma, seed=noise_seed)
            pictures.append(lab.measure.shown(variant, one, 1, seed))
            bars[c, step] = histogram(variant.weights, masks)
            facts[c, 0, step] = _found(lab, variant, masks, share, threshold_sigmas * sigma)
    return _explorer(
        "noise", "standard deviation of the noise", tuple(map(power, sigmas)), chosen, pictures,
        facts, bars=bars, ends=("1e-8", "1"),
    )  # fmt: skip


def _explorer(
    name: str,
    slider: str,
    steps: Sequence[float | str],
    chosen: Sequence[Subject],
    pictures: Sequence[np.ndarray],
    facts: Mapping[tuple[int, int, int], Facts],
    *,
    kinds: tuple[str, ...] = ("",),
    views: tuple[str, ...] = ("",),
    own: float | None = None,
    **more: Any,
) -> Explorer:
    """An explorer of pictures (1, h, w, 3), one for each concept, kind, step and view in turn.

    It starts at the step ``own``, the profile's, if that is one.
    """
    shape = (len(chosen), len(kinds), len(steps), len(views), *pictures[0].shape[1:])
    labels = tuple(one.label for one in chosen)
    told = tuple(step if isinstance(step, str) else f"{step:g}" for step in steps)
    start = list(steps).index(own) if own in steps else 0
    shaped = np.concatenate(pictures).reshape(shape)
    return Explorer(name, slider, told, kinds, views, labels, shaped, dict(facts), start=start,
                    **more)  # fmt: skip


def _found(lab: Lab, variant: Variant, masks: Masks, share: float, threshold: float) -> Facts:
    """How much of the cut each attacker names, and how much of what it names was cut."""
    facts = []
    for attacker in ATTACKERS:
        guess = lab.attacker.guess(variant, attacker=attacker, share=share, threshold=threshold)
        seen = detection(guess, masks)
        told = f"{seen.recall:.2f} of the cut"
        facts.append(Fact(f"{attacker} attacker finds", seen.recall, told))
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
    total = sum(mask.numel() for mask in masks.values())
    shares = []
    for pruned in (False, True):
        own = [weights[name][masks[name] == pruned].detach().abs() for name in sorted(weights)]
        magnitudes = torch.cat(own).cpu().double().numpy()
        exponents = np.log10(magnitudes.clip(10 ** DECADES[0], 10 ** DECADES[-1]))
        shares.append(tuple((np.histogram(exponents, DECADES)[0] / total).tolist()))
    return Bars(*shares)
