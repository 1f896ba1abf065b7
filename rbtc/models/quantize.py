"""Quant Recover, the paper's baseline: round the pruned model to four bits (Sec. 5.1, [47]).

Symmetric round-to-nearest maps zero to zero, and so do the fp4 and nf4 code books. A weight that
was pruned to exactly zero therefore stays zero: on zero-pruned models this baseline only perturbs
the survivors and cannot bring anything back.
"""

from numbers import Integral
from typing import Literal

import torch
from torch import Tensor

from rbtc.layers import Weights, check_finite

Codebook = Literal["int", "fp4", "nf4"]
_CODEBOOKS = ("int", "fp4", "nf4")

_NF4_OFFSET = 0.9677083  # the outermost quantile of the 4-bit NormalFloat data type


def quantize(
    weight: Tensor,
    *,
    bits: int = 4,
    group_size: int | None = None,
    codebook: Codebook = "int",
) -> Tensor:
    """Round a matrix to a few levels and return it dequantised, same shape, dtype and device.

    weight: (rows, columns). group_size: columns that share one scale; None takes the whole row, as
    the authors' release does. With a the largest magnitude of a group and L = 2^(bits-1) - 1,

    "int": q = floor(w L / a + 1/2), w <- q a / L, at most 2 L + 1 levels (the release's form).
    "fp4", "nf4": w <- a times the nearest of the 16 code values, those of the bitsandbytes
    library, whose own default group is 64; `bits` must be 4.

    Exact zeros come back as +0.0; the largest magnitude of a group comes back exactly, so
    quantising twice changes nothing. A group of zeros stays zero. Raises ValueError for a bad
    matrix or option.

    >>> quantize(torch.tensor([[7.0, 2.2, 0.0, -0.6]])).tolist()
    [[7.0, 2.0, 0.0, -1.0]]
    """
    _check(weight, bits, group_size, codebook)
    rows, columns = weight.shape
    width = columns if group_size is None else group_size
    # (rows, groups, width)
    groups = weight.detach().reshape(rows, columns // width, width).double()
    largest = groups.abs().amax(dim=2, keepdim=True)  # (rows, groups, 1)
    unit = torch.where(largest > 0, groups / largest, torch.zeros_like(groups))  # in [-1, 1]
    if codebook == "int":
        top = 2 ** (bits - 1) - 1
        level = torch.floor(unit * top + 0.5)
        # Multiplying first and dividing last gives the largest magnitude back without rounding.
        rounded = torch.where(level.abs() == top, level.sign() * largest, level * largest / top)
    else:
        values = code_values(codebook).to(weight.device)
        middles = (values[1:] + values[:-1]) / 2
        rounded = values[torch.bucketize(unit, middles)] * largest
    # A negative value too small for the dtype would leave -0.0; adding zero makes it +0.0.
    return rounded.reshape(rows, columns).to(weight.dtype) + 0.0


def quant_recover(
    weights: Weights,
    *,
    bits: int = 4,
    group_size: int | None = None,
    codebook: Codebook = "int",
) -> Weights:
    """Quantise every layer (see `quantize`); what Table 1 calls Quant Recover."""
    return {
        name: quantize(weights[name], bits=bits, group_size=group_size, codebook=codebook)
        for name in sorted(weights)
    }


def code_values(codebook: Literal["fp4", "nf4"]) -> Tensor:
    """Return the distinct values of a 4-bit code book, ascending, in [-1, 1], float64.

    "fp4" has one sign, two exponent and one mantissa bit, scaled to 1; +0 and -0 coincide, so 15
    values. "nf4" (Dettmers et al., "QLoRA", 2023) has 16: quantiles of the normal distribution,
    eight above zero and seven below, scaled to 1.
    """
    if codebook == "fp4":
        positive = torch.tensor([0.0625, 2, 3, 4, 6, 8, 12], dtype=torch.float64) / 12
        negative = -positive
    elif codebook == "nf4":
        scale = _normal_quantiles(8).max()
        positive, negative = _normal_quantiles(8) / scale, -_normal_quantiles(7) / scale
    else:
        raise ValueError(f"codebook is {codebook!r}, expected 'fp4' or 'nf4'")
    zero = torch.zeros(1, dtype=torch.float64)
    return torch.cat([negative, zero, positive]).sort().values


def _normal_quantiles(count: int) -> Tensor:
    probabilities = torch.linspace(_NF4_OFFSET, 0.5, count + 1, dtype=torch.float64)[:-1]
    return torch.special.ndtri(probabilities)


def _check(weight: Tensor, bits: int, group_size: int | None, codebook: str) -> None:
    if weight.ndim != 2 or not weight.is_floating_point():
        raise ValueError(
            f"weight is {weight.dtype} of shape {tuple(weight.shape)}, expected a floating-point "
            f"matrix (rows, columns)"
        )
    check_finite({"weight": weight})
    if codebook not in _CODEBOOKS:
        raise ValueError(f"codebook is {codebook!r}, expected one of {', '.join(_CODEBOOKS)}")
    if not isinstance(bits, Integral) or not 2 <= bits <= 8:
        raise ValueError(f"bits is {bits!r}, expected a whole number from 2 to 8")
    if codebook != "int" and bits != 4:
        raise ValueError(f"bits is {bits}, but the {codebook} code book has 4")
    if group_size is not None and (group_size < 1 or weight.shape[1] % group_size):
        raise ValueError(
            f"group_size is {group_size}, expected a divisor of the {weight.shape[1]} columns, or "
            f"None for one scale per row"
        )
