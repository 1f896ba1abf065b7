"""What an attacker is told besides the surviving weights of a matrix, measured on the truth.

These functions see the weights before pruning: they explain why an attack is strong or weak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from rbtc.attack.input_projection import HALVES, find_input_projections, predictive_correlation
from rbtc.attack.selection import expected_magnitudes
from rbtc.layers import short_name

if TYPE_CHECKING:
    from rbtc.lab import Lab
    from rbtc.models.subjects import Subject


def magnitude_rows(lab: Lab, subject: Subject) -> list[dict[str, Any]]:
    """How well the row's maximum and the selection's guess follow the cut magnitudes, per layer.

    Correlations of logarithms, and medians of the true magnitude over the guessed one.
    """
    rows = []
    truth = lab.pretrained.weights
    for name, mask in lab.owner.masks(subject).items():
        if not mask.any():
            continue
        cut = truth[name].masked_fill(mask, 0)
        guesses = {
            "row maximum": cut.abs().amax(dim=1, keepdim=True).expand_as(cut),
            "selection": expected_magnitudes(cut, mask),
        }
        real = truth[name][mask].abs().double()
        for guess, size in guesses.items():
            pair = torch.stack([real, size[mask].double()]).clamp(min=1e-12)
            rows.append({
                "concept": subject.label, "layer": short_name(name), "guess": guess,
                "correlation": float(torch.corrcoef(pair.log())[0, 1].nan_to_num(0.0)),
                "true over guessed": float((pair[0] / pair[1]).median()), "n": len(real),
            })  # fmt: skip
    return rows


def side_information(lab: Lab) -> pd.DataFrame:
    """What each half of a block's input projection tells of its output weights, layer by layer.

    Returns:
        One row per layer: the correlation of the pretrained weights with their prediction from
        the value half, and from the gate half, see `rbtc.attack.input_projection.told`.
    """
    projections = find_input_projections(lab.pipeline.unet)
    rows = {
        short_name(name): {
            half: predictive_correlation(weight, projections[name].half(half)) for half in HALVES
        }
        for name, weight in lab.pretrained.weights.items()
    }
    return pd.DataFrame(rows).T.rename_axis(index="layer")
