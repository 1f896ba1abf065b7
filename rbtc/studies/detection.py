# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Can the hidden weights be found again? Eq. 7 of the paper beside what magnitudes give away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.tables import power
from rbtc.stats import Proportion
from rbtc.studies.common import subjects

if TYPE_CHECKING:
    from torch import Tensor

    from rbtc.lab import Lab
    from rbtc.layers import Masks, Weights


@dataclass(frozen=True, eq=False)
class DetectionStudy:
    """How visible the noise is, as Eq. 7 has it and as it is.

    Attributes:
        subject: Whose pruned weights are hidden.
        alpha: Share of the candidate weights that was pruned.
        sigma_unmodified: Standard deviation sU of all surviving weights together.
        half_width: w of Eq. 7, a weight's magnitude.
        layers: `rbtc.defense.sigma_by_layer` of the pruned model, alpha, the share cut there, and
            the shape of what is left, see `_shape`.
        by_layer: One row per layer and noise level: short, alpha, sigma_unmodified, sigma, eq7 with
            these, near and modified_near (how many weights, and how many modified ones, lie within
            w). Layers that are cut whole or not at all are left out.
        points: One row per noise level: Eq. 7 with one sigma_U and with one per layer, the share
            found, the posterior at 0, AUC, precision and recall of both attackers.
        alphas: Places of the surface along alpha.
        noises: Places of the surface along sigma_M.
        surfaces: Eq. 7 over alpha and sigma_M (Fig. 7), title -> (noises, alphas): with the sU of
            all layers, of the layer with the narrowest and of that with the widest weights. w is
            the same on all of them.
        posteriors: p(modified | x) over the magnitude x: sigma (as text), x (in units of sU),
            posterior.
        over_width: Eq. 7 over its w: sigma (as text), w (in units of sU), eq7.
    """

    subject: Subject
    alpha: float
    sigma_unmodified: float
    half_width: float
    layers: pd.DataFrame
    by_layer: pd.DataFrame
    points: pd.DataFrame
    alphas: np.ndarray
    noises: np.ndarray
    surfaces: Mapping[str, np.ndarray]
    posteriors: pd.DataFrame
    over_width: pd.DataFrame

    def measures(self) -> dict[str, dict[float, float | Proportion]]:
        """`{measure: {sigma: value}}`, for a line chart over the noise level."""
        series: dict[str, dict[float, float | Proportion]] = {
            name: dict(zip(self.points["sigma"], self.points[column], strict=True))
            for name, column in (
                ("Eq. 7", "eq7"),
                ("Eq. 7, layer by layer", "eq7_layers"),
                ("posterior at 0", "posterior_at_0"),
                ("AUC, two Gaussians", "auc_gaussian"),
                ("AUC, measured", "auc"),
            )
        }
        near = {
            float(line["sigma"]): Proportion(int(line["modified_near"]), int(line["near"]))
            for line in self.points.to_dict("records")
            if line["near"]
        }
        return {"Eq. 7": series.pop("Eq. 7"), "share within w": {**near}, **series}

    def surface_frame(self) -> pd.DataFrame:
        """The surfaces in long form: surface, alpha, sigma, eq7."""
        noises, alphas = np.meshgrid(self.noises, self.alphas, indexing="ij")
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "surface": title,
                        "alpha": alphas.ravel(),
                        "sigma": noises.ravel(),
                        "eq7": values.ravel(),
                    }
                )
                for title, values in self.surfaces.items()
            ],
            ignore_index=True,
        )

    def attackers(self) -> pd.DataFrame:
        """Precision and recall per noise level, as shown in the chapter."""
        columns = {
            "budget_precision": "precision, smallest weights",
            "budget_recall": "recall, smallest weights",
            "threshold_precision": "precision, threshold",
            "threshold_recall": "recall, threshold",
            "threshold_named": "named by threshold",
            "auc": "AUC",
        }
        lines = [
            {"sigma_M": power(line["sigma"]), **{columns[name]: line[name] for name in columns}}
            for line in self.points.to_dict("records")
        ]
        return pd.DataFrame(lines).set_index("sigma_M")

    def crossings(self) -> list[tuple[float, float]]:
        """Neighbouring noise levels between which the AUC passes a half: the best hidden ones."""
        ordered = sorted(zip(self.points["sigma"], self.points["auc"], strict=True))
        return [
            (low, high)
            for (low, before), (high, after) in pairwise(ordered)
            if before > 0.5 >= after
        ]


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
    from rbtc.defense import interval_probability, pooled_sigma, posterior, sigma_by_layer
    from rbtc.detection import detection, detection_auc

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
                "threshold_named": below.guessed / sum(m.numel() for m in masks.values()),
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
    from rbtc.defense import interval_probability

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
