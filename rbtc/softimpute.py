"""Soft-thresholded completion: SoftImpute along a path of lambdas, and one fixed lambda.

Both minimise Eq. 1 of the paper,

    1/2 ||P_observed(X - M)||_F^2 + lambda ||M||_*,

by refilling the missing entries with the current estimate (Eq. 3) and soft-thresholding the
singular values of the filled matrix (Eq. 2); a minimiser is a fixed point M = S_lambda(Z).
Mazumder, Hastie and Tibshirani, "Spectral Regularization Algorithms for Learning Large Incomplete
Matrices", JMLR 2010.

The functions here take a wide matrix (rows <= columns) and the flat indices of its missing
entries; `rbtc.completion.complete` prepares both and is what callers want.
"""

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


def shrinkage_at(matrix: Tensor, places: Tensor, threshold: float | None = None) -> Tensor:
    """Return Z - S_threshold(Z) at the missing entries `places` (k,) of a wide matrix Z (m, n).

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
    return difference.view(-1)[places]


def svt(
    filled: Tensor,
    places: Tensor,
    *,
    shrinkage: float | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-5,
) -> Solution:
    """Iterate Z <- P_observed(X) + P_missing(S_lambda(Z)) at one fixed lambda, with exact SVDs.

    `filled` (m, n), m <= n, holds the initial values at its flat indices `places` (k,).
    `shrinkage` is lambda; None takes the largest singular value of `filled` / 50. Stops when the
    whole matrix changes by less than `tolerance`, relative Frobenius norm of consecutive iterates.
    """
    z = filled.clone()
    values = z.view(-1)[places]
    energy = observed_energy(z, places)
    if shrinkage is None:
        shrinkage = float(left_singular(z)[1][-1]) / DEFAULT_DIVISOR
    residuals: list[float] = []
    for _ in range(max_iterations):
        new = values - shrinkage_at(z, places, shrinkage)
        residuals.append(relative_change(new, values, energy))
        z.view(-1)[places] = values = new
        if residuals[-1] < tolerance:
            return Solution(values, tuple(residuals), len(residuals), True)
    return Solution(values, tuple(residuals), len(residuals), False)


def soft_impute(
    filled: Tensor,
    places: Tensor,
    *,
    shrinkage: float | None = None,
    path_length: int = 10,
    max_rank: int | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-5,
) -> Solution:
    """Solve Eq. 1 along a path of decreasing lambdas, each started from the last (Sec. 4.1).

    The path holds `path_length` values, evenly spaced in the logarithm, from below lambda_0 (the
    largest singular value with zeros at the missing entries, at and above which the solution is
    zero) down to `shrinkage`; None ends it at lambda_0 / 50. The singular value decomposition is
    truncated two ranks above the rank of the last solution, and the truncation is doubled whenever
    every kept singular value survives the threshold, so that it never binds below `max_rank`.

    A lambda is done when ||M_new - M_old||_F^2 < tolerance * ||M_old||_F^2 (a *squared* ratio,
    evaluated through the factors) or after `max_iterations` steps; `converged` speaks of the last
    lambda. The values are those of M itself. What `filled` (m, n) holds at `places` (k,) is not
    used. The filled matrix is kept dense: the paper's sparse form pays when few entries are
    observed, and here nearly all are.
    """
    z = filled.clone()
    z.view(-1)[places] = 0
    m, n = z.shape
    limit = m if max_rank is None else min(max_rank, m)
    largest = float(left_singular(z)[1][-1])
    last = largest / DEFAULT_DIVISOR if shrinkage is None else shrinkage
    if not 0 < last < max(largest, torch.finfo(torch.float64).tiny):
        raise ValueError(
            f"shrinkage is {last:g}, expected a value above 0 and below the largest singular value "
            f"{largest:g}, from which on the completion is zero and has no signs"
        )
    steps = torch.arange(1, path_length + 1, dtype=torch.float64) / path_length
    path = (largest * (last / largest) ** steps).tolist()

    u, d, v = z.new_zeros(m, 0), z.new_zeros(0), z.new_zeros(n, 0)
    residuals: list[float] = []
    converged = False
    for lam in path:
        rank = min(len(d) + 2, limit)
        converged = False
        for _ in range(max_iterations):
            z.view(-1)[places] = ((u * d) @ v.mT).view(-1)[places]
            u_new, s, v_new = truncated_svd(z, rank, start=v)
            kept = int((s > lam).sum())
            u_new, d_new, v_new = u_new[:, :kept], s[:kept] - lam, v_new[:, :kept]
            residuals.append(factored_change(u, d, v, u_new, d_new, v_new))
            u, d, v = u_new, d_new, v_new
            if residuals[-1] < tolerance:
                if kept < rank or rank == limit:
                    converged = True
                    break
                rank = min(2 * rank, limit)
    return Solution(((u * d) @ v.mT).view(-1)[places], tuple(residuals), len(residuals), converged)


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


def observed_energy(matrix: Tensor, places: Tensor) -> float:
    """Return the sum of squares of all entries that are not missing."""
    squares = matrix.double().square().view(-1)
    squares[places] = 0
    return float(squares.sum())


def relative_change(new: Tensor, old: Tensor, energy: float) -> float:
    """Return ||Z_new - Z_old||_F / ||Z_old||_F from the missing entries and the observed energy."""
    size = (energy + float(old.double().square().sum())) ** 0.5
    change = float((new.double() - old.double()).norm())
    return change / size if size else float(change > 0)


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
