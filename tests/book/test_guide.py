"""The page "Run it on SD v1.5": its numbers are computed, its commands exist."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from rbtc.book import guide
from rbtc.cli.measure import chosen

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / guide.PAGE).read_text("utf-8")


def test_the_page_is_up_to_date():
    assert guide.render(TEXT, ROOT) == TEXT, "make book"


def test_a_completion_that_was_cut_short_is_told(tmp_path):
    found = json.loads((ROOT / guide.PROOF).read_text("utf-8"))
    found["facts"]["converged"] = found["facts"]["matrices"] - 1
    found["options"]["iterations"] = 7
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / guide.PROOF).write_text(json.dumps(found), encoding="utf-8")
    assert "| stopped at 7 iterations |" in guide.computed(tmp_path)
    assert "| converged |" in TEXT


def test_its_commands_name_parameters_that_the_chapters_take():
    commands = [line for line in re.findall(r"rbtc measure ([^`\n]*)", TEXT) if " -p " in line]
    assert len(commands) >= 7
    for words in map(shlex.split, commands):
        given = [word for before, word in itertools.pairwise(words) if before == "-p"]
        assert chosen(words[0], dict(one.split("=", 1) for one in given), full="--full" in words)


def test_its_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = re.findall(r"pip install -e '\.\[(.*?)\]'", TEXT)
    assert set(asked.split(",")) <= set(extras["optional-dependencies"])


def test_no_number_is_typed_outside_the_computed_part():
    head, rest = TEXT.split(guide.BEGIN)
    prose = head + rest.split(guide.END)[1]
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)  # commands
    prose = re.sub(r"`[^`]*`|Tables? [\d, and]+|v1\.5|I2P", "", prose)
    assert re.findall(r"\d[\d.,]*", prose) == []


def test_markers_are_needed(tmp_path):
    with pytest.raises(ValueError, match="once each"):
        guide.render("no markers", tmp_path)
