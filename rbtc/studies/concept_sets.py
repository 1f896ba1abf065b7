"""Which concepts are erased together, and the models of such a set.

Concepts stand on a circle, in an order drawn once by a seed. A set starts somewhere on it; erasing
k concepts of a set cuts the union of the masks of its first k. So the sets of growing k are nested,
and the first concept of each is erased alone, then in ever larger company.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbtc.models.subjects import Subject

MODELS = ("pretrained", "pruned", "revived")


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
