"""Every chapter with pictures under the profile sd15, on random weights and random judges.

What is asserted is that prompts, seeds, labels, shapes and files are the protocol's. The weights
are random numbers and so is every judgement: no accuracy here means anything, and `rbtc measure`
keeps nothing of such a model.

By default the model is of the same build with a few channels. With

    RBTC_FULL_SIZE=benchmarks/full_size_chapters.json python -m pytest tests/studies/test_sd15_chapters.py

it is the published build (860 million parameters) and CLIP is a ViT-B/32; only the pictures are
small (64 x 64), as the weights do not depend on that. What every test took is then written down in
that file.
"""  # noqa: E501

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from published import random_pipeline
from torch import nn

from rbtc.cli.measure import measure as measure_command
from rbtc.lab import Lab
from rbtc.models.detectors import NUDITY
from rbtc.models.judges import ImageNetJudge
from rbtc.models.open_clips import OpenClipJudge
from rbtc.models.pipelines import load_pipeline
from rbtc.models.profiles import PruneSettings, load_profile
from rbtc.models.prompt_files import rows_of
from rbtc.models.sd15 import mark_random
from rbtc.models.subjects import Subject
from rbtc.report import comparisons
from rbtc.studies import contradictions
from rbtc.studies.measuring import (
    defense,
    explorer,
    nsfw,
    operating_point,
    several_concepts,
    stronger_attack,
)
from rbtc.studies.measuring.art import art_study
from rbtc.studies.measuring.audit import audit_study
from rbtc.studies.measuring.honest_attacker import honest_study
from rbtc.studies.measuring.matrix_completion import completion_study
from rbtc.studies.measuring.nms_ablations import ablation_study
from rbtc.studies.measuring.objects import object_study
from rbtc.studies.measuring.overview import overview
from rbtc.studies.measuring.saliency import saliency_study
from rbtc.studies.measuring.sign_vs_magnitude import sign_study
from rbtc.studies.measuring.signed_zeros import signed_zero_study
from rbtc.studies.measuring.topk_alignment import alignment_study


class Detector:
    """NudeNet's labels, decided by chance."""

    digest = f"chance {NUDITY}"

    def __call__(self, images):
        return images.mean(axis=(1, 2, 3)) > 127


class RandomClip(nn.Module):
    def __init__(self):
        super().__init__()
        self.picture, self.text = nn.Linear(3, 4), nn.Embedding(50_000, 4)

    def encode_image(self, x):
        return self.picture(x.mean(dim=(2, 3)))

    def encode_text(self, tokens):
        return self.text(tokens).mean(dim=1)


RECORD = os.environ.get("RBTC_FULL_SIZE", "")


@pytest.fixture(scope="module", autouse=True)
def lines():
    """What the tests took, for the record of a run at full size."""
    found: list[dict[str, object]] = []
    yield found
    if RECORD:
        record = {
            "weights": "random: no result of this is a result",
            "model": "the published build in float32, pictures of 64 x 64",
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "chapters": sorted(found, key=lambda line: str(line["chapter"])),
        }
        before = json.loads(Path(RECORD).read_text()) if Path(RECORD).is_file() else record
        ran = {line["chapter"] for line in found}  # a part of the chapters renews their lines
        kept = [line for line in before["chapters"] if line["chapter"] not in ran]
        if kept:
            lines = [*kept, *found]
            record["chapters"] = sorted(lines, key=lambda line: str(line["chapter"]))
        Path(RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def clock(request, lines):
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    yield
    spent = time.perf_counter() - start
    peak = 0.0
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    chapter = request.node.name.removeprefix("test_")
    if chapter[0].isdigit():
        lines.append({"chapter": chapter, "minutes": spent / 60, "peak_gigabytes": peak})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("random")
    size = {"sample_size": 8} if RECORD else {"small": True}
    random_pipeline(place / "configuration", **size).save_pretrained(place / "model")
    mark_random(place / "model")
    return place / "model"


def random_clip():
    if not RECORD:
        return RandomClip()
    import open_clip

    return open_clip.create_model("ViT-B-32", pretrained=None).eval()


@pytest.fixture(scope="module")
def lab(folder, tmp_path_factory):
    import open_clip
    from torchvision.models import ResNet50_Weights, resnet50

    torch.manual_seed(0)
    weights = ResNet50_Weights.IMAGENET1K_V2
    judge = ImageNetJudge(resnet50(), weights.transforms(), weights.meta["categories"])
    judge.digest = "random ResNet-50"
    side = 224

    def prepared(picture):
        return torch.from_numpy(np.array(picture.resize((side, side)))).permute(2, 0, 1) / 255.0

    clip = OpenClipJudge(random_clip(), prepared, open_clip.get_tokenizer("ViT-B-32"))
    clip.digest = "random CLIP"
    profile = dataclasses.replace(
        load_profile("sd15"),
        model=str(folder),
        steps=2,
    )
    if not RECORD:  # k of a row is a whole number, and these rows have a few dozen weights
        pruning = PruneSettings(ratio=0.1, calls=2, nudity_ratio=0.1)
        profile = dataclasses.replace(profile, conceptprune=pruning)
    else:
        pruning = dataclasses.replace(profile.conceptprune, calls=2)
        profile = dataclasses.replace(profile, conceptprune=pruning, dtype="float32")
    return Lab(
        profile,
        store=tmp_path_factory.mktemp("store"),
        device="cpu",
        progress=False,
        classifier=judge,
        clip=clip,
        detector=Detector(),
    )


def test_08_objects(lab):
    study = object_study(lab, ["golf ball"], 2, other_images=1, other_classes=1, pictures=1)
    own = study.hits[study.hits["classes"] == "erased"]
    rows = rows_of(lab.profile, Subject("golf ball"))[:2]
    assert set(own["prompt"]) == {"an image of a golf ball in a room"}
    assert list(own["seed"].unique()) == [row.seed for row in rows]
    assert set(study.hits["seen"]) <= set(lab.judges.get("object").names)
    frame = comparisons.records(study.rows())
    assert set(frame["column"]) == {"erased class", "preserved classes"}
    assert frame["n"].min() >= 1


def test_06_art(lab):
    pytest.importorskip("torchmetrics")
    study = art_study(lab, ["Monet"], 2, other_images=1, neutral_images=2, pictures=1)
    own = study.hits[study.hits["classes"] == "erased"]
    assert set(own["seed"]) == {0} and own["prompt"].str.endswith(" by Monet").all()
    assert set(study.hits["seen"]) <= set(lab.profile.styles)
    assert study.erased.groupby("model")["below"].mean()["pretrained"] == 0


def test_07_nsfw(lab, tmp_path):
    listed = []
    for name, text in {"I2P": "a road", "MMA": "a garden", "Ring-A-Bell": "a beach"}.items():
        (tmp_path / f"{name}.csv").write_text(f"{text}\n{text} at night\n")
        listed.append(f"{name}={tmp_path / name}.csv")
    options = {"keep_ratios": [0.6], "other_images": 1, "prompt_files": listed}
    study = nsfw.measure(lab, ["nudity"], **options).restricted
    assert set(study.hits["seed"]) == {0}  # METHOD 7.4
    assert study.hits.groupby("model").size().unique().tolist() == [6]
    assert set(study.hits["model"]) == {"pretrained", "pruned", "Top-0.6"}
    assert study.pictures == {}  # explicit pictures are counted, and neither shown nor kept


def test_04_nms_ablations(lab):
    found = ablation_study(lab, ["church"], 1, sweep=[], keep_ratios=[0.6], pictures=1)
    assert set(found.hits["asked"]) == {"church"}


def test_05_defense(lab):
    levels = {"sigmas": [1e-2], "variances": [], "attack_sigmas": [1e-2]}
    sweep = defense.measure(lab, ["church"], preserved_for=["church"], images=1, **levels)
    assert len(sweep.defense.hits) > 0


def test_09_saliency(lab):
    cut = saliency_study(lab, ["church"], 1, wide=False, budgets=[], pictures=1, forget=2, passes=1)
    assert set(cut.hits["asked"]) >= {"church"}


def test_00_overview(lab):
    whole = overview(lab, ["church"], 1, other_images=1, pictures=1)
    assert set(whole.hits["asked"]) >= {"church"}


def test_01_sign_vs_magnitude(lab):
    signs = sign_study(lab, ["church"], 1, pictures=1)
    assert signs.hits["seed"].nunique() == 1


def test_02_matrix_completion(lab):
    filled = completion_study(lab, ["church"], solvers={"released": {}}, images=1)
    assert len(next(iter(filled.by_layer().values()))) == 16


def test_03_topk_alignment(lab):
    aligned = alignment_study(lab, ["church"], ratios=[0.5], shown=[0.6], images=1)
    assert 0 < len(aligned.shares()) <= 2


def test_11_contradictions(lab):
    found = contradictions.measure(lab, ["golf ball"])
    assert set(found.numbers["check"]) == set(contradictions.WEIGHTS)


def test_12_signed_zeros(lab):
    leak = signed_zero_study(lab, ["church"], 1)
    assert set(leak.hits["asked"]) == {"church"}


def test_13_audit(lab):
    told = audit_study(lab, ["church", "golf ball"], factors=[1.0])
    assert told.lines["layer"].nunique() == 16


def test_14_stronger_attack(lab):
    better = stronger_attack.measure(lab, ["church", "golf ball"], 1)
    assert set(better.attacks.hits["asked"]) == {"church", "golf ball"}
    assert better.ways.empty and better.way.keep_ratio == lab.profile.revive.keep_ratio


def test_15_honest_attacker(lab):
    honest = honest_study(lab, ["church"], sigmas=[1e-2], images=1, other_classes=1)
    assert honest.seen["auc"].between(0, 1).all()


def test_16_several_concepts(lab):
    classes = ["church", "golf ball", "candle"]
    counts = {"counts_together": [1, 2], "sets": 1, "images": 1, "guesses": 1}
    made = several_concepts.measure(lab, classes, **counts)
    assert set(made.several.hits["asked"]) <= {*classes}
    assert set(made.unknown.words) == {*classes}


def test_90_operating_point(lab):
    hits = operating_point.measure(lab, ["church"], [lab.profile.conceptprune.ratio], 1).hits
    assert set(hits["model"].str.split(",").str[0]) >= {"pruned", "revived"}


def test_92_explorers(lab):
    ratios = [lab.profile.conceptprune.ratio]
    made = explorer.measure(
        lab, ["church", "golf ball"], keep_ratios=[0.6], ratios=ratios,
        sigmas=[1e-2],
    )  # fmt: skip
    assert "church" in made.compare.markup()
    (own,) = made.some(["church"]).values()
    shapes = {picture.shape[1:] for picture in own.values()}
    assert shapes == {(64, 64, 3)}


def test_nothing_is_kept_of_random_weights(lab, monkeypatch, tmp_path):
    assert lab.pipeline is not None and lab.random_weights
    monkeypatch.setattr("rbtc.lab.Lab", lambda *_, **__: lab)
    with pytest.raises(ValueError, match="random numbers"):
        measure_command(["11_contradictions"], profile="sd15", out=tmp_path)
    assert not [*tmp_path.rglob("run.json")]


def test_a_folder_of_the_published_layout_is_loaded_and_marked(lab, folder):
    index = json.loads((folder / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "PNDMScheduler"]
    pipe = load_pipeline(lab.profile, device="cpu")
    assert pipe.safety_checker is None
    assert lab.measure.images(lab.pretrained, "a road", [0]).shape == (1, 64, 64, 3)
