"""Top-K Sign Retention: keep the signs of the largest estimates, drop the rest (paper Sec. 4.2).

Matrix completion gets the sign of a large estimate right more often than that of a small one
(App. B, Table 6). Keeping the fraction K of largest magnitude therefore trades a few weights for a
higher fraction of correct signs. Dropped weights stay zero.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rbtc.attack.completion import Completion


def retain_top_signs(values: Tensor, *, keep_ratio: float = 0.6) -> Tensor:
    """Return int8 signs (k,) of the largest |values| (k,), and 0 for the others.

    Of N values, the int((1 - K) * N) smallest are dropped, as in the authors' release; values tied
    with the largest dropped one go with it. K = `keep_ratio` = 1 keeps all. The kept sets are
    nested in K. An estimate of exactly zero has sign 0. Raises ValueError for values that are not
    a vector or hold NaN, and for K outside (0, 1].

    >>> retain_top_signs(torch.tensor([0.1, -3.0, 2.0, -0.2]), keep_ratio=0.5).tolist()
    [0, -1, 1, 0]
    """
    check_keep(keep_ratio)
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
    fraction K is taken: each layer (the release, and the default), each row of each layer, or all
    layers together.
    """
    check_keep(keep_ratio, per)
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


def check_keep(keep_ratio: float, per: str = "layer") -> None:
    """Refuse a K outside (0, 1] and an unknown `per` with a ValueError, before any completion."""
    if per not in ("layer", "row", "global"):
        raise ValueError(f"per is {per!r}, expected 'layer', 'row' or 'global'")
    if not 0 < keep_ratio <= 1:
        raise ValueError(f"keep_ratio is {keep_ratio}, expected a fraction in (0, 1]")


def _check_values(values: Tensor) -> None:
    if values.ndim != 1:
        raise ValueError(f"values have shape {tuple(values.shape)}, expected a vector (k,)")
    if torch.isnan(values).any():
        raise ValueError("values hold NaN, which has no sign; check the completion they come from")
