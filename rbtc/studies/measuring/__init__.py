"""What measures the chapters: functions ``measure(lab, **parameters)`` that return a study.

The parameters are those of the chapter's notebook, with the same defaults.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from rbtc.results import named

MEASURES = {
    "00_overview": "rbtc.studies.measuring.overview:overview",
    "01_sign_vs_magnitude": "rbtc.studies.measuring.sign_vs_magnitude:sign_study",
    "02_matrix_completion": "rbtc.studies.measuring.matrix_completion:measure",
    "03_topk_alignment": "rbtc.studies.measuring.topk_alignment:alignment_study",
    "04_nms_ablations": "rbtc.studies.measuring.nms_ablations:ablation_study",
    "05_defense": "rbtc.studies.measuring.defense:measure",
    "06_art": "rbtc.studies.measuring.art:art_study",
    "07_nsfw": "rbtc.studies.measuring.nsfw:measure",
    "08_objects": "rbtc.studies.measuring.objects:object_study",
    "09_saliency": "rbtc.studies.measuring.saliency:saliency_study",
    "11_contradictions": "rbtc.studies.contradictions:measure",
    "12_signed_zeros": "rbtc.studies.measuring.signed_zeros:signed_zero_study",
    "13_audit": "rbtc.studies.measuring.audit:audit_study",
    "14_stronger_attack": "rbtc.studies.measuring.stronger_attack:measure",
    "15_honest_attacker": "rbtc.studies.measuring.honest_attacker:honest_study",
    "16_several_concepts": "rbtc.studies.measuring.several_concepts:measure",
    "90_operating_point": "rbtc.studies.operating_point:measure",
    "92_explorers": "rbtc.studies.measuring.explorer:measure",
}
"""Chapter -> module and function."""

FEWEST = {
    "07_nsfw": 0,
    "13_audit": 2,
    "14_stronger_attack": 2,
    "16_several_concepts": 0,
    "92_explorers": 2,
}
"""How many concepts a chapter can be measured for, where that is not one; 0: only for all of them.

Else a concept's lines do not depend on which other ones are measured.
"""

OF_PICTURES = {
    "06_art": ("distances",),
    "16_several_concepts": ("unknown.scores",),
}
"""Frames that a replay cannot compare, as they rest on all pictures of a model at once."""


def measuring(chapter: str) -> Any:
    """The function that measures a chapter.

    Raises:
        ValueError: no such chapter, or one that measures nothing.
    """
    if chapter not in MEASURES:
        raise ValueError(
            f"no chapter {chapter!r} measures anything; there are {', '.join(MEASURES)}"
        )
    return named(MEASURES[chapter])


def defaults(chapter: str) -> dict[str, Any]:
    """The parameters of a chapter's study and their defaults, as JSON gives them back."""
    parameters = list(inspect.signature(measuring(chapter)).parameters.values())[1:]  # not the lab
    return {one.name: json.loads(json.dumps(one.default)) for one in parameters}
