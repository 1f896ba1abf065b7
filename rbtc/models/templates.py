"""Sentences from templates, with articles that agree."""

from __future__ import annotations

import re

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
