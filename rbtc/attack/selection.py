"""What the choice of the pruned weights tells about their magnitude.

ConceptPrune prunes row i where |w_ij| a_j reaches a threshold t_i of the row, with a_j the
activation norm of the input (paper Sec. 5.1). Neither is known to the attacker. But every survivor
of the same column missed its own row's threshold, |w_kj| a_j < t_k, so

    |w_ij| >= t_i / a_j > (t_i / t_k) |w_kj|    for each survivor k of column j.

Rows differ in their thresholds about as they differ in scale, so with r_i the root mean square of a
row's survivors the largest survivor of the column, seen from row i, bounds the pruned from below:

    b_ij = r_i c_j,    c_j = max_k |w_kj| / r_k.

How far above the bound the pruned weights lie follows from how many there are. If |w_ij| / r_i is
half normal with a scale of its own in every column, and a fraction f of the column lies above c,
then c / scale = z with P(|x| > z) = f, and a weight above c is expected at
scale * phi(z) / (f / 2).
"""

import math

import torch
from torch import Tensor

MOST_PRUNED = 0.8
"""A column of which more is pruned is treated as if it had this: few survivors tell little."""


def magnitude_bounds(weight: Tensor, missing: Tensor) -> Tensor:
    """Lower bounds b of the pruned magnitudes, (rows, columns) in the weight's dtype.

    The bounds of columns in which nothing is missing say nothing, and are those of the formula. A
    column without a survivor is bounded by 0.

    Args:
        weight: (rows, columns); what it holds at the missing entries is not looked at.
        missing: bool (rows, columns), True = pruned.

    Raises:
        ValueError: a mask that does not fit, or a layer without a survivor.
    """
    scale = _row_scale(weight, missing)
    return scale[:, None] * _largest(weight, missing, scale)[None, :]


def expected_magnitudes(weight: Tensor, missing: Tensor) -> Tensor:
    """What a pruned weight's magnitude is expected to be, (rows, columns) in the weight's dtype.

    The bound times the factor of the half-normal tail above it. In a column without a survivor a
    weight is taken to be as large as its row's survivors. Arguments and errors as for
    `magnitude_bounds`.
    """
    scale = _row_scale(weight, missing)
    largest = _largest(weight, missing, scale)
    rows = len(weight)
    fraction = missing.double().mean(dim=0).clamp(0.5 / rows, MOST_PRUNED)
    z = math.sqrt(2) * torch.erfinv(1 - fraction)  # P(|x| > z) = fraction
    # The mean of |x| beyond z.
    tail = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) / (fraction / 2)
    scaled = torch.where(largest > 0, largest.double() * tail / z, 1.0)
    return (scale.double()[:, None] * scaled[None, :]).to(weight.dtype)


def _row_scale(weight: Tensor, missing: Tensor) -> Tensor:
    if missing.dtype != torch.bool or missing.shape != weight.shape or weight.ndim != 2:
        raise ValueError(
            f"missing is {missing.dtype} of shape {tuple(missing.shape)}, expected torch.bool of "
            f"the same shape (rows, columns) as the weight, {tuple(weight.shape)}"
        )
    if missing.all():
        raise ValueError("nothing survives in this layer: there is no magnitude to borrow")
    alive = weight.detach().masked_fill(missing, 0).double()
    counts = (~missing).sum(dim=1)
    scale = (alive.square().sum(dim=1) / counts.clamp(min=1)).sqrt()
    layer = (alive.square().sum() / counts.sum()).sqrt()
    return torch.where(counts > 0, scale, layer).to(weight.dtype)


def _largest(weight: Tensor, missing: Tensor, scale: Tensor) -> Tensor:
    """The c (columns,): the largest survivor of each column in units of its row."""
    tiny = torch.finfo(weight.dtype).tiny
    alive = weight.detach().masked_fill(missing, 0).abs()
    return (alive / scale.clamp(min=tiny)[:, None]).amax(dim=0)
