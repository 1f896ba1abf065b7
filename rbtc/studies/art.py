# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Erased and revived art styles (paper Sec. 5.3, Table 2): an emoji house in an artist's place."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.common import Pictures

MODELS = ("pretrained", "pruned", "Quant Recover", "NMS")
"""As in the paper's Table 2, where the second is called ConceptPrune."""

NEUTRAL = "emoji/neutral_prompts.txt"
"""The prompts in COCO's place, in the data folder."""

COCO = "coco"
"""In a file's place: the published captions."""


CHANGES = (("pretrained", "pruned"), ("pruned", "Quant Recover"), ("pruned", "NMS"))
"""From which model to which the distance has a change with an interval."""


@dataclass(frozen=True, eq=False)
class ArtStudy:
    """What models from which a style was cut draw, in that style and without any.

    Attributes:
        styles: The erased styles.
        hits: One line per picture that names a style: `measuring.common.Tally`, and similarity
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
