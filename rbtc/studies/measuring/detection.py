# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.detection` is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.report.tables import power
from rbtc.studies.detection import DetectionStudy
from rbtc.studies.measuring.common import subjects

if TYPE_CHECKING:
    from torch import Tensor

    from rbtc.lab import Lab
    from rbtc.layers import Masks, Weights


def detection_study(
    lab: Lab,
    concept: str,
    *,
    sigmas: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    w_over_sigma: float = 0.1,
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    noise_seed: int = 0,
    alphas: Sequence[float] | None = None,
    noises: Sequence[float] | None = None,
) -> DetectionStudy:
    """Measure how well the cut places of a defended model can be told from the others.

    No picture is made. Both attackers know the noise level; neither knows a cut place.

    Args:
        lab: where models come from.
        concept: whose pruned model is defended.
        sigmas: standard deviations of the noise.
        w_over_sigma: half-width w of Eq. 7, in standard deviations of the surviving weights. The
            paper does not state its own.
        share: budget of the first attacker: it names this share of all weights, the smallest.
        threshold_sigmas: the second attacker names all weights below this many sigma_M.
        noise_seed: of the noise.
        alphas: shares of modified weights on the surface; None takes 0.5 % to 30 %.
        noises: noise levels on the surface; None spans `sigmas`.

    Raises:
        ValueError: a number outside its range, or an unknown concept.
    """
    from rbtc.defense.detection import detection, detection_auc
    from rbtc.defense.gaussian import interval_probability, pooled_sigma, posterior, sigma_by_layer

    if wrong := [x for x in (*sigmas, w_over_sigma, threshold_sigmas) if not 0 < x < math.inf]:
        raise ValueError(f"noise levels and half-widths must be positive, finite numbers: {wrong}")
    if not sigmas or not 0 < share <= 1:
        raise ValueError(f"expected noise levels and a share in (0, 1], not {sigmas} and {share}")
    [subject] = subjects(lab, [concept])
    masks, base = lab.owner.masks(subject), lab.owner.pruned(subject)
    alpha = lab.density(subject)
    layers = sigma_by_layer(base.weights, masks)
    layers["alpha"] = [float(masks[name].double().mean()) for name in layers["name"]]
    shapes = [_shape(base.weights[name][~masks[name]]) for name in layers["name"]]
    layers = layers.join(pd.DataFrame(shapes, index=layers.index))
    wide = pooled_sigma(layers)
    half_width = w_over_sigma * wide
    lines, parts = [], []
    for sigma in sigmas:
        defended = lab.owner.obfuscated(subject, sigma=sigma, seed=noise_seed)
        model = {"alpha": alpha, "sigma_modified": sigma, "sigma_unmodified": wide}
        small = detection(lab.attacker.guess(defended, attacker="budget", share=share), masks)
        limit = threshold_sigmas * sigma
        below_limit = lab.attacker.guess(defended, attacker="threshold", threshold=limit)
        below = detection(below_limit, masks)
        near = _near_zero(defended.weights, masks, half_width)
        parts.append(_layer_by_layer(layers, near, half_width, sigma))
        lines.append(
            {
                "sigma": float(sigma),
                "eq7": interval_probability(half_width, **model),
                "eq7_layers": _mixed(layers, half_width, sigma),
                "near": int(near["near"].sum()),
                "modified_near": int(near["modified_near"].sum()),
                "posterior_at_0": posterior(0.0, **model),
                # Of two centred Gaussians, P(|M| < |U|).
                "auc_gaussian": 2 / math.pi * math.atan2(wide, sigma),
                "auc": detection_auc(defended.weights, masks),
                "budget_precision": small.precision,
                "budget_recall": small.recall,
                "threshold_precision": below.precision,
                "threshold_recall": below.recall,
                "threshold_named": below.flagged / sum(m.numel() for m in masks.values()),
            }
        )
    across = np.geomspace(0.005, 0.3, 40) if alphas is None else np.asarray(alphas, float)
    up = np.geomspace(min(sigmas), max(sigmas), 51) if noises is None else np.asarray(noises, float)
    known = layers[layers["sigma"] > 0].sort_values("sigma")
    surfaces = {"all layers": wide}
    for title, place in (("narrowest", 0), ("widest", -1)):
        line = known.iloc[place]
        surfaces[f"{title} layer ({line['short']})"] = float(line["sigma"])
    mixtures = {power(s): {"alpha": alpha, "sigma_modified": s, "sigma_unmodified": wide}
                for s in sigmas}  # fmt: skip
    x, w = np.geomspace(1e-6, 10, 200), np.geomspace(1e-4, 10, 100)
    posteriors = [
        pd.DataFrame({"sigma": name, "x": x, "posterior": posterior(x * wide, **model)})
        for name, model in mixtures.items()
    ]
    over_width = [
        pd.DataFrame({"sigma": name, "w": w, "eq7": interval_probability(w * wide, **model)})
        for name, model in mixtures.items()
    ]
    return DetectionStudy(
        subject,
        alpha,
        wide,
        half_width,
        layers,
        pd.concat(parts, ignore_index=True),
        pd.DataFrame(lines),
        across,
        up,
        {
            f"{title}, sigma_U = {sigma:.3g}": interval_probability(
                half_width, alpha=across[None, :], sigma_modified=up[:, None],
                sigma_unmodified=sigma,
            )
            for title, sigma in surfaces.items()
        },
        pd.concat(posteriors, ignore_index=True),
        pd.concat(over_width, ignore_index=True),
    )  # fmt: skip


def _shape(survivors: Tensor) -> dict[str, float]:
    """How near weights (n,) are to the centred Gaussian of Sec. 4.4; NaN for fewer than two.

    imbalance: share of positive ones less a half. valleys: share lacking in the valleys of a
    histogram of half standard deviations. tail: share beyond three standard deviations. kurtosis:
    excess. distance: Kolmogorov's from the centred Gaussian of their standard deviation.
    """
    import torch

    x = survivors.double().flatten()
    if len(x) < 2 or float(x.std()) == 0:
        return dict.fromkeys(("imbalance", "valleys", "tail", "kurtosis", "distance"), math.nan)
    z = (x / x.std()).sort().values
    cdf, steps = torch.special.ndtr(z), torch.arange(len(z) + 1, dtype=z.dtype) / len(z)
    counts = np.histogram(z.cpu().numpy(), np.arange(-10, 10.25, 0.5))[0]
    peak = int(counts.argmax())
    left = np.maximum.accumulate(counts[: peak + 1])
    right = np.maximum.accumulate(counts[peak:][::-1])[::-1]
    lacking = (left - counts[: peak + 1]).sum() + (right - counts[peak:]).sum()
    return {
        "imbalance": float((x > 0).double().mean()) - 0.5,
        "valleys": float(lacking) / len(z),
        "tail": float((z.abs() > 3).double().mean()),
        "kurtosis": float((((x - x.mean()) / x.std()) ** 4).mean()) - 3,
        "distance": float(torch.maximum(steps[1:] - cdf, cdf - steps[:-1]).max()),
    }


def _near_zero(weights: Weights, masks: Masks, half_width: float) -> pd.DataFrame:
    """How many weights of each layer lie within [-w, w], and how many of them are modified ones."""
    lines = []
    for name in sorted(weights):
        inside = weights[name].abs() <= half_width
        modified = int((inside & masks[name]).sum())
        lines.append({"name": name, "near": int(inside.sum()), "modified_near": modified})
    return pd.DataFrame(lines)


def _layer_by_layer(
    layers: pd.DataFrame, near: pd.DataFrame, half_width: float, sigma: float
) -> pd.DataFrame:
    """Eq. 7 of each layer with its own alpha and sU, beside the weights counted within w."""
    from rbtc.defense.gaussian import interval_probability

    mixed = layers[(layers["alpha"] > 0) & (layers["alpha"] < 1) & (layers["sigma"] > 0)]
    frame = mixed.merge(near, on="name").rename(columns={"sigma": "sigma_unmodified"})
    frame["sigma"] = float(sigma)
    frame["eq7"] = interval_probability(
        half_width,
        alpha=frame["alpha"].to_numpy(float),
        sigma_modified=float(sigma),
        sigma_unmodified=frame["sigma_unmodified"].to_numpy(float),
    )
    columns = ["short", "alpha", "sigma_unmodified", "sigma", "eq7", "near", "modified_near"]
    return pd.DataFrame(frame[columns])


def _mixed(layers: pd.DataFrame, half_width: float, sigma: float) -> float:
    """Eq. 7 over all layers with a sU for each: expected modified weights within w, over all."""
    known = layers[layers["sigma"] > 0]
    survivors, alpha = known["count"].to_numpy(float), known["alpha"].to_numpy(float)
    modified = float((survivors * alpha / (1 - alpha)).sum())  # so many were cut beside them
    modified *= math.erf(half_width / (math.sqrt(2) * sigma))
    others = sum(
        count * math.erf(half_width / (math.sqrt(2) * wide))
        for count, wide in zip(survivors, known["sigma"], strict=True)
    )
    return modified / (modified + others)
