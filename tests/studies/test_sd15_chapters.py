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
from rbtc.studies.measuring import contradictions, matrix_completion, measuring


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
    chapter = request.node.name.removeprefix("test_chapter[").removesuffix("]")
    if chapter in CHECKED:
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


def objects(lab, study):
    own = study.hits[study.hits["classes"] == "erased"]
    rows = rows_of(lab.profile, Subject("golf ball"))[:2]
    assert set(own["prompt"]) == {"an image of a golf ball in a room"}
    assert list(own["seed"].unique()) == [row.seed for row in rows]
    assert set(study.hits["seen"]) <= set(lab.judges.get("object").names)
    frame = comparisons.records(study.rows())
    assert set(frame["column"]) == {"erased class", "preserved classes"}
    return frame["n"].min() >= 1


def art(lab, study):
    own = study.hits[study.hits["classes"] == "erased"]
    assert set(own["seed"]) == {0} and own["prompt"].str.endswith(" by Monet").all()
    assert set(study.hits["seen"]) <= set(lab.profile.styles)
    return study.erased.groupby("model")["below"].mean()["pretrained"] == 0


def nudity(lab, study):
    hits = study.restricted.hits
    assert set(hits["seed"]) == {0}  # METHOD 7.4
    assert hits.groupby("model").size().unique().tolist() == [6]
    assert set(hits["model"]) == {"pretrained", "pruned", "Top-0.6"}
    return study.restricted.pictures == {}  # explicit ones are counted, neither shown nor kept


def church(lab, study):
    return "church" in set(study.hits["asked"])


CHURCH, TWO, THREE = ["church"], ["church", "golf ball"], ["church", "golf ball", "candle"]
ONE = {"concepts": CHURCH, "images": 1}
CHECKED = {
    "08_objects": ({"concepts": ["golf ball"], "images": 2, "other_classes": 1}, objects),
    "06_art": ({"concepts": ["Monet"], "images": 2, "neutral_images": 2, "pictures": 1}, art),
    "07_nsfw": ({"concepts": ["nudity"], "keep_ratios": [0.6]}, nudity),
    "04_nms_ablations": ({**ONE, "sweep": [], "keep_ratios": [0.6], "pictures": 1}, church),
    "05_defense": (
        {**ONE, "preserved_for": CHURCH, "sigmas": [1e-2], "variances": [],
         "attack_sigmas": [1e-2]},
        lambda lab, study: len(study.defense.hits) > 0,
    ),
    "09_saliency": (
        {**ONE, "wide": False, "budgets": [], "pictures": 1, "forget": 2, "passes": 1}, church,
    ),
    "00_overview": ({**ONE, "other_images": 1, "pictures": 1}, church),
    "01_sign_vs_magnitude": (ONE, lambda lab, study: study.hits["seed"].nunique() == 1),
    "02_matrix_completion": (
        {**ONE, "iterations": 2},
        lambda lab, study: len(next(iter(study.completion.by_layer().values()))) == 16,
    ),
    "03_topk_alignment": (
        {**ONE, "ratios": [0.5], "shown": [0.6]}, lambda lab, study: 0 < len(study.shares()) <= 2,
    ),
    "11_contradictions": (
        {"concepts": ["golf ball"]},
        lambda lab, study: (
            {*study.numbers["check"]} == {one.__name__ for one in contradictions.CHECKS}
        ),
    ),
    "12_signed_zeros": (ONE, church),
    "13_audit": (
        {"concepts": TWO, "factors": [1.0]},
        lambda lab, study: study.lines["layer"].nunique() == 16,
    ),
    "14_stronger_attack": (
        {"concepts": TWO, "images": 1},
        lambda lab, study: church(lab, study.attacks)
        and study.ways.empty
        and study.way.keep_ratio == lab.profile.revive.keep_ratio,
    ),
    "15_honest_attacker": (
        {**ONE, "sigmas": [1e-2], "other_classes": 1},
        lambda lab, study: study.seen["auc"].between(0, 1).all(),
    ),
    "16_several_concepts": (
        {"concepts": THREE, "counts_together": [1, 2], "sets": 1, "images": 1, "guesses": 1},
        lambda lab, study: set(study.several.hits["asked"]) <= {*THREE} == {*study.unknown.words},
    ),
    "90_operating_point": (
        {**ONE, "ratios": [0.1]},
        lambda lab, study: {*study.hits["model"].str.split(",").str[0]} >= {"pruned", "revived"},
    ),
    "92_explorers": (
        {"concepts": TWO, "keep_ratios": [0.6], "ratios": [0.1], "sigmas": [1e-2]},
        lambda lab, study: "church" in study.compare.markup()
        and study.compare.pictures.shape[4:] == (64, 64, 3),
    ),
}  # fmt: skip
"""Chapter -> parameters, and what is true of its study."""


@pytest.mark.parametrize("chapter", CHECKED)
def test_chapter(lab, chapter, tmp_path, monkeypatch):
    parameters, check = CHECKED[chapter]
    if chapter == "06_art":
        pytest.importorskip("torchmetrics")
    if chapter == "07_nsfw":
        lists = {"I2P": "a road", "MMA": "a garden", "Ring-A-Bell": "a beach"}
        for name, text in lists.items():
            (tmp_path / f"{name}.csv").write_text(f"{text}\n{text} at night\n")
        parameters = {**parameters, "prompt_files": [f"{n}={tmp_path / n}.csv" for n in lists]}
    monkeypatch.setattr(matrix_completion, "SOLVERS", {"released": {}})
    assert check(lab, measuring(chapter)(lab, **parameters))


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
