"""Profiles: which model, which hyper-parameters, which words.

A profile is a TOML file in ``data/profiles``. Every chapter runs on every profile: "mini" is the
embedded model that needs no GPU, "sd15" is the paper's Stable Diffusion v1.5. An unknown key is an
error, so a typing mistake cannot silently leave a default in force.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pydantic
from pydantic_core import ErrorDetails

from rbtc.files import data_root, expanded, read_text
from rbtc.models.subjects import Reference
from rbtc.models.templates import placeholders

# Prompts that undress people are built for the nudity detector's sake: adults only, whatever a
# profile says.
MINORS = re.compile(
    r"\b(child(ren)?|kids?|boys?|girls?|bab(y|ies)|infants?|toddlers?|teen\w*|minors?|pupils?"
    r"|students?|sons?|daughters?|youths?|juveniles?|adolescents?|preteens?|school\w*|young\w*)\b",
    re.IGNORECASE,
)
"""Words for minors, none of which a profile's people or a prompt file may contain."""


def names_minors(text: str) -> bool:
    """Whether a text speaks of minors, in whatever letters: wide, accented or with invisible ones.

    >>> names_minors("two ｃｈｉｌｄren"), names_minors("a school bus")
    (True, False)
    """
    plain = unicodedata.normalize("NFKD", text.replace("school bus", "bus"))  # nobody's age
    shown = (letter for letter in plain if unicodedata.category(letter) not in ("Cf", "Mn"))
    return bool(MINORS.search("".join(shown)))


def _asks_for(*words: str, optional: bool = False) -> pydantic.AfterValidator:
    """A template with exactly these words in braces; an optional one may be empty."""

    def check(template: str) -> str:
        if (template or not optional) and placeholders(template) != set(words):
            braces = sorted(f"{{{word}}}" for word in words)
            raise ValueError(f"must use exactly {braces}, not {template!r}")
        return template

    return pydantic.AfterValidator(check)


def _adults(people: tuple[str, ...]) -> tuple[str, ...]:
    if minors := [word for word in people if names_minors(word)]:
        raise ValueError(f"must name adults only; take out {minors}")
    return people


# On plain dataclasses: whoever reads a profile needs no pydantic to know what it is.
_STRICT = pydantic.ConfigDict(extra="forbid", strict=True)

Fraction = Annotated[float, pydantic.Field(gt=0, le=1)]
Count = Annotated[int, pydantic.Field(ge=1, le=10_000)]
Words = Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
Sentence = Annotated[str, _asks_for("concept")]


@dataclass(frozen=True)
class PruneSettings:
    """ConceptPrune's hyper-parameters: fraction of each row per step, first calls, noise seed."""

    __pydantic_config__ = _STRICT

    ratio: Fraction
    calls: Count
    seed: int = 0
    reference: Reference = "scene"
    nudity_ratio: Fraction | None = None


@dataclass(frozen=True)
class ReviveSettings:
    """The attack's one hyper-parameter, K of Top-K Sign Retention (paper Sec. 4.2).

    ``double`` completes in float64: then signs do not hang on threads or device.
    """

    __pydantic_config__ = _STRICT

    keep_ratio: Fraction = 0.6
    double: bool = False


@dataclass(frozen=True)
class EvaluationSettings:
    """The sentence objects are judged on, exceptions to it by concept, and the judges.

    ``other_classifier``, where there is one, shows what rests on the choice of ``classifier``.
    ``detector`` counts pictures of the restricted concepts: the "classifier", or "nudenet".
    ``objects`` and ``styles`` are prompt files (`rbtc.models.prompt_files`) in the data folder;
    without one, objects have consecutive seeds and styles the profile's things in turn.
    """

    __pydantic_config__ = _STRICT

    prompt: Sentence
    classifier: str
    other_classifier: str = ""
    style_classifier: str = ""
    clip: str = ""
    detector: Literal["classifier", "nudenet"] = "classifier"
    exceptions: Mapping[str, Sentence] = field(default_factory=dict)
    objects: str = ""
    styles: str = ""


@dataclass(frozen=True)
class PromptSettings:
    """Templates and word lists that `prompt_pairs` puts together.

    Concepts listed in ``placed`` stand at ``places`` (noun of the reference, phrase of the target)
    instead of in the twelve scenes.
    """

    __pydantic_config__ = _STRICT

    target: Annotated[str, _asks_for("concept", "place")]
    place: Annotated[str, _asks_for("scene")]
    reference_scene: Annotated[str, _asks_for("scene")]
    style_target: Annotated[str, _asks_for("thing", "style")]
    style_reference: Annotated[str, _asks_for("thing")]
    scenes: Words
    things: Words
    nudity_target: Annotated[str, _asks_for("person", optional=True)] = ""
    nudity_reference: Annotated[str, _asks_for("person", optional=True)] = ""
    people: Annotated[tuple[str, ...], pydantic.AfterValidator(_adults)] = ()
    placed: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Profile:
    """A model with its hyper-parameters and its words; see ``data/profiles``."""

    __pydantic_config__ = _STRICT

    name: str
    model: str
    steps: Count
    guidance: Annotated[float, pydantic.Field(allow_inf_nan=False, ge=-1000, le=1000)]
    conceptprune: PruneSettings
    evaluation: EvaluationSettings
    prompts: PromptSettings
    classes: Annotated[Mapping[str, str], pydantic.Field(min_length=1)]
    revision: str = ""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: Count = 32
    gpu_batch_size: Count | None = None
    revive: ReviveSettings = ReviveSettings()
    styles: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()

    def drawn_at_once(self, device: Any) -> int:
        """Pictures per call of the pipeline: a GPU may have a larger number of its own."""
        on_gpu = str(device).partition(":")[0] != "cpu"
        return self.gpu_batch_size or self.batch_size if on_gpu else self.batch_size

    def locate(self, name: str) -> Path | str:
        """A folder where ``name`` is one (absolute, or under the data root), else the name itself.

        Names that begin with "models/" or "." always mean a folder, present or not; everything else
        that is no folder is a hub id or the name of a built-in judge.
        """
        path = expanded(name)
        under = data_root() / path
        if path.is_absolute() or name.startswith(("models/", ".")) or (name and under.exists()):
            return under  # an absolute path stays itself
        return name


_ADAPTER = pydantic.TypeAdapter(Profile)

_WANTED = {
    "tuple_type": "a list",
    "too_long": "a pair",
    "too_short": "of one entry at least",
    "dataclass_type": "a table",
    "dict_type": "a table",
    "mapping_type": "a table",
}
"""What TOML calls what a profile's value must be, by the kind of pydantic's error."""


def available_profiles() -> list[str]:
    """Names of the profiles in the data root."""
    return sorted(path.stem for path in (data_root() / "profiles").glob("*.toml"))


def load_profile(name_or_path: str | Path) -> Profile:
    """Read a profile by its name ("mini", "sd15") or from the path of a TOML file.

    Raises:
        FileNotFoundError: no such profile; the message lists those that exist.
        ValueError: not TOML, an unknown or missing key, or a value of the wrong kind.
    """
    path = expanded(name_or_path)
    if path.suffix != ".toml":
        path = data_root() / "profiles" / f"{name_or_path}.toml"
    if not path.is_file():
        raise FileNotFoundError(
            f"unknown profile {str(name_or_path)!r}: there are {available_profiles()} in "
            f"{data_root() / 'profiles'}, or give the path of a .toml file"
        )
    try:
        table = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    try:
        # As JSON: strict there means that a list may become a tuple and a table a dataclass, but
        # no text a number, no 16.5 an int and no true a 1.
        profile = _ADAPTER.validate_json(json.dumps(table, default=_no_json))
    except pydantic.ValidationError as error:
        # A misspelt key is unknown, and missing in its right spelling: the first says more.
        found = error.errors(include_url=False)
        first = min(found, key=lambda each: each["type"] != "unexpected_keyword_argument")
        raise ValueError(f"{path.name}: {_in_words(first)}") from None
    except TypeError as error:
        raise ValueError(f"{path.name}: {error}") from error
    words, calls = profile.prompts, profile.conceptprune.calls
    if calls > profile.steps + 1:  # PNDM calls the UNet once more than it has steps
        raise ValueError(
            f"{path.name}: conceptprune.calls is {calls}, and a picture has only {profile.steps} "
            "steps: lower it, or raise `steps`"
        )
    if words.people and not (words.nudity_target and words.nudity_reference):
        raise ValueError(
            f"{path.name}: prompts.people needs prompts.nudity_target and prompts.nudity_reference"
        )
    return profile


def _no_json(value: Any) -> Any:
    raise TypeError(f"{value!r} is a date or a time, and a profile has neither: put it in quotes")


def _in_words(error: ErrorDetails) -> str:
    """What is wrong: the key, what is expected, what is given, what to do."""
    *place, last = error["loc"]
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    if error["type"] == "unexpected_keyword_argument":
        hints = get_type_hints(Profile)
        for part in place:
            hints = get_type_hints(hints[str(part)])
        close = difflib.get_close_matches(str(last), hints, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {sorted(hints)}"
        return f"unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"the key {key!r} is missing: see {data_root() / 'profiles' / 'mini.toml'}"
    if error["type"] == "value_error":
        return f"{key} {error.get('ctx', {})['error']}"
    wanted = _WANTED.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    return f"{key} must be {wanted}, not {error['input']!r}"
