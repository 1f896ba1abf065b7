"""How what `rbtc.studies.several_concepts` erases together is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rbtc.models.subjects import Subject
from rbtc.studies.measuring.common import at_least_one, subjects
from rbtc.studies.several_concepts import MODELS, Together

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant


def drawn_order(lab: Lab, concepts: Sequence[str], seed: int) -> list[Subject]:
    """The concepts in an order drawn by the seed; their own order does not matter."""
    known = sorted(subjects(lab, concepts), key=lambda one: one.word)
    return [known[place] for place in np.random.default_rng(seed).permutation(len(known))]


def nested_sets(order: Sequence[Subject], counts: Sequence[int], sets: int) -> list[Together]:
    """Sets that start evenly spaced on the circle of concepts, each in every count.

    Raises:
        ValueError: counts that do not grow, or that leave no concept to preserve; more sets than
            concepts.
    """
    at_least_one(sets=sets, **{f"counts[{i}]": count for i, count in enumerate(counts)})
    counts, size = list(counts), len(order)
    if not counts or sorted(set(counts)) != counts or counts[-1] >= size:
        raise ValueError(
            f"counts must grow and stay below the {size} concepts, so that one is preserved, "
            f"not {counts}"
        )
    if sets > size:
        raise ValueError(f"{size} concepts make at most {size} sets, not {sets}")
    made = []
    for number in range(sets):
        start = number * size // sets
        turned = [*order[start:], *order[:start]]
        made += [Together(turned[0].label, tuple(turned[:count])) for count in counts]
    return made


def attacked(lab: Lab, case: Together) -> dict[str, Variant]:
    """The three models of a case; the attacker gets the pruned weights and nothing else."""
    pruned = lab.owner.pruned_together(case.concepts)
    return dict(zip(MODELS, (lab.pretrained, pruned, lab.attacker.attack(pruned)), strict=True))
