"""Eq. 1 of the paper by alternating ridge regressions, without decomposing the matrix.

The nuclear norm is the least (||A||_F^2 + ||B||_F^2) / 2 over all factorisations M = A B', so

    1/2 ||P_observed(X - A B')||_F^2 + lambda / 2 (||A||_F^2 + ||B||_F^2)

has the solution of Eq. 1 whenever A and B have at least its rank. With the missing entries filled
by the current A B', each factor in turn is a ridge regression of the complete matrix on the other,
and keeping A = U D^(1/2), B = V D^(1/2) orthogonal makes that a product and a rescaling.
Hastie, Mazumder, Lee and Zadeh, "Matrix Completion and Low-Rank SVD via Fast Alternating Least
Squares", JMLR 2015 (softImpute-ALS).
"""

import torch
from torch import Tensor

from rbtc.solvers.svd import (
    DEFAULT_DIVISOR,
    Solution,
    check_rank,
    check_shrinkage,
    check_stop,
    factored_change,
    left_singular,
)


def alternating(
    filled: Tensor,
    index: Tensor,
    *,
    shrinkage: float | None = None,
    max_rank: int | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-5,
) -> Solution:
    """Solve Eq. 1 at one lambda with factors of `max_rank` columns (None: as many as rows).

    `filled` (m, n), m <= n; what it holds at its flat indices `index` (k,) is not used: they
    start from zero. `shrinkage` is lambda; None takes the largest singular value / 50. Stops when
    ||M_new - M_old||_F^2 < tolerance * ||M_old||_F^2, a squared ratio as in `soft_impute`. A last
    regression without penalty, soft-thresholded, gives exact zeros for the surplus rank.
    """
    check_stop(max_iterations, tolerance)
    check_rank(max_rank)
    z = filled.clone()
    z.view(-1)[index] = 0
    m, n = z.shape
    rank = m if max_rank is None else min(max_rank, m)
    largest = float(left_singular(z)[1][-1])
    shrinkage = largest / DEFAULT_DIVISOR if shrinkage is None else shrinkage
    check_shrinkage(shrinkage, largest)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(m, rank, generator=generator, dtype=torch.float64)
    u = torch.linalg.qr(start).Q.to(z)  # (m, r)
    d, v = z.new_ones(rank), z.new_zeros(n, rank)
    residuals: list[float] = []
    converged = False
    while len(residuals) < max_iterations and not converged:
        before = (u, d, v)
        u, d, v = _regress(z, u, d, shrinkage)
        z.view(-1)[index] = ((u * d) @ v.mT).view(-1)[index]
        v, d, u = _regress(z.mT, v, d, shrinkage)
        z.view(-1)[index] = ((u * d) @ v.mT).view(-1)[index]
        # The first estimate is compared with zero, not with the random start.
        change = factored_change(*before, u, d, v) if residuals else float("inf")
        residuals.append(change)
        converged = change < tolerance
    u, d, turn = torch.linalg.svd(z @ v, full_matrices=False)  # Z V = U D turn
    estimate = (u * (d - shrinkage).clamp(min=0)) @ (turn @ v.mT)
    return Solution(estimate.reshape(-1)[index], tuple(residuals), len(residuals), converged)


def _regress(z: Tensor, u: Tensor, d: Tensor, penalty: float) -> tuple[Tensor, Tensor, Tensor]:
    """Regress z (m, n) on u (m, r) sqrt(d); return u rotated, the new d, and v (n, r)."""
    # A direction that has died stays dead: 0 / (0 + lambda).
    b = (z.mT @ u) * (d / (d + penalty))  # (n, r), is V D of the new factor
    v, d, turn = torch.linalg.svd(b, full_matrices=False)
    return u @ turn.mT, d, v
