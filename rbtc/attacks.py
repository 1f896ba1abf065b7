"""The attacker's side: sees the weights of a variant, and nothing else (paper Sec. 4).

No pretrained weight, no mask, no prompt and no picture enters `attack`, `complete` and `guess`;
`completions`, `revived` and `attack_obfuscated` first let the owner make the model under attack.
The functions that take a lab are methods of `rbtc.lab.Lab`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from rbtc.completion import Completion, complete_all
from rbtc.detection import budget_attack, threshold_attack
from rbtc.layers import Masks
from rbtc.masks import prune
from rbtc.revive import revive
from rbtc.runs import tensors_digest
from rbtc.variants import Variant, derived, split_options

if TYPE_CHECKING:
    from rbtc.lab import Lab

COMPLETION = ("als", "completion", "polar", "released", "reweighted", "softimpute")
"""The modules whose code decides what a completion is."""


def attack(
    lab: Lab,
    variant: Variant,
    *,
    keep_ratio: float | None = None,
    strategy: str = "neuron_max",
    per: str = "layer",
    algorithm: str = "released",
    seed: int = 2021,
    released: bool = False,
    missing: Masks | None = None,
    **options: Any,
) -> Variant:
    """Revive whatever was cut from a variant, from its own weights alone (paper Sec. 4).

    Args:
        variant: the model under attack.
        keep_ratio: K of Top-K Sign Retention; None takes the profile's.
        strategy: how signs get a magnitude, see `rbtc.magnitudes.assign_magnitudes`.
        per: within what K is counted: "layer", "row" or "global".
        algorithm: of the completion.
        seed: for the strategies that draw magnitudes.
        released: see `rbtc.magnitudes.assign_magnitudes`.
        missing: attack these places; None takes those that are exactly zero.
        **options: further options of `rbtc.completion.complete`.

    Raises:
        ValueError: nothing is missing: the model is not pruned.
    """
    keep_ratio = lab.profile.revive.keep_ratio if keep_ratio is None else keep_ratio
    completions = lab.complete(variant, algorithm=algorithm, missing=missing, **options)
    choices: dict[str, Any] = {
        "keep_ratio": keep_ratio,
        "strategy": strategy,
        "per": per,
        "algorithm": algorithm,
        "seed": seed,
        "released": released,
    }
    weights = revive(variant.weights, completions=completions, **choices).weights
    return derived(
        variant,
        f"revived ({strategy.replace('_', ' ')})",
        weights,
        *("revive", "topk", "magnitudes", *COMPLETION),
        kind="revived",
        missing=None if missing is None else tensors_digest(missing),
        **choices,
        **options,
    )


def complete(
    lab: Lab,
    variant: Variant,
    *,
    algorithm: str = "released",
    missing: Masks | None = None,
    **options: Any,
) -> dict[str, Completion]:
    """Complete every layer of a variant (paper Sec. 4.1), or read it from the store.

    Raises:
        ValueError: nothing is missing: the model is not pruned.
    """
    if missing is None and variant.config.get("kind") in ("pretrained", "obfuscated"):
        # fp16 checkpoints hold a few natural zeros, which are no sign of pruning.
        raise ValueError(
            f"the {variant.label} model is not pruned, so there is nothing to revive: attack "
            "lab.pruned(concept), or pass `missing`"
        )
    config = {
        "kind": "completions",
        "base": variant.config,
        "algorithm": algorithm,
        "missing": None if missing is None else tensors_digest(missing),
        "options": options,
    }

    def make() -> dict[str, torch.Tensor]:
        found = complete_all(
            variant.weights, missing, algorithm=algorithm, progress=lab.progress, **options
        )
        return _pack(found)

    def load() -> dict[str, Completion]:
        tensors, _ = lab.store.weights(config, make, modules=COMPLETION)
        devices = {name: weight.device for name, weight in variant.weights.items()}
        return _unpack(tensors, algorithm, devices)

    return lab.remember(config, load)


def completions(
    lab: Lab, concept: str, algorithm: str = "released", **options: Any
) -> dict[str, Completion]:
    """Completions of the pruned model of a concept; options of `pruned` and of `complete`."""
    pruning, rest = split_options(options)
    return lab.complete(lab.pruned(concept, **pruning), algorithm=algorithm, **rest)


def revived(
    lab: Lab,
    concept: str,
    *,
    keep_ratio: float | None = None,
    strategy: str = "neuron_max",
    seed: int = 2021,
    missing: Masks | None = None,
    **options: Any,
) -> Variant:
    """The attack on the pruned model of a concept; options of `pruned` and of `attack`.

    Pruning is the owner's work and reads the pretrained weights; what follows is
    `attack`, which only gets the pruned ones.
    """
    pruning, rest = split_options(options)
    return lab.attack(
        lab.pruned(concept, **pruning),
        keep_ratio=keep_ratio,
        strategy=strategy,
        seed=seed,
        missing=missing,
        **rest,
    )


def guess(
    lab: Lab,
    variant: Variant,
    *,
    attacker: Literal["budget", "threshold"] = "budget",
    share: float = 0.02,
    scope: Literal["global", "layer"] = "global",
    threshold: float | None = None,
) -> Masks:
    """Places an attacker takes for cut: the smallest ``share``, or all below ``threshold``."""
    if attacker == "budget":
        return budget_attack(variant.weights, share=share, scope=scope)
    if attacker != "threshold":
        raise ValueError(f'attacker must be "budget" or "threshold", not {attacker!r}')
    if threshold is None:
        raise ValueError('attacker="threshold" needs a threshold, for example 5 * sigma')
    return threshold_attack(variant.weights, threshold=threshold)


def attack_obfuscated(
    lab: Lab,
    concept: str,
    *,
    sigma: float | None = None,
    variance: float | None = None,
    noise_seed: int = 0,
    attacker: Literal["budget", "threshold"] = "budget",
    share: float = 0.02,
    scope: Literal["global", "layer"] = "global",
    threshold: float | None = None,
    **options: Any,
) -> Variant:
    """Attack the defended model: guess the cut places, zero them, revive (paper Sec. 5.5).

    ``sigma``, ``variance`` and ``noise_seed`` are those of `obfuscated`, the next four those of
    `guess`; further options go to `pruned` and `attack`.
    """
    pruning, rest = split_options(options)
    defended = lab.obfuscated(concept, sigma=sigma, variance=variance, seed=noise_seed, **pruning)
    guess = lab.guess(defended, attacker=attacker, share=share, scope=scope, threshold=threshold)
    zeroed = derived(
        defended, f"re-pruned ({attacker})", prune(defended.weights, guess), "detection",
        kind="repruned", attacker=attacker, share=share, scope=scope, threshold=threshold,
    )  # fmt: skip
    return lab.attack(zeroed, **rest)


def _pack(completions: Mapping[str, Completion]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, found in completions.items():
        tensors[f"{name}/values"] = found.values
        tensors[f"{name}/missing"] = found.missing
        tensors[f"{name}/residuals"] = torch.tensor(found.residuals, dtype=torch.float64)
        tensors[f"{name}/run"] = torch.tensor([found.iterations, int(found.converged)])
    return tensors


def _unpack(
    tensors: Mapping[str, torch.Tensor], algorithm: str, devices: Mapping[str, torch.device]
) -> dict[str, Completion]:
    completions = {}
    for name in sorted({key.rsplit("/", 1)[0] for key in tensors}):
        iterations, converged = tensors[f"{name}/run"].tolist()
        completions[name] = Completion(
            tensors[f"{name}/values"].to(devices[name]),
            tensors[f"{name}/missing"].to(devices[name]),
            int(iterations),
            tuple(tensors[f"{name}/residuals"].tolist()),
            bool(converged),
            algorithm,
        )
    return completions
