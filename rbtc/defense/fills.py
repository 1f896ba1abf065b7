"""Hiding the pruned weights among the survivors: fills that copy more of them than one sigma.

The paper's defence draws every fill from one N(0, sigma_M^2) (`rbtc.defense.gaussian.obfuscate`).
What gives
it away is whatever the survivors have and the noise has not: the layer's own width, the row's, the
shape of the distribution, or that the weights of one neuron's outgoing column go together. Each
`Fill` copies one more of these:

    "layer"       N(0, sigma^2), sigma of the layer's survivors
    "row"         N(0, sigma^2), sigma of the row's survivors
    "resampled"   the magnitude of a random survivor of the row, with a random sign
    "permuted"    the same, no survivor twice before each has served once
    "correlated"  a column drawn from N(0, C), C the covariance of the survivors' columns

Signs are random in all of them, and the fills of one column say nothing of what was pruned there:
what is drawn depends on the survivors of the layer and on the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rbtc.attack.magnitudes import row_statistics
from rbtc.layers import Masks, Weights, check_masks, check_same_layers, check_weights
from rbtc.models.generate import seeded_generators

Fill = Literal["layer", "row", "resampled", "permuted", "correlated"]


def fill_pruned(weights: Weights, masks: Masks, *, how: Fill, seed: int = 0) -> Weights:
    """Fill the pruned weights so that they resemble the survivors.

    Drawn in float64 on the CPU, layer by layer in name order from one generator. No fill is exactly
    zero: a value that the dtype rounds to zero becomes its smallest normal number.

    Args:
        weights: Weight name -> (rows, columns), pruned.
        masks: Weight name -> bool (rows, columns), True = pruned.
        how: See `rbtc.defense.fills`.
        seed: Of the draws.

    Returns:
        New tensors of the same dtypes and devices; unmasked weights are bit-identical.

    Raises:
        ValueError: an unknown ``how``, a seed that is not a whole number, weights that are not
            finite, masks that do not fit, or a layer without a survivor.
    """
    if how not in _FILLS:
        raise ValueError(f"how is {how!r}, expected one of {', '.join(_FILLS)}")
    check_same_layers(weights, masks)
    check_masks(masks)
    check_weights(weights)
    generator = seeded_generators([seed])[0]
    hidden: Weights = {}
    for name in sorted(weights):
        weight, mask = weights[name].detach(), masks[name].cpu()
        hidden[name] = weight.clone()
        if not mask.any():
            continue
        values = _FILLS[how](weight.cpu().double(), mask, generator).to(weight.dtype)
        values[values == 0] = torch.finfo(weight.dtype).smallest_normal
        hidden[name][mask.to(weight.device)] = values.to(weight.device)
    return hidden


def _layer(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    sigma = row_statistics(weight.reshape(1, -1), mask.reshape(1, -1)).std[0]
    return sigma * torch.randn(int(mask.sum()), generator=generator, dtype=torch.float64)


def _row(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    sigma = row_statistics(weight, mask).std[mask.nonzero(as_tuple=True)[0]]
    return sigma * torch.randn(int(mask.sum()), generator=generator, dtype=torch.float64)


def _resampled(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    def pick(pool: Tensor, count: int) -> Tensor:
        return pool[torch.randint(len(pool), (count,), generator=generator)]

    return _from_rows(weight, mask, pick, generator)


def _permuted(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    def pick(pool: Tensor, count: int) -> Tensor:
        rounds = -(-count // len(pool))
        order = [torch.randperm(len(pool), generator=generator) for _ in range(rounds)]
        return pool[torch.cat(order)[:count]]

    return _from_rows(weight, mask, pick, generator)


def _from_rows(
    weight: Tensor,
    mask: Tensor,
    pick: Callable[[Tensor, int], Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Magnitudes picked among each row's survivors, with random signs, in row-major order."""
    kept = ~mask & (weight != 0)
    row_statistics(weight, mask)  # raises when the layer has no survivor
    pieces = []
    for row in mask.any(dim=1).nonzero().flatten().tolist():
        pool = weight[row][kept[row]]
        pool = pool if len(pool) else weight[kept]
        pieces.append(pick(pool, int(mask[row].sum())).abs())
    magnitudes = torch.cat(pieces)
    signs = torch.randint(2, magnitudes.shape, generator=generator, dtype=torch.float64) * 2 - 1
    return signs * magnitudes


def _correlated(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    survivors = weight.masked_fill(mask, 0)
    # X g has covariance X X'; the rows are brought to the width of their survivors.
    mixing = torch.randn(weight.shape[1], weight.shape[1], generator=generator, dtype=torch.float64)
    norm = survivors.norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    scale = row_statistics(weight, mask).std / norm
    return ((survivors @ mixing) * scale[:, None])[mask]


_FILLS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "layer": _layer,
    "row": _row,
    "resampled": _resampled,
    "permuted": _permuted,
    "correlated": _correlated,
}
