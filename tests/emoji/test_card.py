"""The model card's text: commands that repeat the training, honest about how it went."""

import dataclasses
import json

import pandas as pd
import pytest

from rbtc.emoji.card import card
from rbtc.emoji.diffusion import Levers
from rbtc.emoji.report import BARS
from rbtc.emoji.train import DEFAULTS, models_folder

TRAIN = "python -m rbtc.emoji.train"


def _stage(name, **changes):
    return {**dataclasses.asdict(DEFAULTS[name]), "seconds": 600.0, "device": "a CPU", **changes}


def _diffusion(levers=None, **changes):
    return _stage("diffusion", levers=dataclasses.asdict(levers or Levers()), **changes)


FIRST = _diffusion()
SECOND = _diffusion(
    Levers(activation_sparsity=0.5), pictures=64_000, warmup=3_200,
    start={"sha256": {"unet": "0" * 64}, "training": FIRST},
)  # fmt: skip
INTERVAL = {"value": 0.05, "low": 0.02, "high": 0.1, "n": 100}


@pytest.fixture
def written(tmp_path):
    """The lines of the card of a model with these records, and of a judge of seven concepts."""

    def write(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def lines(diffusion, **judge):
        vae = dict.fromkeys(("code_psnr", "code_psnr_noisy", "decoder_psnr_noisy"), 18.0)
        vae |= {"pictures": 120_000, "score_pictures": 9, "decoder_psnr": 28.4, "encoder_error": 1}
        code = {"pictures": 4096, "channels": 32}
        models, results = tmp_path / "models", tmp_path / "results"
        training = {"code": code, "vae": vae, "diffusion": diffusion}
        write(models / "emoji-sd" / "training.json", training)
        write(models / "emoji-sd" / "concepts.json", {"concepts": ["a"] * 3, "styles": ["b"]})
        content = {"names": ["church"] * 7, "scores": {}, "training": _stage("concept-judge")}
        write(models / "emoji-judge-concept" / "judge.json", content | judge)
        found = {
            "info": {"scheduler": "S", "steps": 16, "guidance": 3.0}, "images_per_class": 100,
            "mean_class_accuracy": 0.96, "worst_class_accuracy": 0.75, "all_ffn_zero": INTERVAL,
            "specificity": {"layer": "all", "q0.5": 1.0}, "bars": BARS, "bars_met": True,
        }  # fmt: skip
        write(results / "emoji_report.json", found)
        row = {"kind": "class", "name": "church", "accuracy": 0.9, **INTERVAL}
        pd.DataFrame([row]).to_csv(results / "emoji_accuracy.csv", index=False)
        row = {"ratio": 0.1, "concept": "church", "density": 0.09, "sign_accuracy": 0.7}
        for name, n in (("erased", 25), ("preserved", 33)):
            row |= {name: 0.5, f"{name}_low": 0.3, f"{name}_high": 0.7, f"{name}_n": n}
        pd.DataFrame([row]).to_csv(results / "emoji_erasability.csv", index=False)
        return card(models, results).splitlines()

    return lines


def test_commands_name_only_what_is_not_a_default(written):
    diffusion = _diffusion(Levers(text_width=96), learning_rate=1e-4)
    lines = written(diffusion, training=_stage("concept-judge", pictures=1_300_000))
    assert f"{TRAIN} vae" in lines
    assert f"{TRAIN} diffusion --learning-rate 0.0001 --text-width 96" in lines
    assert f"{TRAIN} concept-judge --pictures 1300000" in lines
    assert not any("style-judge" in line for line in lines)  # there is none in the folder


def test_a_card_says_how_a_model_that_started_from_another_was_trained(written):
    lines = written(SECOND, scores={"held_out_house": INTERVAL})
    assert f"{TRAIN} diffusion --run runs/1" in lines
    assert (
        f"{TRAIN} diffusion --run runs/2 --start runs/1/diffusion --pictures 64000 "
        "--warmup 3200 --activation-sparsity 0.5" in lines
    )
    assert f"{TRAIN} pack --run runs/2" in lines
    (first,) = (i for i, line in enumerate(lines) if line.startswith("| 1 | nothing | 240,000 |"))
    assert lines[first + 1].startswith("| 2 | run 1 | 64,000 |")
    text = "\n".join(lines)
    for part in ("28.4 dB", "32 of 192", "fluentflat", "`activation_sparsity` | 0.5", "0.96",
                 "7\nthings", "0.50 [0.30, 0.70] (25) | 0.50 [0.30, 0.70] (33)",
                 "| held out house | 0.050 [0.020, 0.100] (n=100) |"):  # fmt: skip
        assert part in text


def test_a_start_nobody_recorded_is_said_to_be_one(written):
    text = "\n".join(written({"start": {"sha256": {}, "training": None}, **FIRST}))
    assert "| 1 | no record |" in text
    assert "diffusion --run runs/2 --start" in text


def test_a_run_whose_options_changed_says_so(written):
    first = {"from": 0, "pictures": 300, "learning_rate": 0.1, "device": "a CPU"}
    resumed = {**first, "from": 160}
    assert "(from" not in "\n".join(written(_diffusion(sittings=[first, resumed])))
    shorter = {**resumed, "pictures": 230}
    text = "\n".join(written(_diffusion(sittings=[first, shorter])))
    assert "| 300 (from 0), 230 (from 160) |" in text


def test_a_model_of_an_earlier_edition_keeps_its_card(tmp_path):
    (tmp_path / "emoji-sd").mkdir()
    (tmp_path / "emoji-sd" / "training.json").write_text('{"stages": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match="earlier edition"):
        card(tmp_path)


def test_the_committed_card_is_what_the_command_writes():
    committed = models_folder() / "emoji-sd" / "README.md"
    text = card(results=models_folder().parents[1] / "results")
    assert text == committed.read_text(encoding="utf-8")
