"""What is wrong is said before anything is computed: at the door of a study, a store, a command."""

from __future__ import annotations

import dataclasses
import stat
import urllib.error
from pathlib import Path

import pytest
import torch
from stubs import PROFILE, Judge

from rbtc.attack.revive import revive
from rbtc.emoji import card, report, sets, train, variants
from rbtc.files import check_writable, data_root
from rbtc.lab import Lab
from rbtc.models.judges import build_resnet, load_judge, save_judge
from rbtc.studies.measuring import operating_point
from rbtc.studies.measuring.defense import measure as defense
from rbtc.studies.measuring.descent import descent
from rbtc.studies.measuring.detection import detection_study
from rbtc.studies.measuring.nms_ablations import ablation_study
from rbtc.studies.measuring.operating_point import class_sweep, keep_sweep, pruning_sweep
from rbtc.studies.measuring.overview import overview
from rbtc.studies.measuring.sign_vs_magnitude import sign_study

EMOJI = data_root() / "models" / "emoji-sd"
PRUNING = {"ratio": 0.2, "calls": 2, "reference": "scene"}
COUNTS = {"images": 1, "other_images": 1}


def idle(lab: Lab) -> Lab:
    """The lab, without anything that could work: whoever prunes, completes or draws fails."""

    def work(*_, **__):
        raise AssertionError("work was begun")

    lab.store.images = lab.store.weights = lab.store.json = work
    return lab


@pytest.fixture
def closed(pipeline, tmp_path):
    return idle(Lab(PROFILE, pipeline=pipeline, store=tmp_path, progress=False, classifier=Judge()))


# ---- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda lab: detection_study(lab, "church", sigmas=[0.0]), "sigmas must be finite"),
        (lambda lab: detection_study(lab, "church", share=2.0), r"share must .* \(0, 1\]"),
        (lambda lab: descent(lab, "church", layer="attic"), "there is no layer 'attic'"),
        (lambda lab: pruning_sweep(lab, ["church", "bus"], images=0, other_images=1), "images"),
        (lambda lab: pruning_sweep(lab, ["church", "bus"], **COUNTS, calls=[9]), "only 2 steps"),
        (
            lambda lab: pruning_sweep(lab, ["church", "bus"], **COUNTS, calls=[2], ratios=[2.0]),
            "ratio must",
        ),
        (
            lambda lab: keep_sweep(lab, ["church"], **COUNTS, **PRUNING, keep_ratios=[2]),
            "keep_ratio is 2",
        ),
        (lambda lab: class_sweep(lab, ["church"], 1, ratios=[0.1, 0.0]), "ratio must"),
        (lambda lab: lab.owner.pruned("church", calls=9), "calls is 9.* only 2 steps"),
        (lambda lab: lab.owner.pruned("church", ratio=0.0), "ratio must lie in"),
    ],
)
def test_wrong_options_are_refused_at_the_door(closed, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(closed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_ratio": 2}, "keep_ratio is 2"),
        ({"per": "house"}, "per is 'house'"),
        ({"strategy": "loudest"}, "strategy is 'loudest'"),
        ({"strategy": "completed", "released": True}, "released belongs to"),
    ],
)
def test_an_attack_is_refused_before_its_completion(closed, options, message, monkeypatch):
    weights = {"a": torch.tensor([[1.0, 0.0], [2.0, 3.0], [1.0, -1.0]])}
    target = "rbtc.attack.revive.complete_all"
    monkeypatch.setattr(target, lambda *_, **__: pytest.fail("completed"))
    with pytest.raises(ValueError, match=message):
        revive(weights, **options)
    with pytest.raises(ValueError, match=message):
        closed.attacker.attack(closed.owner.custom("cut", weights), **options)


def test_a_scheduler_may_call_once_more(closed):
    assert closed.owner.settings(calls=3).calls == 3
    with pytest.raises(ValueError, match="calls is 4, and a picture has only 2 steps"):
        closed.owner.settings(calls=4)


# ---- judges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda lab: overview(lab, ["church"], 1),
        lambda lab: sign_study(lab, ["church"], 1),
        lambda lab: ablation_study(lab, ["church"], 1),
        lambda lab: defense(lab, ["church"], preserved_for=["church"]),
        lambda lab: pruning_sweep(lab, ["church", "bus"], **COUNTS, calls=[2]),
        lambda lab: keep_sweep(lab, ["church"], **COUNTS, **PRUNING),
        lambda lab: class_sweep(lab, ["church"], 1),
    ],
)
def test_a_study_misses_its_judge_before_it_prunes(pipeline, tmp_path, ask):
    evaluation = dataclasses.replace(PROFILE.evaluation, classifier="models/no-such-judge")
    profile = dataclasses.replace(PROFILE, evaluation=evaluation)
    lab = idle(Lab(profile, pipeline=pipeline, store=tmp_path, progress=False))
    with pytest.raises(FileNotFoundError, match=r"no-such-judge does not exist: expected judge"):
        ask(lab)


def judges(pipeline, tmp_path, **places):
    evaluation = dataclasses.replace(PROFILE.evaluation, **places)
    profile = dataclasses.replace(PROFILE, evaluation=evaluation)
    return Lab(profile, pipeline=pipeline, store=tmp_path / "store", progress=False).judges


def test_a_judge_that_is_required_is_loaded_and_damaged_weights_are_found(pipeline, tmp_path):
    card = {"kind": "resnet", "names": ["a", "b"], "layers": [1, 1, 1, 1]}
    network, folder = build_resnet(2), tmp_path / "judge"
    save_judge(network, card, folder)
    there = judges(pipeline, tmp_path, style_classifier=str(folder))
    there.require("style", "style")
    assert there.loaded("style")
    next(network.parameters()).data.view(-1)[0] = float("nan")
    save_judge(network, card, folder)
    with pytest.raises(ValueError, match="NaN"):
        judges(pipeline, tmp_path, style_classifier=str(folder)).require("style")
    Lab(PROFILE, pipeline=pipeline, store=tmp_path, classifier=Judge()).judges.require("object")


@pytest.mark.parametrize(("kind", "key"), [("style", "style_classifier"), ("clip", "clip")])
def test_a_style_judge_or_clip_that_is_not_there_is_named(pipeline, tmp_path, kind, key):
    with pytest.raises(ValueError, match=rf"no judge for '{kind}': .* evaluation\.{key}"):
        judges(pipeline, tmp_path, **{key: ""}).require(kind)
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        judges(pipeline, tmp_path, **{key: "models/gone"}).require(kind)


def test_a_clip_without_a_tokenizer_is_not_there(pipeline, tmp_path):
    save_judge(build_resnet(2), {"kind": "clip", "model": {}}, tmp_path / "clip")
    with pytest.raises(FileNotFoundError, match="holds no tokenizer"):
        judges(pipeline, tmp_path, clip=str(tmp_path / "clip")).require("clip")


def test_similarity_misses_its_clip_before_it_draws(pipeline, tmp_path):
    profile = dataclasses.replace(
        PROFILE, evaluation=dataclasses.replace(PROFILE.evaluation, clip="models/gone")
    )
    lab = idle(Lab(profile, pipeline=pipeline, store=tmp_path, progress=False))
    with pytest.raises(FileNotFoundError, match="gone"):
        lab.measure.similarity(lab.pretrained, "a church", [0])


def test_a_judge_that_cannot_be_fetched_says_so(pipeline, tmp_path, monkeypatch):
    def offline(**_):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.models.resnet50", offline)
    name = "resnet50-imagenet1k-v2"
    with pytest.raises(FileNotFoundError, match=r"could not be fetched .*no route.*resnet50-.*pth"):
        load_judge(name)
    with pytest.raises(FileNotFoundError, match="could not be fetched"):
        judges(pipeline, tmp_path, classifier=name).require("object")


# ---- folders -------------------------------------------------------------------------------------


def test_a_store_that_has_everything_may_be_read_only(tmp_path, monkeypatch):
    from rbtc.lab import store as module

    module.Store(tmp_path).json({"kind": "test"}, lambda: 1)
    monkeypatch.setattr(module, "check_writable", lambda folder: pytest.fail("tried to write"))
    assert module.Store(tmp_path).json({"kind": "test"}, lambda: pytest.fail("made"))[0] == 1


def test_a_folder_is_tried_and_left_as_it_was(tmp_path, monkeypatch):
    assert check_writable(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as killed:  # as if the process ended before it could tidy up
        killed.setattr(Path, "unlink", lambda *_, **__: None)
        check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"the folder .*file/results cannot be written"):
        check_writable(tmp_path / "file" / "results")


@pytest.fixture
def no_work(monkeypatch):
    """Nothing that an emoji command or a benchmark begins with may be called."""

    def work(*_, **__):
        raise AssertionError("work was begun")

    for module in (train.sets, variants, operating_point, report):
        for name in ("fetch", "load_sheet", "Lab"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, work)


IN_THE_WAY = "{file}/x"
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("main", "words", "message"),
    [
        (variants.main, ["a={model}", "--concepts", "0"], "--concepts must be at least 2"),
        (variants.main, ["a={model}", "--images", "0"], "images must be"),
        (variants.main, ["a={model}", "--other-images", "-1"], "other_images must be"),
        (variants.main, ["a={model}", "--folder", IN_THE_WAY], "x cannot be written"),
        (train.main, ["code", "--run", IN_THE_WAY], "x cannot be written"),
        (train.main, ["code", "--concepts", "0"], "concepts must be a whole number of at least 1"),
        (train.main, ["code", "--concepts", "-5"], "concepts must be a whole number of at least 1"),
        (train.main, ["concept-judge", "--models", IN_THE_WAY], "x cannot be written"),
        (train.main, ["pack", "--models", IN_THE_WAY], "x cannot be written"),
        (train.main, ["diffusion", "--device", "nonsense"], "the device 'nonsense'"),
        pytest.param(train.main, ["clip", "--device", "cuda"], "the device 'cuda'", marks=NO_GPU),
        (operating_point.main, ["--model", "{folder}/gone"], "gone does not exist"),
        (operating_point.main, ["--folder", IN_THE_WAY], "x cannot be written"),
        (operating_point.main, ["--images", "0", "--folder", "{folder}"], "images must be"),
        (operating_point.main, ["--concepts", "1", "--folder", "{folder}"], "concepts"),
        (report.main, ["--folder", IN_THE_WAY], "x cannot be written"),
        (report.main, ["--images", "0"], "images must be"),
    ],
)
def test_what_cannot_be_is_said_before_work(main, words, message, no_work, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "cache"))
    places = {"file": tmp_path / "file", "folder": tmp_path, "model": EMOJI}
    if not any("folder" in word for word in words) and main is not train.main:
        words = [*words, "--folder", "{folder}"]
    with pytest.raises((ValueError, OSError), match=message):
        main([word.format(**places) for word in words])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_commands_that_write_take_no_unknown_words(monkeypatch, capsys):
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: pytest.fail("written"))
    for words in (["--nosuch"], ["/nonexistent"]):
        with pytest.raises(SystemExit) as left:
            card.main(words)
        assert left.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err


def test_the_emoji_cache_lies_where_the_others_do(tmp_path, monkeypatch):
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path))
    assert sets.cache_folder() == tmp_path / "emoji"


# ---- npm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error code ENOTFOUND' >&2\necho 'npm error more' >&2\nexit 1", "ENOTFOUND"),
        ("exit 7", "status 7 .9 of 9 files did not arrive"),
        ("exit 0", "status 0 .9 of 9 files did not arrive"),
    ],
)
def test_an_npm_that_fails_is_one_line(tmp_path, monkeypatch, script, message):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(npm.parent))
    with pytest.raises(ValueError, match=message) as caught:
        sets.fetch(tmp_path / "sets")
    assert "\n" not in str(caught.value) and "check the network" in str(caught.value)
