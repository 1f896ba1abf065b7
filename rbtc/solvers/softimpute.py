"""Soft-thresholded completion: SoftImpute along a path of lambdas, and one fixed lambda.

Both minimise Eq. 1 of the paper,

    1/2 ||P_observed(X - M)||_F^2 + lambda ||M||_*,

by refilling the missing entries with the current estimate (Eq. 3) and soft-thresholding the
singular values of the filled matrix (Eq. 2); a minimiser is a fixed point M = S_lambda(Z).
Mazumder, Hastie and Tibshirani, "Spectral Regularization Algorithms for Learning Large Incomplete
Matrices", JMLR 2010.

The functions here take a wide matrix (rows <= columns) and the flat indices of its missing
entries; `rbtc.attack.completion.complete` prepares both and is what callers want.
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
    observed_energy,
    relative_change,
    shrinkage_at,
    truncated_svd,
)


def svt(
    filled: Tensor,
    index: Tensor,
    *,
    shrinkage: float | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-5,
) -> Solution:
    """Iterate Z <- P_observed(X) + P_missing(S_lambda(Z)) at one fixed lambda, with exact SVDs.

    `filled` (m, n), m <= n, holds the initial values at its flat indices `index` (k,).
    `shrinkage` is lambda; None takes the largest singular value of `filled` / 50. Stops when the
    whole matrix changes by less than `tolerance`, relative Frobenius norm of consecutive iterates.
    """
    check_stop(max_iterations, tolerance)
    z = filled.clone()
    values = z.view(-1)[index]
    energy = observed_energy(z, index)
    largest = float(left_singular(z)[1][-1])
    shrinkage = largest / DEFAULT_DIVISOR if shrinkage is None else shrinkage
    check_shrinkage(shrinkage, largest)
    residuals: list[float] = []
    for _ in range(max_iterations):
        new = values - shrinkage_at(z, index, shrinkage)
        residuals.append(relative_change(new, values, energy))
        z.view(-1)[index] = values = new
        if residuals[-1] < tolerance:
            return Solution(values, tuple(residuals), len(residuals), True)
    return Solution(values, tuple(residuals), len(residuals), False)


def soft_impute(
    filled: Tensor,
    index: Tensor,
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
    lambda. The values are those of M itself. What `filled` (m, n) holds at `index` (k,) is not
    used. The filled matrix is kept dense: the paper's sparse form pays when few entries are
    observed, and here nearly all are.
    """
    check_stop(max_iterations, tolerance)
    check_rank(max_rank)
    if path_length < 1:
        raise ValueError(f"path_length is {path_length}, expected at least 1")
    z = filled.clone()
    z.view(-1)[index] = 0
    m, n = z.shape
    limit = m if max_rank is None else min(max_rank, m)
    largest = float(left_singular(z)[1][-1])
    last = largest / DEFAULT_DIVISOR if shrinkage is None else shrinkage
    check_shrinkage(last, largest)
    steps = torch.arange(1, path_length + 1, dtype=torch.float64) / path_length
    path = (largest * (last / largest) ** steps).tolist()

    u, d, v = z.new_zeros(m, 0), z.new_zeros(0), z.new_zeros(n, 0)
    residuals: list[float] = []
    converged = False
    for lam in path:
        rank = min(len(d) + 2, limit)
        converged = False
        for _ in range(max_iterations):
            z.view(-1)[index] = ((u * d) @ v.mT).view(-1)[index]
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
    return Solution(((u * d) @ v.mT).view(-1)[index], tuple(residuals), len(residuals), converged)
