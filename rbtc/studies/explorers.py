"""What the page of explorers shows: one seed of every concept, over four sliders.

The accuracies beside the pictures are those that the chapters measured, with many more seeds than
the one that is shown; where no chapter has measured a setting, none stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbtc.report.sprites import Explorer, Fact, Facts
from rbtc.studies.common import Pictures, model_name
from rbtc.studies.defense import defended

if TYPE_CHECKING:
    from rbtc.report.claims import Studies

ERASED, OTHERS = "recognised: erased class", "recognised: other classes"
MODELS = {"pretrained": "pretrained", "pruned": "pruned", "revived": "NMS"}
"""The three models, and what chapter 08 calls them."""


@dataclass(frozen=True, eq=False)
class ExplorerStudy:
    """The four explorers.

    Attributes:
        compare, keep, ratio, noise: Pictures, and the facts that need a model; see the functions
            that make them.
    """

    compare: Explorer
    keep: Explorer
    ratio: Explorer
    noise: Explorer

    def some(self, concepts: Iterable[str]) -> Pictures:
        """Concept -> model -> picture, for a grid of a few of the explorers' concepts."""
        return {
            label: dict(
                zip(
                    self.compare.steps,
                    self.compare.pictures[self.compare.concepts.index(label), 0],
                    strict=True,
                )
            )
            for label in concepts
        }

    def told(self, studies: Studies, held_out: pd.DataFrame) -> dict[str, Explorer]:
        """The explorers by name, with the accuracies that other chapters measured.

        Args:
            studies: where they are read.
            held_out: `rbtc.studies.operating_point.read_sweeps`, one setting over its ratios;
                its concepts are not those of the explorers.
        """
        objects = _hits(studies, "08_objects", lambda study: study.hits)
        keeps = _hits(studies, "04_nms_ablations", lambda study: study.hits)
        ratios = _hits(studies, "90_operating_point", lambda study: study.hits)
        noises = _hits(studies, "05_defense", lambda study: study.defense.part("erased"))

        def of_model(concept: str, kind: str, step: str) -> Facts:
            own = {"concept": concept, "model": MODELS[step]}
            return (
                *share(ERASED, objects, **own, classes="erased"),
                *share(OTHERS, objects, **own, classes="preserved"),
            )

        def of_keep(concept: str, kind: str, step: str) -> Facts:
            return share(ERASED, keeps, concept=concept, model=model_name(kind, float(step)))

        def of_ratio(concept: str, kind: str, step: str) -> Facts:
            own, title = held_out[held_out["ratio"] == float(step)], "mean of held-out concepts"
            return (
                *share(ERASED, ratios, concept=concept, model=f"pruned, {float(step):g}"),
                *(
                    _fact(f"recognised: {part}, {title}", hits, n)
                    for part in ("erased", "preserved")
                    for hits, n in [(own[f"{part}_hits"].sum(), int(own[f"{part}_n"].sum()))]
                    if n
                ),
            )

        def of_noise(concept: str, kind: str, step: str) -> Facts:
            return share(ERASED, noises, concept=concept, model=defended(float(step)))

        made = (
            _told(self.compare, of_model), _told(self.keep, of_keep),
            _told(self.ratio, of_ratio), _told(self.noise, of_noise),
        )  # fmt: skip
        return {one.name: one for one in made}


def share(label: str, hits: pd.DataFrame, **where: str) -> Facts:
    """The share of hits where columns have these values; empty where nothing was counted."""
    for column, value in where.items():
        hits = hits[hits[column] == value] if column in hits else hits.iloc[:0]
    return (_fact(label, hits["hit"].sum(), len(hits)),) if len(hits) else ()


def _fact(label: str, hits: float, n: int) -> Fact:
    return Fact(label, float(hits / n), f"{hits / n:.2f} (n={n})")


def _hits(studies: Studies, chapter: str, of: Callable[[Any], pd.DataFrame]) -> pd.DataFrame:
    """A chapter's pictures; none where it was not measured."""
    try:
        return of(studies[chapter][0])
    except LookupError:
        return pd.DataFrame({"hit": []})


def _told(one: Explorer, read: Callable[[str, str, str], Facts]) -> Explorer:
    """An explorer with further facts, which ``read`` finds for (concept, kind, step)."""
    facts = {
        (c, k, s): (*one.facts.get((c, k, s), ()), *read(concept, kind, step))
        for c, concept in enumerate(one.concepts)
        for k, kind in enumerate(one.kinds)
        for s, step in enumerate(one.steps)
    }
    return replace(one, facts=facts)
