# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Ablation: how many signs to keep, and which magnitude to give them (paper Sec. 5.6, App. D)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rbtc.lab import Lab, Variant
from rbtc.magnitudes import Strategy
from rbtc.models.prompts import Subject
from rbtc.report.paper import printed
from rbtc.report.tables import Row, accuracies, effect, records
from rbtc.stats import Difference, Share
from rbtc.studies.common import Pictures, at_least_one, judged, subjects

STRATEGIES: dict[str, Strategy] = {
    "Neuron Sample": "neuron_sample",
    "Neuron Average": "neuron_average",
    "NMS": "neuron_max",
}
"""The columns of the paper's tables, and our names for them."""

TABLES = {"golf ball": 3, "parachute": 8, "church": 9, "gas pump": 10}
KEEP_RATIOS = (1.0, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True, eq=False)
class AblationStudy:
    """Accuracy on the erased class for every magnitude strategy and K.

    Attributes:
        subjects: The concepts.
        keep_ratios: The K of Top-K Sign Retention.
        strategies: Names out of `STRATEGIES`.
        hits: One line per picture; besides `rbtc.studies.common.judged`, strategy and keep_ratio
            (empty for the pretrained and the pruned model). A model is named "NMS, K = 0.6".
        pictures: Neuron-Max Scaling for every K, between the two models it lies between.
    """

    subjects: tuple[Subject, ...]
    keep_ratios: tuple[float, ...]
    strategies: tuple[str, ...]
    hits: pd.DataFrame
    pictures: Pictures

    def of(self, subject: Subject) -> pd.DataFrame:
        """The pictures of one concept."""
        return self.hits[self.hits["concept"] == subject.label]

    def curves(self, subject: Subject) -> dict[str, dict[float, Share]]:
        """`{strategy: {K: accuracy}}`, and the pruned model as a level line."""
        found = accuracies(self.of(subject), ["model"])
        curves = {
            strategy: {k: found[model_name(strategy, k)] for k in self.keep_ratios}
            for strategy in self.strategies
        }
        return {**curves, "pruned": dict.fromkeys(self.keep_ratios, found["pruned"])}

    def paper(self, subject: Subject) -> dict[str, dict[float, float]]:
        """The printed numbers, `{strategy: {K: value}}`; empty for a concept without a table."""
        number = TABLES.get(subject.paper or "")
        if number is None:
            return {}
        found = {
            strategy: {k: printed(number, top(k), strategy) for k in self.keep_ratios}
            for strategy in self.strategies
        }
        return {
            strategy: {k: value for k, value in of.items() if value is not None}
            for strategy, of in found.items()
        }

    def rows(self, subject: Subject) -> list[Row]:
        """One row per K, one column per strategy; effects are seen from the pruned model."""
        hits, paper = self.of(subject), self.paper(subject)
        before = printed(1, subject.paper, "erased: ConceptPrune")
        found = accuracies(hits, ["model"])
        return [
            Row(
                top(k),
                strategy,
                paper.get(strategy, {}).get(k),
                found[model_name(strategy, k)],
                effect(hits, "pruned", model_name(strategy, k)),
                before,
            )
            for k in self.keep_ratios
            for strategy in self.strategies
        ]

    def effects(self) -> pd.DataFrame:
        """`rbtc.report.tables.records` of every concept, for the CSV."""
        parts = [records(self.rows(s)).assign(concept=s.label) for s in self.subjects]
        frame = pd.concat(parts, ignore_index=True)
        return frame[["concept", *frame.columns.drop("concept")]]

    def against(self, other: str) -> dict[str, Difference]:
        """Change from another strategy to NMS at the same K, over all concepts."""
        return {
            f"K = {k:g}": effect(self.hits, model_name(other, k), model_name("NMS", k))
            for k in self.keep_ratios
        }

    def revivals(self) -> dict[str, Difference]:
        """Change from the pruned model to NMS at each K, over all concepts."""
        return {
            f"K = {k:g}": effect(self.hits, "pruned", model_name("NMS", k))
            for k in self.keep_ratios
        }


def ablation_study(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    keep_ratios: Sequence[float] = KEEP_RATIOS,
    strategies: Sequence[str] = tuple(STRATEGIES),
    pictures: int = 2,
    first_seed: int = 0,
    draw_seed: int = 2021,
) -> AblationStudy:
    """Attack the pruned model of each concept with every K and strategy, and count.

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures per model.
        keep_ratios: the K of Top-K Sign Retention, each in (0, 1].
        strategies: names out of `STRATEGIES`.
        pictures: how many of each model to show; they are the first ones counted.
        first_seed: the pictures have this seed and the following ones.
        draw_seed: seed of the drawn magnitudes.

    Raises:
        ValueError: an unknown strategy, a K outside (0, 1], or no K or strategy at all.
    """
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise ValueError(f"unknown strategies {unknown}, expected some of {list(STRATEGIES)}")
    if not keep_ratios or not strategies:
        raise ValueError("an ablation needs at least one K and one strategy")
    if wrong := [k for k in keep_ratios if not 0 < k <= 1]:
        raise ValueError(f"K must lie in (0, 1], not {wrong}")
    at_least_one(images=images, pictures=pictures)
    chosen = subjects(lab, concepts)
    lab.jury.require("object")
    frames, shown = [], {}
    for subject in chosen:

        def models(subject: Subject = subject) -> Iterator[tuple[Mapping[str, Any], Variant]]:
            plain = {"strategy": "", "keep_ratio": float("nan")}
            yield {"model": "pretrained", **plain}, lab.pretrained
            yield {"model": "pruned", **plain}, lab.owner.pruned(subject)
            for strategy in strategies:
                for k in keep_ratios:
                    columns = {"strategy": strategy, "keep_ratio": k}
                    options = {"strategy": STRATEGIES[strategy], "seed": draw_seed}
                    revived = lab.revived(subject, keep_ratio=k, **options)
                    yield {"model": model_name(strategy, k), **columns}, revived

        frames.append(judged(lab, subject, models(), images, first_seed=first_seed))
        variants = {"pretrained": lab.pretrained, "pruned": lab.owner.pruned(subject)}
        variants |= {f"K = {k:g}": lab.revived(subject, keep_ratio=k) for k in keep_ratios}
        shown[subject.label] = {
            name: lab.measure.shown(variant, subject, pictures, first_seed)
            for name, variant in variants.items()
        }
    return AblationStudy(
        tuple(chosen),
        tuple(map(float, keep_ratios)),
        tuple(strategies),
        pd.concat(frames, ignore_index=True),
        shown,
    )


def model_name(strategy: str, keep_ratio: float) -> str:
    """`"NMS", 0.6` -> `"NMS, K = 0.6"`."""
    return f"{strategy}, K = {keep_ratio:g}"


def top(keep_ratio: float) -> str:
    """The paper's name of a row: `0.6` -> `"Top 0.6"`."""
    return f"Top {float(keep_ratio)}"
