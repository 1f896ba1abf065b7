"""The leak of the signed zeros, end to end: cut, save, load, read signs, revive; and the fix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.intervals import Difference
from rbtc.models.subjects import Subject
from rbtc.report.tables import effect, percent
from rbtc.stats import Proportion
from rbtc.studies.common import Pictures

PAPER, EXACT, AVERAGE = "paper's attack", "exact signs", "exact signs, average"
"""The attack, and the signs of the file with the maximum and with the average of the row."""

CHANGES = {
    f"pruned to {PAPER}": ("pruned", PAPER),
    f"pruned to {EXACT}": ("pruned", EXACT),
    f"pruned to {AVERAGE}": ("pruned", AVERAGE),
    f"{PAPER} to {EXACT}": (PAPER, EXACT),
    f"{PAPER} to {AVERAGE}": (PAPER, AVERAGE),
    f"{AVERAGE} to pretrained": (AVERAGE, "pretrained"),
}
"""Title -> models of a paired change."""


MULTIPLIED = "w * (1 - mask)"
"""The way to cut that leaks."""

KEEPS, LOSES = "keeps", "loses"
"""What an operation does to the signs of zeros."""


@dataclass(frozen=True, eq=False)
class SignedZeroStudy:
    """What the zeros of a file tell, and what it is worth.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `measuring.common.judged`.
        files: `rbtc.studies.zero_files.file_lines` of every concept.
        guessed: Cut weights whose sign the paper's completion gets right.
        patch: Panel -> signs of a piece of a matrix, for `rbtc.report.sign_maps.sign_maps`.
        stored: What half-precision files hold at a few cut places.
        cutting: `rbtc.studies.zero_operations.cutting_table` of that matrix.
        handling: `rbtc.studies.zero_operations.handling_table` of it.
        layer: Where patch, stored, cutting and handling come from.
        pixel: Largest difference of a pixel between pictures of the two pruned models, 0 to 255.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    files: pd.DataFrame
    guessed: Proportion
    patch: dict[str, np.ndarray]
    stored: pd.DataFrame
    cutting: pd.DataFrame
    handling: pd.DataFrame
    layer: str
    pixel: int
    pictures: Pictures

    pairs = CHANGES

    def change(self, before: str, after: str) -> Difference:
        """Paired change of the accuracy, picture by picture."""
        return effect(self.hits, before, after)

    def read(self, *, fixed: bool, column: str = "right") -> Proportion:
        """Signs read right, over all leaking files or over all fixed ones.

        With the column "plus" it is the signs that are positive, which is what somebody who reads
        nothing and always says plus gets right.
        """
        own = self.files[(self.files["way"] != MULTIPLIED) == fixed]
        return Proportion(int(own[column].sum()), int(own["places"].sum()))

    def file_table(self) -> pd.DataFrame:
        """Per way of cutting, number format and container: what was read, over all concepts."""
        by = ["way", "format", "container"]
        columns = ["places", "misplaced", "negative", "right", "plus"]
        own = pd.DataFrame(self.files.groupby(by, sort=False)[columns].sum())
        heads = {"places": "cut weights", "misplaced": "wrong places", "negative": "-0.0"}
        table = pd.DataFrame(own[list(heads)]).rename(columns=heads)
        table["signs right"] = [percent(share) for share in own["right"].div(own["places"])]
        table["always plus"] = [percent(share) for share in own["plus"].div(own["places"])]
        return table.reset_index()
