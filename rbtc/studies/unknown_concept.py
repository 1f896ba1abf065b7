"""An attacker who does not know what was erased, and how often the guess is right (BEYOND 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from rbtc.attack.concept_identification import identified, rank
from rbtc.intervals import Difference, Share, clustered, paired
from rbtc.stats import Proportion

CHANGE = "change, CLIP features"
ALONE = "no attack: worst fit of the pruned model (CLIP)"

TOPS = (1, 3)
"""The lengths of the attacker's short list."""


@dataclass(frozen=True, eq=False)
class UnknownStudy:
    """What an attacker makes of models that have lost something.

    Attributes:
        words: The attacker's vocabulary.
        scores: One line per model, measure and word: case (label), count (concepts erased),
            measure, word, score, erased (whether the model lost this word).
    """

    words: tuple[str, ...]
    scores: pd.DataFrame

    @property
    def measures(self) -> list[str]:
        """By what the attacker ranks, the one decided on beforehand first."""
        return list(dict.fromkeys(self.scores["measure"]))

    def ranks(self, measure: str) -> dict[str, int]:
        """`{case: rank of its concept}` where one concept was erased."""
        return {
            case: rank(scores, lost[0])
            for case, count, scores, lost in self._cases(measure)
            if count == 1
        }

    def hit(self, measure: str, top: int) -> Proportion:
        """Share of the models that lost one concept whose concept is among the ``top`` words."""
        return Proportion.of(place <= top for place in self.ranks(measure).values())

    def recall(self, measure: str) -> dict[int, Share]:
        """`{count: share of the erased concepts among as many words}`; a model is a cluster."""
        hits: dict[int, list[tuple[bool, str]]] = {}
        for case, count, scores, lost in self._cases(measure):
            hits.setdefault(count, []).extend((hit, case) for hit in identified(scores, lost))
        return {
            count: clustered([hit for hit, _ in of], [case for _, case in of])
            for count, of in sorted(hits.items())
        }

    def against(self, measure: str, other: str, top: int) -> Difference:
        """Paired over models with one lost concept: from another measure's hits to this one's."""
        ours, theirs = self.ranks(measure), self.ranks(other)
        pairs = [(theirs[case] <= top, ours[case] <= top) for case in ours]
        return paired(*zip(*pairs, strict=True))

    def map(self, measure: str = CHANGE) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
        """Cases by words, each line from 0 (least suspect) to 1; and the cells that are the truth.

        Models that lost one concept only, in the order of the words.
        """
        lines, truth = {}, []
        cases = self._cases(measure)
        singles = [(lost[0], case, scores) for case, n, scores, lost in cases if n == 1]
        for word, case, scores in sorted(singles, key=lambda one: self.words.index(one[0])):
            values = pd.Series(scores)
            width = values.max() - values.min()
            lines[case] = (values - values.min()) / (width if width > 0 else 1.0)
            truth.append((case, word))
        return pd.DataFrame(lines).T[list(self.words)], truth

    def hit_table(self) -> pd.DataFrame:
        """One line per measure: how often the erased concept is among the most suspect words."""
        words = len(self.words)
        lines = {
            measure: {
                **{f"top {top}": f"{self.hit(measure, top)}" for top in TOPS},
                "median rank": f"{pd.Series(self.ranks(measure)).median():g}",
            }
            for measure in self.measures
        }
        lines[f"blind guess among {words} words"] = {
            **{f"top {top}": f"{min(top / words, 1.0):.2f}" for top in TOPS},
            "median rank": f"{(1 + words) / 2:g}",
        }
        return pd.DataFrame.from_dict(lines, orient="index")

    def recall_table(self, measure: str = CHANGE) -> pd.DataFrame:
        """One line per count: share of k erased concepts among the k most suspect words."""
        lines = {
            count: {
                "found": f"{share}",
                "blind guess": f"{count / len(self.words):.2f}",
                "models": share.clusters,
            }
            for count, share in self.recall(measure).items()
        }
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index="erased together")

    def against_the_pruned(self) -> dict[str, Difference]:
        """From the hits of `ALONE` to those of `CHANGE`, for every length of the short list."""
        return {f"top {top}": self.against(CHANGE, ALONE, top) for top in TOPS}

    def _cases(self, measure: str) -> list[tuple[str, int, Mapping[str, float], list[str]]]:
        own = pd.DataFrame(self.scores[self.scores["measure"] == measure])
        return [
            (
                str(case),
                int(pd.Series(part["count"]).iloc[0]),
                dict(zip(part["word"], part["score"], strict=True)),
                list(part.loc[part["erased"], "word"]),
            )
            for case, part in own.groupby("case", sort=False)
        ]
