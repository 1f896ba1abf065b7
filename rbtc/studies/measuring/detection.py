"""How `rbtc.studies.detection` is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rbtc.defense.detection import detection, detection_auc
from rbtc.defense.gaussian import interval_probability, pooled_sigma, posterior, sigma_by_layer
from rbtc.lab import Lab
from rbtc.layers import Masks, Weights
from rbtc.report.tables import power
from rbtc.studies.detection import DetectionStudy
from rbtc.studies.measuring.common import in_range, subjects


def detection_study(
    lab: Lab,
    concept: str,
    *,
    sigmas: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    w_over_sigma: float = 0.1,
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    noise_seed: int = 0,
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

    Raises:
        ValueError: a number outside its range, or an unknown concept.
    """
    in_range(sigmas=sigmas, w_over_sigma=w_over_sigma, threshold_sigmas=threshold_sigmas)
    in_range(1, share=share)
    [subject] = subjects(lab, [concept])
    masks, base = lab.owner.masks(subject), lab.owner.pruned(subject)
    alpha, total = lab.density(subject), sum(mask.numel() for mask in masks.values())
    layers = sigma_by_layer(base.weights, masks)
    layers["alpha"] = [float(masks[name].double().mean()) for name in layers["name"]]
    shapes = [_shape(base.weights[name][~masks[name]]) for name in layers["name"]]
    layers = layers.join(pd.DataFrame(shapes, index=layers.index))
    wide = pooled_sigma(layers)
    half_width = w_over_sigma * wide
    x, w = np.geomspace(1e-6, 10, 200), np.geomspace(1e-4, 10, 100)
    lines, parts, posteriors, over_width = [], [], [], []
    for sigma in sigmas:
        model = {"alpha": alpha, "sigma_modified": sigma, "sigma_unmodified": wide}
        text = power(sigma)
        posteriors.append(
            pd.DataFrame({"sigma": text, "x": x, "posterior": posterior(x * wide, **model)})
        )
        over_width.append(
            pd.DataFrame({"sigma": text, "w": w, "eq7": interval_probability(w * wide, **model)})
        )
        defended = lab.owner.obfuscated(subject, sigma=sigma, seed=noise_seed)
        small = detection(lab.attacker.guess(defended, attacker="budget", share=share), masks)
        limit = threshold_sigmas * sigma
        below_limit = lab.attacker.guess(defended, attacker="threshold", threshold=limit)
        below = detection(below_limit, masks)
        near = _by_layer(layers, defended.weights, masks, half_width, sigma)
        parts.append(near.dropna(subset="eq7"))
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
                "threshold_named": below.flagged / total,
            }
        )
    across = np.geomspace(0.005, 0.3, 40)
    up = np.geomspace(min(sigmas), max(sigmas), 51)
    known = layers[layers["sigma"] > 0].sort_values("sigma")
    widths = {"all layers": wide}
    for title, line in (("narrowest", known.iloc[0]), ("widest", known.iloc[-1])):
        widths[f"{title} layer ({line['short']})"] = float(line["sigma"])
    surfaces = {
        f"{title}, sigma_U = {sigma:.3g}": interval_probability(
            half_width, alpha=across[None, :], sigma_modified=up[:, None], sigma_unmodified=sigma
        )
        for title, sigma in widths.items()
    }
    return DetectionStudy(
        subject, alpha, wide, half_width, layers, pd.concat(parts, ignore_index=True),
        pd.DataFrame(lines), across, up, surfaces, pd.concat(posteriors, ignore_index=True),
        pd.concat(over_width, ignore_index=True),
    )  # fmt: skip


def _shape(survivors: Tensor) -> dict[str, float]:
    """How near weights (n,) are to the centred Gaussian of Sec. 4.4; NaN for fewer than two.

    imbalance: share of positive ones less a half. valleys: share lacking in the valleys of a
    histogram of half standard deviations. tail: share beyond three standard deviations. kurtosis:
    excess. distance: Kolmogorov's from the centred Gaussian of their standard deviation.
    """
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


def _by_layer(
    layers: pd.DataFrame, weights: Weights, masks: Masks, half_width: float, sigma: float
) -> pd.DataFrame:
    """Weights within [-w, w], counted, and Eq. 7 with a layer's own alpha and sU, layer by layer.

    Returns:
        short, alpha, sigma_unmodified, sigma, eq7 (missing where the layer is pruned whole or not
        at all), near and modified_near.
    """
    frame = layers[["short", "alpha", "sigma"]].rename(columns={"sigma": "sigma_unmodified"})
    mixed = (frame["alpha"] > 0) & (frame["alpha"] < 1) & (frame["sigma_unmodified"] > 0)
    frame["sigma"] = float(sigma)
    frame.loc[mixed, "eq7"] = interval_probability(
        half_width,
        alpha=frame.loc[mixed, "alpha"].to_numpy(float),
        sigma_modified=float(sigma),
        sigma_unmodified=frame.loc[mixed, "sigma_unmodified"].to_numpy(float),
    )
    near = {name: weights[name].abs() <= half_width for name in layers["name"]}
    frame["near"] = [int(inside.sum()) for inside in near.values()]
    frame["modified_near"] = [int((inside & masks[name]).sum()) for name, inside in near.items()]
    return frame


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
