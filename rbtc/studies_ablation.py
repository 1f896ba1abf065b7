"""Ablation: how many signs to keep, and which magnitude to give them (paper Sec. 5.6, App. D)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.claims import with_interval as show
from rbtc.lab import Lab, Variant
from rbtc.magnitudes import Strategy
from rbtc.stats import Proportion
from rbtc.studies import Pictures, Subject, judge, plural, printed, subjects
from rbtc.tables import Row, comparison
from rbtc.wording import Relation, listing, relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The columns of the paper's tables, and our names for them.
STRATEGIES: dict[str, Strategy] = {
    "Neuron Sample": "neuron_sample",
    "Neuron Average": "neuron_average",
    "NMS": "neuron_max",
}
TABLES = {"golf ball": 3, "parachute": 8, "church": 9, "gas pump": 10}
KEEP_RATIOS = (1.0, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True)
class Ablation:
    """One concept: accuracy on the erased class for every magnitude strategy and K.

    accuracy: `[strategy][K]`. pretrained, pruned: the two ends of the scale.
    """

    subject: Subject
    accuracy: Mapping[str, Mapping[float, Proportion]]
    pretrained: Proportion
    pruned: Proportion

    @property
    def table_number(self) -> int | None:
        """The paper's table on this concept, None where it has none."""
        return TABLES.get(self.subject.paper or "")

    def paper(self) -> dict[str, dict[float, float]]:
        """The printed numbers, `[strategy][K]`; empty for a concept without a table."""
        number = self.table_number
        if number is None:
            return {}
        found = {
            strategy: {k: printed(number, top(k), strategy) for k in of}
            for strategy, of in self.accuracy.items()
        }
        return {
            strategy: {k: value for k, value in of.items() if value is not None}
            for strategy, of in found.items()
        }

    def rows(self) -> list[Row]:
        """One row per K, one column per strategy; effects are seen from the pruned model."""
        paper, cut = self.paper(), printed(1, self.subject.paper, "erased: ConceptPrune")
        return [
            Row(top(k), strategy, paper.get(strategy, {}).get(k), ours, cut, self.pruned)
            for strategy, of in self.accuracy.items()
            for k, ours in of.items()
        ]

    def table(self) -> pd.DataFrame:
        """Paper, ours and verdict, under the name of the concept."""
        number = self.table_number
        title = self.subject.label + ("" if number is None else f", Table {number}")
        return comparison(self.rows(), verdicts=True).rename_axis(index=title)

    def figure(self) -> Figure:
        """Accuracy over K, a line per strategy, the paper's dashed."""
        from rbtc.figures import lines_with_intervals

        level = dict.fromkeys(next(iter(self.accuracy.values())), self.pruned)
        return lines_with_intervals(
            {**self.accuracy, "pruned": level},
            paper=self.paper(),
            title=self.subject.label,
            xlabel="K, share of signs kept",
            ylabel="accuracy on the erased class",
            colours={"NMS": "#0173b2", "Neuron Average": "#029e73", "Neuron Sample": "#cc78bc"},
            limits=(0, 1),
        )

    def describe(self) -> str:
        """State which K serves Neuron-Max Scaling best, and whether K can be told apart at all."""
        ours = self.accuracy.get("NMS")
        if ours is None:
            return f"**{self.subject.label}**: Neuron-Max Scaling was not measured."
        best = max(ours, key=lambda k: ours[k].value)
        others = [k for k in ours if k != best]
        ties = [k for k in others if relation(ours[k], ours[best]) == "not distinguishable from"]
        text = f"**{self.subject.label}**: NMS is highest at K = {best:g}, {show(ours[best])}"
        if others and len(ties) == len(others):
            text += ", though no other K can be told from it. "
        elif ties:
            text += f", though K = {listing(f'{k:g}' for k in ties)} cannot be told from it. "
        elif others:
            text += ", clearly above every other K. "
        else:
            text += ". "
        text += f"That is {relation(ours[best], self.pruned)} the pruned model, "
        text += f"{show(self.pruned)}."
        paper = self.paper().get("NMS")
        if paper:
            text += f" The paper's highest is K = {max(paper, key=lambda k: paper[k]):g}."
        return text


@dataclass(frozen=True)
class AblationStudy:
    """The ablations of several concepts, with pictures of Neuron-Max Scaling for every K."""

    ablations: tuple[Ablation, ...]
    pictures: Pictures

    def grid(self) -> Pictures:
        """Pictures for `rbtc.figures.picture_grid`."""
        return self.pictures

    def rows(self) -> list[Row]:
        """All rows of all concepts, for the CSV."""
        ends = [
            Row(f"{one.subject.label}: {name}", name, None, ours)
            for one in self.ablations
            for name, ours in (("pretrained", one.pretrained), ("pruned", one.pruned))
        ]
        cells = [
            Row(f"{one.subject.label}: {row.row}", row.column, row.paper, row.ours,
                row.paper_baseline, row.our_baseline)
            for one in self.ablations
            for row in one.rows()
        ]  # fmt: skip
        return ends + cells

    def tables(self) -> list[pd.DataFrame]:
        """One table per concept."""
        return [one.table() for one in self.ablations]

    def figures(self) -> list[Figure]:
        """One figure per concept."""
        return [one.figure() for one in self.ablations]

    def describe(self) -> str:
        """State the outcome: one paragraph per concept, one on the magnitude strategies."""
        return "\n\n".join([*(one.describe() for one in self.ablations), *self._strategies()])

    def _strategies(self) -> list[str]:
        """How often Neuron-Max Scaling lies above another strategy, here and in the paper."""
        texts = []
        for other in STRATEGIES:
            ours = [
                relation(one.accuracy["NMS"][k], one.accuracy[other][k])
                for one in self.ablations
                if other != "NMS" and {"NMS", other} <= one.accuracy.keys()
                for k in one.accuracy["NMS"]
            ]
            if not ours:
                continue
            papers = [one.paper() for one in self.ablations]
            theirs: list[Relation] = [
                relation(paper["NMS"][k], paper[other][k])
                for paper in papers
                if {"NMS", other} <= paper.keys()
                for k in paper["NMS"].keys() & paper[other].keys()
            ]
            text = (
                f"Over {plural(len(ours), 'pair')} of a concept and a K, NMS lies clearly above "
                f"*{other}* in {ours.count('above')}, clearly below in {ours.count('below')}, and "
                f"they cannot be told apart in {ours.count('not distinguishable from')}."
            )
            if theirs:
                text += f" {_printed_orders(theirs)}"
            texts.append(text)
        return texts


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
        keep_ratios: the K of Top-K Sign Retention.
        strategies: names out of `STRATEGIES`.
        pictures: how many of each model to show; they are the first ones counted.
        first_seed: the pictures have this seed and the following ones.
        draw_seed: seed of the drawn magnitudes.

    Raises:
        ValueError: an unknown strategy, or no K or strategy at all.
    """
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise ValueError(f"unknown strategies {unknown}, expected some of {list(STRATEGIES)}")
    if not keep_ratios or not strategies:
        raise ValueError("an ablation needs at least one K and one strategy")
    ablations, shown = [], {}
    for subject in subjects(lab, concepts):

        def ends(word: str = subject.word) -> Iterator[tuple[str, Variant]]:
            yield "pretrained", lab.pretrained
            yield "pruned", lab.pruned(word)

        def attacks(strategy: str, word: str = subject.word) -> Iterator[tuple[str, Variant]]:
            for k in keep_ratios:
                yield (
                    f"K = {k:g}",
                    lab.revived(word, keep_ratio=k, strategy=STRATEGIES[strategy], seed=draw_seed),
                )

        limits, row = judge(lab, subject, ends(), images, pictures, first_seed)
        accuracy: dict[str, dict[float, Proportion]] = {}
        for strategy in strategies:
            wanted = pictures if strategy == "NMS" else 0
            counted, drawn = judge(lab, subject, attacks(strategy), images, wanted, first_seed)
            accuracy[strategy] = dict(zip(keep_ratios, counted.values(), strict=True))
            row |= drawn
        ablations.append(Ablation(subject, accuracy, limits["pretrained"], limits["pruned"]))
        shown[subject.label] = row
    return AblationStudy(tuple(ablations), shown)


def top(keep_ratio: float) -> str:
    """The paper's name of a row: `0.6` -> `"Top 0.6"`."""
    return f"Top {float(keep_ratio)}"


def _printed_orders(orders: Sequence[Relation]) -> str:
    """Printed numbers have no intervals, so they are compared as they stand."""
    return (
        f"In the paper's {len(orders)} printed pairs it is above in {orders.count('above')}, "
        f"below in {orders.count('below')} and equal in {orders.count('not distinguishable from')}."
    )
