"""Matrix completion: estimate pruned weights from the ones that survived (paper Sec. 4.1).

Four algorithms share one interface. `released` is what the authors' release runs and what stands
behind the paper's tables (`rbtc.released`; its fast variant in `rbtc.reweighted`); `softimpute` is
what the paper's text describes; `svt` is the plain iteration with one fixed lambda (both in
`rbtc.softimpute`); `als` solves the same problem by alternating regressions (`rbtc.als`).

The released update is z_ij <- z_ij - s_min(Z) * (U V')_ij on the missing entries of
Z = U diag(s) V': a subgradient step on the nuclear norm of Z with the observed entries held fixed.
Its fixed point is the completion of least nuclear norm, the limit lambda -> 0 of Eq. 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from rbtc.als import alternating
from rbtc.layers import Masks, Weights, check_same_layers, short_name
from rbtc.released import released
from rbtc.reweighted import released_fast
from rbtc.softimpute import left_singular, soft_impute, svt

Algorithm = Literal["released", "softimpute", "svt", "als"]
_ALGORITHMS = ("released", "softimpute", "svt", "als")


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

    def scatter(self, fill: float = 0.0) -> Tensor:
        """Return the values in place, (rows, columns), and `fill` at the observed entries."""
        full = torch.full(
            self.missing.shape, fill, dtype=self.values.dtype, device=self.values.device
        )
        full[self.missing] = self.values
        return full


def complete(
    weight: Tensor,
    missing: Tensor | None = None,
    *,
    algorithm: Algorithm = "released",
    max_iterations: int = 500,
    tolerance: float = 1e-5,
    init: Literal["mean", "zero"] = "mean",
    shrinkage: float | None = None,
    path_length: int = 10,
    max_rank: int | None = None,
    fast: bool = False,
    rest: bool | None = None,
) -> Completion:
    """Estimate the missing entries of one weight matrix from the others.

    weight: (rows, columns), any float dtype. float64 is computed in float64, everything else in
        float32 with a float64 Gram matrix where conditioning asks for it. float32 saves memory and
        time; its values carry a relative error of about 1e-5, so only estimates that are almost
        zero can change sign.
    missing: (rows, columns) bool; None takes the entries equal to zero, as the release does.
    algorithm: "released" (see the module), "softimpute" (decreasing lambdas with warm starts and
        truncated SVDs, `rbtc.softimpute.soft_impute`), "svt" (one lambda, `rbtc.softimpute.svt`)
        or "als" (one lambda, factors of limited rank, `rbtc.als.alternating`).
    max_iterations: for "softimpute", per lambda.
    tolerance: "released" compares the whole matrix with the one *two* steps back, relative
        Frobenius norm, as the release does; the others are described where they are implemented.
    init: fill with the mean of the column's observed entries (0 where there is none) or with 0;
        "softimpute" and "als" always start from zero.
    shrinkage: the lambda of "svt" and "als", the last lambda of "softimpute"; None takes the
        largest singular value / 50.
    path_length: of "softimpute" only. max_rank: of "softimpute" and "als".
    fast: "released" only; go to the limit of the released iteration in a few reweighted
        least-squares steps (`rbtc.reweighted`) instead of following it.
    rest: "released" only; also stop once the signs are at rest, since the attack only uses signs
        and the order of magnitudes. None means yes for `fast`, no otherwise.

    The result does not depend on the memory layout of `weight`. A matrix that is exactly rank
    deficient once filled has s_min = 0: nothing moves, and "released" returns the initial fill.

    Raises ValueError when nothing is missing, a whole row is missing, an observed entry is NaN or
    infinite, or an argument does not fit.

    >>> weight = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 6.1]])
    >>> float(complete(weight, init="zero").values) > 0
    True
    """
    missing = _check_matrix(weight, missing)
    _check_options(
        algorithm, max_iterations, tolerance, init, shrinkage, path_length, max_rank, fast, rest
    )
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    filled = _fill(weight.detach().to(dtype), missing, init)
    rows, columns = missing.nonzero(as_tuple=True)  # row-major
    height, width = weight.shape
    if height <= width:
        wide, places = filled.contiguous(), rows * width + columns
    else:  # the Gram matrix belongs on the smaller side
        wide, places = filled.mT.contiguous(), columns * height + rows

    stop: dict[str, Any] = {"max_iterations": max_iterations, "tolerance": tolerance}
    if algorithm == "released":
        solve = released_fast if fast else released
        solution = solve(wide, places, rest=fast if rest is None else rest, **stop)
    elif algorithm == "svt":
        _check_shrinkage(wide, shrinkage)
        solution = svt(wide, places, shrinkage=shrinkage, **stop)
    elif algorithm == "als":
        _check_shrinkage(wide, shrinkage)
        solution = alternating(wide, places, shrinkage=shrinkage, max_rank=max_rank, **stop)
    else:
        solution = soft_impute(
            wide, places, shrinkage=shrinkage, path_length=path_length, max_rank=max_rank, **stop
        )
    return Completion(
        solution.values,
        missing,
        solution.iterations,
        solution.residuals,
        solution.converged,
        algorithm,
    )


def complete_all(
    weights: Weights, masks: Masks | None = None, *, progress: bool = False, **options: Any
) -> dict[str, Completion]:
    """Complete every layer on its own, as the paper does (Sec. 5.1); sorted by name.

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
    from tqdm import tqdm

    result = {}
    for name in tqdm(names, desc="completing", unit="layer", disable=not progress):
        try:
            result[name] = complete(weights[name], masks[name], **options)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return result


@dataclass(frozen=True)
class SignAccuracy:
    """How many of `n` recovered signs are `correct`; adding two pools them."""

    correct: int
    n: int

    @property
    def value(self) -> float:
        """The share of correct signs, NaN when there is none to judge."""
        return self.correct / self.n if self.n else float("nan")

    def __add__(self, other: "SignAccuracy") -> "SignAccuracy":
        return SignAccuracy(self.correct + other.correct, self.n + other.n)


def count_signs(
    recovered: Mapping[str, Completion] | Mapping[str, Tensor], original: Weights
) -> dict[str, SignAccuracy]:
    """Count correct signs per layer, against the weights before pruning.

    recovered: completions, of which every missing entry is judged (an estimate of exactly 0 counts
    as wrong), or sign matrices (rows, columns) as `rbtc.topk.retain_signs` returns, of which only
    the non-zero ones are judged. Entries that were zero before pruning have no sign and are left
    out. Raises ValueError for a layer that `original` lacks or whose shape differs.
    """
    counts = {}
    for name in sorted(recovered):
        item = recovered[name]
        if name not in original:
            raise ValueError(f"the original weights have no layer {name!r}")
        shape = item.missing.shape if isinstance(item, Completion) else item.shape
        if original[name].shape != shape:
            raise ValueError(
                f"{name}: recovered {tuple(shape)}, original {tuple(original[name].shape)}; both "
                f"must come from the same architecture"
            )
        truth = torch.sign(original[name].detach())
        if isinstance(item, Completion):
            truth = truth[item.missing.to(truth.device)]
            signs, judged = torch.sign(item.values).to(truth), truth != 0
        else:
            signs = torch.sign(item).to(truth)
            judged = (truth != 0) & (signs != 0)
        counts[name] = SignAccuracy(int(((signs == truth) & judged).sum()), int(judged.sum()))
    return counts


def sign_accuracy(
    recovered: Mapping[str, Completion] | Mapping[str, Tensor], original: Weights
) -> float:
    """Return the share of correct signs pooled over all layers; see `count_signs`."""
    return sum(count_signs(recovered, original).values(), SignAccuracy(0, 0)).value


def sign_accuracy_by_layer(
    recovered: Mapping[str, Completion] | Mapping[str, Tensor], original: Weights
) -> pd.DataFrame:
    """Return one row per layer: name, short, n, correct and accuracy; see `count_signs`."""
    rows = [
        {
            "name": name,
            "short": short_name(name),
            "n": found.n,
            "correct": found.correct,
            "accuracy": found.value,
        }
        for name, found in count_signs(recovered, original).items()
    ]
    return pd.DataFrame(rows, columns=["name", "short", "n", "correct", "accuracy"])


def _fill(weight: Tensor, missing: Tensor, init: str) -> Tensor:
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


def _check_options(
    algorithm: str,
    max_iterations: int,
    tolerance: float,
    init: str,
    shrinkage: float | None,
    path_length: int,
    max_rank: int | None,
    fast: bool,
    rest: bool | None,
) -> None:
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"algorithm is {algorithm!r}, expected one of {', '.join(_ALGORITHMS)}")
    if init not in ("mean", "zero"):
        raise ValueError(f"init is {init!r}, expected 'mean' or 'zero'")
    if max_iterations < 1:
        raise ValueError(f"max_iterations is {max_iterations}, expected at least 1")
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}, expected a number not below 0")
    if path_length < 1:
        raise ValueError(f"path_length is {path_length}, expected at least 1")
    if max_rank is not None and max_rank < 1:
        raise ValueError(f"max_rank is {max_rank}, expected at least 1, or None for no limit")
    if max_rank is not None and algorithm not in ("softimpute", "als"):
        raise ValueError(
            f"max_rank belongs to algorithm='softimpute' and 'als', not to {algorithm!r}"
        )
    if shrinkage is not None and algorithm == "released":
        raise ValueError(
            "shrinkage belongs to 'svt' and 'softimpute' (and 'als'); 'released' takes the "
            "smallest singular value"
        )
    if (fast or rest) and algorithm != "released":
        name = "fast" if fast else "rest"
        raise ValueError(f"{name} belongs to algorithm='released', not to {algorithm!r}")


def _check_shrinkage(filled: Tensor, shrinkage: float | None) -> None:
    if shrinkage is None:
        return
    largest = float(left_singular(filled)[1][-1])
    if not 0 < shrinkage < largest:
        raise ValueError(
            f"shrinkage is {shrinkage:g}, expected a value above 0 and below the largest singular "
            f"value {largest:g}, from which on the completion is zero and has no signs"
        )
