"""Give the recovered signs a magnitude: Neuron-Max Scaling and its siblings (paper Sec. 4.3).

A neuron is a row of the weight matrix: one output unit with all its incoming weights. Neuron-Max
Scaling sets every retained weight of a row to plus or minus the largest surviving magnitude of
that row. It works because pruning took the large weights, while completion shrinks its estimates.

The sampled strategies follow the authors' release, which fits a Gaussian to the surviving weights
and takes |g|; the paper's wording, "the empirical distribution", is `neuron_empirical`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rbtc.attack.completion import Completion
from rbtc.layers import Masks, Weights, check_same_layers

Strategy = Literal[
    "neuron_max",
    "neuron_average",
    "neuron_sample",
    "neuron_empirical",
    "layer_sample",
    "completed",
]


_STRATEGIES = (
    "neuron_max",
    "neuron_average",
    "neuron_sample",
    "neuron_empirical",
    "layer_sample",
    "completed",
)


@dataclass(frozen=True, eq=False)
class RowStatistics:
    """Statistics of the surviving weights of each row, all (rows,) float64.

    max: the largest magnitude.
    mean, std: of the signed weights; the population standard deviation.
    average_magnitude: the mean of |w|.
    """

    max: Tensor
    mean: Tensor
    std: Tensor
    average_magnitude: Tensor


def row_statistics(weight: Tensor, missing: Tensor) -> RowStatistics:
    """Summarise what survived in each row of `weight` (rows, columns).

    Survivors are the non-zero entries outside `missing` (rows, columns) bool. A row without any
    gets the statistics of the whole layer. Raises ValueError when the layer has no survivor.
    """
    _check_mask("weight", weight, missing)
    survivors = ~missing & (weight != 0)
    if not survivors.any():
        raise ValueError(
            f"none of the {weight.numel()} weights survives: there is no magnitude to borrow; is "
            f"the mask inverted?"
        )
    rows = _statistics(weight, survivors)
    empty = ~survivors.any(dim=1)
    if not empty.any():
        return rows
    layer = _statistics(weight.reshape(1, -1), survivors.reshape(1, -1))
    return RowStatistics(
        torch.where(empty, layer.max, rows.max),
        torch.where(empty, layer.mean, rows.mean),
        torch.where(empty, layer.std, rows.std),
        torch.where(empty, layer.average_magnitude, rows.average_magnitude),
    )


def assign_magnitudes(
    weights: Weights,
    signs: Mapping[str, Tensor],
    missing: Masks,
    *,
    strategy: Strategy = "neuron_max",
    seed: int = 2021,
    released: bool = False,
    completions: Mapping[str, Completion] | None = None,
) -> Weights:
    """Write sign * magnitude at the missing entries; every other entry keeps its bits.

    weights: the pruned layers; the result has their dtype and device.
    signs: per layer (rows, columns) in {-1, 0, 1}; 0 writes a zero. Layers in which nothing is
        missing need none.
    missing: per layer (rows, columns) bool.
    strategy: the magnitude given to an entry of row r, from the survivors of row r:
        "neuron_max" the largest magnitude (paper's NMS), "neuron_average" the mean magnitude,
        "neuron_sample" |g| with g ~ N(mean, std^2) fitted to the row, "neuron_empirical" a
        surviving magnitude drawn with replacement, "layer_sample" |g| fitted to the whole layer,
        "completed" the magnitude of the completion itself.
    seed: of the one CPU generator that serves all layers in the order of their names, and draws
        for every missing entry, kept or not; the draws do not depend on which signs were kept.
    released: "neuron_max" as the authors' code has it: max(|g|, (1 + 1e-6) * row maximum).
    completions: needed by "completed" only.

    Raises ValueError for unknown strategies, mismatching layers or missing completions.
    """
    check_strategy(strategy, released=released)
    if strategy == "completed" and completions is None:
        raise ValueError("strategy 'completed' needs `completions`, got None")
    check_same_layers(weights, missing)
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name in sorted(weights):
        weight, mask = weights[name].detach(), missing[name].to(weights[name].device)
        if not mask.any():
            result[name] = weight.clone()
            continue
        if name not in signs:
            raise ValueError(f"{name} has missing weights but `signs` has no such layer")
        sign = signs[name].to(weight.device)
        if sign.shape != weight.shape:
            raise ValueError(
                f"{name}: signs have shape {tuple(sign.shape)}, expected {tuple(weight.shape)}"
            )
        if strategy == "completed":
            magnitude = _completed(name, mask, completions or {}).to(weight.device)
        else:
            magnitude = _magnitude(weight, mask, strategy, released, generator)
        result[name] = _filled(weight, mask, torch.sign(sign[mask]), magnitude)
    return result


def _magnitude(
    weight: Tensor,
    mask: Tensor,
    strategy: str,
    released: bool,
    generator: torch.Generator,
    missing: Tensor | None = None,
) -> Tensor:
    """Magnitudes (k,) float64 where `mask` is True, in row-major order."""
    missing = mask if missing is None else missing
    if strategy == "neuron_empirical":
        return _resample(weight, mask, generator, missing)
    if strategy == "layer_sample":
        flat = (1, -1)
        return _draw(
            weight.reshape(flat), mask.reshape(flat), generator, missing.reshape(flat)
        ).abs()
    if strategy == "neuron_sample":
        return _draw(weight, mask, generator, missing).abs()
    statistics = row_statistics(weight, missing)
    row = mask.nonzero(as_tuple=True)[0]
    if strategy == "neuron_average":
        return statistics.average_magnitude[row]
    largest = statistics.max[row]
    if not released:
        return largest
    margin = (1e-6 * largest).clamp(min=1e-12)
    return torch.maximum(_draw(weight, mask, generator, missing).abs(), largest + margin)


def _draw(
    weight: Tensor, mask: Tensor, generator: torch.Generator, missing: Tensor | None = None
) -> Tensor:
    """Draw g ~ N(mean, std^2) of each row's survivors where `mask` is True.

    Returns (k,) float64, row-major.
    """
    statistics = row_statistics(weight, mask if missing is None else missing)
    counts = mask.sum(dim=1).tolist()
    # Row by row: torch draws a vector differently from the same numbers asked for one by one, and
    # the release asks per row.
    noise = torch.cat([torch.randn(count, generator=generator) for count in counts if count])
    row = mask.nonzero(as_tuple=True)[0]
    return statistics.mean[row] + statistics.std[row] * noise.to(weight.device).double()


def _resample(weight: Tensor, mask: Tensor, generator: torch.Generator, missing: Tensor) -> Tensor:
    survivors = ~missing & (weight != 0)
    row_statistics(weight, missing)  # raises when the layer has no survivor
    pieces = []
    for row in mask.any(dim=1).nonzero().flatten().tolist():
        pool = weight[row][survivors[row]]
        if not len(pool):
            pool = weight[survivors]
        count = int(mask[row].sum())
        pick = torch.randint(len(pool), (count,), generator=generator).to(weight.device)
        pieces.append(pool[pick].double().abs())
    return torch.cat(pieces)


def _statistics(weight: Tensor, survivors: Tensor) -> RowStatistics:
    kept = weight.double().masked_fill(~survivors, 0)
    count = survivors.sum(dim=1).clamp(min=1)
    mean = kept.sum(dim=1) / count
    deviation = (kept - mean[:, None]).masked_fill(~survivors, 0)
    return RowStatistics(
        kept.abs().amax(dim=1),
        mean,
        (deviation.square().sum(dim=1) / count).sqrt(),
        kept.abs().sum(dim=1) / count,
    )


def _completed(name: str, mask: Tensor, completions: Mapping[str, Completion]) -> Tensor:
    if name not in completions:
        raise ValueError(f"{name} has missing weights but `completions` has no such layer")
    completion = completions[name]
    if not torch.equal(completion.missing.to(mask.device), mask):
        raise ValueError(f"{name}: the completion was made for another mask; complete it again")
    return completion.values.double().abs()


def _filled(weight: Tensor, mask: Tensor, sign: Tensor, magnitude: Tensor) -> Tensor:
    filled = weight.clone()
    # Adding zero turns the -0.0 of a sign times a zero magnitude into +0.0.
    filled[mask] = (sign.double() * magnitude).to(weight.dtype) + 0.0
    return filled


def _sign_of(draws: Tensor) -> Tensor:
    return torch.where(draws < 0, -1.0, 1.0).double()


def check_strategy(strategy: str, *, released: bool = False) -> None:
    """Refuse an unknown strategy, or one without a released form, with a ValueError."""
    if strategy not in _STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}, expected one of {', '.join(_STRATEGIES)}")
    if released and strategy != "neuron_max":
        raise ValueError(f"released belongs to strategy='neuron_max', not to {strategy!r}")


def _check_mask(label: str, weight: Tensor, missing: Tensor) -> None:
    if missing.dtype != torch.bool or missing.shape != weight.shape or weight.ndim != 2:
        raise ValueError(
            f"missing is {missing.dtype} of shape {tuple(missing.shape)}, expected torch.bool of "
            f"the same shape (rows, columns) as {label}, {tuple(weight.shape)}"
        )
