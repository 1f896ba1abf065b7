"""Hold the paper's claims of the form "this is larger than that" against our paired effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rbtc.stats import Difference, Direction

Outcome = Literal["holds", "undecided", "opposite"]

_OUTCOMES: dict[Direction, Outcome] = {
    "rises": "holds",
    "undecided": "undecided",
    "falls": "opposite",
}


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that one thing is larger than another, and how far it is here.

    Attributes:
        text: The claim, as a clause.
        source: Where the paper makes it.
        change: Our paired change from what should be smaller to what should be larger.
    """

    text: str
    source: str
    change: Difference

    @property
    def outcome(self) -> Outcome:
        """What our effect says: it holds if the interval of the change lies above zero."""
        return _OUTCOMES[self.change.direction]


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """One line per claim: where the paper makes it, our change, pairs, the outcome."""
    lines = [
        {
            "in the paper": claim.source,
            "change": f"{claim.change}",
            "pairs": claim.change.n,
            "smallest change it could see": f"{claim.change.detectable:.2f}",
            "here": claim.outcome,
        }
        for claim in claims
    ]
    return pd.DataFrame(lines, index=[claim.text for claim in claims])
