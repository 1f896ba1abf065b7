"""Top-K Sign Retention: keep the signs of the largest estimates, drop the rest (paper Sec. 4.2).

Matrix completion gets the sign of a large estimate right more often than that of a small one
(App. B, Table 6). Keeping the share K of largest magnitude therefore trades a few weights for a
higher share of correct signs. Dropped weights stay zero.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from rbtc.completion import Completion
from rbtc.layers import Weights

Recovered = Tensor | Mapping[str, Completion]
Original = Tensor | Weights


def retain_top_signs(values: Tensor, *, keep_ratio: float = 0.6) -> Tensor:
    """Return int8 signs (k,) of the largest |values| (k,), and 0 for the others.

    Of N values, the int((1 - K) * N) smallest are dropped, as in the authors' release; values tied
    with the largest dropped one go with it. K = `keep_ratio` = 1 keeps all. The kept sets are
    nested in K. An estimate of exactly zero has sign 0. Raises ValueError for values that are not
    a vector or hold NaN, and for K outside (0, 1].

    >>> retain_top_signs(torch.tensor([0.1, -3.0, 2.0, -0.2]), keep_ratio=0.5).tolist()
    [0, -1, 1, 0]
    """
    _check_keep_ratio(keep_ratio)
    _check_values(values)
    signs = torch.sign(values).to(torch.int8)
    dropped = int((1 - keep_ratio) * len(values))
    if dropped:
        magnitudes = values.abs()
        threshold = torch.kthvalue(magnitudes, dropped).values
        signs[magnitudes <= threshold] = 0
    return signs


def retain_signs(
    completions: Mapping[str, Completion],
    *,
    keep_ratio: float = 0.6,
    per: Literal["layer", "row", "global"] = "layer",
) -> dict[str, Tensor]:
    """Apply Top-K Sign Retention to every layer; (rows, columns) int8, sorted by name.

    Entries are 0 where nothing was missing or the sign was dropped. `per` says within what the
    share K is taken: each layer (the release, and the default), each row of each layer, or all
    layers together.
    """
    if per not in ("layer", "row", "global"):
        raise ValueError(f"per is {per!r}, expected 'layer', 'row' or 'global'")
    if not completions:
        raise ValueError("expected completions of at least one layer, got none")
    names = sorted(completions)
    counts = [len(completions[name].values) for name in names]
    if per == "layer":
        signs = [
            retain_top_signs(completions[name].values, keep_ratio=keep_ratio) for name in names
        ]
    elif per == "row":
        signs = []
        for name in names:
            by_row = completions[name].missing.sum(dim=1).tolist()
            pieces = completions[name].values.split(by_row)  # row-major, so rows are contiguous
            signs.append(
                torch.cat([retain_top_signs(piece, keep_ratio=keep_ratio) for piece in pieces])
            )
    else:
        pooled = torch.cat([completions[name].values for name in names])
        signs = list(retain_top_signs(pooled, keep_ratio=keep_ratio).split(counts))
    result = {}
    for name, kept in zip(names, signs, strict=True):
        missing = completions[name].missing
        full = torch.zeros(missing.shape, dtype=torch.int8, device=kept.device)
        full[missing] = kept
        result[name] = full
    return result


def alignment_matrix(recovered: Recovered, original: Original, groups: int = 5) -> Tensor:
    """Return how recovered and original magnitudes agree in rank, (groups, groups) (Table 5).

    Both are ranked by magnitude and cut into groups of equal count, largest first; a remainder of
    fewer than `groups` entries, the smallest, is in no group. Entry (i, j) is the share of
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


def _check_keep_ratio(keep_ratio: float) -> None:
    if not 0 < keep_ratio <= 1:
        raise ValueError(f"keep_ratio is {keep_ratio}, expected a share in (0, 1]")


def _check_values(values: Tensor) -> None:
    if values.ndim != 1:
        raise ValueError(f"values have shape {tuple(values.shape)}, expected a vector (k,)")
    if torch.isnan(values).any():
        raise ValueError("values hold NaN, which has no sign; check the completion they come from")
