"""What made the exact zeros of a matrix, and how they lie in it.

A zero was pruned, or it is what a coarse format left of a small weight. The grid of values that a
format leaves near zero is found first; the counts of its smallest values then say how many zeros it
explains, and only the excess was pruned. -0.0 proves nothing by itself either: rounding keeps the
sign of the small weight, a product with a mask that of the pruned one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

RARE = 1e-6
"""Chance at which a layer's zeros are no longer put down to rounding."""
SAMPLE = 1 << 20
"""Weights on which a grid is looked for and its values are counted: whole rows, evenly spread."""
_FIRST = 1 << 16
"""Weights on which it is looked for first."""
_FEW = 24
"""Values near zero below which no grid is seen."""
_HALF = 2.0**-24
"""Step of float16 below its smallest normal number, 2^-14."""
_NF4 = (
    -1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
)  # fmt: skip
_FP4 = (0.0052083333, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)


@dataclass(frozen=True)
class Grid:
    """The values near zero that a format can hold, in units of a scale.

    Attributes:
        name: Of the format, as it is printed.
        block: Weights along a row that share a scale; 0 for the row, None for the whole matrix.
        scale: Whether the "largest" or the "smallest" magnitude of a block is the unit.
        levels: Ascending, zero among them.
        slack: By how much, as a fraction, the most that is expected may be wrong.
        sign: Of a rounded zero: that of the weight ("kept"), always +0.0 ("plus"), or one sign a
            block, negative where its largest weight is positive ("block").
    """

    name: str
    block: int | None
    scale: Literal["largest", "smallest"]
    levels: tuple[float, ...]
    slack: float
    sign: Literal["kept", "plus", "block"]

    @cached_property
    def edges(self) -> Tensor:
        """Midpoints between the levels: what lies between two of them is rounded to one level."""
        levels = torch.tensor(self.levels)
        return (levels[1:] + levels[:-1]) / 2

    def fit(self, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """Weights (rows, columns) in units of their scales, and how many lie on each level.

        Returns:
            (rows, blocks, width) and (levels,); None where they do not lie on levels.
        """
        width = self.block or weight.shape[1]
        if weight.shape[1] % width:
            return None
        parts = weight.reshape(len(weight), -1, width)
        size = parts.abs()
        if self.scale == "largest":
            unit = size.amax(dim=-1, keepdim=True)
        else:
            unit = size.masked_fill(size == 0, math.inf).amin(dim=-1, keepdim=True)
        if self.block is None:
            unit = unit.amin()
        codes = parts / unit.masked_fill((unit == 0) | unit.isinf(), 1.0)
        levels = torch.tensor(self.levels)
        near = codes[codes.abs() <= 1.04 * levels[-1]]
        index = torch.bucketize(near, self.edges)
        off = (near - levels[index]).abs() > 0.008 * levels[index].abs()
        on = (near != 0).sum()
        if on < _FEW or off.sum() > 0.05 * on:
            return None
        return codes, torch.bincount(index[~off], minlength=len(levels))

    def expected(self, counts: Tensor) -> tuple[float, float]:
        """How many zeros rounding leaves, and at most, from the counts of two levels a side.

        The density's logarithm is taken for quadratic near zero, as a Gaussian's is; on a uniform
        grid with g_k the geometric mean of the counts at k and -k this gives g_1 (g_1/g_2)^(1/3).
        At most it is linear up to zero, as a Laplace density's: g_1 (g_1/g_2)^(3/4).
        """
        zero = self.levels.index(0.0)
        width = self.edges.diff()  # [i] belongs to level i + 1
        centre = (self.edges[1:] + self.edges[:-1]) / 2
        log, at = [], []
        for step in (1, 2):
            both = torch.tensor([zero - step, zero + step])
            log.append(float(((counts[both] + 0.5) / width[both - 1]).log().mean()))
            at.append(float(centre[both - 1].abs().mean()))
        own, fall = float(width[zero - 1]), max(log[0] - log[1], 0.0)
        quadratic = fall * at[0] ** 2 / (at[1] ** 2 - at[0] ** 2)
        linear = fall * (at[0] - own / 4) / (at[1] - at[0])
        return own * math.exp(log[0] + quadratic), own * math.exp(log[0] + max(quadratic, linear))


def _steps(count: int, unit: float = 1.0) -> tuple[float, ...]:
    return tuple(step / unit for step in range(-count, count + 1))


GRIDS = (
    Grid("float8", None, "smallest", _steps(8), 0.01, "kept"),
    Grid("int8 by row", 0, "largest", _steps(12, 127), 0.01, "plus"),
    Grid("int8 by row", 0, "smallest", _steps(8), 0.01, "plus"),
    Grid("Q8_0", 32, "largest", _steps(12, 127), 0.01, "plus"),
    Grid("Q4_0", 32, "largest", _steps(8, 8), 0.06, "block"),
    Grid("NF4", 64, "largest", _NF4, 0.06, "plus"),
    Grid("FP4", 64, "largest", (*(-x for x in reversed(_FP4)), 0.0, *_FP4), 0.06, "kept"),
)
"""Formats that leave zeros of small weights, looked for in this order. A grid of one step for the
whole matrix is float8's near zero, with any scale."""


@dataclass(frozen=True)
class Zeros:
    """The exact zeros of a matrix, and how many of them its format explains.

    Attributes:
        zeros: Weights that are exactly zero, with either sign.
        negative_zeros: Those of them that are -0.0.
        format: On whose grid the matrix lies; "" without zeros.
        expected: How many zeros rounding to it leaves.
        rounded: How many it leaves at most, but for a chance of `RARE`.
        negative_rounded: The same for -0.0.
    """

    zeros: int
    negative_zeros: int
    format: str = ""
    expected: float = 0.0
    rounded: int = 0
    negative_rounded: int = 0

    @property
    def pruned(self) -> bool:
        """Whether there are more zeros, or more of one sign, than rounding explains."""
        return self.zeros > self.rounded or self.leaks

    @property
    def leaks(self) -> bool:
        """Whether zeros tell signs: both are there, and more -0.0 than rounding explains."""
        return self.negative_rounded < self.negative_zeros < self.zeros


def explain(weight: Tensor) -> Zeros:
    """Count the zeros of a matrix (rows, columns) of any float dtype, and explain them."""
    total = weight.numel() - int(torch.count_nonzero(weight))
    found = Zeros(total, int(torch.signbit(weight[weight == 0]).sum()) if total else 0)
    if total in (0, weight.numel()):
        return found
    some = weight[:: math.ceil(weight.numel() / SAMPLE)].float()
    half = bool((some.half().float() == some).all())
    stored = "float16" if half else str(weight.dtype).removeprefix("torch.")
    bound = rounded_zeros(weight.half() if half else weight)
    native = replace(found, format=stored, rounded=bound, negative_rounded=bound)
    if total <= bound:
        return native
    part = weight.numel() / some.numel()
    first = some[: max(1, _FIRST // some.shape[1])]  # most matrices lie on no grid: seen at once
    for grid in GRIDS:
        if grid.fit(first) and (fit := grid.fit(some)):
            codes, counts = fit
            fine = grid.block is None and float(some[some != 0].abs().min()) == _HALF
            found = replace(found, format=stored if fine else grid.name)
            return _explained(found, grid, grid.expected(counts), part, codes)
    least = float(some.abs().masked_fill(some == 0, math.inf).min())
    beside = int(((some != 0) & (some.abs() < 2.0**-13)).sum())
    if beside >= 12 and 1 <= least * 2.0**14 <= 1 + 12 / beside:
        # As many fall below the smallest normal number as lie within once and twice of it.
        found = replace(found, format="float16, flushed")
        return _explained(found, GRIDS[0], (beside, beside), part)
    return native


def _explained(
    found: Zeros,
    grid: Grid,
    expected: tuple[float, float],
    part: float,
    codes: Tensor | None = None,
) -> Zeros:
    """With bounds, from a sample: the whole matrix has ``part`` times as many weights."""
    middle, most = expected
    minus = _bound(0.0, 0.0)
    if grid.sign == "kept":
        minus = _bound(most / 2, grid.slack) * part
    elif grid.sign == "block" and codes is not None:
        # The extreme is -8 d: zeros, which are 0 d, are negative where it is positive.
        extreme = codes.gather(-1, codes.abs().argmax(dim=-1, keepdim=True))
        right = int(((codes == 0) & (extreme > 0)).sum())
        minus += right * part + 5 * part * math.sqrt(right * (1 - 1 / part))
    bound = int(_bound(most, grid.slack) * part)
    return replace(found, expected=middle * part, rounded=bound, negative_rounded=int(minus))


def _bound(expected: float, slack: float) -> float:
    """A count that chance exceeds with probability `RARE` or less.

    Variance: of the count, and of what is expected, which is extrapolated from two others.
    """
    wide = expected * (1 + slack) + 5 * math.sqrt(2.8 * expected)
    return max(float(poisson_bound(expected + 1)), wide)


def poisson_bound(mean: float) -> int:
    """The smallest count that a Poisson count of this mean exceeds with at most `RARE`.

    More than k happen with probability P(k + 1, mean), the regularised incomplete gamma function.
    torch computes it less well from means of some millions on: too small a count, by less than a
    three-hundredth of a standard deviation at ten million.
    """
    low, high = -1, math.ceil(mean + 8 * math.sqrt(mean)) + 20  # too small, and large enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _gamma(middle + 1, mean) > RARE else (low, middle)
    return high


def _gamma(shape: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(shape, x)."""
    found = torch.special.gammainc(*torch.tensor([[shape], [x]], dtype=torch.float64))
    return float(found)


def rounded_zeros(weight: Tensor) -> int:
    """How many exact zeros rounding to the stored dtype explains, at most.

    Weights spread smoothly around zero fall to zero from the half step on either side of it, half
    as often as to the two smallest numbers next to it, which have a whole step each. The bound is
    the one that a Poisson count of that mean (and one more, for what was not seen) exceeds with
    probability `RARE`.
    """
    dtype = torch.finfo(weight.dtype)
    step = dtype.smallest_normal * dtype.eps
    beside = int((weight.abs() == step).sum())
    return poisson_bound(beside / 2 + 1)


@dataclass(frozen=True)
class Repeated:
    """A magnitude that stands where weights were pruned, in place of zero.

    Attributes:
        value: The magnitude; None where every row has one of its own.
        count: How many weights have it; estimated from a sample of rows.
        signed: Whether it stands there with both signs, which are then those of the pruned weights.
    """

    value: float | None
    count: int
    signed: bool


def repeated(weight: Tensor) -> Repeated | None:
    """The magnitude that is far more frequent than any other, in the matrix or in every row.

    A sample of rows (of a matrix (rows, columns)) is looked at. A magnitude stands out when it
    occurs far more often than the next one, and more by eight standard deviations; one that nearly
    all weights have was not pruned to.
    """
    size = max(1, (1 << 16) // weight.shape[1])
    sample = weight[:: math.ceil(len(weight) / size)].float()
    magnitude = sample.abs()
    alive = int((magnitude > 0).sum())
    for by_row in (False, True):
        ordered = (magnitude if by_row else magnitude.view(1, -1)).sort(dim=1).values
        change = torch.ones_like(ordered, dtype=torch.bool)
        change[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        place = torch.arange(ordered.shape[1]).expand_as(ordered)
        length = place - place.masked_fill(~change, 0).cummax(dim=1).values + 1
        length = length.masked_fill(ordered == 0, 0)
        most, at = length.max(dim=1, keepdim=True)
        value = ordered.gather(1, at)  # (rows, 1) or (1, 1)
        first = int(most.sum())
        second = int(length.masked_fill(ordered == value, 0).amax(dim=1).sum())
        various = float(change.sum()) >= _FEW * len(change)  # no coarse grid
        if various and 1.6 * second + 8 * math.sqrt(second + 1) <= first <= 0.9 * alive:
            there = magnitude == value
            minus = float((sample[there] < 0).float().mean())
            count = round(int(there.sum()) * weight.numel() / sample.numel())
            return Repeated(None if by_row else float(value), count, 0.1 < minus < 0.9)
    return None


@dataclass(frozen=True)
class Scatter:
    """How evenly the zeros of a matrix fall on its rows, or on its columns.

    Attributes:
        ratio: Variance of the counts over the one of places drawn at random: 0 when every row has
            as many zeros (a quota per row), 1 at random, more when they gather in some rows.
        kind: "even", "random" or "gathered": where the ratio lies as to the central 95 % of what
            random places give.
    """

    ratio: float
    kind: Literal["even", "random", "gathered"]


def scatter(zero: Tensor) -> Scatter | None:
    """How evenly True falls on the rows of a bool matrix (rows, columns); None where all agree."""
    rows, columns = zero.shape
    counts = zero.sum(dim=1).double()
    p = float(counts.sum()) / zero.numel()
    if p in (0.0, 1.0) or rows < 2:
        return None
    ratio = float(counts.var(correction=1)) / (columns * p * (1 - p))
    # (rows - 1) times the ratio is chi-squared: its probability to be smaller at random places.
    below = _gamma((rows - 1) / 2, (rows - 1) * ratio / 2)
    return Scatter(ratio, "even" if below < 0.025 else "gathered" if below > 0.975 else "random")
