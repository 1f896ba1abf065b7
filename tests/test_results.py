"""Measurements on disk: what is saved reads back, and what is no measurement is told so."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_trip import assert_reads_back, assert_same, run_of

from rbtc import results, saving
from rbtc.models.subjects import Subject


@dataclass(frozen=True)
class Part:
    name: str
    value: float


@dataclass(frozen=True, eq=False)
class Study:
    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    pictures: dict[str, dict[str, np.ndarray]]
    features: dict[tuple[str, str], np.ndarray]
    parts: tuple[Part, ...]
    best: Part | None
    pair: tuple[str, float]
    nothing: float | None = None


def picture(seed, n=2, size=8):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.fixture
def study():
    hits = pd.DataFrame(
        {
            "concept": ["a", "b, c", 'd "e"'],
            "note": ["", "x", "NA"],
            "maybe": ["x", None, "y"],
            "seed": [1, 2, 3],
            "draw": pd.array([1, None, 3], dtype="Int64"),
            "value": [0.1, np.nan, 1 / 3],
            "hit": [True, False, True],
        }
    )
    return Study(
        (Subject("golf flag", "golf ball"), Subject("fluent", None, "style")),
        hits,
        {"a": {"one": picture(0), "two": picture(1, 1, 6)}, "b": {"one": picture(0)}},
        {("", "reference"): np.arange(6.0).reshape(2, 3)},
        (Part("p", 0.1), Part("q", float("nan"))),
        Part("r", 1e-300),
        ("s", 2.5),
    )


def test_everything_reads_back(study, tmp_path):
    assert_reads_back(study, tmp_path)
    assert_reads_back(dataclasses.replace(study, best=None, nothing=1.5), tmp_path)  # over it
    assert sorted(p.name for p in (tmp_path / "00_chapter").iterdir()) == [
        "arrays.npz", "hits.csv", "pictures.webp", "run.json", "study.json",
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["00_chapter"]


def test_equal_measurements_give_equal_bytes(study, tmp_path):
    folders = [saving.save(study, tmp_path / x / "c", run_of("c")) for x in "ab"]
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
columns = st.one_of(
    st.lists(st.floats(allow_nan=True), min_size=3, max_size=3),
    st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(texts, min_size=3, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.one_of(texts, st.floats(allow_nan=False)), columns, min_size=1))
def test_any_frame_reads_back(tmp_path_factory, content):
    @dataclass(frozen=True, eq=False)
    class One:
        frame: pd.DataFrame

    One.__annotations__ = {"frame": pd.DataFrame}
    folder = tmp_path_factory.mktemp("any")
    frame = pd.DataFrame(content)
    for made in (frame, frame.set_index(frame.columns[0]), pd.concat([frame] * 200)):
        place = saving.save(One(made), folder / "c", run_of("c"))
        assert_same(One(made), results.load(One, place))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1, "x"]}), "hits, column 'a': holds"),
        (pd.DataFrame({"a": ["", None]}), "empty and missing texts"),
        (pd.DataFrame({("a", "b"): [1]}), "one line of headings"),
    ],
)
def test_what_has_no_exact_form_is_refused(study, tmp_path, frame, message):
    with pytest.raises(ValueError, match=message):
        saving.save(dataclasses.replace(study, hits=frame), tmp_path / "c", run_of("c"))
    assert not list(tmp_path.iterdir())


def edited(folder):
    path = folder / "hits.csv"
    path.write_text(path.read_text().replace("True", "False"))


def other_chapter(folder):
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "chapter": "08_objects"}))


DAMAGE = {
    "its digest differs": edited,
    "hits.csv is missing": lambda folder: (folder / "hits.csv").unlink(),
    "is the record of 08_objects, not of c": other_chapter,
    "is damaged": lambda folder: (folder / "run.json").write_text("{"),
    r"is damaged \(Run": lambda folder: (folder / "run.json").write_text('{"a": 1}'),
    "there is no measurement": lambda folder: (folder / "run.json").unlink(),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_what_is_not_what_was_measured_is_refused(study, tmp_path, message):
    folder = saving.save(study, tmp_path / "c", run_of("c"))
    DAMAGE[message](folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        results.read_run(folder)


def test_a_failed_save_leaves_the_last_measurement(study, tmp_path, monkeypatch):
    folder = saving.save(study, tmp_path / "c", run_of("c"))
    monkeypatch.setattr(saving, "_write_pictures", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saving.save(dataclasses.replace(study, best=None), folder, run_of("c"))
    assert_same(study, results.load(Study, folder))
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_verification_belongs_to_one_measurement(study, tmp_path):
    folder = saving.save(study, tmp_path / "c", run_of("c"))
    assert "Not verified" in str(results.read_run(folder))
    saving.note_verified(folder, "Replayed")
    assert results.read_run(folder).verified == "Replayed"
    saving.save(study, folder, run_of("c", seconds=2.0))
    assert results.read_run(folder).verified == ""
