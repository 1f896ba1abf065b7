"""The limit of the released iteration in a few steps: iteratively reweighted least squares.

The released iteration descends on the nuclear norm of Z, a convex function of the missing entries,
with the step s_min that suits its steepest direction; on ill-conditioned weights it crawls. Since
||Z||_* <= 1/2 tr(Z' W Z) + const for the fixed matrix W = (Z_0 Z_0')^(-1/2), with equality at
Z = Z_0, minimising the right side instead also decreases the norm, and it splits into one small
linear system per column: with I the missing rows of column j and P = W Z the polar factor,

    W[I, I] d_I = -P[I, j],     z_I <- z_I + omega d_I.

Any 0 < omega < 2 decreases the nuclear norm; 4/3 suits because the norm's curvature lies between
about half of W's and all of it. (Mohan and Fazel, "Iterative Reweighted Algorithms for Matrix Rank
Minimization", JMLR 2012.) Two to six steps bring the signs to rest at any conditioning.

The systems are most of the work, and W changes little after the first step, so their factors are
kept: later steps solve W_0[I, I] d = -P[I, j] with the first W_0 and the P of where they are. The
columns' means that a completion starts from make nearly the smallest Z, hence nearly the largest W:
the steps come out shorter, and omega = 6/5 suits. A step that does not shrink to half of the one
before has the systems factored anew, whatever it started from.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rbtc.solvers.polar import (
    NearlySingularError,
    PartlyKnown,
    ProductRoot,
    inverse_root_by_products,
    symmetric_product,
)
from rbtc.solvers.released import (
    RESTING_FLIPS,
    RESTING_MOVES,
    exchanged,
    flipped,
    largest_set,
    released_exact,
)
from rbtc.solvers.svd import Solution, check_stop, relative_change

OVERRELAXATION = 4 / 3
"""omega, where the systems are those of the same step."""


_KEPT = 6 / 5  # omega, where they are those of an earlier one


_SHRINKS = 0.5  # the least that a step with kept systems has to shrink to


_ENTRIES = 1 << 20  # of the systems solved at once: bounds the memory, and stays in the cache


# s_min^2 / s_max^2 below which a Gram matrix of this dtype no longer resolves s_min.
_RESOLVED = {torch.float32: 1e-5, torch.float64: 1e-12}


def released_fast(
    filled: Tensor,
    index: Tensor,
    *,
    max_iterations: int,
    tolerance: float,
    early_stop: bool = True,
) -> Solution:
    """Find the signs that the released iteration converges to; `filled`, `index` as there.

    Stops when the matrix changes by less than `tolerance` in a step or, with `early_stop`, once
    at most `RESTING_FLIPS` of the signs flip and `RESTING_MOVES` of the Top-0.6 set is exchanged in
    a step. Where the released iteration would stop without going anywhere, because s_min is
    (nearly) zero, so does this.
    """
    check_stop(max_iterations, tolerance)
    stop = {"max_iterations": max_iterations, "tolerance": tolerance, "early_stop": early_stop}
    matrix = PartlyKnown(filled, index)
    try:
        gram, w, smallest, weigh = (_by_products if filled.is_cuda else _by_bases)(matrix)
        crawl = matrix.values - smallest * matrix.sample(w)
        if 2 * relative_change(crawl, matrix.values, matrix.energy) < tolerance:
            return Solution(crawl, (), 1, True)
        first = [w]
        return reweighted(
            matrix, gram, lambda gram: first.pop() if first else weigh(gram), keep=True, **stop
        )
    except NearlySingularError:
        return released_exact(filled, index, **stop)


def reweighted(
    matrix: PartlyKnown,
    gram: Tensor,
    weigh: Callable[[Tensor], Tensor],
    *,
    keep: bool,
    max_iterations: int,
    tolerance: float,
    early_stop: bool,
) -> Solution:
    """Iterate z_I <- z_I + omega d_I with W[I, I] d_I = -(W Z)_I until the entries rest.

    Args:
        matrix: Z, at the initial values.
        gram: Z Z' (m, m) in the precision in which it is followed; used up.
        weigh: the symmetric, positive definite W (m, m) of a Gram matrix, in the values' dtype.
        keep: solve with the systems of the first W while the steps shrink fast enough.
        max_iterations: steps.
        tolerance: see `released_fast`.
        early_stop: see `released_fast`.
    """
    systems = ColumnSystems(matrix)
    values, top = matrix.values, largest_set(matrix.values)
    residuals: list[float] = []
    fresh = True
    for iteration in range(1, max_iterations + 1):
        w = weigh(gram)
        if fresh:
            systems.factor(w)
        step = systems.solve(-matrix.sample(w))
        new = values + (OVERRELAXATION if fresh else _KEPT) * step
        residuals.append(relative_change(new, values, matrix.energy))
        new_top = largest_set(new)
        calm = flipped(new, values) <= RESTING_FLIPS and exchanged(new_top, top) <= RESTING_MOVES
        values, top = new, new_top
        if residuals[-1] < tolerance or (early_stop and calm):
            return Solution(values, tuple(residuals), iteration, True)
        slow = iteration > 1 and residuals[-1] > _SHRINKS * residuals[-2]
        fresh = not keep or slow
        if iteration < max_iterations:
            product = matrix.refill(values).to(gram.dtype)
            gram += product + product.mT
    return Solution(values, tuple(residuals), max_iterations, False)


_Start = tuple[Tensor, Tensor, float, Callable[[Tensor], Tensor]]
"""Gram matrix as it is followed, its inverse root, s_min, and how later roots are made."""


def _by_bases(matrix: PartlyKnown) -> _Start:
    gram = matrix.gram()
    w, smallest = _inverse_root(matrix, gram)
    return gram, w, smallest, lambda gram: _inverse_root(matrix, gram)[0]


def _by_products(matrix: PartlyKnown) -> _Start:
    """The same for a GPU, which has float64 products to spare."""
    root = ProductRoot(matrix)
    low, dtype = root.least / 2, matrix.values.dtype
    gram = matrix.gram(torch.float64)
    return gram, root(), root.least, lambda gram: inverse_root_by_products(gram, low).to(dtype)


def _inverse_root(matrix: PartlyKnown, gram: Tensor) -> tuple[Tensor, float]:
    """Return (Z Z')^(-1/2) and s_min; NearlySingularError when not even float64 resolves them."""
    squares, basis = torch.linalg.eigh(gram)
    if not squares[0] > _RESOLVED[gram.dtype] * squares[-1]:
        squares, basis = torch.linalg.eigh(matrix.gram(torch.float64))
        if not squares[0] > _RESOLVED[torch.float64] * squares[-1]:
            raise NearlySingularError
    w = symmetric_product(basis * squares.rsqrt(), basis.mT)
    return w.to(gram.dtype), float(squares[0].sqrt())


class ColumnSystems:
    """The linear systems W[I, I] d = b of all columns, in groups of about the same size.

    W (m, m) is symmetric and positive definite, I are the missing rows of a column.
    """

    def __init__(self, matrix: PartlyKnown) -> None:
        m, n = matrix.shape
        k = len(matrix.values)
        self.size = m
        by_column = torch.argsort(matrix.columns, stable=True)  # (k,)
        counts = torch.bincount(matrix.columns, minlength=n)
        starts = torch.cumsum(counts, 0) - counts
        rows = torch.cat([matrix.rows[by_column], by_column.new_tensor([m])])
        order = torch.argsort(counts)
        order = order[counts[order] > 0]
        ordered = counts[order].tolist()
        self.groups: list[tuple[Tensor, Tensor]] = []
        first = 0
        while first < len(ordered):
            # Columns up to a quarter longer than the first share a padded size.
            last, limit = first, max(ordered[first] * 5 // 4, ordered[first] + 4)
            while last < len(ordered) and ordered[last] <= limit:
                if (last - first + 1) * ordered[last] ** 2 > _ENTRIES and last > first:
                    break
                last += 1
            columns = order[first:last]
            offset = torch.arange(ordered[last - 1], device=counts.device)
            inside = offset < counts[columns, None]  # (group, size)
            slot = torch.where(inside, starts[columns, None] + offset, k)
            padded = torch.cat([by_column, by_column.new_tensor([k])])
            self.groups.append((rows[slot], padded[slot]))  # missing rows; positions in the values
            first = last

    def factor(self, w: Tensor) -> None:
        """Factor the systems of W (m, m)."""
        m = self.size
        bordered = w.new_zeros(m + 1, m + 1)  # index m pads
        bordered[:m, :m] = w
        self._factors: list[tuple[Tensor, bool]] = []
        for rows, _ in self.groups:
            index = rows[:, :, None] * (m + 1) + rows[:, None, :]  # (group, size, size)
            system = bordered.view(-1).take(index)
            system.diagonal(dim1=1, dim2=2).add_((rows == m).to(w.dtype))
            factor, failed = torch.linalg.cholesky_ex(system)
            whole = not bool(failed.any())
            if not whole:  # rounding in float32: the exact W is positive definite
                factor = torch.linalg.pinv(system.double(), hermitian=True).to(w.dtype)
            self._factors.append((factor, whole))

    def solve(self, right: Tensor) -> Tensor:
        """Return d (k,) for the right sides (k,) of all columns, by the last `factor`."""
        right = torch.cat([right, right.new_zeros(1)])
        result = torch.zeros_like(right)
        for (_, slots), (factor, whole) in zip(self.groups, self._factors, strict=True):
            b = right[slots][:, :, None]
            step = torch.cholesky_solve(b, factor) if whole else factor @ b
            result[slots] = step[:, :, 0]
        return result[:-1]
