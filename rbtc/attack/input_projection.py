"""What else a pruned model tells about a hidden unit: the weights that read its input.

A feed-forward block of Stable Diffusion computes W2 (value * gelu(gate)). Hidden unit j writes with
column j of W2 into the space from which its value and its gate are read, by row j of either half of
the input projection `ff.net.0.proj`. ConceptPrune prunes W2 and leaves these rows whole, so
whatever relation training has left between how a unit reads and how it writes is open to the
attacker.

Transposed, the rows become further rows of the matrix to be completed, one column per hidden unit,
with nothing missing in them: [W2; s V'] has the low rank that the relation gives it.

One symmetry limits what they can tell. Turning the signs of row j of the value half and of column j
of W2 leaves the block's output as it was, while the gate's sign is not free. So the sign of a
written weight can follow the value row in a linear way, but not the gate row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rbtc.attack.completion import Completion, complete
from rbtc.layers import FFN_OUTPUT_PATTERN, find_layers

Half = Literal["value", "gate"]

HALVES: tuple[Half, ...] = ("value", "gate")


@dataclass(frozen=True, eq=False)
class InputProjection:
    """The rows that read what a feed-forward block gets, as columns beside those of W2.

    value, gate: (model width, hidden units); column j belongs to column j of W2. The gain of the
        normalisation in front of the block is multiplied in.
    """

    value: Tensor
    gate: Tensor

    def half(self, name: Half) -> Tensor:
        """The value half or the gate half."""
        return self.value if name == "value" else self.gate


def find_input_projections(model: nn.Module | Mapping[str, Tensor]) -> dict[str, InputProjection]:
    """The input projection of every feed-forward output matrix of a UNet or of its state dict.

    Returns:
        Name of the output matrix -> projection, sorted by name; detached copies.

    Raises:
        ValueError: the model has no feed-forward output matrix, or a block without a GEGLU
            projection of twice as many rows as the matrix has columns.
    """
    named = dict(model.named_parameters()) if isinstance(model, nn.Module) else dict(model)
    found = {}
    for name, weight in find_layers(named).items():
        block = FFN_OUTPUT_PATTERN.sub("", name) + "."
        projection = named.get(f"{block}ff.net.0.proj.weight")
        hidden = weight.shape[1]
        if projection is None or projection.ndim != 2 or len(projection) != 2 * hidden:
            given = "none" if projection is None else f"one of shape {tuple(projection.shape)}"
            raise ValueError(
                f"{name}: expected a GEGLU projection 'ff.net.0.proj.weight' with {2 * hidden} "
                f"rows in the same block, found {given}"
            )
        reading = projection.detach()  # (2 hidden, model width): value half, then gate half
        gain = named.get(f"{block}norm3.weight")
        if gain is not None:
            reading = reading * gain.detach()
        value, gate = reading.split(hidden)
        found[name] = InputProjection(value.mT.contiguous(), gate.mT.contiguous())
    return found


def complete_jointly(
    weight: Tensor,
    missing: Tensor,
    projection: Tensor,
    *,
    scale: float = 1.0,
    exponent: float = 1.0,
    ridge: float = 1e-6,
    **options: Any,
) -> Completion:
    """Complete W2 (rows, hidden) together with rows of which nothing is missing.

    Args:
        weight: (rows, hidden), any float dtype.
        missing: bool (rows, hidden).
        projection: (further rows, hidden), one half of an `InputProjection`, or both on top of each
            other.
        scale: see `stacked`.
        exponent: p, see `rbtc.solvers.spectral`; ridge and further `options` too.
        ridge: see there.

    Raises:
        ValueError: whatever `rbtc.attack.completion.complete` refuses.
    """
    upper = stacked(weight, missing, projection, scale=scale)
    whole = torch.zeros_like(upper, dtype=torch.bool)
    whole[: len(weight)] = missing
    # Row-major: the missing entries of the upper rows are all there are, in the order of `weight`.
    found = complete(upper, whole, algorithm="spectral", exponent=exponent, ridge=ridge, **options)
    return Completion(
        found.values, missing, found.iterations, found.residuals, found.converged, "joint"
    )


def stacked(weight: Tensor, missing: Tensor, projection: Tensor, *, scale: float = 1.0) -> Tensor:
    """The weight (rows, hidden) with its projection (further rows, hidden) below, in its dtype.

    Args:
        weight: (rows, hidden).
        missing: bool (rows, hidden); only the other entries set the scale of the projection.
        projection: (further rows, hidden).
        scale: root mean square of the projection over that of the surviving weights, above 0.
    """
    rms = weight[~missing].double().square().mean().sqrt()
    tiny = torch.finfo(torch.float64).tiny
    unit = projection.double() / projection.double().square().mean().sqrt().clamp(min=tiny)
    return torch.cat([weight, (unit * (scale * rms)).to(weight)])


def predictive_correlation(
    weight: Tensor, projection: Tensor, *, folds: int = 5, ridge: float = 0.1
) -> float:
    """How much the projection tells: correlation of the weights with what is predicted from them.

    A ridge regression of the columns of the weight (rows, hidden), nothing missing, on those of the
    projection (further rows, hidden), fitted without the columns that it then predicts (every
    `folds`-th one in turn, 2 to hidden folds). ``ridge`` is the fraction of the projection's mean
    variance that is added as noise. 0 where it tells nothing.
    """
    hidden = weight.shape[1]
    target, source = weight.detach().double(), projection.detach().double()
    predicted = torch.zeros_like(target)
    fold = torch.arange(hidden, device=weight.device) % folds
    for number in range(folds):
        known, asked = source[:, fold != number], fold == number
        gram = known @ known.mT
        gram.diagonal().add_(ridge * gram.diagonal().mean())
        inverse = torch.linalg.pinv(gram, hermitian=True)  # also of rows that are all zero
        mapping = target[:, ~asked] @ known.mT @ inverse  # (rows, further rows)
        predicted[:, asked] = mapping @ source[:, asked]
    both = torch.stack([predicted.flatten(), target.flatten()])
    return float(torch.corrcoef(both)[0, 1].nan_to_num(0.0))
