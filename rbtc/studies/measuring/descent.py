"""How `rbtc.studies.matrix_completion.Descent` is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.studies.matrix_completion import Descent

if TYPE_CHECKING:
    import torch

    from rbtc.lab import Lab


def descent(lab: Lab, concept: str, *, layer: str | None = None, iterations: int = 10) -> Descent:
    """Follow the released iteration on one layer and check it against its reading as a descent.

    Each step is taken twice, as printed (Eq. 2 with lambda = s_min) and as
    Z - s_min U V' on the missing entries; and the slope <U V', D> of ||Z||_* along a direction D
    is compared with a central difference, for the steepest direction and a random one.

    Args:
        lab: where the pruned model comes from.
        concept: which pruned model.
        layer: short name; None takes the middle block, or the first layer.
        iterations: steps to follow, at least 2.

    Raises:
        ValueError: fewer iterations, or no such layer.
    """
    import torch

    from rbtc.attack.completion import column_means
    from rbtc.layers import short_name

    if iterations < 2:
        raise ValueError(f"iterations is {iterations}, expected at least 2")
    names = [short_name(name) for name in lab.pretrained.weights]
    layer = layer or ("mid" if "mid" in names else names[0])
    if layer not in names:
        raise ValueError(f"there is no layer {layer!r}; there are {', '.join(names)}")
    weights = {
        short_name(name): weight for name, weight in lab.owner.pruned(concept).weights.items()
    }
    weight = weights[layer].detach().cpu().double()
    missing = weight == 0
    z = column_means(weight).dense(weight)
    lines = []
    for iteration in range(1, iterations + 1):
        u, s, v = torch.linalg.svd(z, full_matrices=False)
        polar = u @ v  # (rows, columns)
        thresholded = (u * (s - s[-1])) @ v
        step = (s[-1] * polar)[missing]
        lines.append(
            {
                "iteration": iteration,
                "s_min": float(s[-1]),
                "nuclear_norm": float(s.sum()),
                "step": float(step.abs().max()),
                "update_error": _error(z[missing] - thresholded[missing], step),
                "gradient_error": _slope_error(z, missing, polar, 1e-3 * float(s[-1])),
            }
        )
        z = torch.where(missing, thresholded, z)
    return Descent(layer, pd.DataFrame(lines))


def _slope_error(
    z: torch.Tensor, missing: torch.Tensor, polar: torch.Tensor, width: float
) -> float:
    """Largest error of the predicted slope of ||Z||_* along two directions, relative."""
    import torch

    steepest = polar * missing
    chance = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    errors = []
    for direction in (steepest, chance * missing):
        along = direction / direction.norm()
        ahead, behind = (torch.linalg.svdvals(z + way * along).sum() for way in (width, -width))
        found = float(ahead - behind) / (2 * width)
        errors.append(abs(found - float((polar * along).sum())) / float(steepest.norm()))
    return max(errors)


def _error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp(min=np.finfo(float).tiny))
