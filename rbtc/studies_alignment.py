"""Whether a large estimate means a large weight, and a sign that is right (paper App. B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.completion import Completion
from rbtc.lab import Lab
from rbtc.layers import Weights
from rbtc.paper import load_table
from rbtc.stats import Proportion
from rbtc.studies import pictures, printed, subjects
from rbtc.tables import Row
from rbtc.topk import alignment_matrix, top_rest_accuracy
from rbtc.wording import listing, percent, relation


@dataclass(frozen=True, eq=False)
class AlignmentStudy:
    """Rank agreement of magnitudes (Table 5), and sign accuracy by magnitude (Table 6).

    Attributes:
        matrices: Title -> groups of recovered magnitudes (rows) by groups of original ones.
        accuracies: Title -> {"top K": {K: share}, "rest": {K: share}}; without an empty group.
        images: Concept -> model -> pictures.
    """

    matrices: Mapping[str, pd.DataFrame]
    accuracies: Mapping[str, Mapping[str, Mapping[float, Proportion]]]
    images: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def example(self) -> str:
        """Title of the first concept's own results."""
        return next(iter(self.matrices))

    @property
    def everything(self) -> str:
        """Title of the results over all concepts."""
        return list(self.matrices)[-1]

    def heat_maps(self) -> dict[str, pd.DataFrame]:
        """The paper's matrix and ours, for `rbtc.charts.heat_maps`."""
        groups = len(self.matrices[self.example])
        printed = _paper_matrix()
        paper = {"paper, golf ball": printed} if len(printed) == groups else {}
        return {**paper, **self.matrices}

    def rows(self) -> list[Row]:
        """Table 6: per K, the signs of the top K and of the rest, of the first concept."""
        return [
            Row(f"K = {ratio:g}", series, _paper_share(ratio, series), share)
            for series, shares in self.accuracies[self.example].items()
            for ratio, share in shares.items()
        ]

    def frame(self) -> pd.DataFrame:
        """The matrices in long form, the paper's among them: matrix, recovered, original, share."""
        lines = [
            {"matrix": title, "recovered": row, "original": column, "share": share}
            for title, matrix in self.heat_maps().items()
            for row, of in matrix.to_dict("index").items()
            for column, share in of.items()
        ]
        return pd.DataFrame(lines)

    def paper_lines(self) -> dict[str, dict[float, float]]:
        """Table 6 as printed, for the dashed lines of a chart."""
        lines = {
            series: {ratio: _paper_share(ratio, series) for ratio in shares}
            for series, shares in self.accuracies[self.example].items()
        }
        return {
            series: {ratio: value for ratio, value in of.items() if value is not None}
            for series, of in lines.items()
        }

    def grid(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """For `rbtc.figures.picture_grid`."""
        return self.images

    def describe(self) -> str:
        """The outcome in words, over all concepts."""
        matrix = self.matrices[self.everything]
        chance, size = 1 / len(matrix), len(matrix)
        diagonal = float(np.trace(matrix.to_numpy()) / size)
        first, last = matrix.iloc[0, 0], matrix.iloc[0, -1]
        high = sum(int(matrix.iloc[i].to_numpy().argmax() == i) for i in range(size))
        of = self.accuracies[self.everything]
        sentences = [
            f"Of the weights with the largest estimates, {percent(first)} were among the largest "
            f"{percent(chance)} before pruning and {percent(last)} among the smallest; without any "
            f"connection both would be {percent(chance)}.",
            f"The diagonal holds {percent(diagonal)} on average, and is the largest entry of "
            f"{high} of {size} rows.",
        ]
        both = [ratio for ratio in of["top K"] if ratio in of["rest"]]
        if both:
            above = [k for k in both if relation(of["top K"][k], of["rest"][k]) == "above"]
            low, top = min(both), max(both)
            sentences.append(
                f"The signs of the top K are more often right than those of the rest at "
                f"{len(above)} of {len(both)} values of K"
                + (f" ({listing(f'{k:g}' for k in above)})." if above else ".")
                + f" The largest {percent(low)} have {percent(of['top K'][low].value)} right signs,"
                f" the smallest {percent(1 - top)} {percent(of['rest'][top].value)}, "
                f"{relation(of['rest'][top], 0.5)} a coin's half."
            )
        return " ".join(sentences)


def _paper_matrix() -> pd.DataFrame:
    table = load_table(5).pivot(index="row", columns="column", values="value")
    return table.rename_axis(index=None, columns=None)


def _paper_share(ratio: float, series: str) -> float | None:
    return printed(6, f"{ratio:g}", {"top K": "Top-K", "rest": "Rest"}[series])


def alignment_study(
    lab: Lab,
    concepts: Sequence[str],
    *,
    ratios: Sequence[float] = (0.2, 0.3, 0.5, 0.7, 0.9),
    groups: int = 5,
    shown: Sequence[float] = (0.2, 0.6, 1.0),
    images: int = 4,
    seed: int = 0,
) -> AlignmentStudy:
    """Compare the released completion's magnitudes with those before pruning (paper App. B).

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model; the first is also shown on its own.
        ratios: values of K.
        groups: of equal count, per layer.
        shown: values of K in the picture grid.
        images: pictures per model in the picture grid.
        seed: first seed of the pictures.
    """
    chosen = subjects(lab, concepts)
    original = lab.pretrained.weights
    recovered, truth, images_of = {}, {}, {}
    for subject in chosen:
        word = subject.word
        found = lab.completions(word)
        recovered |= {f"{word}/{name}": one for name, one in found.items()}
        truth |= {f"{word}/{name}": original[name] for name in found}
        variants = {"pretrained": lab.pretrained, "pruned": lab.pruned(word)}
        variants |= {f"K = {ratio:g}": lab.revived(word, keep_ratio=ratio) for ratio in shown}
        images_of[subject.label] = pictures(lab, subject, variants, images=images, seed=seed)
    first = {key: one for key, one in recovered.items() if key.startswith(f"{chosen[0].word}/")}
    scopes = {f"ours, {chosen[0].label}": first}
    if len(chosen) > 1:
        scopes[f"ours, all {len(chosen)} concepts"] = recovered
    return AlignmentStudy(
        {title: _matrix(own, truth, groups) for title, own in scopes.items()},
        {title: _accuracies(own, truth, ratios) for title, own in scopes.items()},
        images_of,
    )


def _matrix(found: dict[str, Completion], truth: Weights, groups: int) -> pd.DataFrame:
    return pd.DataFrame(
        alignment_matrix(found, truth, groups).numpy(),
        index=[f"R{i}" for i in range(1, groups + 1)],
        columns=[f"P{i}" for i in range(1, groups + 1)],
    )


def _accuracies(
    found: dict[str, Completion], truth: Weights, ratios: Sequence[float]
) -> dict[str, dict[float, Proportion]]:
    shares: dict[str, dict[float, Proportion]] = {"top K": {}, "rest": {}}
    for line in top_rest_accuracy(found, truth, ratios).to_dict("records"):
        for series, column in (("top K", "top"), ("rest", "rest")):
            n = int(line[f"n_{column}"])
            if n:
                hits = round(line[column] * n)
                shares[series][float(line["ratio"])] = Proportion(hits, n)
    return shares
