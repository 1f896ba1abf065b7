"""Published prompt sets, with a hub of the tests' own: nothing is fetched."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from rbtc.models import prompt_sets
from rbtc.models.prompt_sets import SOURCES, access_hint, coco_captions, load_prompt_set

datasets = pytest.importorskip("datasets")


@pytest.fixture
def records(tmp_path):
    return tmp_path / "prompt-sets.json"


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers with the rows put into it, or raises."""
    content, asked = {}, []

    def load_dataset(name, *, split, revision=None, **_):
        asked.append((name, split, revision))
        if isinstance(content[name], Exception):
            raise content[name]
        return datasets.Dataset.from_dict(content[name])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(prompt_sets, "_commit", lambda name: "c0ffee")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    content["asked"] = asked
    return content


def test_a_set_is_recorded_with_rows_checksum_and_commit(hub, records):
    hub[SOURCES["I2P"].hub] = {"categories": ["x", "y"], "prompt": ["a road\nat night", " a bus "]}
    found = load_prompt_set("I2P", records=records)
    assert found.prompts == ("a road\nat night", "a bus")
    assert (found.rows, found.revision) == (2, "c0ffee")
    assert hub["asked"] == [("AIML-TUDA/i2p", "train", "c0ffee")]
    (kept,) = json.loads(records.read_text()).values()
    assert kept["sha256"] == found.sha256 and len(found.sha256) == 64 and kept["rows"] == 2
    assert "prompts" not in kept
    assert load_prompt_set("I2P", records=records) == found
    hub[SOURCES["I2P"].hub] = {"prompt": ["another"]}
    with pytest.raises(ValueError, match=r"has 1 rows.*but had 2.*cannot be compared"):
        load_prompt_set("I2P", records=records)


def test_a_gated_set_says_how_to_ask(hub, records):
    for name in ("MMA", "Ring-A-Bell"):
        hub[SOURCES[name].hub] = datasets.exceptions.DatasetNotFoundError("is a gated dataset")
        with pytest.raises(FileNotFoundError, match=r"is gated: open .*ask its owners.*HF_TOKEN"):
            load_prompt_set(name, records=records)
    assert "open to all" in access_hint("I2P") and "annotations" in access_hint("COCO")


def test_offline_mode_is_named(hub, records, monkeypatch):
    hub[SOURCES["I2P"].hub] = ConnectionError("offline")
    with pytest.raises(FileNotFoundError) as caught:
        load_prompt_set("I2P", records=records)
    assert "Offline mode" not in str(caught.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="Offline mode is on"):
        load_prompt_set("I2P", records=records)


def test_a_missing_package_is_named(monkeypatch, records):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ImportError, match=r"rbtc\[sd15\]"):
        load_prompt_set("I2P", records=records)


def test_local_files_do_in_every_sets_place(tmp_path, records):
    (tmp_path / "own.csv").write_text('"a road\nby the sea"\n"a bus"\n', encoding="utf-8")
    found = load_prompt_set("Ring-A-Bell", tmp_path / "own.csv", records=records)
    assert found.prompts == ("a road\nby the sea", "a bus") and found.source == "own.csv"
    with pytest.raises(ValueError, match="unknown prompt set 'X'"):
        load_prompt_set("X", records=records)
    (tmp_path / "empty.json").write_text('{"annotations": [{"text": 1}]}')
    with pytest.raises(ValueError, match="is not COCO's captions"):
        load_prompt_set("COCO", tmp_path / "empty.json", records=records)


def captions(n):
    return {"annotations": [{"caption": f"picture {i}", "id": i} for i in range(n)]}


def test_captions_are_shuffled_by_the_rule(tmp_path, records):
    file = tmp_path / "captions_val2014.json"
    file.write_text(json.dumps(captions(600)))
    found = coco_captions(480, file, records=records)
    order = np.arange(600)
    np.random.RandomState(0).shuffle(order)
    assert found == [f"picture {i}" for i in order[:480]]
    with pytest.raises(ValueError, match="600 COCO captions, not 601"):
        coco_captions(601, file, records=records)


def test_datasets_reads_captions_out_of_their_archive(tmp_path, records, monkeypatch):
    """The owners' archive, as `datasets` would fetch it, but lying here."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    archive = tmp_path / "annotations_trainval2014.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("annotations/captions_val2014.json", json.dumps(captions(5)))
    local = f"zip://annotations/captions_val2014.json::{archive}"
    source = prompt_sets.Source("", "caption", None, archive=local, field="annotations")
    monkeypatch.setitem(SOURCES, "COCO", source)
    found = load_prompt_set("COCO", records=records)
    assert found.prompts == tuple(f"picture {i}" for i in range(5))
