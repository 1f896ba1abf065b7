"""Attacks that use more of what the survivors tell than the paper's does, against the paper's.

Every attack sees the same pruned models. Signs need no pictures and are counted for a ladder of
attacks, each with one ingredient more; pictures are drawn for the paper's attack and for the last
rung, with magnitudes given to its signs in several ways. What an attack has to choose for its signs
it chooses by hide and complete on the model under attack; how its signs get magnitudes is chosen on
held-out concepts (`rbtc.studies.stronger_point`), as the paper's K is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from rbtc.intervals import Difference, Share, paired_means
from rbtc.models.subjects import Subject
from rbtc.report.tables import accuracies, effect
from rbtc.stats import Proportion
from rbtc.studies.common import Pictures

PAPER = "the paper's"
LADDER = ("exponent", "partners", "odds")
"""The stronger attacks, each with one ingredient more than the one before it."""

BEST = "odds"

MAXIMUM = "odds, row maximum"
"""The signs of the best attack with the paper's Top-K and Neuron-Max: signs without magnitudes."""

CHOSEN = "odds, chosen"
"""The signs of the best attack, with magnitudes given in the way that was chosen for them."""

SIGNS_TARGET = 0.05
"""Gain in the share of right signs from which on an attack counts as stronger here."""

REVIVED_TARGET = 0.10
"""Gain in the accuracy of the revived models from which on it does."""


@dataclass(frozen=True)
class Way:
    """How signs get magnitudes: a `rbtc.attack.magnitudes.Strategy`, and the share K kept."""

    strategy: str
    keep_ratio: float

    def __str__(self) -> str:
        return f"{self.strategy.replace('_', ' ')}, K = {self.keep_ratio:g}"


@dataclass(frozen=True, eq=False)
class StrongerStudy:
    """The paper's attack and stronger ones on the same pruned models.

    Attributes:
        subjects: The erased concepts.
        signs: One row per concept, attack and layer: n weights, correct signs.
        chosen: One row per concept, attack and layer: exponent, ridge, and the estimated share.
        magnitudes: One row per concept and layer: how well two guesses follow the cut magnitudes.
        side: One row per layer and half of the input projection: what it tells of the weights.
        cosines: Concepts by revived models: cosine with the pretrained weights at the cut places.
        hits: One line per picture, see `measuring.common.judged`.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    signs: pd.DataFrame
    chosen: pd.DataFrame
    magnitudes: pd.DataFrame
    side: pd.DataFrame
    cosines: pd.DataFrame
    hits: pd.DataFrame
    pictures: Pictures

    def accuracy(self, attack: str) -> Proportion:
        """Share of right signs over all concepts and layers."""
        own = self.signs[self.signs["attack"] == attack]
        return Proportion(int(own["correct"].sum()), int(own["n"].sum()))

    def by(self, column: str) -> pd.DataFrame:
        """Share of right signs, by "concept" or by "layer" down and by attack across."""
        sums = self.signs.groupby([column, "attack"], sort=False)[["correct", "n"]].sum()
        return (sums["correct"] / sums["n"]).unstack("attack")[[PAPER, *LADDER]]

    def gain(self, before: str, after: str) -> Difference:
        """Paired change of the share of right signs; the concepts are the pairs."""
        wide = self.by("concept")
        return paired_means(wide[before], wide[after])

    def gains(self) -> dict[str, dict[str, Difference]]:
        """What each rung adds to the one before it, and to the paper's attack."""
        steps = pairwise([PAPER, *LADDER])
        return {
            "over the rung before": {after: self.gain(before, after) for before, after in steps},
            "over the paper's attack": {after: self.gain(PAPER, after) for after in LADDER},
        }

    def revived(self) -> dict[str, Share]:
        """Accuracy on the erased concepts of each model that drew pictures."""
        return accuracies(self.hits, ["model"])

    def revived_change(self, before: str = PAPER, after: str = CHOSEN) -> Difference:
        """Paired change of the accuracy, from the paper's attack to the stronger one."""
        return effect(self.hits, before, after)

    def revived_changes(self) -> dict[str, Difference]:
        """From the pruned model to the paper's attack, and from there on."""
        pairs = [("pruned", PAPER), *((PAPER, after) for after in (MAXIMUM, BEST, CHOSEN))]
        return {f"{one} to {other}": self.revived_change(one, other) for one, other in pairs}

    def targets(self) -> pd.DataFrame:
        """What the strongest attack gains on the paper's, and from which gain on it counts."""
        return pd.DataFrame(
            {
                "change": [f"{self.gain(PAPER, BEST):+.3f}", f"{self.revived_change():+.3f}"],
                "asked": [f"{SIGNS_TARGET:+.2f}", f"{REVIVED_TARGET:+.2f}"],
            },
            index=["share of right signs", "accuracy of the revived"],
        )

    def choices(self) -> pd.DataFrame:
        """How often each setting was chosen, over concepts and layers."""
        counted = self.chosen.groupby(["attack", "exponent", "ridge"], sort=False).size()
        return counted.rename("layers").reset_index()


@dataclass(frozen=True, eq=False)
class StrongerChapter:
    """The attacks, and how the way in which signs get magnitudes was chosen.

    Attributes:
        attacks: The paper's attack and the stronger ones.
        way: How the best attack's signs get magnitudes.
        ways: What it was chosen from, see `rbtc.studies.stronger_point.way_sweep`; empty where
            nothing was swept for the profile.
    """

    attacks: StrongerStudy
    way: Way
    ways: pd.DataFrame

    def ways_table(self) -> pd.Series:
        """`ways_table` of what was swept."""
        return ways_table(self.ways)


def ways_table(sweep: pd.DataFrame) -> pd.Series:
    """A `rbtc.studies.stronger_point.way_sweep` pooled over its concepts.

    Returns:
        Accuracy by attack, strategy and K.
    """
    pooled = sweep.groupby(["attack", "strategy", "keep_ratio"], sort=False)[["hits", "n"]].sum()
    shares = [Proportion(int(hits), int(n)) for hits, n in pooled.to_numpy()]
    return pd.Series(shares, index=pooled.index, name="accuracy")
