"""How many pruned signs would come back, estimated without the weights before pruning.

A further few per cent of the surviving weights are hidden; the pruned and the hidden entries are
completed together, and the signs of the hidden ones are compared with the truth. The estimate
stands for the pruned weights as far as the hidden ones resemble them: it sees a matrix with more
holes than the attacker does, and weights that are a little smaller than the pruned ones, because
the largest are gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from rbtc.attack import completion
from rbtc.stats import Proportion, pool

Choice = Literal["largest", "random", "alike"]

Complete = Callable[[Tensor, Tensor], completion.Completion]
"""Completes (weight, missing), both (rows, columns), as `rbtc.attack.completion.complete` does."""

fast_complete: Complete = partial(completion.complete, fast=True)
"""The limit of the released iteration in a few steps: the attack's signs at a fraction of its time.

`rbtc.attack.completion.complete` itself follows the released iteration step by step.
"""


def estimate_sign_accuracy(
    weight: Tensor,
    missing: Tensor,
    *,
    fraction: float = 0.02,
    repeats: int = 1,
    seed: int = 0,
    choose: Choice = "alike",
    complete: Complete = fast_complete,
) -> Proportion:
    """Fraction of signs that completion gives back, counted on survivors hidden for the purpose.

    Rows of which nothing survives are left out: nothing can be completed there. Survivors that are
    zero have no sign and are never hidden. Each row keeps at least one survivor. An estimate of
    exactly zero counts as wrong.

    Args:
        weight: (rows, columns), any float dtype; what it holds at the missing entries is not looked
            at.
        missing: bool (rows, columns), True = pruned. It may be empty: the estimate is then for a
            model from which `fraction` is pruned first.
        fraction: how much of each row to hide, of all its entries, in (0, 1); at least one entry.
        repeats: how often to hide and complete. No weight is hidden twice: each repeat hides the
            next ones in order, so that the pooled count has no weight twice either.
        seed: of the random order; `choose="largest"` has no use for it.
        choose: "largest" hides each row's largest |w| first, as pruning by magnitude does; "random"
            any; "alike" draws in proportion to |w_ij| times the fraction pruned of column j, which
            is what the pruned model shows of the score |w_ij| a_j that they were pruned by.
        complete: the attack's completion; `fast_complete`, or `rbtc.attack.completion.complete`
            with options of your own bound to it.

    Returns:
        Correct signs out of all hidden ones, pooled over the repeats.

    Raises:
        ValueError: an argument out of range, or too few survivors to hide any.

    >>> weight = torch.outer(torch.tensor([1.0, -2.0, 3.0]), torch.tensor([2.0, -1.0, 1.5, 4.0]))
    >>> estimate_sign_accuracy(weight, weight == 4.0, fraction=0.25).n
    3
    """
    if not 0 < fraction < 1 or repeats < 1:
        raise ValueError(
            f"fraction must lie in (0, 1) and repeats above 0, not {fraction} and {repeats}"
        )
    if choose not in get_args(Choice):
        raise ValueError(f"choose must be one of {get_args(Choice)}, not {choose!r}")
    alive = ~missing.all(dim=1)
    weight, missing = weight.detach()[alive], missing[alive].to(weight.device)
    order, ready = _hiding_order(weight, missing, choose, seed)
    count = max(1, int(fraction * weight.shape[1]))
    found: list[Proportion] = []
    for repeat in range(repeats):
        hidden = _slice(order, ready, repeat * count, count)
        if hidden.any():
            found.append(_count(weight, missing, hidden, complete))
    if not found:
        raise ValueError(
            f"nothing can be hidden: of {weight.numel()} weights in rows that are not wholly "
            "pruned, none is left to hide beside the one that each row has to keep"
        )
    return pool(found)


def _hiding_order(
    weight: Tensor, missing: Tensor, choose: Choice, seed: int
) -> tuple[Tensor, Tensor]:
    """Columns of each row in the order in which they are hidden, and how many may be: (rows,)."""
    if choose == "largest":
        rank = weight.abs().to(torch.promote_types(weight.dtype, torch.float32))
    else:
        generator = torch.Generator().manual_seed(seed)
        rank = torch.rand(weight.shape, generator=generator).to(weight.device)
        if choose == "alike":
            # Drawn without replacement in proportion to the odds: largest u^(1 / odds) first
            # (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).
            rank = rank.double().clamp(min=1e-12).log() / _odds(weight, missing)
    signed = ~missing & (weight != 0)
    rank = rank.masked_fill(~signed, -torch.inf)
    ready = signed.sum(dim=1) - 1  # the last one stays
    return rank.argsort(dim=1, descending=True, stable=True), ready


def _odds(weight: Tensor, missing: Tensor) -> Tensor:
    """|w_ij| times the fraction pruned of column j, (rows, columns) float64, above 0."""
    crowded = missing.double().mean(dim=0)  # (columns,)
    if not crowded.any():
        crowded = torch.ones_like(crowded)
    odds = weight.double().abs().masked_fill(missing, 0) * crowded
    least = math.ulp(0.0)
    most = odds.max().clamp(min=least) if odds.numel() else 1.0  # no row is left to complete
    return (odds / most).clamp(min=1e-9)


def _slice(order: Tensor, ready: Tensor, start: int, count: int) -> Tensor:
    """Bool (rows, columns), True for the entries `start` to `start + count` of the order."""
    place = torch.arange(order.shape[1], device=order.device)
    chosen = (place >= start) & (place < start + count) & (place < ready[:, None])
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order, chosen)


def _count(weight: Tensor, missing: Tensor, hidden: Tensor, complete: Complete) -> Proportion:
    gone = missing | hidden
    estimates = complete(weight.masked_fill(gone, 0), gone).values  # row-major, as boolean indexing
    truth = torch.sign(weight[hidden]).float()
    signs = torch.sign(estimates[hidden[gone].to(estimates.device)]).to(truth)
    return Proportion(int((signs == truth).sum()), len(truth))
