"""The three prompt sets of Table 7, in roles that a model of ordinary objects can play.

I2P names the concept in ordinary sentences; MMA says it in other words, found by search; and
Ring-A-Bell adds the concept's vector to sentences about something else and searches from there. A
reader of the paper's model puts the authors' own lists in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbtc.models.adversarial_prompts import (
    STRENGTH,
    TextSpace,
    concept_vector,
    nearest_prompt,
    own_words,
)
from rbtc.models.profiles import Profile
from rbtc.models.prompt_files import read_prompts
from rbtc.models.prompt_sets import load_prompt_set
from rbtc.models.prompts import evaluation_prompt, prompt_pairs, subject_of
from rbtc.models.subjects import Subject
from rbtc.models.templates import fill
from rbtc.studies.nsfw import ANY

if TYPE_CHECKING:
    from rbtc.lab import Lab

SETS = ("I2P", "MMA", "Ring-A-Bell")
"""The paper's names, for the roles."""

PUBLISHED = "published"
"""In a file's place: the list of the set's owners."""

_NUDITY = ("nudity", "naked")


def restricted_subjects(profile: Profile, concepts: Sequence[str] = ()) -> list[Subject]:
    """The profile's restricted concepts, or some of them.

    Raises:
        ValueError: one that the profile does not list, one given twice, or no list at all.
    """
    if isinstance(concepts, str):
        raise ValueError(f"concepts must be a list of names, not the one name {concepts!r}")
    names = list(concepts) or list(profile.restricted)
    unknown = [name for name in names if name not in profile.restricted]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"expected restricted concepts of profile {profile.name!r}, each once, out of "
            f"{list(profile.restricted)}, not {names}"
        )
    return [
        subject_of(profile, name, "nudity" if name.casefold() in _NUDITY else "object")
        for name in names
    ]


def ordinary_prompts(profile: Profile, subject: Subject) -> list[str]:
    """Sentences that name a concept: the one objects are judged on, then one per style.

    Nudity has the sentences it is pruned with, about adults only.
    """
    if subject.kind == "nudity":
        return prompt_pairs(profile, subject.word, subject.kind)[0]
    words = profile.prompts
    return [
        evaluation_prompt(profile, subject.word),
        *(fill(words.style_target, thing=subject.word, style=s) for s in profile.styles),
    ]


def prompt_sets(
    lab: Lab,
    subjects: Sequence[Subject],
    count: int,
    *,
    words: int,
    candidates: int | None = None,
    seed: int = 0,
    files: Mapping[str, str | Path] | None = None,
) -> pd.DataFrame:
    """Every prompt of the three sets: set, concept, prompt, distance, start.

    Args:
        lab: the pretrained model's text encoder, and the store that keeps what was found.
        subjects: the concepts. No word of any restricted one may appear in an "MMA" prompt.
        count: prompts per concept and set.
        words: words of a prompt that is searched for.
        candidates: words to try at a place; None tries them all.
        seed: of the searches.
        files: set -> file of prompts instead of ours, or "published" for its owners' own list
            (`rbtc.models.prompt_sets`); they are not about one concept.

    Raises:
        ValueError: an unknown set, or a file without prompts.
        FileNotFoundError: no such file.
    """
    files = dict(files or {})
    if unknown := [name for name in files if name not in SETS]:
        raise ValueError(f"unknown prompt sets {unknown}: expected some of {list(SETS)}")
    lines: list[dict[str, Any]] = []
    given = {
        name: load_prompt_set(name).prompts if str(path) == PUBLISHED else read_prompts(path)
        for name, path in files.items()
    }
    for name in SETS:
        if name in given:
            lines += [{"set": name, "concept": ANY, "prompt": p} for p in given[name]]
            continue
        for subject in subjects:
            if name == "I2P":
                plain = ordinary_prompts(lab.profile, subject)[:count]
                found = [{"prompt": prompt} for prompt in plain]
            else:
                found = _searched(lab, name, subject, count, words, candidates, seed)
            lines += [{"set": name, "concept": subject.word, **one} for one in found]
    frame = pd.DataFrame(lines, columns=["set", "concept", "prompt", "distance", "start"])
    return frame.astype({"distance": float, "start": float})


def _searched(
    lab: Lab,
    name: str,
    subject: Subject,
    count: int,
    words: int,
    candidates: int | None,
    seed: int,
) -> list[dict[str, Any]]:
    """Prompts of a set found by search, from the store if they are there."""
    having, lacking = prompt_pairs(lab.profile, subject.word, subject.kind)
    plain = ordinary_prompts(lab.profile, subject)
    # Also those that are not erased here: the detector counts them all.
    every = restricted_subjects(lab.profile)
    pairs = [prompt_pairs(lab.profile, one.word, one.kind) for one in every]
    forbidden = [word for pair in pairs for word in own_words(*pair)]
    config = {
        "kind": "searched prompts",
        "model": lab.digest,
        "role": name,
        "plain": plain,
        "having": having,
        "lacking": lacking,
        "forbidden": forbidden,
        "count": count,
        "words": words,
        "candidates": candidates,
        "seed": seed,
    }

    def make() -> list[dict[str, Any]]:
        space = TextSpace(lab.pipeline)
        if name == "MMA":
            allowed = space.words(forbidden)
            targets = space.of([plain[0]] * count)
        else:
            allowed = space.words()
            neutral = [lacking[i % len(lacking)] for i in range(count)]
            targets = space.of(neutral) + STRENGTH * concept_vector(space, having, lacking)
        found = [
            nearest_prompt(
                space, target, allowed, count=words, seed=seed + i, candidates=candidates
            )
            for i, target in enumerate(targets)
        ]
        return [{"prompt": f.prompt, "distance": f.distance, "start": f.start} for f in found]

    code = (TextSpace, concept_vector, nearest_prompt)
    return lab.store.json(config, make, code=code)[0]
