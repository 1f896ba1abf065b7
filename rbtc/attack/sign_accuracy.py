"""How much of the truth a completion finds: signs, and the order of magnitudes (paper App. B).

These functions see the weights before pruning, so they belong to the owner's side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from rbtc.attack.completion import Completion
from rbtc.attack.topk import _check_values, retain_top_signs
from rbtc.layers import Masks, Weights


@dataclass(frozen=True)
class SignAccuracy:
    """How many of `n` recovered signs are `correct`; adding two pools them."""

    correct: int
    n: int

    @property
    def value(self) -> float:
        """The fraction of correct signs, NaN when there is none to judge."""
        return self.correct / self.n if self.n else float("nan")

    def __add__(self, other: SignAccuracy) -> SignAccuracy:
        return SignAccuracy(self.correct + other.correct, self.n + other.n)


def count_signs(
    recovered: Mapping[str, Completion] | Mapping[str, Tensor], original: Weights
) -> dict[str, SignAccuracy]:
    """Count correct signs per layer, against the weights before pruning.

    recovered: completions, of which every missing entry is judged (an estimate of exactly 0 counts
    as wrong), or sign matrices (rows, columns) as `rbtc.attack.topk.retain_signs` returns, of
    which only the non-zero ones are judged. Entries that were zero before pruning have no sign and
    are left out. Raises ValueError for a layer that `original` lacks or whose shape differs.
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
    """Return the fraction of correct signs pooled over all layers; see `count_signs`."""
    return sum(count_signs(recovered, original).values(), SignAccuracy(0, 0)).value


def cosine(a: Weights, b: Weights, masks: Masks) -> float:
    """Cosine of two models' weights where the masks are True, all layers taken as one vector.

    Raises:
        ValueError: one of them is zero everywhere there.
    """
    dot = aa = bb = 0.0
    for name, mask in masks.items():
        x, y = a[name][mask].double(), b[name][mask].double()
        dot, aa, bb = dot + float(x @ y), aa + float(x @ x), bb + float(y @ y)
    if not aa or not bb:
        raise ValueError("weights that are zero everywhere there have no direction to compare")
    return dot / math.sqrt(aa * bb)


Recovered = Tensor | Mapping[str, Completion]


Original = Tensor | Weights


def alignment_matrix(recovered: Recovered, original: Original, groups: int = 5) -> Tensor:
    """Return how recovered and original magnitudes agree in rank, (groups, groups) (Table 5).

    Both are ranked by magnitude and cut into groups of equal count, largest first; a remainder of
    fewer than `groups` entries, the smallest, is in no group. Entry (i, j) is the fraction of
    recovered group R_i whose positions lie in original group P_j. Unrelated rankings give
    1 / groups everywhere, equal ones the identity.

    recovered, original: values (k,) at the same positions, or completions and the weights before
    pruning, which are ranked layer by layer and pooled. Positions whose original is zero are left
    out.
    """
    if groups < 1:
        raise ValueError(f"groups is {groups}, expected at least 1")
    pairs = _pairs(recovered, original)
    overlap = torch.zeros(groups, groups, dtype=torch.float64)
    total = 0
    for estimate, truth in pairs:
        size = len(truth) // groups
        if not size:
            raise ValueError(f"got {len(truth)} values, too few for {groups} groups")
        cells = _group(estimate, size, groups) * (groups + 1) + _group(truth, size, groups)
        counts = torch.bincount(cells, minlength=(groups + 1) ** 2).view(groups + 1, groups + 1)
        overlap += counts[:groups, :groups].cpu()
        total += size
    return overlap / total


def top_rest_accuracy(
    recovered: Recovered,
    original: Original,
    ratios: Sequence[float] = (0.2, 0.3, 0.5, 0.7, 0.9),
) -> pd.DataFrame:
    """Return the sign accuracy of the top K by recovered magnitude and of the rest (Table 6).

    One row per K: ratio, top, rest (accuracies, NaN for an empty group), n_top, n_rest. Arguments
    as for `alignment_matrix`; the top K is taken per layer by `retain_top_signs` and the counts
    are pooled.
    """
    pairs = _pairs(recovered, original)
    rows = []
    for ratio in ratios:
        hits_top = n_top = hits_rest = n_rest = 0
        for estimate, truth in pairs:
            top = retain_top_signs(estimate, keep_ratio=ratio) != 0
            correct = torch.sign(estimate).to(truth) == torch.sign(truth)
            hits_top += int((correct & top).sum())
            hits_rest += int((correct & ~top).sum())
            n_top += int(top.sum())
            n_rest += int((~top).sum())
        rows.append(
            {
                "ratio": ratio,
                "top": hits_top / n_top if n_top else float("nan"),
                "rest": hits_rest / n_rest if n_rest else float("nan"),
                "n_top": n_top,
                "n_rest": n_rest,
            }
        )
    return pd.DataFrame(rows, columns=["ratio", "top", "rest", "n_top", "n_rest"])


def _group(values: Tensor, size: int, groups: int) -> Tensor:
    """Number of the equal-count magnitude group, 0 for the largest, `groups` for the remainder."""
    order = torch.argsort(values.abs(), descending=True, stable=True)
    number = torch.empty_like(order)
    number[order] = (torch.arange(len(values), device=values.device) // size).clamp(max=groups)
    return number


def _pairs(recovered: Recovered, original: Original) -> list[tuple[Tensor, Tensor]]:
    """Line up recovered and original values per layer, without originals that are zero."""
    if isinstance(recovered, Tensor) and isinstance(original, Tensor):
        pairs = [(recovered, original)]
    elif isinstance(recovered, Mapping) and isinstance(original, Mapping):
        pairs = []
        for name in sorted(recovered):
            missing = recovered[name].missing
            if name not in original or original[name].shape != missing.shape:
                raise ValueError(
                    f"the original weights have no layer {name!r} of shape {tuple(missing.shape)}"
                )
            truth = original[name].detach()
            values = recovered[name].values
            pairs.append((values, truth[missing.to(truth.device)].to(values.device)))
    else:
        raise ValueError(
            f"recovered is a {type(recovered).__name__} and original a {type(original).__name__}; "
            f"expected two vectors, or completions and weights"
        )
    for estimate, truth in pairs:
        _check_values(estimate)
        if estimate.shape != truth.shape:
            raise ValueError(
                f"recovered has shape {tuple(estimate.shape)}, original {tuple(truth.shape)}; "
                f"both must hold the values at the same positions"
            )
    return [(estimate[truth != 0], truth[truth != 0]) for estimate, truth in pairs]
