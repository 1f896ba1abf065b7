"""The weight matrices the attack looks at, as plain dictionaries of tensors.

ConceptPrune only touches the second linear layer of every feed-forward block ("16 FFN layers
served as candidates for pruning", paper Sec. 5.1). Everything else in this library works on
`Weights`, a dictionary from parameter name to matrix, and knows nothing of UNets.

Zeros carry a sign in IEEE-754 arithmetic: `weight * (1 - mask)` leaves -0.0 wherever the pruned
weight was negative, which would hand over the answer the attack is supposed to infer. Reading
weights through this module removes that sign.
"""

import math
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Parameter name -> (out_features, in_features) matrix, sorted by name."""


Masks = dict[str, Tensor]
"""Parameter name -> (out_features, in_features) bool, True where the weight is pruned."""


FAR = 30
"""Power of two above which, or below whose inverse, weights are scaled before they are squared."""


FFN_OUTPUT_PATTERN = re.compile(r"(?:^|\.)ff\.net\.2\.weight$")
"""Names of the second linear layer of a feed-forward block, in diffusers' naming."""


_SHORT = re.compile(
    r"^(?P<side>down|mid|up)_blocks?(?:\.(?P<block>\d+))?\.attentions\.(?P<attention>\d+)"
    r"\.transformer_blocks\.(?P<layer>\d+)\."
)


def find_layers(model: nn.Module | Mapping[str, Tensor]) -> Weights:
    """Return the live feed-forward output matrices of a UNet or of its state dict.

    The tensors are the model's own (parameters, when a module is given), each
    (out_features, in_features), sorted by name. Raises ValueError when there is none, or when one
    is not a matrix.
    """
    if isinstance(model, nn.Module):
        named: dict[str, Tensor] = dict(model.named_parameters())
    elif isinstance(model, Mapping):
        named = dict(model)
    else:
        raise ValueError(
            f"expected a torch module or a mapping from name to tensor, got "
            f"{type(model).__name__}; of a pipeline, pass its `unet`"
        )
    layers = {name: named[name] for name in sorted(named) if FFN_OUTPUT_PATTERN.search(name)}
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no feed-forward output matrix: none of its {len(named)} "
            f"parameter names ends in 'ff.net.2.weight'; pass the UNet of a Stable Diffusion model"
        )
    for name, weight in layers.items():
        if weight.ndim != 2:
            raise ValueError(
                f"{name} has shape {tuple(weight.shape)}, expected (out_features, in_features)"
            )
    return layers


def read_weights(model: nn.Module | Mapping[str, Tensor]) -> Weights:
    """Copy the feed-forward output matrices out of a model, with every zero made +0.0.

    Clones, detached, in the model's dtype and on its device. Raises ValueError when there is no
    such matrix or when one holds NaN or infinity.
    """
    weights = {
        name: canonicalise_zeros(weight.detach()) for name, weight in find_layers(model).items()
    }
    check_finite(weights)
    return weights


def write_weights(model: nn.Module | Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into a model, in place, in the model's own dtype and on its own device.

    Names and shapes are checked before anything is written; layers that `weights` does not name
    stay as they are. Raises ValueError for a name the model lacks or a shape that differs.
    """
    layers = find_layers(model)
    unknown = sorted(set(weights) - set(layers))
    if unknown:
        raise ValueError(
            f"the model has no feed-forward output matrix {unknown[0]!r} ({len(unknown)} of "
            f"{len(weights)} names unknown); it has {len(layers)}, the first is "
            f"{next(iter(layers))!r}"
        )
    _check_shapes({name: layers[name] for name in weights}, weights)
    with torch.no_grad():
        for name, weight in weights.items():
            layers[name].copy_(weight)


def canonicalise_zeros(weight: Tensor) -> Tensor:
    """Return a copy in which every zero is +0.0, so that no sign of a pruned weight survives.

    Same shape, dtype and device; non-zero entries keep their bits.
    """
    return torch.where(weight == 0, torch.zeros_like(weight), weight)


def far_exponent(weights: Iterable[Tensor]) -> int:
    """The power of two of the largest magnitude where squares leave float range, else 0.

    Infinities and NaN do not count.
    """
    largest = max((float(w.detach().abs().nan_to_num(0, 0).max()) for w in weights), default=0.0)
    exponent = math.frexp(largest)[1] if largest else 0
    return exponent if abs(exponent) > FAR else 0


def scaled(weight: Tensor, exponent: int) -> Tensor:
    """A weight times 2 ** exponent, exact where the result is a normal number."""
    half = exponent // 2  # the whole factor may be out of range
    return weight * 2.0**half * 2.0 ** (exponent - half)


def zero_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Return where the weights are exactly zero: what an attacker takes for the pruned weights."""
    return {name: weights[name] == 0 for name in sorted(weights)}


def density(masks: Mapping[str, Tensor]) -> float:
    """Return the fraction of True entries, pooled over all layers, in [0, 1]."""
    total = sum(mask.numel() for mask in masks.values())
    if not total:
        raise ValueError("expected masks of at least one layer, got none")
    return sum(int(mask.sum()) for mask in masks.values()) / total


def short_name(name: str) -> str:
    """Return a label for a figure: "down0.1", "mid" or "up3.2".

    A transformer block other than the first of its attention adds its number, so that labels
    stay unique. A name that does not follow diffusers' naming comes back unchanged.

    >>> short_name("down_blocks.0.attentions.1.transformer_blocks.0.ff.net.2.weight")
    'down0.1'
    """
    found = _SHORT.match(name)
    if not found:
        return name
    label = found["side"]
    if found["block"] is not None:
        label += f"{found['block']}.{found['attention']}"
    return label if found["layer"] == "0" else f"{label}.{found['layer']}"


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming the first layer that holds NaN or infinity."""
    for name, weight in weights.items():
        bad = int((~torch.isfinite(weight)).sum())
        if bad:
            raise ValueError(
                f"{name} holds {bad} NaN or infinite values of {weight.numel()}; "
                f"reload or re-export the checkpoint"
            )


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError for no layer at all, or one that holds NaN or infinity."""
    if not weights:
        raise ValueError("there are no weights: give at least one layer")
    check_finite(weights)


def check_masks(masks: Mapping[str, Tensor]) -> None:
    """Raise ValueError for no mask at all, or one that is not boolean."""
    if not masks:
        raise ValueError("there are no masks: give one per layer")
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask of {name} has dtype {mask.dtype}, but bool is needed")


def check_same_layers(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless both dictionaries have the same names with the same shapes."""
    difference = sorted(set(a) ^ set(b))
    if difference:
        raise ValueError(
            f"the two sets of layers differ: {difference[0]!r} is only in the "
            f"{'first' if difference[0] in a else 'second'} ({len(difference)} such names); "
            f"both must come from the same architecture"
        )
    _check_shapes(a, b)


def _check_shapes(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name in expected:
        if expected[name].shape != given[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(given[name].shape)}, expected "
                f"{tuple(expected[name].shape)}; both must come from the same architecture"
            )


def prune(weights: Weights, masks: Masks) -> Weights:
    """Copies of the weights with every masked one set to +0.0.

    Multiplying by a 0/1 mask would leave -0.0 where the weight was negative, and that sign bit
    survives saving: it would hand the pruned sign to anyone who reads the file. Filling does not.

    Args:
        weights: Weight name -> (rows, columns).
        masks: Weight name -> bool (rows, columns), True = prune.

    Returns:
        New tensors of the same dtypes and devices; unmasked weights are bit-identical.

    Raises:
        ValueError: When layers or shapes differ, or a mask is not boolean.
    """
    check_same_layers(weights, masks)
    pruned: Weights = {}
    for name in sorted(weights):
        mask = masks[name]
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask of {name} has dtype {mask.dtype}, but bool is needed")
        weight = weights[name].detach()
        pruned[name] = weight.masked_fill(mask.to(weight.device), 0.0)
    return pruned
