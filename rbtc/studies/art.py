"""Erased and revived art styles (paper Sec. 5.3, Table 2): an emoji house in an artist's place."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rbtc.intervals import Difference, Share, interval
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracy, effect
from rbtc.stats import mean, mean_change
from rbtc.studies.common import Pictures

MODELS = ("pretrained", "pruned", "Quant Recover", "NMS")
"""As in the paper's Table 2, where the second is called ConceptPrune."""

NEUTRAL = "emoji/neutral_prompts.txt"
"""The prompts in COCO's place, in the data folder."""

COCO = "coco"
"""In a file's place: the published captions."""


CHANGES = (("pretrained", "pruned"), ("pruned", "Quant Recover"), ("pruned", "NMS"))
"""From which model to which the distance has a change with an interval."""

PAPER = {"pruned": "ConceptPrune"}
"""Our names of the paper's models, where they differ."""

NAME = "Fréchet distance of judge features"
"""What `rbtc.models.distances` measures."""

PAPER_SCORES = 250
"""Pictures behind an average score of the paper: five artists, 50 prompts each (Sec. 5.3)."""

SIMILARITY, SCORE = "CLIP similarity, in style", "CLIP score"
NEUTRAL, ACCURACY = "CLIP similarity, neutral", "style judge accuracy"

PRINTED = {
    SIMILARITY: "artist similarity",
    SCORE: "artist score",
    NAME: "COCO FID",
    NEUTRAL: "COCO similarity",
}
"""Our measures, and the columns of the paper's Table 2 in whose place they stand."""

ROUNDING = {SIMILARITY: 0.01, NEUTRAL: 0.01, NAME: 0.01}
"""What rounding alone can make of a printed change. The paper gives no spread of these means."""


@dataclass(frozen=True, eq=False)
class ArtStudy:
    """What models from which a style was cut draw, in that style and without any.

    Attributes:
        styles: The erased styles.
        hits: One line per picture that names a style: `measuring.common.judged`, and similarity
            (CLIP cosine of picture and prompt; missing where another style was asked for).
        neutral: One line per neutral picture: concept (the erased style), model, asked, prompt,
            seed, similarity. The pretrained model's pictures stand there once per style.
        distances: One line per style and model: distance of the neutral pictures from the
            reference (`rbtc.models.distances`), and n pictures in each of the two sets.
        distance_changes: One line per pair of `CHANGES`: before, after, the change of the mean
            distance over styles, low and high of its 95 % interval, and n neutral prompts.
        pictures: The first pictures that were counted, per style.
        neutral_pictures: The first neutral pictures, likewise.
    """

    styles: tuple[Subject, ...]
    hits: pd.DataFrame
    neutral: pd.DataFrame
    distances: pd.DataFrame
    distance_changes: pd.DataFrame
    pictures: Pictures
    neutral_pictures: Pictures

    @property
    def erased(self) -> pd.DataFrame:
        """Pictures in the erased style; "below" says where the pretrained model's fits better.

        The mean of "below" is the paper's CLIP score: both pictures share prompt and seed, and the
        pretrained model's own score is 0.
        """
        own = self.hits[self.hits["classes"] == "erased"]
        keys = ["concept", "asked", "prompt", "seed"]
        plain = own.loc[own["model"] == "pretrained", [*keys, "similarity"]]
        merged = own.merge(plain, on=keys, suffixes=("", "_pretrained"), validate="m:1")
        return merged.assign(below=merged["similarity"] < merged["similarity_pretrained"])

    @property
    def preserved(self) -> pd.DataFrame:
        """Pictures in the styles that were not erased; empty if none were asked for."""
        return self.hits[self.hits["classes"] == "preserved"]

    def _of(self, measure: str, model: str) -> pd.DataFrame:
        """The lines of a model that a measure rests on; ``hit`` is what a share counts."""
        if measure == NAME:
            frame = self.distances
        elif measure == NEUTRAL:
            frame = self.neutral
        else:
            counted = {ACCURACY: "hit", SIMILARITY: "hit", SCORE: "below"}[measure]
            frame = self.erased.assign(hit=lambda own: own[counted])
        return frame[frame["model"] == model]

    def by_style(self, measure: str) -> dict[str, dict[str, Share | float]]:
        """`{model: {style: estimate}}`; the pretrained model's CLIP score is 0 by definition."""
        return {
            model: {one.word: self.estimate(measure, model, one.word) for one in self.styles}
            for model in (MODELS[1:] if measure == SCORE else MODELS)
        }

    def distance_change(self, before: str, after: str) -> Difference:
        """Change of the mean distance over styles, for the pairs of `CHANGES`."""
        lines = self.distance_changes.set_index(["before", "after"])
        value, low, high, n = lines.loc[(before, after)]
        return Difference(value, low, high, int(n), int(n))

    def change(self, measure: str, before: str, after: str) -> Difference:
        """Paired change of a measure from one model to another, over all styles."""
        if measure == NAME:
            return self.distance_change(before, after)
        first, second = (self._of(measure, model) for model in (before, after))
        if measure in (ACCURACY, SCORE):
            return effect(pd.concat([first, second]), before, after)
        keys = ["concept", "prompt", "seed", "similarity"]
        pairs = first[keys].merge(second[keys], on=keys[:-1], validate="1:1")
        # A neutral picture of the pretrained model stands against one of every style's models.
        clusters = None if measure == SIMILARITY else _trials(pairs)
        return mean_change(pairs["similarity_x"], pairs["similarity_y"], clusters)

    def estimate(self, measure: str, model: str, style: str = "") -> Share | float:
        """A measure of one model over all styles, or in one."""
        own = self._of(measure, model)
        own = own[own["concept"] == style] if style else own
        if measure in (ACCURACY, SCORE):
            return accuracy(own, model)
        if measure == NAME:
            return float(own["distance"].mean())
        return mean(own["similarity"], None if measure == SIMILARITY else _trials(own))

    def rows(self) -> list[Row]:
        """The paper's averages beside ours.

        A change is what cutting did to the pretrained model, or an attack to the pruned one. The
        CLIP score of the pruned model has none: the pretrained model's is 0 by definition, so it
        can only rise.
        """

        def paper(model: str, column: str) -> float | None:
            return printed(2, "Average", f"{PAPER.get(model, model)}: {column}")

        return [
            Row(
                measure,
                model,
                paper(model, column),
                self.estimate(measure, model),
                None
                if (measure, before) == (SCORE, "pretrained")
                else self.change(measure, before, model),
                paper(before, column),
                PAPER_SCORES,
                ROUNDING.get(measure),
            )
            for measure, column in PRINTED.items()
            for before, model in CHANGES
        ]

    def distance_table(self) -> pd.DataFrame:
        """Distances per style down and model across, with n in every row."""
        wide = self.distances.pivot(index="concept", columns="model", values="distance")
        wide = wide.reindex(index=[s.word for s in self.styles], columns=list(MODELS))
        n = self.distances.groupby("concept")["n"].first()
        table = wide.map("{:.3g}".format).assign(n=n.reindex(wide.index))
        return table.rename_axis(index="style erased", columns=None)

    def spread(self) -> pd.DataFrame:
        """Per measure and model: mean over styles, the smallest and the largest, n in all."""
        lines = {}
        for measure in (ACCURACY, SIMILARITY, SCORE, NAME):
            for model, by_style in self.by_style(measure).items():
                series = pd.Series({style: interval(one)[0] for style, one in by_style.items()})
                lines[measure, model] = {
                    "mean": series.mean(),
                    "least": series.min(),
                    "in": series.idxmin(),
                    "most": series.max(),
                    "in ": series.idxmax(),
                    "styles": len(series),
                    "n": len(self._of(NEUTRAL if measure == NAME else measure, "pruned")),
                }
        frame = pd.DataFrame.from_dict(lines, orient="index")
        return frame.rename_axis(["measure", "model"]).round(3)

    def contrasts(self) -> dict[str, Difference]:
        """What the paper says of styles (Sec. 5.3), where our measure is a share of pictures."""
        return {
            f"{measure}, {before} to {after}": self.change(measure, before, after)
            for measure, before, after in (
                (SCORE, "pruned", "NMS"), (SCORE, "Quant Recover", "NMS"),
                (ACCURACY, "pretrained", "pruned"), (ACCURACY, "pruned", "NMS"),
                (ACCURACY, "Quant Recover", "NMS"),
            )
        }  # fmt: skip


def _trials(frame: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(frame["prompt"], frame["seed"], strict=True))
