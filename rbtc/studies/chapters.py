"""The chapters that measure something: what measures them, and their measurements read or made.

A chapter's study is a function ``measure(lab, **parameters)`` that returns a frozen dataclass. The
parameters are those of the notebook, with the same defaults.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbtc.results import Run, folder_of, load, named, read_run

CHAPTERS = {
    "00_overview": "rbtc.studies.overview:overview",
    "01_sign_vs_magnitude": "rbtc.studies.sign_vs_magnitude:sign_study",
    "02_matrix_completion": "rbtc.studies.matrix_completion:measure",
    "03_topk_alignment": "rbtc.studies.topk_alignment:alignment_study",
    "04_nms_ablations": "rbtc.studies.nms_ablations:ablation_study",
    "05_defense": "rbtc.studies.defense:measure",
    "06_art": "rbtc.studies.art:art_study",
    "07_nsfw": "rbtc.studies.nsfw:measure",
    "08_objects": "rbtc.studies.objects:object_study",
    "09_saliency": "rbtc.studies.saliency:saliency_study",
    "11_contradictions": "rbtc.studies.contradictions:measure",
    "12_signed_zeros": "rbtc.studies.signed_zeros:signed_zero_study",
    "13_audit": "rbtc.studies.audit:audit_study",
    "14_stronger_attack": "rbtc.studies.stronger_attack:measure",
    "15_honest_attacker": "rbtc.studies.honest_attacker:honest_study",
    "16_several_concepts": "rbtc.studies.several_concepts:measure",
    "90_operating_point": "rbtc.studies.operating_point:measure",
    "92_explorers": "rbtc.studies.explorer:measure",
}
"""Chapter -> module and function. The other chapters only read what these have measured."""

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
    if chapter not in CHAPTERS:
        raise ValueError(
            f"no chapter {chapter!r} measures anything; there are {', '.join(CHAPTERS)}"
        )
    return named(CHAPTERS[chapter])


def study_kind(chapter: str) -> type:
    """The class of a chapter's study."""
    function = measuring(chapter)
    return getattr(sys.modules[function.__module__], function.__annotations__["return"])


def defaults(chapter: str) -> dict[str, Any]:
    """The parameters of a chapter's study and their defaults."""
    parameters = list(inspect.signature(measuring(chapter)).parameters.values())[1:]  # not the lab
    return {one.name: _plain(one.default) for one in parameters}


def study(
    chapter: str,
    profile: str,
    *,
    live: bool = False,
    results: str | Path = "",
    **parameters: Any,
) -> tuple[Any, Run]:
    """A chapter's study: read from its folder, or measured now with the page's parameters.

    Args:
        chapter: name of the chapter.
        profile: name of the profile.
        live: measure now instead of reading; nothing is written.
        results: a folder like ``results``; "" takes the repository's.
        parameters: of the page. Read measurements have parameters of their own: one that is neither
            theirs nor the default is refused.

    Returns:
        The study, and how it was measured.

    Raises:
        FileNotFoundError: nothing has been measured for this profile.
        ValueError: a parameter that only a measurement can answer to, or a damaged measurement.
    """
    if live:
        from rbtc.lab import Lab
        from rbtc.lab.provenance import measured

        return measured(chapter, Lab(profile), parameters)
    folder = folder_of(chapter, profile, results)
    run = read_run(folder)
    usual = defaults(chapter)
    for name, value in parameters.items():
        if _plain(value) not in (usual.get(name), _plain(run.parameters.get(name))):
            raise ValueError(
                f"{name} = {value!r} asks for another measurement than the one in {folder} "
                f"({name} = {run.parameters.get(name)!r}): set live = True to measure it now"
            )
    return load(study_kind(chapter), folder), run


class Measured:
    """What the chapters measured for a profile, read when it is asked for and kept.

    Args:
        profile: its name.
        results: a folder like ``results``; "" takes the repository's.
    """

    def __init__(self, profile: str = "mini", results: str | Path = "") -> None:
        self.profile, self.results = profile, results
        self._found: dict[str, tuple[Any, Run]] = {}

    def __getitem__(self, chapter: str) -> tuple[Any, Run]:
        """A chapter's study, and how it was measured.

        Raises:
            LookupError: it was not measured.
            ValueError: a damaged measurement.
        """
        if chapter not in self._found:
            try:
                self._found[chapter] = study(chapter, self.profile, results=self.results)
            except FileNotFoundError:
                where = f"no measurement of {chapter} with the profile {self.profile}"
                raise LookupError(where) from None
        return self._found[chapter]


def beside(chapter: str, profile: str, results: str | Path = "") -> Any:
    """The same chapter on Stable Diffusion v1.5, for a page of another profile; None without it."""
    folder = folder_of(chapter, "sd15", results)
    if profile == "sd15" or not folder.is_dir():
        return None
    read_run(folder)
    return load(study_kind(chapter), folder)


def _plain(value: Any) -> Any:
    """A parameter as JSON gives it back."""
    if isinstance(value, Mapping | tuple | list):
        return json.loads(json.dumps(value))
    return value
