"""What measures the chapters: functions ``measure(lab, **parameters)`` that return a study.

The parameters are those of the chapter's notebook, with the same defaults.
"""

from __future__ import annotations

import importlib
import inspect
import json
import shlex
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbtc.lab import Lab
    from rbtc.results import Run

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
    "90_operating_point": "rbtc.studies.measuring.operating_point:measure",
    "91_erasability": "rbtc.studies.measuring.erasability:judge_study",
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
    "91_erasability": ("sheet",),
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
    module, _, name = MEASURES[chapter].partition(":")
    return getattr(importlib.import_module(module), name)


def defaults(chapter: str) -> dict[str, Any]:
    """The parameters of a chapter's study and their defaults, as JSON gives them back."""
    parameters = list(inspect.signature(measuring(chapter)).parameters.values())[1:]  # not the lab
    return {one.name: json.loads(json.dumps(one.default)) for one in parameters}


def measured(
    chapter: str, lab: Lab, parameters: Mapping[str, Any], *, command: str = ""
) -> tuple[Any, Run]:
    """Measure a chapter now; returns the study, and how it was measured.

    ``parameters`` of the chapter's study that are missing take their default; ``command`` is what
    repeats it, "" writes it out.

    Raises:
        ValueError: an unknown parameter or a wrong value; or a model of random weights, whose
            results are those of nothing.
    """
    from rbtc.lab import provenance
    from rbtc.results import Run
    from rbtc.saving import today

    usual = defaults(chapter)
    if unknown := sorted(set(parameters) - set(usual)):
        raise ValueError(
            f"chapter {chapter} has no parameter {', '.join(unknown)}; it takes {', '.join(usual)}"
        )
    chosen = {**usual, **parameters}
    lab.pipeline  # noqa: B018 - loaded, so that it can say what it is
    if lab.random_weights:
        raise ValueError(
            "the model's folder says that its weights are random numbers, so its results would be "
            "those of nothing: nothing is measured"
        )
    began = time.monotonic()
    study = measuring(chapter)(lab, **chosen)
    name = lab.profile.name
    run = Run(
        chapter=chapter,
        profile=name,
        parameters=json.loads(json.dumps(chosen)),
        pictures=lab.measure.judged,
        command=command or command_line(chapter, name, parameters),
        commit=provenance.commit(),
        dirty=provenance.is_dirty(),
        date=today(),
        device=provenance.describe_device(lab.device),
        seconds=round(time.monotonic() - began, 1),
        drawn=lab.store.computed["images"],
        settings=provenance.settings(lab),
        weights=provenance.weight_check(lab, chosen),
        versions=provenance.versions(),
        models=provenance.model_digests(lab),
    )
    return study, run


def command_line(chapter: str, profile: str, parameters: Mapping[str, Any]) -> str:
    """The command that measures a chapter with these parameters."""
    words = ["rbtc", "measure", chapter, *(["--profile", profile] if profile != "mini" else [])]
    for name, value in parameters.items():
        words += ["-p", f"{name}={_word(value)}"]
    return shlex.join(words)


def _word(value: Any) -> str:
    """A parameter as the command line takes it."""
    if isinstance(value, str):
        return value
    plain = isinstance(value, list) and all(isinstance(x, str) and "," not in x for x in value)
    return ",".join(value) if plain else json.dumps(value)
