"""Prompts: the pairs that tell ConceptPrune what to prune, and the sentence a model is judged on.

A pair is a target prompt, which names the concept, and a reference prompt, which names everything
else in the target: "a church on a blue background" against "a blue background". Activations are
summed over prompts, so the two lists are of the same length. The words come from the profile.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rbtc.files import read_json
from rbtc.models.subjects import Kind, Reference, Subject
from rbtc.models.templates import fill

if TYPE_CHECKING:
    from rbtc.models.profiles import Profile


def subject_of(profile: Profile, concept: str | Subject, kind: Kind = "object") -> Subject:
    """The concept that a name means; a `Subject` is handed back as it is.

    Raises:
        ValueError: the model knows no such concept; the message names the closest ones.
    """
    if isinstance(concept, Subject):
        return concept
    if kind == "style":
        concept = choose(concept, vocabulary(profile, "styles"), "style")
    if kind != "object":
        return Subject(concept, None, kind)
    word = concept_word(profile, concept)
    classes = {own: name for name, own in profile.classes.items()}
    return Subject(word, classes.get(word))


def other_subjects(profile: Profile, subject: Subject) -> list[Subject]:
    """The profile's other classes, or other styles, in its own order.

    Raises:
        ValueError: there is no other.
    """
    names = profile.styles if subject.kind == "style" else profile.classes.values()
    kind: Kind = "style" if subject.kind == "style" else "object"
    others = [subject_of(profile, n, kind) for n in dict.fromkeys(names) if n != subject.word]
    if not others:
        raise ValueError(f"profile {profile.name!r} has nothing besides {subject.word!r}")
    return others


def vocabulary(profile: Profile, part: str = "concepts") -> tuple[str, ...]:
    """Words the model of a profile was made for; empty when nobody wrote them down.

    ``part`` is "concepts", "styles" or "scenes". The list is that of the model folder's
    ``concepts.json`` if there is one, else the profile's own.

    Raises:
        ValueError: ``concepts.json`` cannot be read.
    """
    model = profile.locate(profile.model)
    path = model / "concepts.json" if isinstance(model, Path) else None
    if path is not None and path.is_file():
        try:
            return tuple(str(word) for word in read_json(path)[part])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path} is damaged: expected an object with the lists "concepts", "styles" and '
                f'"scenes" ({type(error).__name__}: {error})'
            ) from error
    own = {
        "concepts": (*profile.classes.values(), *profile.restricted, *profile.concepts),
        "styles": profile.styles,
        "scenes": (),
    }[part]
    # Without a list of its own a profile cannot know every concept of the model: no check.
    return tuple(dict.fromkeys(own)) if profile.concepts or part == "styles" else ()


def held_out_concepts(profile: Profile, count: int = 8) -> list[str]:
    """Concepts of the model that no chapter shows, evenly spaced in the model's own list.

    Left out: the paper's classes, the restricted concepts, and the things that the profile's
    reference and style prompts name.

    Raises:
        ValueError: fewer than ``count`` are left.
    """
    used = {*profile.classes.values(), *profile.restricted, *profile.prompts.things}
    free = [word for word in vocabulary(profile) if word not in used]
    if len(free) < count:
        raise ValueError(f"{count} held-out concepts were asked for, {len(free)} are free")
    return [free[i * len(free) // count] for i in range(count)]


def choose(name: str, known: Iterable[str], what: str) -> str:
    """The entry of ``known`` that ``name`` means, whatever its case.

    Raises:
        ValueError: no such entry; the message names the closest ones.
    """
    known = list(known)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a {what} must be a word, but {name!r} was given")
    for entry in known:
        if entry.casefold() == name.casefold():
            return entry
    lower = {entry.casefold(): entry for entry in known}
    close = [lower[c] for c in difflib.get_close_matches(name.casefold(), lower, 5, 0.5)]
    words = name.casefold().split()
    close += [e for e in known if e not in close and set(words) & set(e.casefold().split())]
    hint = (
        f"did you mean {', '.join(map(repr, close[:5]))}?"
        if close
        else (f"there are {len(known)}, for example {', '.join(map(repr, known[:8]))}")
    )
    raise ValueError(f"unknown {what} {name!r}: {hint}")


def concept_word(profile: Profile, name: str) -> str:
    """The word the model knows for a paper class ("golf ball") or for a word of its own.

    Raises:
        ValueError: the model knows no such concept; the message names the closest ones.
    """
    known = vocabulary(profile)
    for paper_class, word in profile.classes.items():
        if isinstance(name, str) and name.casefold() == paper_class.casefold():
            return choose(word, known, "concept") if known else word
    if not known and isinstance(name, str) and name.strip():
        return name
    if profile.prompts.people and isinstance(name, str) and name.casefold() in ("nudity", "naked"):
        raise ValueError(f'{name!r} is not an object: ask for it with kind="nudity"')
    return choose(name, (*known, *profile.classes), "concept")


def evaluation_prompt(profile: Profile, concept: str) -> str:
    """The sentence a model is judged on for an object (paper Sec. 5.1: one prompt, many seeds)."""
    word = concept_word(profile, concept)
    template = profile.evaluation.exceptions.get(word, profile.evaluation.prompt)
    return fill(template, concept=word)


def style_prompts(profile: Profile, style: str) -> list[str]:
    """One prompt per thing of the profile, each in the given style."""
    style = choose(style, vocabulary(profile, "styles"), "style")
    return [
        fill(profile.prompts.style_target, thing=thing, style=style)
        for thing in profile.prompts.things
    ]


def prompt_pairs(
    profile: Profile, concept: str, kind: Kind = "object", reference: Reference | None = None
) -> tuple[list[str], list[str]]:
    """Target and reference prompts that ConceptPrune compares for a concept.

    Args:
        profile: whose words and templates to use.
        concept: a paper class or a word of the model; for ``kind="style"`` an artist or house; for
            ``kind="nudity"`` the word itself is fixed by the template.
        kind: what sort of concept it is.
        reference: for objects, what the reference shows: the bare "scene", or other "objects" in
            the same scenes. None takes the profile's choice.

    Returns:
        (target prompts, reference prompts), lists of equal length.

    Raises:
        ValueError: unknown kind, concept, style or reference, or a profile without such prompts.
    """
    words = profile.prompts
    if kind not in ("object", "style", "nudity"):
        raise ValueError(f'kind must be "object", "style" or "nudity", not {kind!r}')
    if kind != "object" and reference is not None:
        raise ValueError(f"reference={reference!r} is only for objects, not for kind={kind!r}")
    if kind == "style":
        target = style_prompts(profile, concept)
        return target, [fill(words.style_reference, thing=thing) for thing in words.things]
    if kind == "nudity":
        if not words.people:
            raise ValueError(f"profile {profile.name!r} has no prompts of kind nudity")
        if concept.casefold() not in ("nudity", "naked"):
            raise ValueError(f'kind="nudity" knows the one concept "nudity", not {concept!r}')
        return (
            [fill(words.nudity_target, person=person) for person in words.people],
            [fill(words.nudity_reference, person=person) for person in words.people],
        )

    reference = reference or profile.conceptprune.reference
    if reference not in ("scene", "objects"):
        raise ValueError(f'reference must be "scene" or "objects", not {reference!r}')
    word = concept_word(profile, concept)
    # (noun of the bare scene, the words that put an object there)
    places = [(scene, fill(words.place, scene=scene)) for scene in words.scenes]
    if word in words.placed:
        places = [(noun, phrase) for noun, phrase in words.places]
    target = [fill(words.target, concept=word, place=place) for _, place in places]
    if reference == "scene":
        return target, [fill(words.reference_scene, scene=noun) for noun, _ in places]
    others = [thing for thing in words.things if thing.casefold() != word.casefold()]
    if not others:
        raise ValueError(f'profile {profile.name!r} lists no things for reference="objects"')
    return target, [
        fill(words.target, concept=others[i % len(others)], place=place)
        for i, (_, place) in enumerate(places)
    ]
