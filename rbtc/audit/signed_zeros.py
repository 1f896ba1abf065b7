"""The sign bit of a zero: what pruning by multiplication leaves in a file, and how to read it.

IEEE-754 numbers have two zeros, and a product takes the sign of its factors: (-0.3) * 0 = -0.0. The
reference recipe of ConceptPrune cuts with ``w * (1 - mask)``, so wherever the weight was negative
it leaves -0.0. Both zeros compare equal and compute alike, no accuracy shows the difference, and
every common format of checkpoints keeps the bit. Such a file therefore holds the place *and the
sign* of every pruned weight; only its magnitude is gone, and that is the half that hardly matters
(paper Sec. 3).

`rbtc.layers` is the fix on both sides: `prune` fills with +0.0, and `read_weights` and
`canonicalise_zeros` drop the bit of what was loaded. Nothing else in the library reads it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rbtc.attack.magnitudes import Strategy, assign_magnitudes, check_strategy
from rbtc.audit.zeros import Zeros, explain
from rbtc.layers import (
    Masks,
    Weights,
    canonicalise_zeros,
    check_masks,
    check_same_layers,
    check_weights,
    zero_masks,
)


def prune_by_multiplying(weights: Weights, masks: Masks) -> Weights:
    """Cut as the reference recipe does, ``w * (1 - mask)``, with the sign bits that it leaves.

    Here to show the leak; `rbtc.layers.prune` is what should be used.

    Args:
        weights: Weight name -> (rows, columns), any float dtype.
        masks: Weight name -> bool (rows, columns), True = cut.

    Returns:
        New tensors of the same dtypes and devices; a cut weight is -0.0 if it was negative, +0.0 if
        it was positive. The other weights keep their bits.

    Raises:
        ValueError: Layers or shapes differ, a mask is not boolean, or a weight is not finite (a
            product of infinity and 0 is no number).
    """
    check_weights(weights)
    check_same_layers(weights, masks)
    check_masks(masks)
    return {
        name: weights[name].detach() * (1 - masks[name].to(weights[name]))
        for name in sorted(weights)
    }


def read_signs(weight: Tensor) -> Tensor:
    """Signs of the zeros of a tensor: int8 of its shape, -1 at -0.0, 1 at +0.0, 0 at the others.

    Of a file that was cut with +0.0, or cleaned, this is 1 at every zero and says nothing.

    Raises:
        ValueError: The tensor is not floating-point: whole numbers have one zero.

    >>> read_signs(torch.tensor([0.0, -0.0, -2.0])).tolist()
    [1, -1, 0]
    """
    if not weight.is_floating_point():
        raise ValueError(f"weight is {weight.dtype}, but only floating-point zeros have a sign")
    signs = torch.where(torch.signbit(weight.detach()), -1, 1).to(torch.int8)
    return signs.masked_fill(weight != 0, 0)


def count_zeros(weights: Mapping[str, Tensor]) -> dict[str, Zeros]:
    """How many zeros of each sign every layer holds, and how many its format explains, by name.

    Args:
        weights: Name -> floating-point tensor of any shape, not yet cleaned: of a file, not of
            `rbtc.layers.read_weights`.
    """
    return {
        name: explain(weights[name].reshape(len(weights[name]), -1)) for name in sorted(weights)
    }


def revive_exactly(weights: Weights, *, strategy: Strategy = "neuron_max") -> Weights:
    """Revive a leaking model: the signs are read from its zeros, only magnitudes are made up.

    No completion, and no Top-K: every sign is right, so every one is kept. With "neuron_max" a cut
    weight becomes its sign times the largest surviving magnitude of its row (paper Sec. 4.3): the
    ideal case of the paper's Sec. 3, which was meant as a thought experiment.

    Args:
        weights: Weight name -> (rows, columns), as loaded, with the bits of their zeros.
        strategy: How signs get a magnitude, see `rbtc.attack.magnitudes.assign_magnitudes`;
            "completed" has no meaning here.

    Returns:
        All layers, revived, in their dtypes and on their devices.

    Raises:
        ValueError: No layer holds more negative zeros than rounding explains: nothing can be read
            from them. Also for weights that are not finite, or a strategy that is unknown.
    """
    check_strategy(strategy)
    if strategy == "completed":
        raise ValueError("strategy 'completed' needs a completion, and exact signs need none")
    check_weights(weights)
    counts = count_zeros(weights)
    if not any(layer.leaks for layer in counts.values()):
        negative = sum(layer.negative_zeros for layer in counts.values())
        total = sum(layer.zeros for layer in counts.values())
        raise ValueError(
            f"{negative} of {total} zeros are negative: these zeros tell no signs (the model was "
            "cut with +0.0, was cleaned, or is not pruned); attack it with `revive`"
        )
    signs = {name: read_signs(weights[name]) for name in sorted(weights)}
    clean = {name: canonicalise_zeros(weights[name].detach()) for name in sorted(weights)}
    return assign_magnitudes(clean, signs, zero_masks(clean), strategy=strategy)
