"""Can the hidden weights be found again? Eq. 7 of the paper beside what magnitudes give away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from rbtc.defense import interval_probability, posterior, sigma_by_layer
from rbtc.detection import detection, detection_auc
from rbtc.lab import Lab
from rbtc.layers import Masks, Weights
from rbtc.stats import Proportion
from rbtc.studies import Subject, subjects
from rbtc.wording import listing, percent, power

HIDDEN = 0.6
"""AUC up to which `DetectionStudy.describe` calls the places hidden; 1/2 is a coin."""


@dataclass(frozen=True, eq=False)
class DetectionStudy:
    """How visible the noise is, as Eq. 7 has it and as it is.

    Attributes:
        subject: Whose pruned weights are hidden.
        alpha: Share of the candidate weights that was pruned.
        sigma_unmodified: Standard deviation sU of all surviving weights together.
        half_width: w of Eq. 7, a weight's magnitude.
        layers: `rbtc.defense.sigma_by_layer` of the pruned model.
        points: One row per noise level: Eq. 7 and the share it predicts, the posterior at 0, AUC,
            precision and recall of both attackers.
        alphas: Places of the surface along alpha.
        noises: Places of the surface along sigma_M.
        surface: Eq. 7, (noises, alphas).
    """

    subject: Subject
    alpha: float
    sigma_unmodified: float
    half_width: float
    layers: pd.DataFrame
    points: pd.DataFrame
    alphas: np.ndarray
    noises: np.ndarray
    surface: np.ndarray

    def measures(self) -> dict[str, dict[float, float | Proportion]]:
        """`{measure: {sigma: value}}`, for a line chart over the noise level."""
        series: dict[str, dict[float, float | Proportion]] = {
            name: dict(zip(self.points["sigma"], self.points[column], strict=True))
            for name, column in (
                ("Eq. 7", "eq7"),
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

    def posteriors(self, places: int = 200) -> pd.DataFrame:
        """p(modified | x) over the magnitude x, one curve per noise level; x in units of sU."""
        x = np.geomspace(1e-6, 10, places)
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "sigma": power(sigma),
                        "x": x,
                        "posterior": posterior(
                            x * self.sigma_unmodified,
                            alpha=self.alpha,
                            sigma_modified=sigma,
                            sigma_unmodified=self.sigma_unmodified,
                        ),
                    }
                )
                for sigma in self.points["sigma"]
            ],
            ignore_index=True,
        )

    def surface_frame(self) -> pd.DataFrame:
        """The surface in long form: alpha, sigma, eq7."""
        noises, alphas = np.meshgrid(self.noises, self.alphas, indexing="ij")
        return pd.DataFrame(
            {"alpha": alphas.ravel(), "sigma": noises.ravel(), "eq7": self.surface.ravel()}
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

    def describe(self) -> str:
        """The outcome in words."""
        points = self.points
        hidden = points.loc[(points["auc"] - 0.5).abs() <= HIDDEN - 0.5, "sigma"]
        tails = points[points["auc"] < 1 - HIDDEN]
        unseen = [power(s) for s in tails.loc[tails["eq7"] < self.alpha, "sigma"]]
        spread = self.layers["sigma"].dropna()
        lines = points.to_dict("records")
        # Naming every weight finds all the cut ones too: recall alone is no success.
        best = max(
            lines, key=lambda line: line["threshold_recall"] * (line["threshold_precision"] or 0)
        )
        sentences = [
            f"In the pruned {self.subject.label} model {percent(self.alpha, 1)} of the weights are "
            f"cut, and the survivors have a standard deviation of {self.sigma_unmodified:.3g} over "
            f"all layers ({spread.min():.3g} to {spread.max():.3g} layer by layer).",
            f"A single magnitude tells cut from kept with an AUC within {HIDDEN - 0.5:.1f} of a "
            f"coin's half at sigma_M = {listing(power(s) for s in hidden)}."
            if len(hidden)
            else "At no noise level tried is the AUC near a coin's half.",
        ]
        ordered = sorted((line["sigma"], line["auc"]) for line in points.to_dict("records"))
        sentences += [
            f"It passes a half between sigma_M = {power(low)} and {power(high)}."
            for (low, before), (high, after) in pairwise(ordered)
            if before > 0.5 >= after
        ]
        if len(tails):
            seen = listing(power(s) for s in tails["sigma"])
            sentences.append(
                f"At sigma_M = {seen} the noise is larger than the weights around it and stands "
                f"out in the tails (AUC below {1 - HIDDEN:.1f})"
                + (
                    f"; Eq. 7, which looks near zero only, calls {listing(unseen)} well hidden."
                    if unseen
                    else "."
                )
            )
        most = max(line["budget_recall"] for line in lines)
        sentences.append(
            f"The smallest weights, a fixed share, hold at most {percent(most)} of the cut ones at "
            f"any noise level; a threshold finds {percent(best['threshold_recall'])} at sigma_M = "
            f"{power(best['sigma'])}, where {percent(best['threshold_precision'])} of what it "
            f"names was cut."
        )
        return " ".join(sentences)


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
    """
    [subject] = subjects(lab, [concept])
    masks, base = lab.masks(subject.word), lab.pruned(subject.word)
    alpha = lab.density(subject.word)
    layers = sigma_by_layer(base.weights, masks)
    wide = pooled_sigma(layers)
    half_width = w_over_sigma * wide
    lines = []
    for sigma in sigmas:
        defended = lab.obfuscated(subject.word, sigma=sigma, seed=noise_seed)
        model = {"alpha": alpha, "sigma_modified": sigma, "sigma_unmodified": wide}
        small = detection(lab.guess(defended, attacker="budget", share=share), masks)
        limit = threshold_sigmas * sigma
        below_limit = lab.guess(defended, attacker="threshold", threshold=limit)
        below = detection(below_limit, masks)
        near, modified_near = _near_zero(defended.weights, masks, half_width)
        lines.append(
            {
                "sigma": float(sigma),
                "eq7": interval_probability(half_width, **model),
                "near": near,
                "modified_near": modified_near,
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
    surface = interval_probability(
        half_width, alpha=across[None, :], sigma_modified=up[:, None], sigma_unmodified=wide
    )
    return DetectionStudy(
        subject, alpha, wide, half_width, layers, pd.DataFrame(lines), across, up, surface
    )


def pooled_sigma(layers: pd.DataFrame) -> float:
    """Standard deviation of all surviving weights, from those of `rbtc.defense.sigma_by_layer`."""
    known = layers.dropna(subset=["sigma"])
    count, mean, sigma = (known[name].to_numpy(float) for name in ("count", "mean", "sigma"))
    shares = count / count.sum()
    square = float(shares @ (sigma**2 + mean**2))
    return math.sqrt(max(square - float(shares @ mean) ** 2, 0.0))


def _near_zero(weights: Weights, masks: Masks, half_width: float) -> tuple[int, int]:
    """How many weights lie within [-w, w], and how many of them are modified ones."""
    near = {name: weights[name].abs() <= half_width for name in weights}
    modified = sum(int((near[name] & masks[name]).sum()) for name in near)
    return sum(int(each.sum()) for each in near.values()), modified
