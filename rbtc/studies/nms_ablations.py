"""Ablation: how many signs to keep, and which magnitude to give them (paper Sec. 5.6, App. D)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rbtc.intervals import Difference, Share
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row, records, verdict
from rbtc.report.spread import class_values
from rbtc.report.tables import accuracies, effect
from rbtc.studies.common import Pictures, average_printed, known, model_name

TABLES = {"golf ball": 3, "parachute": 8, "church": 9, "gas pump": 10}
KEEP_RATIOS = (1.0, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True, eq=False)
class AblationStudy:
    """Accuracy on the erased class for every magnitude strategy and K.

    Attributes:
        subjects: The concepts of the tables, with every strategy.
        swept: The concepts of the sweep, with Neuron-Max Scaling for every K.
        keep_ratios: The K of Top-K Sign Retention.
        strategies: Names out of `STRATEGIES`.
        hits: One line per trial; besides `measuring.common.over_draws`, strategy
            and keep_ratio (empty for the pretrained and the pruned model). A model is named
            "NMS, K = 0.6".
        pictures: Neuron-Max Scaling for every K, between the two models it lies between.
    """

    subjects: tuple[Subject, ...]
    swept: tuple[Subject, ...]
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
        return known(found)

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

    @property
    def tables(self) -> pd.DataFrame:
        """The pictures of the concepts with every strategy."""
        return self.hits[self.hits["concept"].isin([s.label for s in self.subjects])]

    @property
    def sweep(self) -> pd.DataFrame:
        """The pictures of the swept concepts: pruned, and Neuron-Max Scaling for every K."""
        swept = self.hits["concept"].isin([s.label for s in self.swept])
        return self.hits[swept & self.hits["model"].isin(["pruned", *self.sweep_models()])]

    def sweep_models(self) -> dict[str, float]:
        """`{model: K}` of Neuron-Max Scaling."""
        return {model_name("NMS", k): k for k in self.keep_ratios}

    def effects(self) -> pd.DataFrame:
        """`rbtc.report.comparisons.records` of every concept, for the CSV."""
        parts = [records(self.rows(s)).assign(concept=s.label) for s in self.subjects]
        frame = pd.concat(parts, ignore_index=True)
        return frame[["concept", *frame.columns.drop("concept")]]

    def compact(self) -> pd.DataFrame:
        """Per comparison and K one line: the paper's change, ours, and the verdict.

        The paper's change is that of its means over the same concepts; empty unless it has all.
        """
        before = average_printed(1, self.subjects, "erased: ConceptPrune")
        lines = {}
        for other in ("pruned", *(name for name in self.strategies if name != "NMS")):
            for k in self.keep_ratios:
                start = before if other == "pruned" else self._printed(other, k)
                end = self._printed("NMS", k)
                ours = self.change(other, k)
                lines[f"{other} to NMS", f"{k:g}"] = {
                    "paper": "" if start is None or end is None else f"{end - start:+.2f}",
                    "ours": f"{ours}",
                    "verdict": verdict(start, end, ours, images=500 * len(self.subjects)),
                }
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index=["change", "K"])

    def change(self, other: str, keep_ratio: float) -> Difference:
        """Change to NMS at one K from the pruned model, or from another strategy at the same K."""
        before = other if other == "pruned" else model_name(other, keep_ratio)
        return effect(self.tables, before, model_name("NMS", keep_ratio))

    def sweep_values(self) -> dict[float, dict[str, float]]:
        """`{K: {concept: accuracy}}` of Neuron-Max Scaling, for a thin line per concept."""
        found = class_values(self.sweep, "model")
        return {k: found[model] for model, k in self.sweep_models().items()}

    def sweep_pairs(self) -> dict[str, tuple[str, str]]:
        """From the pruned model to NMS at each K, for `rbtc.report.spread.changes_table`."""
        return {f"K = {k:g}": ("pruned", model) for model, k in self.sweep_models().items()}

    def rival_pairs(self, keep_ratio: float) -> dict[str, tuple[str, str]]:
        """From NMS at one K to NMS at each other K; empty if that K is not among ours."""
        base = model_name("NMS", keep_ratio)
        if base not in self.sweep_models():
            return {}
        return {
            f"K = {k:g}": (base, model) for model, k in self.sweep_models().items() if model != base
        }

    def _printed(self, strategy: str, keep_ratio: float) -> float | None:
        """Mean of the paper's numbers over the concepts of the tables; None unless it has all."""
        found = [self.paper(s).get(strategy, {}).get(keep_ratio) for s in self.subjects]
        return None if None in found or not found else sum(found) / len(found)


def top(keep_ratio: float) -> str:
    """The paper's name of a row: `0.6` -> `"Top 0.6"`."""
    return f"Top {float(keep_ratio)}"
