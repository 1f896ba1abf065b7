"""Which noise hides the pruned weights best: sigma chosen against the strongest attacker at hand.

Gaussian obfuscation (`rbtc.defense.gaussian.obfuscate`) has one parameter, the standard deviation
of its noise. Every candidate is tried on the model itself against every attacker, and the strongest
decides. The attackers are given the fraction of pruned weights and sigma, which a real one has to
estimate. With names of weights as its answer an attacker's strength is

    advantage = recall - (fraction of the untouched weights that it names as well),

0 for one that names at random and 1 for one that finds every filled weight and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from rbtc.defense.detection import budget_attack, detection, detection_auc, threshold_attack
from rbtc.defense.gaussian import obfuscate, pooled_sigma, posterior, survivors
from rbtc.defense.mask_inference import modified_probability, name_modified
from rbtc.layers import Masks, Weights, density, far_exponent, scaled, zero_masks

FACTORS = (0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Candidates for sigma, in units of the surviving weights' standard deviation sigma_U."""

CLOSE = 0.01
"""Advantages this close count as equal; the smallest sigma of those is taken."""

SAMPLE = 10_000_000
"""Weights on which the candidates are tried: whole layers, one of every shape before others."""


@dataclass(frozen=True)
class Knowledge:
    """What an attacker is told about the defence.

    sigma: standard deviation of the noise. fraction: fraction of weights that hold noise, over all
    layers; fractions: the same by layer.
    """

    sigma: float
    fraction: float
    fractions: Mapping[str, float]


Attacker = Callable[[Weights, Knowledge], Masks]
"""Names the weights it takes for noise: (obfuscated weights, knowledge) -> masks."""


def posterior_attack(weights: Weights, told: Knowledge) -> Masks:
    """Name the weights that are likelier to be noise than not before they were seen.

    Under the mixture of Eq. 7, layer by layer, with sigma_U taken from the obfuscated layer's
    variance less the noise's part of it. The cut at the prior maximises the advantage when the
    weights are Gaussian, on whichever side of the survivors the noise lies.
    """
    flagged: Masks = {}
    for name, weight in weights.items():
        fraction, value = told.fractions[name], weight.detach().double()
        rest = (value.var(correction=0) - fraction * told.sigma**2) / max(1 - fraction, 1e-12)
        if not 0 < fraction < 1 or not rest > 0:
            flagged[name] = torch.zeros(weight.shape, dtype=torch.bool, device=weight.device)
            continue
        found = posterior(
            value, alpha=fraction, sigma_modified=told.sigma, sigma_unmodified=math.sqrt(rest)
        )
        flagged[name] = found > fraction
    return flagged


def smallest_of_all(weights: Weights, told: Knowledge) -> Masks:
    """Name the smallest magnitudes of all layers together, as many as hold noise."""
    half = 0.5 / sum(weight.numel() for weight in weights.values())  # the budget is rounded down
    return budget_attack(weights, fraction=told.fraction + half)


def smallest_of_each(weights: Weights, told: Knowledge) -> Masks:
    """Name the smallest magnitudes of each layer, as many as hold noise there."""
    flagged: Masks = {}
    for name, weight in weights.items():
        fraction = told.fractions[name]
        if 0 < fraction < 1:
            flagged |= budget_attack({name: weight}, fraction=fraction + 0.5 / weight.numel())
        else:
            flagged[name] = torch.full(weight.shape, fraction == 1, device=weight.device)
    return flagged


ATTACKERS: dict[str, Attacker] = {
    "smallest of all": smallest_of_all,
    "smallest of each layer": smallest_of_each,
    "below 5 sigma": lambda weights, told: threshold_attack(weights, threshold=5 * told.sigma),
    "posterior": posterior_attack,
    # Chapter 15's honest attacker, who is told nothing.
    "columns": lambda weights, told: name_modified(modified_probability(weights)),
}
"""Everyone who tries to find the filled weights; add a stronger one here."""

SLOW = ("columns",)
"""Those who take minutes on a large model: they try the candidates that the others leave open."""


@dataclass(frozen=True)
class Trial:
    """How one sigma fares.

    sigma: standard deviation of the noise. relative: sigma over sigma_U of all surviving weights.
    attacker, advantage: the strongest attacker, a key of `ATTACKERS`, and its advantage. precision:
    fraction of what it names that is noise; NaN if it names nothing. recall: fraction of the noise
    that it names. auc: area under the ROC curve of -|w| over all layers. disturbance: norm of the
    noise over the norm of the model's matrices.
    """

    sigma: float
    relative: float
    attacker: str
    advantage: float
    precision: float
    recall: float
    auc: float
    disturbance: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where NaN is null."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, eq=False)
class Hardening:
    """A hardened model and why its noise is what it is.

    Attributes:
        weights: All layers, the pruned weights filled.
        chosen: The trial of the sigma that was taken.
        trials: All trials, by rising sigma.
        sigma_unmodified: Standard deviation sigma_U of the surviving weights.
    """

    weights: Weights
    chosen: Trial
    trials: tuple[Trial, ...]
    sigma_unmodified: float


def harden(
    pruned: Weights,
    *,
    sigma: float | None = None,
    factors: Sequence[float] = FACTORS,
    seed: int,
    attackers: Mapping[str, Attacker] | None = None,
    watch: Callable[[Sequence[float]], Iterable[float]] = iter,
) -> Hardening:
    """Fill the zeros of a pruned model with the noise that is hardest to find.

    The candidates are tried on some layers of a large model (`SAMPLE`), and by the slow attackers
    (`SLOW`) only where the others leave it open: an advantage in the table is then the smallest
    that the strongest attacker can have.

    Args:
        pruned: weight name -> (rows, columns), zero where pruned.
        sigma: standard deviation to take; None takes the best of the candidates.
        factors: candidates in units of sigma_U; with `sigma` given, they are tried for comparison.
        seed: of the noise. Whoever knows it can draw the noise again and find all of it, so it must
            be secret: take it from `secrets`.
        attackers: who tries to find the noise; None takes `ATTACKERS`.
        watch: hands the candidates through, and may show a progress bar meanwhile.

    Raises:
        ValueError: no zeros, no survivors, or a sigma or factor that is not positive and finite.
    """
    for value in (*factors, *([] if sigma is None else [sigma])):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"a sigma must be a positive finite number, not {value}")
    masks = zero_masks(pruned)
    if far := far_exponent(pruned.values()):
        near = harden(
            {name: scaled(weight, -far) for name, weight in pruned.items()},
            sigma=None if sigma is None else math.ldexp(sigma, -far),
            factors=factors, seed=seed, attackers=attackers, watch=watch,
        )  # fmt: skip
        trials = tuple(replace(t, sigma=math.ldexp(t.sigma, far)) for t in near.trials)
        chosen = trials[near.trials.index(near.chosen)]
        weights = obfuscate(pruned, masks, sigma=chosen.sigma, seed=seed)
        return Hardening(weights, chosen, trials, math.ldexp(near.sigma_unmodified, far))
    if not any(bool(mask.any()) for mask in masks.values()):
        raise ValueError(
            f"none of the {len(pruned)} layers has an exact zero: there is nothing to hide, "
            "prune the model first"
        )
    wide = pooled_sigma(survivors(pruned, masks))
    if not wide > 0:
        raise ValueError("no surviving weight differs from another: there is nothing to hide among")
    candidates = sorted({factor * wide for factor in factors} | ({sigma} if sigma else set()))
    some = _sample(pruned, masks)
    part = {name: pruned[name] for name in some}, {name: masks[name] for name in some}
    everyone = ATTACKERS if attackers is None else attackers
    slow = {name: attack for name, attack in everyone.items() if name in SLOW}
    quick = {name: attack for name, attack in everyone.items() if name not in SLOW} or slow
    trials = {value: trial(*part, value, wide, seed, quick) for value in candidates}
    least = math.inf
    for value in watch(sorted(candidates, key=lambda value: trials[value].advantage)):
        if slow and (value == sigma or trials[value].advantage <= least + CLOSE):
            other = trial(*part, value, wide, seed, slow)
            trials[value] = max(trials[value], other, key=lambda each: each.advantage)
            least = min(least, trials[value].advantage)
    ordered = tuple(trials.values())
    chosen = best(ordered) if sigma is None else trials[sigma]
    return Hardening(obfuscate(pruned, masks, sigma=chosen.sigma, seed=seed), chosen, ordered, wide)


def _sample(weights: Weights, masks: Masks) -> list[str]:
    """Layers of about `SAMPLE` weights: pruned ones, one of every shape first, then small ones."""
    order = sorted(weights, key=lambda name: (not masks[name].any(), weights[name].numel()))
    first = {weights[name].shape: name for name in reversed(order)}.values()
    taken, total = [], 0
    for name in dict.fromkeys([*first, *order]):
        if name in first or total + weights[name].numel() <= SAMPLE:
            taken.append(name)
            total += weights[name].numel()
    return sorted(taken)


def best(trials: Sequence[Trial]) -> Trial:
    """The smallest sigma whose strongest attacker is as weak as any, within `CLOSE`."""
    least = min(each.advantage for each in trials)
    return min(
        (each for each in trials if each.advantage <= least + CLOSE), key=lambda each: each.sigma
    )


def trial(
    pruned: Weights,
    masks: Masks,
    sigma: float,
    wide: float,
    seed: int,
    attackers: Mapping[str, Attacker],
) -> Trial:
    """Obfuscate with one sigma and let everyone look for the noise; `wide` is sigma_U."""
    weights = obfuscate(pruned, masks, sigma=sigma, seed=seed)
    fractions = {name: float(mask.double().mean()) for name, mask in masks.items()}
    told = Knowledge(sigma, density(masks), fractions)
    untouched = sum(int((~mask).sum()) for mask in masks.values())
    found = {name: detection(attack(weights, told), masks) for name, attack in attackers.items()}
    advantage = {
        name: each.recall - (each.flagged - each.hits) / untouched for name, each in found.items()
    }
    name = max(advantage, key=advantage.__getitem__)
    noise = sum(float(w[masks[n]].double().square().sum()) for n, w in weights.items())
    total = sum(float(w.double().square().sum()) for w in pruned.values())
    return Trial(
        sigma,
        sigma / wide,
        name,
        advantage[name],
        found[name].precision,
        found[name].recall,
        detection_auc(weights, masks),
        math.sqrt(noise / total),
    )
