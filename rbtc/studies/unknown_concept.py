# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""An attacker who does not know what was erased, and how often the guess is right (BEYOND 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from rbtc.attack.concept_identification import identified, rank
from rbtc.stats import Difference, Proportion, Share, clustered, paired

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

    def chance(self, top: int) -> float:
        """The same share for an attacker who draws words blindly."""
        return min(top / len(self.words), 1.0)

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

    def map(self, measure: str) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
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
