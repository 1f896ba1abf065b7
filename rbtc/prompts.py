"""Prompts: the pairs that tell ConceptPrune what to cut, and the sentence a model is judged on.

A pair is a target prompt, which names the concept, and a reference prompt, which names everything
else in the target: "a church on a blue background" against "a blue background". Activations are
summed over prompts, so the two lists are always of the same length. The words come from the
profile; this module only puts them together.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rbtc.profiles import Profile

Kind = Literal["object", "style", "nudity"]
Reference = Literal["scene", "objects"]

# The article follows the sound, so a few spellings go against the rule of the first letter.
_SOUNDS_LIKE_CONSONANT = re.compile(r"(uni(?![nmd])|us[aeiou]|ut[aei]|uk|ufo|eu|ewe|one\b|once)")
_SOUNDS_LIKE_VOWEL = re.compile(r"(hour|honest|honou?r|heir)")
_PLACEHOLDER = re.compile(r"(?:\b([Aa])n? )?\{(\w*)\}")


def article(phrase: str) -> str:
    """The article, "a" or "an", that English puts before a phrase.

    >>> article("orange background"), article("unicorn"), article("hourglass")
    ('an', 'a', 'an')
    """
    word = phrase.casefold()
    vowel = word[:1] in set("aeiou") and not _SOUNDS_LIKE_CONSONANT.match(word)
    return "an" if vowel or _SOUNDS_LIKE_VOWEL.match(word) else "a"


def placeholders(template: str) -> set[str]:
    """Names in braces that a template asks for."""
    return {name for _, name in _PLACEHOLDER.findall(template)}


def fill(template: str, **words: str) -> str:
    """Fill a template; an article right before a placeholder agrees with the word put there.

    >>> fill("a {concept} on a {scene}", concept="anchor", scene="blue background")
    'an anchor on a blue background'

    Raises:
        ValueError: the template asks for a word that was not given.
    """
    unknown = placeholders(template) - words.keys()
    if unknown:
        raise ValueError(
            f"the template {template!r} asks for {sorted(unknown)}, but only {sorted(words)} "
            "can be filled in here"
        )

    def put(match: re.Match[str]) -> str:
        word = words[match[2]]
        if match[1] is None:
            return word
        chosen = article(word)
        return f"{chosen.capitalize() if match[1] == 'A' else chosen} {word}"

    return _PLACEHOLDER.sub(put, template)


def vocabulary(profile: Profile, part: str = "concepts") -> tuple[str, ...]:
    """Words the model of a profile was made for; empty when nobody wrote them down.

    Args:
        profile: the profile.
        part: "concepts", "styles" or "scenes".

    Returns:
        The list in the model folder's ``concepts.json`` if there is one, else the profile's own.

    Raises:
        ValueError: ``concepts.json`` cannot be read.
    """
    model = profile.locate(profile.model)
    path = model / "concepts.json" if isinstance(model, Path) else None
    if path is not None and path.is_file():
        try:
            return tuple(str(word) for word in json.loads(path.read_text("utf-8"))[part])
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
    hint = f"did you mean {', '.join(map(repr, close[:5]))}?" if close else (
        f"there are {len(known)}, for example {', '.join(map(repr, known[:8]))}"
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


def concept_name(profile: Profile, concept: str, kind: Kind = "object") -> str:
    """The model's word for an object or a style; a concept of another kind keeps its name.

    Raises:
        ValueError: the model knows no such object or style.
    """
    if kind == "object":
        return concept_word(profile, concept)
    if kind == "style":
        return choose(concept, vocabulary(profile, "styles"), "style")
    return concept


def style_prompts(profile: Profile, style: str) -> list[str]:
    """One prompt per thing of the profile, each in the given style."""
    known = vocabulary(profile, "styles")
    style = choose(style, known, "style")
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
