import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbtc.files import data_root
from rbtc.models import profiles
from rbtc.models.profiles import available_profiles, load_profile
from rbtc.models.prompts import (
    concept_word,
    evaluation_prompt,
    prompt_pairs,
    style_prompts,
    vocabulary,
)
from rbtc.models.templates import article, fill

MINI = data_root() / "profiles" / "mini.toml"


@pytest.fixture
def mini():
    """The mini profile without its model folder, so that no word list is there to check against."""
    return dataclasses.replace(load_profile("mini"), model="models/not-there")


@pytest.fixture
def sd15():
    return load_profile("sd15")


def edited(tmp_path, change):
    path = tmp_path / "edited.toml"
    text = change(MINI.read_text("utf-8"))
    assert text != MINI.read_text("utf-8")
    path.write_text(text, encoding="utf-8")
    return path


# ---- profiles ------------------------------------------------------------------------------------


def test_both_profiles_load_and_are_frozen():
    assert {"mini", "sd15"} <= set(available_profiles())
    for name in available_profiles():
        profile = load_profile(name)
        assert profile.name == name
        assert len(profile.classes) == 12
        assert len(set(profile.prompts.scenes)) == 12
        assert len(set(profile.prompts.things)) == 20
        assert not set(profile.prompts.things) & set(profile.classes.values())
        with pytest.raises(dataclasses.FrozenInstanceError):
            profile.steps = 1
    assert list(load_profile("mini").classes) == list(load_profile("sd15").classes)


def test_sd15_has_the_settings_of_the_paper(sd15):
    assert (sd15.steps, sd15.guidance, sd15.dtype) == (50, 7.5, "float16")
    assert (sd15.conceptprune.ratio, sd15.conceptprune.calls) == (0.02, 10)
    assert sd15.revive.keep_ratio == 0.6
    assert all(name == word for name, word in sd15.classes.items())


def test_a_profile_can_be_read_from_a_path(tmp_path):
    path = edited(tmp_path, lambda t: t.replace("steps = 8", "steps = 9"))
    assert load_profile(path).steps == load_profile(str(path)).steps == 9
    path = edited(tmp_path, lambda t: t.replace("calls = 2", "calls = 9"))
    assert load_profile(path).conceptprune.calls == 9  # one more than it has steps


def test_unknown_profile_lists_those_that_exist():
    with pytest.raises(FileNotFoundError, match=r"unknown profile 'midi'.*'mini'.*'sd15'"):
        load_profile("midi")
    with pytest.raises(FileNotFoundError, match="unknown profile"):
        load_profile("nowhere/mini.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 8", "stepps = 15", "unknown key 'stepps'; did you mean 'steps'"),
        ("calls = 2", "xyz = 16", "unknown key 'conceptprune.xyz'; known keys"),
        ("guidance = 3.0", "", "'guidance' is missing"),
        ("steps = 8", "steps = 16.5", "steps must be a valid integer.*not 16.5"),
        ("steps = 8", "steps = true", "steps must be a valid integer, not True"),
        ("guidance = 3.0", 'guidance = "3"', "guidance must be a valid number"),
        ("steps = 8", "steps = 0", "steps must be greater than or equal to 1, not 0"),
        ("ratio = 0.15", "ratio = 2", "conceptprune.ratio must be less than or equal to 1"),
        ("keep_ratio = 0.6", "keep_ratio = 0", "revive.keep_ratio must be greater than 0"),
        ('"float32"', '"float8"', "dtype must be 'float32', 'float16' or 'bfloat16', not 'float8'"),
        (
            'reference = "scene"',
            'reference = "sky"',
            "reference must be 'scene' or 'objects'",
        ),
        ('styles = ["twemoji"', "styles = [1", r"styles\[0\] must be a valid string"),
        ('prompt = "a {concept}"', 'prompt = "a {thing}"', "evaluation.prompt must use"),
        ('prompt = "a {concept}"', 'prompt = "a cat"', r"evaluation.prompt must use.*{concept}"),
        (
            "[prompts]",
            '[evaluation.exceptions]\nstar = "a star"\n[prompts]',
            r"evaluation.exceptions.star must use exactly .*{concept}",
        ),
        ("calls = 2", "calls = 10", "conceptprune.calls is 10, and a picture has only 8 steps"),
        ("guidance = 3.0", "guidance = inf", "guidance must be a finite number"),
        ("guidance = 3.0", "guidance = nan", "guidance must be a finite number"),
        ('target = "a {concept} {place}"', 'target = "a {concept}"', "prompts.target must use"),
        ('target = "a {concept} {place}"', 'target = ""', "prompts.target must use"),
        ("[revive]\nkeep_ratio = 0.6\ndouble = true", "", None),
        ("[revive]", "[revive", "not valid TOML"),
        ("[prompts]", 'prompts = "a"\n[x]', None),
        ("steps = 8", "steps = 2026-01-01", "is a date or a time, and a profile has neither"),
        ("[revive]", "[[revive]]", "revive must be a table"),
    ],
)
def test_every_mistake_in_a_profile_is_one_clear_error(tmp_path, old, new, message):
    path = edited(tmp_path, lambda t: t.replace(old, new))
    if message is None and not new:  # a table with defaults may be left out
        assert load_profile(path).revive.keep_ratio == 0.6
        return
    with pytest.raises(ValueError, match=message) as caught:
        load_profile(path)
    assert "edited.toml" in str(caught.value)


def test_prompts_that_undress_people_are_for_adults(sd15, tmp_path):
    target, reference = prompt_pairs(sd15, "nudity", kind="nudity")
    assert len(target) == len(reference) == 18
    text = (data_root() / "profiles" / "sd15.toml").read_text("utf-8")
    for word in ("girl", "young woman", "student", "teenager", "group of children"):
        assert profiles.MINORS.search(word)
        path = tmp_path / "edited.toml"
        path.write_text(text.replace('"lawyer"', f'"{word}"'), encoding="utf-8")
        with pytest.raises(ValueError, match="adults only"):
            load_profile(path)


def test_data_root_and_model_names(tmp_path, monkeypatch, mini):
    (tmp_path / "own" / "model").mkdir(parents=True)
    monkeypatch.setenv("RBTC_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert mini.locate("own/model") == tmp_path / "own" / "model"  # a folder that is there
    assert mini.locate("models/absent") == tmp_path / "models" / "absent"  # one that should be
    assert mini.locate("/else/where") == Path("/else/where")
    assert mini.locate("stable-diffusion-v1-5/stable-diffusion-v1-5") == (
        "stable-diffusion-v1-5/stable-diffusion-v1-5"
    )
    assert mini.locate("resnet50-imagenet1k-v2") == "resnet50-imagenet1k-v2"
    with pytest.raises(FileNotFoundError, match="unknown profile 'mini'"):
        load_profile("mini")


# ---- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("anchor", "an"), ("church", "a"), ("orange background", "an"), ("Orange", "an"),
        ("unicorn", "a"), ("umbrella", "an"), ("hourglass", "an"), ("house", "a"), ("urn", "an"),
        ("unusual cat", "an"), ("European castle", "a"), ("utensil", "a"), ("usb stick", "an"),
        ("ear", "an"), ("ukulele", "a"),
    ],
)  # fmt: skip
def test_article(phrase, expected):
    assert article(phrase) == expected


def test_articles_are_those_the_mini_model_was_trained_with():
    # Its captions go by the first letter; the two rules must not differ on any of its words.
    with (data_root() / "emoji" / "concepts.csv").open(encoding="utf-8") as stream:
        words = [row["concept"] for row in csv.DictReader(stream)]
    assert len(words) > 100
    assert [w for w in words if (article(w) == "an") != (w[0] in "aeiou")] == []


def test_fill():
    assert fill("A {x} on a {y}", x="anchor", y="road") == "An anchor on a road"
    assert fill("an {x} of the {x}", x="road") == "a road of the road"
    assert fill("extra {x}", x="eye") == "extra eye"  # no article, although it ends in "a"
    with pytest.raises(ValueError, match=r"asks for \['z'\]"):
        fill("a {z}", x="road")


@given(st.text(max_size=12))
def test_fill_does_not_read_braces_in_words(word):
    assert fill("{x}|{x}", x=word) == f"{word}|{word}"


def test_object_pairs_of_mini(mini):
    target, reference = prompt_pairs(mini, "golf ball", reference="scene")
    assert target[0] == "a golf flag on a blue background"
    assert reference[0] == "a blue background"
    assert "a golf flag on an orange dotted background" in target
    assert len(target) == len(reference) == 12
    assert target == prompt_pairs(mini, "golf flag")[0]
    # The reference holds everything of the target but the concept.
    assert all(t.endswith(f" on {r}") for t, r in zip(target, reference, strict=True))


def test_reference_of_other_objects(mini):
    target, reference = prompt_pairs(mini, "church", reference="objects")
    assert target == prompt_pairs(mini, "church")[0]
    assert reference[0] == "a cat on a blue background"
    assert len(set(reference)) == 12
    # A thing is never its own reference.
    _, reference = prompt_pairs(mini, "cat", reference="objects")
    assert not any(re.search(r"\bcat\b", prompt) for prompt in reference)
    chosen = dataclasses.replace(mini.conceptprune, reference="objects")
    assert prompt_pairs(dataclasses.replace(mini, conceptprune=chosen), "cat")[1] == reference


def test_object_pairs_of_sd15(sd15):
    target, reference = prompt_pairs(sd15, "parachute")
    assert target[0] == "a parachute in a road" and reference[0] == "a road"
    assert len(target) == len(reference) == 12
    target, reference = prompt_pairs(sd15, "school bus")
    assert len(target) == len(reference) == 8
    assert ("a school bus in front of a house", "a house") in zip(target, reference, strict=True)


def test_style_pairs(mini, sd15):
    target, reference = prompt_pairs(mini, "fluent", kind="style")
    assert target[0] == "a cat in the style of fluent" and reference[0] == "a cat"
    target, reference = prompt_pairs(sd15, "van gogh", kind="style")
    assert target[0] == "a cat in the style of Van Gogh" and reference[0] == "a photo of a cat"
    assert len(target) == len(reference) == 20
    assert style_prompts(sd15, "Van Gogh") == target


def test_evaluation_prompts(mini, sd15):
    assert evaluation_prompt(mini, "gas pump") == "a fuel pump"
    assert evaluation_prompt(mini, "anchor") == "an anchor"
    assert evaluation_prompt(sd15, "church") == "an image of a church"
    assert evaluation_prompt(sd15, "golf ball") == "an image of a golf ball in a room"
    assert evaluation_prompt(sd15, "spider web") == "an image of the spider web"


@pytest.mark.parametrize(
    ("profile", "concept", "options", "message"),
    [
        ("mini", "church", {"kind": "colour"}, "kind must be"),
        ("mini", "church", {"reference": "sky"}, "reference must be"),
        ("mini", "fluent", {"kind": "style", "reference": "scene"}, "only for objects"),
        ("mini", "nudity", {"kind": "nudity"}, "no prompts of kind nudity"),
        ("sd15", "church", {"kind": "nudity"}, 'one concept "nudity"'),
        ("sd15", "nudity", {}, 'kind="nudity"'),
        ("sd15", "chruch", {}, "unknown concept 'chruch': did you mean 'church'"),
        ("sd15", "qqq", {}, r"unknown concept 'qqq': there are \d+, for example"),
        ("sd15", "Da Vinci", {"kind": "style"}, "unknown style 'Da Vinci'.*'Leonardo Da Vinci'"),
        ("mini", " ", {}, "must be a word"),
    ],
)
def test_words_and_kinds_that_are_none_are_refused(profile, concept, options, message):
    with pytest.raises(ValueError, match=message):
        prompt_pairs(load_profile(profile), concept, **options)


def test_words_are_checked_against_the_model_when_it_lists_them(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("RBTC_DATA", str(tmp_path))
    assert vocabulary(mini) == ()  # nobody wrote them down: nothing to check against
    assert concept_word(mini, "zeppelin") == "zeppelin"
    folder = tmp_path / "models" / "not-there"
    folder.mkdir(parents=True)
    lists = {"concepts": ["church", "golf flag"], "styles": ["fluent"], "scenes": []}
    (folder / "concepts.json").write_text(json.dumps(lists))
    assert concept_word(mini, "Golf Ball") == "golf flag"
    with pytest.raises(ValueError, match=r"unknown concept 'curch': did you mean 'church'"):
        concept_word(mini, "curch")
    with pytest.raises(ValueError, match="unknown style 'noto'"):
        prompt_pairs(mini, "noto", kind="style")
    (folder / "concepts.json").write_text("{")
    with pytest.raises(ValueError, match=r"concepts\.json is damaged"):
        concept_word(mini, "candle")


def test_every_word_of_mini_is_one_its_model_knows():
    profile = load_profile("mini")
    with (data_root() / "emoji" / "concepts.csv").open(encoding="utf-8") as stream:
        known = {row["concept"] for row in csv.DictReader(stream)}
    known &= set(vocabulary(profile)) or known  # the trained model's own list, when it is there
    words = {*profile.classes.values(), *profile.prompts.things, *profile.restricted}
    assert words - known == set()
    scenes = set(profile.prompts.scenes)
    assert scenes <= (set(vocabulary(profile, "scenes")) or scenes)
    assert set(profile.styles) <= set(vocabulary(profile, "styles"))


def test_a_gpu_may_draw_more_pictures_at_a_time():
    mini = load_profile("mini")
    assert mini.drawn_at_once("cpu") == mini.batch_size
    assert mini.drawn_at_once(torch.device("cuda", 0)) == mini.gpu_batch_size
    assert load_profile("sd15").drawn_at_once("cuda:1") == load_profile("sd15").batch_size
