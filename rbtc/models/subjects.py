"""A concept under study: what the model calls it, and what the paper does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["object", "style", "nudity"]
Reference = Literal["scene", "objects"]
"""What the reference prompts of pruning show: the bare scene, or other objects on it."""


@dataclass(frozen=True)
class Subject:
    """A concept under study, looked up once.

    Attributes:
        word: What the model calls it.
        paper: The paper's class, None where it has none.
        kind: What sort of concept it is.
    """

    word: str
    paper: str | None = None
    kind: Kind = "object"

    @property
    def label(self) -> str:
        """The paper's class, with the model's word where that differs: "golf ball (golf flag)"."""
        if self.paper is None or self.paper == self.word:
            return self.word
        return f"{self.paper} ({self.word})"
