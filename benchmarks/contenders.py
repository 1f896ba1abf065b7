"""The completions that are compared.

A contender takes all layers, `(weights, masks) -> {layer: (estimate, iterations)}`. Ours completes
them as the attack does, side by side where that is faster; the others one after the other.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rbtc.attack.completion import complete_all
from rbtc.layers import Masks, Weights

Found = dict[str, tuple[Tensor, int]]
Contender = Callable[[Weights, Masks], Found]


def one_by_one(complete: Callable[[Tensor, Tensor], tuple[Tensor, int]]) -> Contender:
    """A completion of one matrix, as one of all layers."""

    def run(weights: Weights, masks: Masks) -> Found:
        return {name: complete(weight, masks[name]) for name, weight in weights.items()}

    return run


def released_loop(weight: Tensor, missing: Tensor, *, limit: int = 500) -> tuple[Tensor, int]:
    """The released loop as it is written: float64, a full singular value decomposition a step."""
    z = column_means(weight.double(), missing)
    older = previous = z
    for iteration in range(1, limit + 1):
        u, s, vt = torch.linalg.svd(z, full_matrices=False)
        low = (u * (s - s[-1]).clamp(min=0)) @ vt
        older, previous, z = previous, z, torch.where(missing, low, z)
        # Two steps back, as released.
        if iteration >= 2 and torch.linalg.norm(z - older) < 1e-5 * torch.linalg.norm(older):
            return z[missing], iteration
    return z[missing], limit


def lowrank_soft_impute(weight: Tensor, missing: Tensor) -> tuple[Tensor, int]:
    """SoftImpute at lambda = s_1 / 50 with `torch.svd_lowrank` of an eighth of the rank."""
    z = weight.masked_fill(missing, 0)
    rank = max(min(z.shape) // 8, 2)
    lam = torch.linalg.matrix_norm(z, 2) / 50
    torch.manual_seed(0)
    iterations, done = 0, False
    while iterations < 100 and not done:
        iterations += 1
        u, s, v = torch.svd_lowrank(z, q=rank, niter=2)
        low = (u * (s - lam).clamp(min=0)) @ v.mT
        new = torch.where(missing, low, z)
        done = bool(torch.linalg.norm(new - z) < 1e-5 * torch.linalg.norm(z))
        z = new
    return z[missing], iterations


def ours(**options) -> Contender:
    """`rbtc.attack.completion.complete_all` with the given options."""

    def run(weights: Weights, masks: Masks) -> Found:
        found = complete_all(weights, masks, **options)
        return {name: (one.values, one.iterations) for name, one in found.items()}

    return run


def fancyimpute_soft_impute(weight: Tensor, missing: Tensor) -> tuple[Tensor, int]:
    """Fancyimpute's SoftImpute with its defaults (full SVDs, at most 100 iterations)."""
    from fancyimpute import SoftImpute  # pyright: ignore[reportMissingImports]

    solver = SoftImpute(verbose=False)
    return _impute(solver.fit_transform, weight, missing), solver.max_iters


def iterative_imputer(weight: Tensor, missing: Tensor) -> tuple[Tensor, int]:
    """Sklearn's IterativeImputer: Bayesian ridge of each column on 20 others, 3 rounds."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # pyright: ignore
    from sklearn.impute import IterativeImputer  # pyright: ignore[reportMissingImports]

    solver = IterativeImputer(
        max_iter=3, n_nearest_features=20, random_state=0, keep_empty_features=True
    )
    return _impute(solver.fit_transform, weight, missing), 3


def knn_imputer(weight: Tensor, missing: Tensor) -> tuple[Tensor, int]:
    """Sklearn's KNNImputer with its defaults: five nearest rows."""
    from sklearn.impute import KNNImputer  # pyright: ignore[reportMissingImports]

    return _impute(KNNImputer(keep_empty_features=True).fit_transform, weight, missing), 1


def column_means(weight: Tensor, missing: Tensor) -> Tensor:
    """Fill with the mean of each column's observed entries, 0 where there is none."""
    total = weight.masked_fill(missing, 0).sum(dim=0)
    return torch.where(missing, total / (~missing).sum(dim=0).clamp(min=1), weight)


def _impute(fit: Callable, weight: Tensor, missing: Tensor) -> Tensor:
    holes = weight.double().masked_fill(missing, float("nan")).cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled = np.asarray(fit(holes))
    return torch.from_numpy(filled).to(weight)[missing]


LOOP = "released loop (SVD, float64)"
FAITHFUL, FAST = "rbtc released", "rbtc released, fast"

EVERYWHERE: dict[str, Contender] = {
    FAITHFUL: ours(),
    FAST: ours(fast=True),
    "rbtc released, stopped early": ours(early_stop=True),
    "rbtc softimpute": ours(algorithm="softimpute"),
    "svd_lowrank SoftImpute": one_by_one(lowrank_soft_impute),
}
SMALL_ONLY: dict[str, Contender] = {
    "rbtc svt": ours(algorithm="svt"),
    "rbtc als": ours(algorithm="als"),
    "fancyimpute SoftImpute": one_by_one(fancyimpute_soft_impute),
    "sklearn IterativeImputer": one_by_one(iterative_imputer),
    "sklearn KNNImputer": one_by_one(knn_imputer),
}
