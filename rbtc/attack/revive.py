"""The whole attack: completion, Top-K Sign Retention, Neuron-Max Scaling (paper Sec. 4, Fig. 3).

It uses the pruned weights and nothing else: no data, no training, no access to the model before
pruning.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rbtc.attack.completion import Algorithm, Completion, complete_all
from rbtc.attack.magnitudes import Strategy, assign_magnitudes, check_strategy
from rbtc.attack.topk import check_keep, retain_signs
from rbtc.layers import (
    Masks,
    Weights,
    canonicalise_zeros,
    check_finite,
    check_same_layers,
    read_weights,
    write_weights,
    zero_masks,
)


@dataclass(frozen=True, eq=False)
class Revival:
    """What the attack made of a pruned model.

    weights: all layers, revived, in the dtype of the pruned ones.
    signs: per attacked layer (rows, columns) int8, 0 where not missing or not retained.
    completions: per attacked layer.
    missing: all layers, (rows, columns) bool.
    """

    weights: Weights
    signs: dict[str, Tensor]
    completions: dict[str, Completion]
    missing: Masks


def revive(
    pruned: Weights | nn.Module,
    *,
    keep_ratio: float = 0.6,
    per: Literal["layer", "row", "global"] = "layer",
    strategy: Strategy = "neuron_max",
    algorithm: Algorithm = "released",
    missing: Masks | None = None,
    seed: int = 2021,
    completions: Mapping[str, Completion] | None = None,
    released: bool = False,
    **options: Any,
) -> Revival:
    """Attack a pruned model, given as its layers or as the UNet itself, which is not modified.

    keep_ratio, per: see `rbtc.attack.topk.retain_signs`. strategy, seed, released: see
    `rbtc.attack.magnitudes.assign_magnitudes`. algorithm and further `options`: see
    `rbtc.attack.completion.complete_all`.
    missing: the entries to attack, (rows, columns) bool per layer; None takes those of
        `completions` if given, else every weight that is exactly zero.
    completions: reuse these instead of completing again; `algorithm` and `options` then do not
        apply, and giving options is an error. So is a weight that is not zero where a completion
        says it is missing, unless `missing` names that place.

    Raises ValueError when nothing is missing (the model is not pruned) and for any bad option.
    """
    check_keep(keep_ratio, per)
    check_strategy(strategy, released=released)
    if isinstance(pruned, nn.Module):
        weights = read_weights(pruned)
    elif isinstance(pruned, Mapping) and pruned:
        check_finite(pruned)
        weights = {name: canonicalise_zeros(pruned[name].detach()) for name in sorted(pruned)}
    else:
        raise ValueError(
            f"expected a UNet or a non-empty dictionary of weight matrices, got "
            f"{type(pruned).__name__}"
        )
    if completions is None:
        missing = zero_masks(weights) if missing is None else dict(missing)
        done = complete_all(weights, missing, algorithm=algorithm, **options)
    else:
        if options:
            raise ValueError(
                f"{', '.join(sorted(options))} would have no effect: `completions` are given"
            )
        done = dict(completions)
        missing = _reused_masks(weights, done, missing)
    signs = retain_signs(done, keep_ratio=keep_ratio, per=per)
    revived = assign_magnitudes(
        weights,
        signs,
        missing,
        strategy=strategy,
        seed=seed,
        released=released,
        completions=done,
    )
    return Revival(revived, signs, done, missing)


def revive_model(unet: nn.Module, **options: Any) -> nn.Module:
    """Return a deep copy of a pruned UNet with revived weights; `options` go to `revive`."""
    revival = revive(unet, **options)
    revived = copy.deepcopy(unet)
    write_weights(revived, revival.weights)
    return revived


def _reused_masks(
    weights: Weights, completions: Mapping[str, Completion], missing: Masks | None
) -> Masks:
    """Masks of all layers that agree with the given completions."""
    masks = {
        name: completions[name].missing.to(weight.device)
        if name in completions
        else torch.zeros(weight.shape, dtype=torch.bool, device=weight.device)
        for name, weight in weights.items()
    }
    foreign = sorted(set(completions) - set(weights))
    if foreign:
        raise ValueError(f"`completions` has a layer {foreign[0]!r} that the model lacks")
    check_same_layers(weights, masks)
    if missing is None:
        for name, mask in masks.items():
            kept = int((weights[name][mask] != 0).sum())
            if kept:
                raise ValueError(
                    f"{name}: the model holds {kept} weights where its completion says they are "
                    f"missing; these `completions` are of another model, or name the entries with "
                    f"`missing`"
                )
    else:
        check_same_layers(weights, missing)
        for name, mask in masks.items():
            if not torch.equal(mask, missing[name].to(mask.device)):
                raise ValueError(
                    f"{name}: `missing` differs from the mask its completion was made for; "
                    f"complete it again or leave `missing` out"
                )
    return masks
