"""Measuring and verifying on the committed miniature, with as few pictures as tell something."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rbtc import results, saving
from rbtc.cli import measure
from rbtc.cli.app import run
from rbtc.files import file_digest
from rbtc.studies.chapters import beside, study
from rbtc.studies.measuring import MEASURES, defaults

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "00_overview"
COUNTS = ["-p", "concepts=church", "-p", "other_images=1", "-p", "pictures=1"]
MINI = (ROOT / "data" / "profiles" / "mini.toml").read_text(encoding="utf-8")


def write_profile(folder: Path, **changes: str) -> str:
    """The miniature's profile with two steps, and with other changes."""
    text = MINI.replace("steps = 8", "steps = 2")
    assert text.count("= 2 ") + text.count("= 2\n") >= 2
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / "mini.toml").write_text(text, encoding="utf-8")
    return str(folder / "mini.toml")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("RBTC_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    profile = write_profile(tmp_path_factory.mktemp("profile"))
    return ["measure", CHAPTER, "--images", "2", *COUNTS, "--profile", profile]


@pytest.fixture(scope="module")
def measured(cache, words, tmp_path_factory):
    """A folder like results with one measurement; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("results")
    assert run([*words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copied(measured, tmp_path):
    shutil.copytree(measured, tmp_path / "results")
    return tmp_path / "results"


def test_a_measurement_says_how_it_was_made(measured):
    found, record = study(CHAPTER, "mini", results=measured)
    assert record.parameters["concepts"] == ["church"] and record.parameters["images"] == 2
    assert record.pictures == len(found.hits) == 3 * (2 + 11)
    assert record.command.startswith("rbtc measure 00_overview -p concepts=church -p ")
    assert {"torch", "diffusers"} <= set(record.versions)
    assert set(record.models) == {"model", "object", "other object", "style", "clip"}
    assert record.weights["concept"] == "church" and record.weights["right"] > 0
    assert sorted(p.name for p in (measured / "mini" / CHAPTER).iterdir()) == [
        "hits.csv", "pictures.webp", "run.json", "study.json",
    ]  # fmt: skip


def test_a_reader_of_it_may_not_ask_for_another(measured):
    study(CHAPTER, "mini", results=measured, images=2)  # as measured
    study(CHAPTER, "mini", results=measured, images=defaults(CHAPTER)["images"])  # the cell's own
    with pytest.raises(ValueError, match=r"images = 3 asks for another .* live = True"):
        study(CHAPTER, "mini", results=measured, images=3)
    with pytest.raises(FileNotFoundError, match="rbtc measure 00_overview"):
        study(CHAPTER, "sd15", results=measured)


def test_a_fuller_measurement_is_not_written_over(copied, words):
    before = file_digest(copied / "mini" / CHAPTER / "run.json")
    fewer = ["1" if word == "2" else word for word in words] + ["--out", str(copied)]
    with pytest.raises(ValueError, match=r"holds a measurement of 39 .* 36: say --force"):
        run(fewer)
    assert file_digest(copied / "mini" / CHAPTER / "run.json") == before
    assert run([*fewer, "--force"]) == 0
    assert results.read_run(copied / "mini" / CHAPTER).pictures == 36


def test_a_killed_measurement_goes_on_and_ends_the_same(measured, words, tmp_path, monkeypatch):
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "cache"))
    words = [*words, "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "rbtc", *words]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    images = tmp_path / "cache" / "runs" / "images"
    while not list(images.glob("*/*.safetensors")) and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out" / "mini").iterdir())
    assert run(words) == 0
    one, other = (folder / "mini" / CHAPTER for folder in (measured, tmp_path / "out"))
    for name in ("hits.csv", "study.json", "pictures.webp"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert results.read_run(other).drawn < results.read_run(one).drawn


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a chapter, or --all"),
        (["08"], "no chapter '08' measures anything"),
        (["10_claims"], "no chapter '10_claims' measures anything"),
        ([CHAPTER, "-p", "imges=3"], "has no parameter imges; it takes concepts, images"),
        ([CHAPTER, "--images", "0"], "--images"),
        ([CHAPTER, "-p", "images=many"], "expected a int"),
        ([CHAPTER, "--profile", "maxi"], "maxi"),
    ],
)
def test_wrong_words_stop_before_any_work(tmp_path, words, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(["measure", *words, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_parameters_of_the_command_line():
    defaults = {"profile": "mini", "concepts": ["church"], "images": 2, "seed": 0, "ratio": 0.5}
    given = {"concepts": "star", "ratio": "1e-3", "images": "7", "profile": "3"}
    assert measure.fit_parameters(given, defaults, "one") == {
        "concepts": ["star"], "ratio": 1e-3, "images": 7, "profile": "3",
    }  # fmt: skip
    assert measure.fit_parameters({"ratio": 1}, defaults, "one") == {"ratio": 1}


def test_whole_numbers_that_may_be_zero():
    defaults = {"other_classes": 4, "images": 2, "seed": 0, "draw_seed": 7}
    given = {"other_classes": 0, "images": 1, "seed": -1, "draw_seed": -2}
    assert measure.fit_parameters(given, defaults, "one") == given
    with pytest.raises(ValueError, match="one: other_classes must be at least 0"):
        measure.fit_parameters({"other_classes": "-1"}, defaults, "one")


def test_the_full_counts_are_parameters_of_their_chapters():
    for chapter in MEASURES:
        measure.chosen(chapter, {}, full=True)
    assert measure.chosen("08_objects", {"images": "7"}, full=True)["images"] == 7


def test_classes_in_the_order_of_the_papers_effect():
    order = measure.by_effect(["church", "golf ball", "parachute", "anchor"])
    assert order == ["parachute", "church", "golf ball", "anchor"]


# ---- verifying ----------------------------------------------------------------------------------


@pytest.fixture
def verify(copied, words):
    def verify(*more, rows=6):
        given = [*words[words.index("--profile") :], "--results", str(copied)]
        return run(["verify", CHAPTER, *given, "--rows", str(rows), *more])

    return verify


def test_what_was_measured_here_is_verified_here(verify, copied, capsys):
    assert verify("--note") == 0
    assert (
        "6 of 6 redrawn labels and 7 of 7 recomputed numbers are equal" in capsys.readouterr().out
    )
    assert "6 of 6 redrawn labels" in study(CHAPTER, "mini", results=copied)[1].verified


def test_a_row_that_was_edited_by_hand_is_found(verify, copied, capsys):
    folder = copied / "mini" / CHAPTER
    frame = pd.read_csv(folder / "hits.csv")
    frame["seen"] = "spoon"
    frame.to_csv(folder / "hits.csv", index=False)
    assert verify() == 1
    assert "its digest differs" in capsys.readouterr().out
    record = json.loads((folder / "run.json").read_text())  # and with a digest to match
    record["files"]["hits.csv"] = file_digest(folder / "hits.csv")
    (folder / "run.json").write_text(json.dumps(record))
    assert verify() == 1
    assert "'spoon' is now" in capsys.readouterr().out


def test_the_record_of_another_chapter_is_found(verify, copied, capsys):
    folder = copied / "mini" / CHAPTER
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "chapter": "08_objects"}))
    assert verify() == 1
    assert "is the record of 08_objects" in capsys.readouterr().out


PROFILES = {
    "another checkpoint": ("models/emoji-sd", "models/emoji-sd-more-styles", "digests differ"),
    "another template": ('prompt = "a {concept}"', 'prompt = "one {concept}"', "settings"),
}


@pytest.mark.parametrize("what", PROFILES)
def test_another_profile_is_found(verify, tmp_path, capsys, what):
    old, new, told = PROFILES[what]
    assert verify("--profile", write_profile(tmp_path / "other", **{old: new})) == 1
    assert told in capsys.readouterr().out


def test_another_solver_is_found(verify, capsys, monkeypatch):
    import inspect

    from rbtc.attack import completion

    def stopped(filled, index, *, tolerance=0.0, max_iterations=1, early_stop=False, fast=False):
        return plain(filled, index, max_iterations=1)

    plain = completion.released_or_limit
    assert set(inspect.signature(stopped).parameters) <= set(inspect.signature(plain).parameters)
    monkeypatch.setattr(completion, "released_or_limit", stopped)
    assert verify() == 1
    assert "right of church" in capsys.readouterr().out


def test_compressed_rows_read_like_plain_ones(tmp_path, measured):
    found, record = study(CHAPTER, "mini", results=measured)
    longer = type(found)(found.subjects, pd.concat([found.hits] * 9, ignore_index=True), {})
    place = saving.save(longer, tmp_path / CHAPTER, record)
    assert gzip.decompress((place / "hits.csv.gz").read_bytes()).startswith(b"concept,")
    pd.testing.assert_frame_equal(results.load(type(found), place).hits, longer.hits)


def test_hours_choose_classes_and_pictures_that_fit(cache, words, monkeypatch):
    from rbtc.lab import Lab

    lab = Lab(words[-1], progress=False)
    monkeypatch.setattr("rbtc.models.rate.measure", lambda pipe, profile: 0.1)
    few = {"other_images": 1, "concepts": ["church", "candle", "parachute"]}
    a_class = 3 * (measure.FEWEST + 11)  # three models, the class and eleven others
    hours = 2.2 * a_class * 0.1 / 3600 / measure.SPARE
    plan, told = measure.fitted(lab, CHAPTER, few, hours)
    assert plan["concepts"] == ["parachute", "church"] and plan["images"] == measure.FEWEST
    assert "2 of 3 classes, 20 pictures" in told and "+0.55 to +0.65" in told
    plan, _ = measure.fitted(lab, CHAPTER, few, 10 * hours)
    assert len(plan["concepts"]) == 3 and plan["images"] > 100
    assert measure.rehearsed(lab, CHAPTER, plan)[1] * 0.1 <= 10 * hours * 3600 * measure.SPARE
    with pytest.raises(ValueError, match="1 classes with 20 a model take 93: give it more"):
        measure.fitted(lab, CHAPTER, few, hours / 10)
    with pytest.raises(ValueError, match="draws no pictures of classes"):
        measure.fitted(lab, "13_audit", {}, 1.0)


def test_the_same_chapter_on_sd15_stands_beside_it(measured, tmp_path):
    assert beside(CHAPTER, "mini", measured) is None
    shutil.copytree(measured / "mini", tmp_path / "sd15")
    other = beside(CHAPTER, "mini", tmp_path)
    assert other.accuracy("erased", "pruned") and beside(CHAPTER, "sd15", tmp_path) is None
