"""Matrix completion: estimate pruned weights from the ones that survived (paper Sec. 4.1).

Five algorithms share one interface. `released` is what the authors' release runs and what stands
behind the paper's tables (`rbtc.solvers.released`; its fast variant in `rbtc.solvers.reweighted`);
`softimpute` is what the paper's text describes; `svt` is the plain iteration with one fixed lambda
(both in `rbtc.solvers.softimpute`); `als` solves the same problem by alternating regressions
(`rbtc.solvers.als`); `spectral` is the family that the released update belongs to
(`rbtc.solvers.spectral`).

The released update is z_ij <- z_ij - s_min(Z) * (U V')_ij on the missing entries of
Z = U diag(s) V': a subgradient step on the nuclear norm of Z with the observed entries held fixed.
Its fixed point is the completion of least nuclear norm, the limit lambda -> 0 of Eq. 1.
"""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rbtc.layers import Masks, Weights, check_same_layers, far_exponent, scaled
from rbtc.solvers.als import alternating
from rbtc.solvers.released import released as released_loop
from rbtc.solvers.reweighted import released_fast
from rbtc.solvers.softimpute import soft_impute, svt
from rbtc.solvers.spectral import spectral
from rbtc.solvers.svd import Solution

Algorithm = Literal["released", "softimpute", "svt", "als", "spectral"]


@dataclass(frozen=True, eq=False)
class Completion:
    """Estimates of the missing entries of one matrix.

    values: (k,) at the missing entries in row-major order, in the dtype of the computation.
    missing: (rows, columns) bool.
    iterations: steps taken, over all lambdas for `softimpute`.
    residuals: the value compared with the tolerance, per test. `released` tests from its second
        iteration on, so it has one fewer than `iterations`.
    converged: whether a stopping rule was met before `max_iterations`.
    """

    values: Tensor
    missing: Tensor
    iterations: int
    residuals: tuple[float, ...]
    converged: bool
    algorithm: str

    def dense(self, weight: Tensor) -> Tensor:
        """Return a copy of `weight` (rows, columns) with the missing entries filled, same dtype."""
        if weight.shape != self.missing.shape:
            raise ValueError(
                f"weight has shape {tuple(weight.shape)}, but the completion is of a matrix of "
                f"shape {tuple(self.missing.shape)}"
            )
        filled = weight.detach().clone()
        filled[self.missing.to(weight.device)] = self.values.to(weight)
        return filled


def complete(
    weight: Tensor,
    missing: Tensor | None = None,
    *,
    algorithm: Algorithm = "released",
    init: Literal["mean", "zero"] = "mean",
    **options: Any,
) -> Completion:
    """Estimate the missing entries of one weight matrix from the others.

    weight: (rows, columns), any float dtype. float64 is computed in float64, everything else in
        float32 with a float64 Gram matrix where conditioning asks for it. float32 saves memory and
        time; its error grows with the matrix's condition number and reaches the estimates that are
        almost zero first. Give float64 where values matter, not only signs.
    missing: (rows, columns) bool; None takes the entries equal to zero, as the release does.
    algorithm: "released" (`released_or_limit`), "softimpute" (decreasing lambdas with warm
        starts and truncated SVDs, `rbtc.solvers.softimpute.soft_impute`), "svt" (one lambda,
        `rbtc.solvers.softimpute.svt`), "als" (one lambda, factors of limited rank,
        `rbtc.solvers.als.alternating`) or "spectral" (`rbtc.solvers.spectral.spectral`).
    init: fill with the mean of the column's observed entries (0 where there is none) or with 0;
        "softimpute" and "als" always start from zero.
    options: the algorithm's own, which are described there: max_iterations and tolerance of all;
        shrinkage (lambda) of all but "released" and "spectral"; path_length of "softimpute";
        max_rank of "softimpute" and "als"; fast of "released"; exponent and
        ridge of "spectral"; early_stop
        of both.

    The result does not depend on the memory layout of `weight`. A matrix that is exactly rank
    deficient once filled has s_min = 0: nothing moves, and "released" returns the initial fill.

    Raises ValueError when nothing is missing, a whole row is missing, an observed entry is NaN or
    infinite, or an argument does not fit.

    >>> weight = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 6.1]])
    >>> float(complete(weight, init="zero").values) > 0
    True
    """
    missing = _check_matrix(weight, missing)
    solve = solver_of(algorithm, options)
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    observed = weight.detach().to(dtype).masked_fill(missing, 0)
    far = far_exponent([observed])
    filled = _fill(scaled(observed, -far) if far else observed, missing, init)
    rows, columns = missing.nonzero(as_tuple=True)  # row-major
    height, width = weight.shape
    if height <= width:
        wide, index = filled.contiguous(), rows * width + columns
    else:  # the Gram matrix belongs on the smaller side
        wide, index = filled.mT.contiguous(), columns * height + rows
    order = torch.argsort(index)  # sparse products want them row by row of the wide matrix
    found = solve(wide, index[order], **options)
    values = torch.empty_like(found.values).index_copy_(0, order, found.values)
    values = scaled(values, far) if far else values
    return Completion(
        values, missing, found.iterations, found.residuals, found.converged, algorithm
    )


def released_or_limit(
    filled: Tensor,
    index: Tensor,
    *,
    max_iterations: int = 500,
    tolerance: float = 1e-5,
    fast: bool = False,
    early_stop: bool | None = None,
) -> Solution:
    """Run the released iteration, or go to its limit.

    filled: (m, n), m <= n, with the initial values at its flat indices `index` (k,).
    tolerance: compared with the change of the whole matrix against the one *two* steps back,
        relative Frobenius norm, as the release does.
    fast: go to the limit in a few reweighted least-squares steps (`rbtc.solvers.reweighted`)
        instead of following the iteration.
    early_stop: also stop once hardly a sign flips in a step. Signs still drift afterwards, and so
        does the Top-K set; chapter 02 measures how far. None means yes for `fast`, no otherwise.
    """
    solve = released_fast if fast else released_loop
    early_stop = fast if early_stop is None else early_stop
    return solve(
        filled, index, max_iterations=max_iterations, tolerance=tolerance, early_stop=early_stop
    )


_GIVEN = ("filled", "index")


def solver_of(algorithm: str, options: Collection[str] = ()) -> Callable[..., Solution]:
    """The solver behind an algorithm's name.

    Raises:
        ValueError: an unknown algorithm, or an option that it does not take.
    """
    solvers: dict[str, Callable[..., Solution]] = {
        "released": released_or_limit,
        "softimpute": soft_impute,
        "svt": svt,
        "als": alternating,
        "spectral": spectral,
    }
    if algorithm not in solvers:
        raise ValueError(f"algorithm is {algorithm!r}, expected one of {', '.join(solvers)}")
    takes = [n for n in inspect.signature(solvers[algorithm]).parameters if n not in _GIVEN]
    if refused := sorted(set(options) - set(takes)):
        raise ValueError(
            f"{refused[0]} is no option of algorithm={algorithm!r}, which takes {', '.join(takes)}"
        )
    return solvers[algorithm]


solver_of.followed = False  # pyright: ignore  # a result rests on the solver it used, not on all


def complete_all(
    weights: Weights, masks: Masks | None = None, *, progress: bool = False, **options: Any
) -> dict[str, Completion]:
    """Complete every layer on its own, as the paper does (Sec. 5.1); sorted by name.

    On a CPU the layers are completed side by side, each by its share of torch's threads: small
    decompositions gain little from a second thread.

    masks: where each layer is missing; None takes the entries equal to zero. A layer with nothing
    missing is left out of the result. `options` go to `complete`. Raises ValueError, naming the
    layer, where `complete` does, and when no layer has anything missing.
    """
    if masks is None:
        masks = {name: weight == 0 for name, weight in weights.items()}
    check_same_layers(weights, masks)
    names = [name for name in sorted(weights) if bool(masks[name].any())]
    if not names:
        raise ValueError(
            f"nothing is missing in any of the {len(weights)} layers: is this model pruned?"
        )
    from rich.console import Console
    from rich.progress import Progress

    def work(name: str) -> Completion:
        try:
            found = complete(weights[name], masks[name], **options)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        bar.advance(layers)
        return found

    with (
        Progress(console=Console(stderr=True), disable=not progress) as bar,
        _workers([weights[name] for name in names]) as pool,
    ):
        layers = bar.add_task("completing", total=len(names))
        # The largest first, so that no worker is left alone with one at the end.
        order = sorted(names, key=lambda name: -weights[name].numel())
        running = {name: pool.submit(work, name) for name in order}
        try:
            return {name: running[name].result() for name in names}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _workers(weights: Sequence[Tensor]) -> Iterator[ThreadPoolExecutor]:
    """Threads that share torch's own among them; one where a GPU does the work."""
    threads = torch.get_num_threads()
    on_cpu = all(weight.device.type == "cpu" for weight in weights)
    workers = min(threads, len(weights)) if on_cpu else 1
    start = torch.set_num_threads, (threads // workers,)
    try:
        with ThreadPoolExecutor(workers, "completing", *start) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _fill(weight: Tensor, missing: Tensor, init: str) -> Tensor:
    if init not in ("mean", "zero"):
        raise ValueError(f"init is {init!r}, expected 'mean' or 'zero'")
    observed = weight.masked_fill(missing, 0)
    if init == "zero":
        return observed
    count = (~missing).sum(dim=0)
    mean = observed.sum(dim=0) / count.clamp(min=1)  # 0 for a column nobody observed
    return torch.where(missing, mean, observed)


def _check_matrix(weight: Tensor, missing: Tensor | None) -> Tensor:
    if weight.ndim != 2 or not weight.is_floating_point():
        raise ValueError(
            f"weight is {weight.dtype} of shape {tuple(weight.shape)}, expected a floating-point "
            f"matrix (rows, columns)"
        )
    if missing is None:
        missing = weight.detach() == 0
    elif missing.dtype != torch.bool or missing.shape != weight.shape:
        raise ValueError(
            f"missing is {missing.dtype} of shape {tuple(missing.shape)}, expected torch.bool of "
            f"the weight's shape {tuple(weight.shape)}"
        )
    missing = missing.to(weight.device).contiguous()
    if not missing.any():
        raise ValueError(
            "nothing is missing: is this model pruned? (no entry is zero, or the mask is empty)"
        )
    bad = int((~torch.isfinite(weight) & ~missing).sum())
    if bad:
        raise ValueError(
            f"weight holds {bad} NaN or infinite values among its observed entries; reload or "
            f"re-export the checkpoint"
        )
    empty = missing.all(dim=1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"row {empty[0]} has no surviving entry ({len(empty)} such rows of "
            f"{weight.shape[0]}): a neuron pruned as a whole leaves nothing to complete it from; "
            f"leave such rows out of the mask"
        )
    return missing


def column_means(weight: Tensor) -> Completion:
    """Estimate each missing entry by the mean of what its column has left; 0 for an empty column.

    Where the released iteration starts, and no completion at all. weight: (rows, columns), missing
    where zero.
    """
    missing = weight == 0
    values = _fill(weight.detach(), missing, "mean")[missing]
    return Completion(values, missing, 0, (), True, "column means")
