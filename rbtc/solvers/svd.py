"""Singular values for completion: shrinkage without right vectors, and changes of iterates.

Matrices here are wide (rows <= columns); `index` are flat indices of missing entries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DEFAULT_DIVISOR = 50.0
"""Without an explicit lambda: the largest singular value divided by this."""


_OVERSAMPLING = 8


_SWEEPS = 3


class Solution(NamedTuple):
    """What a solver hands back: values (k,) at the missing entries and how it got there."""

    values: Tensor
    residuals: tuple[float, ...]
    iterations: int
    converged: bool


def check_stop(max_iterations: int, tolerance: float) -> None:
    """Refuse a stopping rule that cannot be followed.

    Raises:
        ValueError: fewer than one iteration, or a tolerance that is negative or NaN.
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations is {max_iterations}, expected at least 1")
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}, expected a number not below 0")


def check_shrinkage(shrinkage: float, largest: float) -> None:
    """Refuse a lambda at which there is nothing to find.

    Raises:
        ValueError: not above 0, or not below the largest singular value.
    """
    if not 0 < shrinkage < max(largest, torch.finfo(torch.float64).tiny):
        raise ValueError(
            f"shrinkage is {shrinkage:g}, expected a value above 0 and below the largest singular "
            f"value {largest:g}, from which on the completion is zero and has no signs"
        )


def check_rank(max_rank: int | None) -> None:
    """Refuse a limit below one.

    Raises:
        ValueError: for such a limit.
    """
    if max_rank is not None and max_rank < 1:
        raise ValueError(f"max_rank is {max_rank}, expected at least 1, or None for no limit")


def left_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors (m, m) and singular values (m,), ascending, in float64.

    For a wide matrix (m, n) they are the eigenvectors and square roots of the eigenvalues of the
    (m, m) Gram matrix. Forming it squares the condition number, which is why it is formed in
    float64 whatever the input's dtype, and why a numerically singular one falls back to a full
    singular value decomposition.
    """
    wide = matrix.double()
    squares, u = torch.linalg.eigh(wide @ wide.mT)
    # Rounding of the Gram matrix is about 1e-16 of the largest square: below 1e-12 the smallest
    # singular value would have lost its leading digits.
    if squares[0] > 1e-12 * squares[-1]:
        return u, squares.sqrt()
    u, values, _ = torch.linalg.svd(wide, full_matrices=False)
    return u.flip(1), values.flip(0)


def shrinkage_at(matrix: Tensor, index: Tensor, threshold: float | None = None) -> Tensor:
    """Return Z - S_threshold(Z) at the missing entries `index` (k,) of a wide matrix Z (m, n).

    With Z = U diag(s) V', the difference is U diag(min(s, threshold)) V', which is
    W Z for the (m, m) matrix W = U diag(min(1, threshold / s)) U'. The right singular vectors are
    never needed. A threshold of None stands for the smallest singular value; the difference is
    then that value times the polar factor U V'.
    """
    u, values = left_singular(matrix)
    tau = values[0] if threshold is None else values.new_tensor(threshold)
    # A singular value of exactly zero belongs to a direction in which Z has nothing to shrink.
    factors = torch.where(values > 0, tau / values, torch.zeros_like(values)).clamp(max=1)
    difference = ((u * factors) @ u.mT).to(matrix.dtype) @ matrix  # (m, n)
    return difference.view(-1)[index]


def truncated_svd(
    matrix: Tensor, rank: int, *, start: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the leading `rank` singular triplets U (m, r), s (r,) descending, V (n, r).

    A few sweeps of subspace iteration on a slightly wider block, started from the columns of
    `start` (n, any) and seeded random ones; accurate when `start` is near, which is what a warm
    start provides. Above a quarter of the rows the exact decomposition is cheaper and is used.
    """
    m, n = matrix.shape
    width = rank + _OVERSAMPLING
    if 4 * width > m:
        u, s = left_singular(matrix)
        u, s = u.flip(1)[:, :rank].to(matrix.dtype), s.flip(0)[:rank].to(matrix.dtype)
        v = matrix.mT @ u  # (n, r), columns of length s
        return u, s, torch.where(s > 0, v / s, torch.zeros_like(v))
    generator = torch.Generator().manual_seed(0)
    known = 0 if start is None else min(start.shape[1], width)
    noise = torch.randn(n, width - known, generator=generator, dtype=torch.float64)
    block = noise.to(matrix)
    if start is not None and known:
        block = torch.cat([start[:, :known], block / n**0.5], dim=1)  # (n, width)
    for _ in range(_SWEEPS):
        left, _ = torch.linalg.qr(matrix @ block)  # (m, width)
        block, triangle = torch.linalg.qr(matrix.mT @ left)  # matrix' left = block triangle
    inner, s, outer = torch.linalg.svd(triangle)
    return left @ outer.mT[:, :rank], s[:rank], block @ inner[:, :rank]


def observed_energy(matrix: Tensor, index: Tensor) -> float:
    """Return the sum of squares of all entries that are not missing."""
    squares = matrix.double().square().view(-1)
    squares[index] = 0
    return float(squares.sum())


def relative_change(new: Tensor, old: Tensor, energy: float) -> float:
    """Return ||Z_new - Z_old||_F / ||Z_old||_F from the missing entries and the observed energy."""
    norm = (energy + float(old.double().square().sum())) ** 0.5
    change = float((new.double() - old.double()).norm())
    return change / norm if norm else float(change > 0)


def factored_change(
    u: Tensor, d: Tensor, v: Tensor, u_new: Tensor, d_new: Tensor, v_new: Tensor
) -> float:
    """Return ||M_new - M||_F^2 / ||M||_F^2 of two matrices given as U diag(d) V'."""
    # The difference is A B' with A, B of few columns; through their triangular factors it loses
    # nothing to cancellation, as the expanded square would.
    a = torch.linalg.qr(torch.cat([u_new * d_new, -u * d], dim=1), mode="r").R
    b = torch.linalg.qr(torch.cat([v_new, v], dim=1), mode="r").R
    change, old = float((a @ b.mT).double().square().sum()), float(d.double().square().sum())
    if old:
        return change / old
    return float("inf") if change else 0.0  # the first step away from zero is never the last
