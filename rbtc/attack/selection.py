"""What the choice of the cut weights tells about their size.

ConceptPrune cuts row i where |w_ij| a_j reaches a threshold t_i of the row, with a_j the activation
norm of the input (paper Sec. 5.1). Neither is known to the attacker. But every survivor of the same
column missed its own row's threshold, |w_kj| a_j < t_k, so

    |w_ij| >= t_i / a_j > (t_i / t_k) |w_kj|    for each survivor k of column j.

Rows differ in their thresholds about as they differ in size, so with r_i the root mean square of a
row's survivors the largest survivor of the column, seen from row i, bounds what was cut from below:

    b_ij = r_i c_j,    c_j = max_k |w_kj| / r_k.

How far above the bound the cut weights lie follows from how many there are. If |w_ij| / r_i is half
normal with a scale of its own in every column, and a share f of the column lies above c, then
c / scale = z with P(|x| > z) = f, and a weight above c is expected at scale * phi(z) / (f / 2).
"""

import math

import torch
from torch import Tensor

MOST_CUT = 0.8
"""A column with a larger share cut is treated as if it had this: few survivors tell little."""


def magnitude_bounds(weight: Tensor, missing: Tensor) -> Tensor:
    """Lower bounds b of the cut magnitudes, (rows, columns) in the weight's dtype.

    The bounds of columns in which nothing is missing say nothing, and are those of the formula. A
    column without a survivor is bounded by 0.

    Args:
        weight: (rows, columns); what it holds at the missing places is not looked at.
        missing: bool (rows, columns), True = cut.

    Raises:
        ValueError: a mask that does not fit, or a layer without a survivor.
    """
    size = _row_size(weight, missing)
    return size[:, None] * _largest(weight, missing, size)[None, :]


def expected_magnitudes(weight: Tensor, missing: Tensor) -> Tensor:
    """What a cut weight's magnitude is expected to be, (rows, columns) in the weight's dtype.

    The bound times the factor of the half-normal tail above it. In a column without a survivor a
    weight is taken to be as large as its row's survivors. Arguments and errors as for
    `magnitude_bounds`.
    """
    size = _row_size(weight, missing)
    largest = _largest(weight, missing, size)
    rows = len(weight)
    cut = missing.double().mean(dim=0).clamp(0.5 / rows, MOST_CUT)
    z = math.sqrt(2) * torch.erfinv(1 - cut)  # P(|x| > z) = cut
    tail = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) / (cut / 2)  # mean of |x| beyond z
    scaled = torch.where(largest > 0, largest.double() * tail / z, 1.0)
    return (size.double()[:, None] * scaled[None, :]).to(weight.dtype)


def _row_size(weight: Tensor, missing: Tensor) -> Tensor:
    if missing.dtype != torch.bool or missing.shape != weight.shape or weight.ndim != 2:
        raise ValueError(
            f"missing is {missing.dtype} of shape {tuple(missing.shape)}, expected torch.bool of "
            f"the same shape (rows, columns) as the weight, {tuple(weight.shape)}"
        )
    if missing.all():
        raise ValueError("nothing survives in this layer: there is no magnitude to borrow")
    alive = weight.detach().masked_fill(missing, 0).double()
    counts = (~missing).sum(dim=1)
    size = (alive.square().sum(dim=1) / counts.clamp(min=1)).sqrt()
    layer = (alive.square().sum() / counts.sum()).sqrt()
    return torch.where(counts > 0, size, layer).to(weight.dtype)


def _largest(weight: Tensor, missing: Tensor, size: Tensor) -> Tensor:
    """The c (columns,): the largest survivor of each column in units of its row."""
    tiny = torch.finfo(weight.dtype).tiny
    alive = weight.detach().masked_fill(missing, 0).abs()
    return (alive / size.clamp(min=tiny)[:, None]).amax(dim=0)
