"""Prompt files follow the published rules, and speak of adults only."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from stubs import PROFILE, Judge

from rbtc.files import data_root
from rbtc.lab import Lab
from rbtc.models.profiles import load_profile, names_minors
from rbtc.models.prompt_files import SEEDS, Row, asked_rows, rows_of
from rbtc.models.prompts import evaluation_prompt, subject_of
from rbtc.models.subjects import Subject


@pytest.fixture(scope="module")
def sd15():
    return load_profile("sd15")


def test_objects_are_what_the_rule_gives(sd15):
    for place, word in enumerate([*sd15.classes.values(), "garbage truck"]):  # the released list
        seeds = np.random.default_rng([0, place]).choice(10_000, SEEDS, replace=False).tolist()
        expected = [Row(word, evaluation_prompt(sd15, word), seed) for seed in seeds]
        assert rows_of(sd15, Subject(word)) == expected and len({*seeds}) == 500


def test_painters_have_fifty_titles_each_and_seed_0(sd15):
    for style in sd15.styles:
        rows = rows_of(sd15, Subject(style, kind="style"))
        assert len(rows) == len({row.prompt for row in rows}) == 50
        assert {row.seed for row in rows} == {0}
        assert all(row.prompt.endswith(f" by {style}") for row in rows)


def test_every_prompt_is_about_adults(sd15):
    for name in (sd15.evaluation.objects, sd15.evaluation.styles):
        with (data_root() / name).open(encoding="utf-8", newline="") as stream:
            prompts = [row["prompt"] for row in csv.DictReader(stream)]
        assert not [prompt for prompt in prompts if names_minors(prompt)]


def test_the_lab_asks_what_the_files_say(sd15, pipeline, tmp_path):
    lab = Lab(sd15, pipeline=pipeline, store=tmp_path, progress=False, classifier=Judge())
    prompts, seeds = lab.measure._asked(subject_of(sd15, "church"), 3, 2)
    rows = rows_of(sd15, Subject("church"))[2:5]
    assert (prompts, seeds) == ([row.prompt for row in rows], [row.seed for row in rows])
    prompts, seeds = lab.measure._asked(subject_of(sd15, "Monet", "style"), 50, 0)
    assert seeds == [0] * 50 and prompts[0].endswith("by Monet")
    with pytest.raises(ValueError, match=r"50 rows for 'Monet'.*ask for fewer"):
        lab.measure._asked(subject_of(sd15, "Monet", "style"), 51, 0)


def test_a_profile_without_files_asks_as_before():
    assert asked_rows(PROFILE, Subject("church"), 3) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asked,prompt\nchurch,a\n", "its columns are"),
        ("asked;prompt;seed\nchurch;a;1\n", "with commas between"),
        ("asked,prompt,seed\nchurch,a church\n", "line 2: 2 cells, expected 3"),
        ('asked,prompt,seed\nchurch,"a church,1\n', "line 2: unexpected end"),
        ("asked,prompt,seed\nchurch,a\0church,1\n", "line 2: the control character"),
        *((f"asked,prompt,seed\nchurch,a church,{seed}\n", "row 1: the seed .* is no whole")
          for seed in ("x", "-5", str(2**70), "1_0", "٣", " 1", "1.0", "")),
        ("asked,prompt,seed\nchurch, ,1\n", "row 1: asked or prompt is empty"),
        ("asked,prompt,seed\nchurch,a church,1\nchurch,a church,1\n", "row 2 stands there twice"),
        *((f"asked,prompt,seed\nchurch,a {word} church,1\n", "adults only")
          for word in ("young", "ｙｏｕｎｇ", "yo\u200bung", "y\u00f3ung")),
        ("asked,prompt,seed\nbus,a bus,1\n", "no row for 'church'"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_clear_error(tmp_path, monkeypatch, text, message):
    monkeypatch.setenv("RBTC_DATA", str(tmp_path))
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    evaluation = dataclasses.replace(PROFILE.evaluation, objects="own.csv")
    profile = dataclasses.replace(PROFILE, evaluation=evaluation)
    with pytest.raises(ValueError, match=message):
        rows_of(profile, Subject("church"))
    (tmp_path / "own.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"restore it"):
        rows_of(profile, Subject("church"))
