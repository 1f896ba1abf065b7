"""The released iteration (paper Sec. 4.1, as the authors' release runs it).

With the smallest singular value s_min of the current matrix Z = U diag(s) V' as threshold,
soft-thresholding subtracts s_min from every singular value, so the update is

    z_ij <- z_ij - s_min(Z) * (U V')_ij     on the missing entries.

`released_exact` takes both from an eigendecomposition per step and follows the loop to rounding,
whatever the conditioning. `released_tracked` follows the inverse square root of the Gram matrix
from step to step (`rbtc.solvers.polar`): the same steps to a relative 1e-5, in products.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rbtc.solvers.forecast import Forecast
from rbtc.solvers.polar import InverseRoot, NearlySingularError, PartlyKnown, ProductRoot
from rbtc.solvers.svd import Solution, check_stop, observed_energy, relative_change, shrinkage_at

TRACKED_ROWS = 256
"""From so many rows on, float32 matrices are tracked on a CPU: below, decompositions are cheap."""


RESTING_FLIPS = 1e-3
"""An early stop asks that a step flips at most this fraction of the signs ..."""


RESTING_MOVES = 5e-3
"""... and, in `rbtc.solvers.reweighted`, exchanges at most this fraction of the Top-0.6 set."""


FORECAST_ERROR = 0.5
"""Fraction of the tolerance: how far a step may be off that is taken with a forecast W."""


_JUDGED = 4096  # a forecast is judged by so many entries of a step or more ...


_SPREAD = 8  # ... where there are enough, by one in eight


_TOP = 0.6


_CALM = 2


def released(
    filled: Tensor,
    index: Tensor,
    *,
    max_iterations: int,
    tolerance: float,
    early_stop: bool = False,
) -> Solution:
    """Run the released iteration by the cheaper of the two ways that suit dtype and size.

    `filled` (m, n), m <= n, holds the initial values at its flat indices `index` (k,). Stops when
    the whole matrix differs from the one two steps back by less than `tolerance`, relative
    Frobenius norm, first tested at iteration 2; with `early_stop` also once at most `RESTING_FLIPS`
    of the signs flip in each of two consecutive iterations.
    """
    check_stop(max_iterations, tolerance)
    stop = {"max_iterations": max_iterations, "tolerance": tolerance, "early_stop": early_stop}
    on_gpu = filled.is_cuda
    if filled.dtype == torch.float32 and (on_gpu or len(filled) >= TRACKED_ROWS):
        root = ProductRoot if on_gpu else InverseRoot
        try:
            return released_tracked(filled, index, root_of=root, **stop)
        except NearlySingularError:
            pass  # only float64 with a full decomposition still resolves s_min
    return released_exact(filled, index, **stop)


def released_exact(
    filled: Tensor,
    index: Tensor,
    *,
    max_iterations: int,
    tolerance: float,
    early_stop: bool = False,
) -> Solution:
    """Run the released iteration with a decomposition per step; see `released`."""
    z = filled.clone()
    watch = _Watch(z.view(-1)[index], observed_energy(z, index), tolerance, early_stop)
    for _ in range(max_iterations):
        new = watch.values - shrinkage_at(z, index)
        z.view(-1)[index] = new
        if watch.step(new):
            break
    return watch.solution()


def released_tracked(
    filled: Tensor,
    index: Tensor,
    *,
    max_iterations: int,
    tolerance: float,
    early_stop: bool = False,
    root_of: Callable[[PartlyKnown], InverseRoot | ProductRoot] = InverseRoot,
) -> Solution:
    """Run the released iteration with a tracked inverse square root; see `released`.

    `root_of` makes what follows it. Raises NearlySingularError when the Gram matrix does not
    resolve s_min.
    """
    matrix = PartlyKnown(filled, index)
    root = root_of(matrix)
    watch = _Watch(matrix.values, matrix.energy, tolerance, early_stop)
    forecast = Forecast(FORECAST_ERROR * tolerance)
    every = min(_SPREAD, max(1, len(matrix.values) // _JUDGED))
    for iteration in range(1, max_iterations + 1):
        expected = forecast.at(iteration)
        if expected is None or forecast.due():
            root.update()
            w, smallest = root(), root.smallest()
            step = smallest * matrix.sample(w)
            error = None
            if expected is not None:
                forecast_step = expected[1] * matrix.sample(expected[0], every)
                error = every**0.5 * relative_change(forecast_step, step[::every], matrix.energy)
            forecast.judge(iteration, w, smallest, error)
        else:
            w, smallest = expected
            step = smallest * matrix.sample(w)
        new = watch.values - step
        if watch.step(new):
            break
        if iteration < max_iterations:
            root.refill(new)
    return watch.solution()


class _Watch:
    """The stopping rules of the released loop, and what it hands back."""

    def __init__(self, values: Tensor, energy: float, tolerance: float, early_stop: bool) -> None:
        self.values, self.older = values, None
        self.energy, self.tolerance, self.early_stop = energy, tolerance, early_stop
        self.residuals: list[float] = []
        self.iterations = self.calm = 0
        self.done = False

    def step(self, new: Tensor) -> bool:
        """Take the next iterate; return whether the loop is done."""
        self.iterations += 1
        self.calm = self.calm + 1 if flipped(new, self.values) <= RESTING_FLIPS else 0
        if self.older is not None:  # two steps before `new`
            self.residuals.append(relative_change(new, self.older, self.energy))
        self.older, self.values = self.values, new
        settled = bool(self.residuals) and self.residuals[-1] < self.tolerance
        self.done = settled or (self.early_stop and self.calm >= _CALM)
        return self.done

    def solution(self) -> Solution:
        return Solution(self.values, tuple(self.residuals), self.iterations, self.done)


def flipped(new: Tensor, old: Tensor) -> float:
    """Return the fraction of entries whose sign differs."""
    return float((torch.sign(new) != torch.sign(old)).double().mean())


def largest_set(values: Tensor) -> Tensor:
    """Return (k,) bool, True for the 60 % of largest magnitude, ties included (Top-0.6)."""
    magnitude = values.abs()
    return magnitude > magnitude.kthvalue(max(int((1 - _TOP) * len(magnitude)), 1)).values


def exchanged(new: Tensor, old: Tensor) -> float:
    """Return the fraction of the set `old` (k,) bool that is not in `new`."""
    return float((old & ~new).sum() / old.sum().clamp(min=1))
