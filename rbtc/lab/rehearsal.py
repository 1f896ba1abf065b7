"""A lab whose pictures are counted, and drawn only where they are wanted.

Under a rehearsal a study runs as always, but a picture that is not wanted is not drawn and counts
as one that shows nothing. So the pictures of a measurement can be counted before it starts, and a
few of a finished one can be drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rbtc.lab.lab import Lab
from rbtc.lab.measure import Measure
from rbtc.lab.variant import Variant
from rbtc.models.generate import picture_size

NOTHING = "(not drawn)"
"""What a judge says of a picture that was not drawn."""


def rehearse(
    lab: Lab, study: Callable[..., Any], parameters: Mapping[str, Any], wanted: Collection[int] = ()
) -> tuple[Any, Rehearsal]:
    """What a study's function gives with a `Rehearsal` in place of the lab's measure; and that."""
    own = lab.measure
    lab.measure = rehearsal = Rehearsal(own, wanted)
    try:
        return study(lab, **parameters), rehearsal
    finally:
        lab.measure = own


class Rehearsal(Measure):
    """Stands in for `Lab.measure`.

    Args:
        real: what draws and judges the pictures that are wanted.
        wanted: numbers of the judged pictures to draw and judge, in the order they are asked for.

    Attributes:
        judged: How many pictures have been asked for, over all judgements.
        asked: (variant's key, prompt, seed) of each picture that would be drawn.
    """

    def __init__(self, real: Measure, wanted: Collection[int] = ()) -> None:
        super().__init__(real._state, real.judges, real.profile, real.store)
        self.wanted = frozenset(wanted)
        self.asked: set[tuple[str, str, int]] = set()
        self._real = real

    def images(self, variant: Variant, prompts: Any, seeds: Any) -> np.ndarray:
        """Black pictures."""
        prompts = [prompts] * len(seeds) if isinstance(prompts, str) else prompts
        self.asked |= {(variant.key, p, int(s)) for p, s in zip(prompts, seeds, strict=True)}
        return np.zeros((len(seeds), *picture_size(self._state().pipe), 3), dtype=np.uint8)

    def hits(self, *arguments: Any, **options: Any) -> pd.DataFrame:
        """As always, but hit is a float, and missing where nothing was drawn."""
        frame = super().hits(*arguments, **options)
        frame["hit"] = frame["hit"].astype(float).where(frame["seen"] != NOTHING)
        return frame

    def _judged(
        self,
        what: str,
        kind: str,
        variant: Variant,
        prompts: list[str],
        seeds: list[int],
        make: Callable[[], list[Any]],
    ) -> list[Any]:
        self.asked |= {(variant.key, p, s) for p, s in zip(prompts, seeds, strict=True)}
        first, self.judged = self.judged, self.judged + len(seeds)
        blank = NOTHING if what == "predictions" else float("nan")
        found = [blank] * len(seeds)
        chosen = [i for i in range(len(seeds)) if first + i in self.wanted]
        if chosen:
            ask = getattr(self._real, what)
            more = {"kind": kind} if what == "predictions" else {}
            some = ask(variant, [prompts[i] for i in chosen], [seeds[i] for i in chosen], **more)
            for i, answer in zip(chosen, some, strict=True):
                found[i] = answer
        return found
