"""The doctor and the budget: nothing is fetched, nothing is drawn."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rbtc.cli import doctor
from rbtc.cli.doctor import check
from rbtc.models.budget import CHAPTERS, FID_PICTURES, cost_table, costs, demand
from rbtc.models.profiles import load_profile
from rbtc.models.rate import measure


@pytest.fixture(scope="module")
def sd15():
    return load_profile("sd15")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty cache of everything."""
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(doctor, "_in_hub_cache", lambda *_: False)
    return tmp_path


def of(findings, topic):
    return [finding for finding in findings if finding.topic == topic]


# ---- budget --------------------------------------------------------------------------------------


def test_table_1_is_its_models_times_the_classes_times_the_seeds(sd15):
    needed = demand(sd15, 1)
    assert sum(needed.values()) == (1 + 12 * 5) * 12 * 500
    assert len({model for model, _ in needed}) == 1 + 12 * 5


def test_the_same_pictures_are_counted_once(sd15):
    one, three = demand(sd15, 1), demand(sd15, 3)
    assert sum(three.values()) == 15 * 500
    assert len(three.keys() & one.keys()) == 3  # K = 0.6 of golf ball, three magnitudes
    found = {cost.table: cost for cost in costs(sd15)}
    parts = sum(cost.pictures for name, cost in found.items() if name != "all")
    assert found["all"].pictures < parts


def test_the_other_tables_follow_their_protocols(sd15):
    assert sum(demand(sd15, 12).values()) == 12 * 8 * 500
    assert sum(demand(sd15, 4).values()) == 12 * 2 * (2 + 11) * 500
    table_7 = demand(sd15, 7)
    assert sum(table_7.values()) == 5 * (4703 + 1000 + 101)
    plain, whole = demand(sd15, 2), demand(sd15, 2, fid=True)
    models = {model for model, _ in plain}
    assert len(models) == 1 + 5 * 3
    assert sum(plain.values()) == 16 * 480 + (5 + 15) * 50
    assert sum(whole.values()) - sum(plain.values()) == 16 * FID_PICTURES
    with pytest.raises(ValueError, match="table 6 is not made of pictures"):
        demand(sd15, 6)


def test_hours_come_from_a_measured_rate(sd15):
    (cost, everything) = costs(sd15, seconds_per_picture=3.6, tables=[12])
    assert cost.hours == pytest.approx(cost.pictures / 1000)
    assert cost.gigabytes == pytest.approx(cost.pictures * 512 * 512 * 3 / 1e9)
    assert everything.pictures == cost.pictures
    assert costs(sd15)[0].hours is None
    assert set(cost_table([cost])) >= {"table", "pictures", "hours"}
    with pytest.raises(ValueError, match="seconds per picture must be positive, not 0"):
        costs(sd15, seconds_per_picture=0)


# ---- doctor --------------------------------------------------------------------------------------


def test_what_sd15_lacks_is_named_with_the_way_to_get_it(sd15, nowhere, monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: False)
    findings = check(sd15, seconds_per_picture=2.0)
    (weights,) = of(findings, "weights")
    assert weights.state == "missing" and "hf download" in weights.remedy
    assert sd15.revision in weights.remedy
    packages = {f.text.partition(",")[0]: f for f in of(findings, "package")}
    assert packages["nudenet"].remedy == "pip install 'rbtc[nsfw]'"
    assert packages["datasets"].remedy == "pip install 'rbtc[sd15]'"
    assert packages["torch_fidelity"].remedy == "pip install 'rbtc[fid]'"
    sets = {f.text.split()[0]: f for f in of(findings, "data set")}
    assert set(sets) == {"I2P", "MMA", "Ring-A-Bell", "COCO"}
    assert "ask its owners" in sets["MMA"].remedy and "gated" in sets["MMA"].text
    assert any("AGPL" in f.text for f in of(findings, "licence"))
    assert any("RAIL" in f.text for f in of(findings, "licence"))
    assert all("hours" in f.text for f in of(findings, "time"))
    (judge,) = of(findings, "judge of objects")
    assert judge.state == "missing" and "resnet50" in judge.text
    assert of(findings, "CLIP")[0].state == "missing"


def test_a_chapter_asks_for_no_more_than_it_needs(sd15, nowhere):
    findings = check(sd15, "08_objects")
    assert not of(findings, "data set")
    assert not any("nudenet" in f.text for f in of(findings, "package"))
    assert any("table 1 " in f.text for f in of(findings, "time"))
    assert any("measured" in f.text for f in of(findings, "time"))
    assert len(of(check(sd15, "07_nsfw"), "data set")) == 3
    with pytest.raises(ValueError, match="unknown chapter '99'"):
        check(sd15, "99")
    assert set(CHAPTERS.values()) >= {"08_objects", "06_art", "07_nsfw", "05_defense"}


def test_what_was_loaded_before_is_there(sd15, nowhere):
    from rbtc.models.prompt_sets import load_prompt_set

    (nowhere / "own.csv").write_text("a road\na bus\n")
    load_prompt_set("MMA", nowhere / "own.csv")
    found = {f.text.split()[0].strip(":"): f for f in of(check(sd15, "07_nsfw"), "data set")}
    assert found["MMA"].state == "ok" and "2 rows" in found["MMA"].text
    assert found["I2P"].state == "missing"


def test_a_folder_is_looked_into(sd15, nowhere, tiny_pipeline_folder):
    from rbtc.models.sd15 import RANDOM

    at = dataclasses.replace(sd15, model=str(tiny_pipeline_folder))
    assert of(check(at), "weights")[0].state == "ok"
    at = dataclasses.replace(sd15, model=str(nowhere / "none"))
    assert of(check(at), "weights")[0].state == "missing"
    assert RANDOM.endswith(".json")


def test_a_full_disk_is_seen_before(sd15, nowhere, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    (disk,) = of(check(sd15), "disk")
    assert disk.state == "missing" and "RBTC_CACHE" in disk.remedy


def test_a_cache_that_cannot_be_written_is_named(nowhere, monkeypatch, call):
    assert of(check("mini"), "cache")[0].state == "ok"
    (nowhere / "file").write_text("in the way")
    monkeypatch.setenv("RBTC_CACHE", str(nowhere / "file" / "cache"))
    (cache,) = of(check("mini"), "cache")
    assert cache.state == "missing" and "RBTC_CACHE" in cache.text and "\n" not in cache.text
    assert call("doctor", "mini").status == 1


def test_an_unknown_device_is_a_mistake_of_the_user(nowhere):
    with pytest.raises(ValueError, match="unknown device 'nonsense'"):
        check("mini", device="nonsense")


def test_the_miniature_needs_none_of_it(nowhere):
    findings = check("mini")
    assert not of(findings, "data set") and not of(findings, "licence")
    assert of(findings, "device")[0].state == "ok" or torch.cuda.is_available()


def test_the_command_prints_and_tells_by_its_status(nowhere, call):
    done = call("doctor", "sd15", "08_objects", "--seconds-per-picture", "2")
    assert done.status == 1
    assert "MISSING weights" in done.out and "hours on one such device" in done.out
    assert done.out.splitlines()[-1].endswith("missing")
    both = call("doctor", "mini", "--measure", "--seconds-per-picture", "2")
    assert both.status == 2 and "not both" in both.err


# ---- rate ----------------------------------------------------------------------------------------


def test_a_picture_is_its_calls_of_the_unet(pipeline, sd15):
    profile = dataclasses.replace(sd15, steps=4, batch_size=2)
    ticks = iter([0.0, 6.0])
    batches = []
    watch = pipeline.unet.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    try:
        seconds = measure(pipeline, profile, calls=3, clock=lambda: next(ticks))
    finally:
        watch.remove()
    assert batches == [4] * 4  # both halves of two pictures, one call to warm up and three timed
    assert seconds == pytest.approx(6.0 / 3 * 4 / 2)
