"""Profiles: which model, which hyper-parameters, which words.

A profile is a TOML file in ``data/profiles``. Every chapter runs on every profile: "mini" is the
embedded model that needs no GPU, "sd15" is the paper's Stable Diffusion v1.5. An unknown key is an
error, so a typing mistake cannot silently leave a default in force.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rbtc.files import data_root
from rbtc.models.templates import placeholders

# Prompts that undress people are built for the nudity detector's sake: adults only, whatever a
# profile says.
_MINORS = re.compile(
    r"\b(child(ren)?|kids?|boys?|girls?|bab(y|ies)|infants?|toddlers?|teen\w*|minors?|pupils?"
    r"|students?|sons?|daughters?|youths?|juveniles?|adolescents?|preteens?|school\w*|young\w*)\b",
    re.IGNORECASE,
)


_TEMPLATE_WORDS = {
    "target": {"concept", "place"},
    "place": {"scene"},
    "reference_scene": {"scene"},
    "style_target": {"thing", "style"},
    "style_reference": {"thing"},
    "nudity_target": {"person"},
    "nudity_reference": {"person"},
}


@dataclass(frozen=True)
class PruneSettings:
    """ConceptPrune's hyper-parameters: share of each row per step, first calls, noise seed."""

    ratio: float
    calls: int
    seed: int = 0
    reference: Literal["scene", "objects"] = "scene"
    nudity_ratio: float | None = None


@dataclass(frozen=True)
class ReviveSettings:
    """The attack's one hyper-parameter, K of Top-K Sign Retention (paper Sec. 4.2)."""

    keep_ratio: float = 0.6


@dataclass(frozen=True)
class EvaluationSettings:
    """The sentence objects are judged on, exceptions to it by concept, and the judges.

    ``detector`` counts pictures of the restricted concepts: the "classifier", or "nudenet".
    """

    prompt: str
    classifier: str
    style_classifier: str = ""
    clip: str = ""
    detector: Literal["classifier", "nudenet"] = "classifier"
    exceptions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PromptSettings:
    """Templates and word lists that `prompt_pairs` puts together.

    Concepts listed in ``placed`` stand at ``places`` (noun of the reference, phrase of the target)
    instead of in the twelve scenes.
    """

    target: str
    place: str
    reference_scene: str
    style_target: str
    style_reference: str
    scenes: tuple[str, ...]
    things: tuple[str, ...]
    nudity_target: str = ""
    nudity_reference: str = ""
    people: tuple[str, ...] = ()
    placed: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Profile:
    """A model with its hyper-parameters and its words; see ``data/profiles``."""

    name: str
    model: str
    steps: int
    guidance: float
    conceptprune: PruneSettings
    evaluation: EvaluationSettings
    prompts: PromptSettings
    classes: Mapping[str, str]
    revision: str = ""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: int = 32
    revive: ReviveSettings = ReviveSettings()
    styles: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()

    def locate(self, name: str) -> Path | str:
        """A folder where ``name`` is one (absolute, or under the data root), else the name itself.

        Names that begin with "models/" or "." always mean a folder, present or not; everything else
        that is no folder is a hub id or the name of a built-in judge.
        """
        path = Path(name).expanduser()
        under = data_root() / path
        if path.is_absolute() or name.startswith(("models/", ".")) or (name and under.exists()):
            return under  # an absolute path stays itself
        return name


def available_profiles() -> list[str]:
    """Names of the profiles in the data root."""
    return sorted(path.stem for path in (data_root() / "profiles").glob("*.toml"))


def load_profile(name_or_path: str | Path) -> Profile:
    """Read a profile by its name ("mini", "sd15") or from the path of a TOML file.

    Raises:
        FileNotFoundError: no such profile; the message lists those that exist.
        ValueError: not TOML, an unknown or missing key, or a value of the wrong kind.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml":
        path = data_root() / "profiles" / f"{name_or_path}.toml"
    if not path.is_file():
        raise FileNotFoundError(
            f"unknown profile {str(name_or_path)!r}: there are {available_profiles()} in "
            f"{data_root() / 'profiles'}, or give the path of a .toml file"
        )
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    profile = _read(Profile, table, path.name, "")
    try:
        _check(profile)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    return profile


def _read(kind: Any, value: Any, file: str, key: str) -> Any:
    """Turn a TOML value into the annotated kind, or say which key is wrong."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{file}: {key} must be a table, not {value!r}")
        hints = get_type_hints(kind)
        prefix = f"{key}." if key else ""
        for name in value.keys() - hints.keys():
            close = difflib.get_close_matches(name, hints, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {sorted(hints)}"
            raise ValueError(f"{file}: unknown key {prefix + name!r}; {hint}")
        for each in dataclasses.fields(kind):
            optional = (each.default, each.default_factory) != (dataclasses.MISSING,) * 2
            if not optional and each.name not in value:
                raise ValueError(f"{file}: the key {prefix + each.name!r} is missing")
        return kind(**{n: _read(hints[n], v, file, prefix + n) for n, v in value.items()})
    if origin is Literal and value in arguments:
        return value
    if origin is types.UnionType:  # "X | None": TOML has no null, so the value is an X
        return _read(arguments[0], value, file, key)
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            return tuple(_read(arguments[0], v, file, f"{key}[{i}]") for i, v in enumerate(value))
        if len(value) == len(arguments):
            return tuple(_read(a, v, file, key) for a, v in zip(arguments, value, strict=True))
    if origin is Mapping and isinstance(value, dict):
        return {n: _read(arguments[1], v, file, f"{key}.{n}") for n, v in value.items()}
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    wanted = f"one of {list(arguments)}" if origin is Literal else getattr(kind, "__name__", kind)
    raise ValueError(f"{file}: {key} must be {wanted}, not {value!r}")


def _check(profile: Profile) -> None:
    words, pruning = profile.prompts, profile.conceptprune
    for key, number in {
        "conceptprune.ratio": pruning.ratio,
        "conceptprune.nudity_ratio": 1.0 if pruning.nudity_ratio is None else pruning.nudity_ratio,
        "revive.keep_ratio": profile.revive.keep_ratio,
    }.items():
        if not 0 < number <= 1:
            raise ValueError(f"{key} must lie in (0, 1], not {number}")
    for key, number in {
        "steps": profile.steps,
        "batch_size": profile.batch_size,
        "conceptprune.calls": pruning.calls,
    }.items():
        if number < 1:
            raise ValueError(f"{key} must be at least 1, not {number}")
    if pruning.calls > profile.steps + 1:  # PNDM calls the UNet once more than it has steps
        raise ValueError(
            f"conceptprune.calls is {pruning.calls}, and a picture has only {profile.steps} steps: "
            "lower it, or raise `steps`"
        )
    if not math.isfinite(profile.guidance):
        raise ValueError(f"guidance must be a finite number, not {profile.guidance}")
    if not (words.scenes and words.things and profile.classes):
        raise ValueError("prompts.scenes, prompts.things and classes must not be empty")
    for key, allowed in _TEMPLATE_WORDS.items():
        template = getattr(words, key)
        if template and placeholders(template) != allowed:
            raise ValueError(
                f"prompts.{key} must use exactly {sorted(f'{{{w}}}' for w in allowed)}, "
                f"not {template!r}"
            )
    sentences = {"evaluation.prompt": profile.evaluation.prompt}
    sentences |= {f"evaluation.exceptions.{k}": v for k, v in profile.evaluation.exceptions.items()}
    for key, template in sentences.items():
        if placeholders(template) - {"concept"}:
            raise ValueError(f"{key} may only use {{concept}}, not {template!r}")
        if not placeholders(template):
            raise ValueError(f"{key} must contain {{concept}}, and {template!r} does not")
    minors = [word for word in words.people if _MINORS.search(word)]
    if minors:
        raise ValueError(f"prompts.people must name adults only; take out {minors}")
    if words.people and not (words.nudity_target and words.nudity_reference):
        raise ValueError("prompts.people needs prompts.nudity_target and prompts.nudity_reference")
