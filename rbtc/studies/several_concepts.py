"""Several concepts erased together, and whether one attack brings all of them back (BEYOND 6).

Concepts stand on a circle, in an order drawn once by a seed. A set starts somewhere on it; erasing
k concepts of a set cuts the union of the masks of its first k. So the sets of growing k are nested,
and the first concept of each is erased alone, then in ever larger company. Who does not know what
was erased guesses it in `rbtc.studies.unknown_concept`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rbtc import stats
from rbtc.intervals import Difference
from rbtc.models.subjects import Subject
from rbtc.report.tables import Values, effect, nested
from rbtc.studies.common import Pictures
from rbtc.studies.unknown_concept import UnknownStudy

MODELS = ("pretrained", "pruned", "revived")

CUT, UNRELATED, SIGNS = "share cut", "share cut, were the masks unrelated", "signs found"


@dataclass(frozen=True)
class Together:
    """Concepts that one model has lost.

    Attributes:
        name: Label of the set's first concept.
        concepts: The erased ones, first to last.
    """

    name: str
    concepts: tuple[Subject, ...]

    @property
    def count(self) -> int:
        """How many were erased."""
        return len(self.concepts)

    @property
    def words(self) -> tuple[str, ...]:
        """What the model calls them."""
        return tuple(one.word for one in self.concepts)


@dataclass(frozen=True, eq=False)
class SeveralStudy:
    """Models that have lost one, two, ... concepts, and what the attack makes of them.

    Attributes:
        order: The concepts in the drawn order.
        cases: Every model: each set, and in it each count.
        hits: One line per picture: concept (name of the set), count, model, classes ("erased" or
            "preserved"), position (1 = the set's first concept; 0 for preserved classes), asked,
            prompt, seed, seen, hit.
        matrices: One line per set, count and matrix: cut (share of its weights), unrelated (what
            that share would be were the single masks unrelated), correct and n (signs).
        pictures: Of the first set: pretrained, then a line per count: concept -> the pruned and
            the revived picture.
    """

    order: tuple[Subject, ...]
    cases: tuple[Together, ...]
    hits: pd.DataFrame
    matrices: pd.DataFrame
    pictures: Pictures

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of concepts erased together."""
        return tuple(dict.fromkeys(case.count for case in self.cases))

    @property
    def lost(self) -> list[tuple[str, str]]:
        """The cells of ``pictures`` whose concept was erased."""
        first = [case for case in self.cases if case.name == self.cases[0].name]
        return [(row_title(c.count), column_title(one)) for c in first for one in c.concepts]

    def accuracy(self, classes: str) -> Values:
        """`{model: {count: accuracy}}` on the "erased" or on the "preserved" classes."""
        own = nested(self.hits[self.hits["classes"] == classes], "model", "count")
        return {model: own[model] for model in MODELS if model in own}

    def weights(self) -> Values:
        """`{what: {count: mean over the matrices of all sets}}`, intervals over matrices."""
        shares = self.matrices.assign(signs=self.matrices["correct"] / self.matrices["n"])
        columns = {CUT: "cut", UNRELATED: "unrelated", SIGNS: "signs"}
        groups = {int(count): own for count, own in shares.groupby("count", sort=False)}
        return {
            name: {count: stats.mean(own[column].dropna()) for count, own in groups.items()}
            for name, column in columns.items()
        }

    def changes(self) -> dict[str, Difference]:
        """From the fewest to the most concepts, all else equal, picture by picture.

        On the first concept of each set, and on the classes that are never erased in it.
        """
        few, most = self.counts[0], self.counts[-1]
        first = self.hits[self.hits["position"] == 1]
        others = self.hits[self.hits["classes"] == "preserved"]
        made = {}
        for name, own in {"the first concept": first, "preserved classes": others}.items():
            for model in ("pruned", "revived"):
                frame = own[own["model"] == model]
                made[f"{name}, {model}"] = effect(frame, few, most, column="count")
        return made

    def returned(self) -> pd.DataFrame:
        """One line per count: how many erased concepts the attack brings back, one by one."""
        own = self.hits[self.hits["classes"] == "erased"]
        lines = {}
        for count, parts in own.groupby("count", sort=False):
            each = parts.groupby(["concept", "asked"], sort=False)
            changes = [effect(part, "pruned", "revived") for _, part in each]
            told = [change.direction for change in changes]
            lines[count] = {
                "erased concepts, over all sets": len(told),
                "come back": told.count("rises"),
                "undecided": told.count("undecided"),
                "fall further": told.count("falls"),
                "smallest change one could show": f"{max(one.detectable for one in changes):.2f}",
            }
        found = pd.DataFrame.from_dict(lines, orient="index").loc[list(self.counts)]
        return found.rename_axis(index="erased together")


@dataclass(frozen=True, eq=False)
class SeveralChapter:
    """Several concepts erased together, and the guesses of an attacker who is not told which."""

    several: SeveralStudy
    unknown: UnknownStudy


def row_title(count: int) -> str:
    """How the plate names the models that lost so many concepts."""
    return f"{count} erased" if count else "pretrained"


def column_title(subject: Subject) -> str:
    """A concept's label on two lines, for a narrow column."""
    return subject.label.replace(" (", "\n(")
