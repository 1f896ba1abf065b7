"""What the page of explorers shows: one seed of every concept, over four sliders.

The accuracies beside the pictures are those that the chapters committed, with many more seeds than
the one that is shown; where no chapter has measured a setting, none stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rbtc.report.sprites import Explorer, Facts
from rbtc.studies.common import Pictures, model_name
from rbtc.studies.defense_attacks import defended

if TYPE_CHECKING:

    from rbtc.report.chapters import Chapters

ERASED, OTHERS = "recognised: erased class", "recognised: other classes"
MODELS = {"pretrained": "pretrained", "pruned": "pruned", "revived": "NMS"}
"""The three models, and what chapter 08 calls them."""


@dataclass(frozen=True, eq=False)
class ExplorerStudy:
    """The four explorers, and the opening page's picture grid.

    Attributes:
        compare, keep, ratio, noise: Pictures, and the facts that need a model; see the functions
            that make them.
        opening: Concept -> model -> picture.
    """

    compare: Explorer
    keep: Explorer
    ratio: Explorer
    noise: Explorer
    opening: Pictures

    def told(self, chapters: Chapters, *, calls: int, reference: str) -> dict[str, Explorer]:
        """The explorers by name, with the accuracies that other chapters committed.

        Args:
            chapters: where they are read.
            calls: T of the profile.
            reference: its kind of reference prompts.
        """
        held_out = f"calls={calls}; reference={reference}"

        def of_model(concept: str, kind: str, step: str) -> Facts:
            own = f"concept={concept}; model={MODELS[step]}; classes="
            return (
                *chapters.share(ERASED, "08_objects", f"{own}erased"),
                *chapters.share(OTHERS, "08_objects", f"{own}preserved"),
            )

        def of_keep(concept: str, kind: str, step: str) -> Facts:
            asked = f"concept={concept}; model={model_name(kind, float(step))}"
            return chapters.share(ERASED, "04_nms_ablations", asked) or chapters.share(
                ERASED, "04_sweep", asked
            )

        def of_ratio(concept: str, kind: str, step: str) -> Facts:
            asked = f"ratio={step}; {held_out}"
            name, title = "operating_point_pruning", "recognised: {}, mean of held-out concepts"
            return (
                *chapters.share(ERASED, "90_ratio_sweep", f"concept={concept}", f"pruned, {step}"),
                *(
                    fact
                    for part in ("erased", "preserved")
                    for fact in chapters.share(
                        title.format(part), name, asked, f"{part}_hits of {part}_n"
                    )
                ),
            )

        def of_noise(concept: str, kind: str, step: str) -> Facts:
            asked = f"concept={concept}; model={defended(float(step))}; classes=erased"
            return chapters.share(ERASED, "05_accuracies", asked)

        made = (
            _told(self.compare, of_model), _told(self.keep, of_keep),
            _told(self.ratio, of_ratio), _told(self.noise, of_noise),
        )  # fmt: skip
        return {one.name: one for one in made}


def _told(one: Explorer, read: Callable[[str, str, str], Facts]) -> Explorer:
    """An explorer with further facts, which ``read`` finds for (concept, kind, step)."""
    facts = {
        (c, k, s): (*one.facts.get((c, k, s), ()), *read(concept, kind, step))
        for c, concept in enumerate(one.concepts)
        for k, kind in enumerate(one.kinds)
        for s, step in enumerate(one.steps)
    }
    return replace(one, facts=facts)
