"""Hold the paper's claims of the form "this is larger than that" against our estimates.

The rule is that of the whole book (`rbtc.wording.relation`): two estimates differ when their 95 %
intervals do not overlap. It errs on the side of not deciding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rbtc.tables import Estimate, cell
from rbtc.wording import Relation, relation

Outcome = Literal["holds", "undecided", "opposite"]

_OUTCOMES: dict[Relation, Outcome] = {
    "above": "holds",
    "not distinguishable from": "undecided",
    "below": "opposite",
}
_OPENINGS: dict[Outcome, str] = {
    "holds": "Found here as well",
    "undecided": "Not decided by these pictures, since the intervals overlap",
    "opposite": "The opposite of what is found here",
}


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that one thing is larger than another, and our two estimates.

    text: the claim, as a clause. source: where the paper makes it.
    """

    text: str
    source: str
    larger: Estimate | float
    smaller: Estimate | float

    @property
    def outcome(self) -> Outcome:
        """What our estimates say about the claim."""
        return _OUTCOMES[relation(self.larger, self.smaller)]


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """One line per claim: where the paper makes it, the two numbers as text, the outcome."""
    lines = [
        {
            "in the paper": claim.source,
            "should be larger": cell(claim.larger),
            "than": cell(claim.smaller),
            "here": claim.outcome,
        }
        for claim in claims
    ]
    return pd.DataFrame(lines, index=[claim.text for claim in claims])


def describe_claims(claims: Sequence[Claim]) -> str:
    """One sentence per outcome, naming the claims that share it."""
    sentences = []
    for outcome, opening in _OPENINGS.items():
        texts = [claim.text for claim in claims if claim.outcome == outcome]
        if texts:
            sentences.append(f"{opening}: {'; '.join(texts)}.")
    return " ".join(sentences)


def with_interval(estimate: Estimate) -> str:
    """A measured share as text: `54 % [44, 63]`."""
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"
