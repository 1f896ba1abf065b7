"""Can the hidden weights be found again? Eq. 7 of the paper beside what magnitudes give away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.tables import power
from rbtc.stats import Proportion


@dataclass(frozen=True, eq=False)
class DetectionStudy:
    """How visible the noise is, as Eq. 7 has it and as it is.

    Attributes:
        subject: Whose pruned weights are hidden.
        alpha: Share of the candidate weights that was pruned.
        sigma_unmodified: Standard deviation sU of all surviving weights together.
        half_width: w of Eq. 7, a weight's magnitude.
        layers: `rbtc.defense.gaussian.sigma_by_layer` of the pruned model, alpha (the share cut
            there), and the shape of what is left.
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
        places = {"alpha": alphas.ravel(), "sigma": noises.ravel()}
        frames = [
            pd.DataFrame({"surface": title, **places, "eq7": values.ravel()})
            for title, values in self.surfaces.items()
        ]
        return pd.concat(frames, ignore_index=True)

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
        found = self.points.set_index(self.points["sigma"].map(power).rename("sigma_M"))
        return found[list(columns)].rename(columns=columns)

    def crossings(self) -> list[tuple[float, float]]:
        """Neighbouring noise levels between which the AUC passes a half: the best hidden ones."""
        ordered = sorted(zip(self.points["sigma"], self.points["auc"], strict=True))
        return [
            (low, high)
            for (low, before), (high, after) in pairwise(ordered)
            if before > 0.5 >= after
        ]
