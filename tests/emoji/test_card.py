"""The model card's text: commands that repeat the training, honest about how it went."""

import dataclasses
import json

import pandas as pd
import pytest

from rbtc.emoji.card import card, erasability_table, stages_table, training_commands
from rbtc.emoji.diffusion import Levers
from rbtc.emoji.report import BARS
from rbtc.emoji.train import DEFAULTS, models_folder


def _stage(name, **changes):
    return {**dataclasses.asdict(DEFAULTS[name]), "seconds": 600.0, "device": "a CPU", **changes}


def _training(levers=None, **diffusion):
    record = _stage("diffusion", levers=dataclasses.asdict(levers or Levers()), **diffusion)
    return {
        "code": {"pictures": 4096, "channels": 32},
        "vae": {
            "pictures": 120000,
            "score_pictures": 1024,
            "code_psnr": 28.6,
            "decoder_psnr": 28.4,
            "code_psnr_noisy": 18.0,
            "decoder_psnr_noisy": 25.0,
            "encoder_error": 1e-3,
        },
        "diffusion": record,
    }


def _second_stage():
    first = _training()["diffusion"]
    start = {"sha256": {"unet": "0" * 64}, "training": first}
    sparse = Levers(activation_sparsity=0.5)
    return _training(sparse, pictures=64_000, warmup=3_200, start=start)


def test_commands_name_only_what_is_not_a_default(tmp_path):
    judge = tmp_path / "emoji-judge-concept"
    judge.mkdir()
    record = {"training": _stage("concept-judge", pictures=1_300_000)}
    (judge / "judge.json").write_text(json.dumps(record), encoding="utf-8")

    training = _training(Levers(text_width=96), learning_rate=1e-4)
    lines = training_commands(tmp_path, training).splitlines()

    assert "python -m rbtc.emoji.train vae" in lines
    assert "python -m rbtc.emoji.train diffusion --learning-rate 0.0001 --text-width 96" in lines
    assert "python -m rbtc.emoji.train concept-judge --pictures 1300000" in lines
    assert not any("style-judge" in line for line in lines)  # there is none in the folder


def test_a_run_that_started_from_another_is_told_with_it(tmp_path):
    lines = training_commands(tmp_path, _second_stage()).splitlines()
    command = "python -m rbtc.emoji.train"
    assert f"{command} diffusion --run runs/1" in lines
    assert (
        f"{command} diffusion --run runs/2 --start runs/1/diffusion --pictures 64000 "
        "--warmup 3200 --activation-sparsity 0.5" in lines
    )
    assert f"{command} pack --run runs/2" in lines
    rows = stages_table(_second_stage()).splitlines()
    assert rows[-2].startswith("| 1 | nothing | 240,000 |")
    assert rows[-1].startswith("| 2 | run 1 | 64,000 |")


def test_a_start_nobody_recorded_is_said_to_be_one(tmp_path):
    training = {**_training(), "diffusion": {"start": {"sha256": {}, "training": None}}}
    training["diffusion"] |= _stage("diffusion")
    assert "| 1 | no record |" in stages_table(training)
    assert "diffusion --run runs/2 --start" in training_commands(tmp_path, training)


def test_a_run_whose_options_changed_says_so():
    first = {"from": 0, "pictures": 300, "learning_rate": 0.1, "device": "a CPU"}
    resumed = {**first, "from": 160}
    assert "(from" not in stages_table(_training(sittings=[first, resumed]))

    shorter = {**resumed, "pictures": 230}
    assert "| 300 (from 0), 230 (from 160) |" in stages_table(_training(sittings=[first, shorter]))


def test_erasability_rows_carry_interval_and_count():
    row = {"ratio": 0.02, "concept": "church", "density": 0.024, "sign_accuracy": 0.87}
    for name, n in (("erased", 25), ("preserved", 33)):
        row |= {name: 0.5, f"{name}_low": 0.3, f"{name}_high": 0.7, f"{name}_n": n}
    assert "0.50 [0.30, 0.70] (25) | 0.50 [0.30, 0.70] (33)" in erasability_table(
        pd.DataFrame([row])
    )


def _write_results(folder):
    folder.mkdir()
    share = {"value": 0.05, "low": 0.02, "high": 0.1, "n": 100}
    found = {
        "info": {"scheduler": "S", "steps": 16, "guidance": 3.0},
        "images_per_class": 100,
        "mean_class_accuracy": 0.96,
        "worst_class_accuracy": 0.75,
        "all_ffn_zero": share,
        "specificity": {"layer": "all", "q0.5": 1.0},
        "bars": BARS,
        "bars_met": True,
    }
    (folder / "emoji_report.json").write_text(json.dumps(found), encoding="utf-8")
    row = {"kind": "class", "name": "church", "accuracy": 0.9, "low": 0.8, "high": 0.95, "n": 100}
    pd.DataFrame([row]).to_csv(folder / "emoji_accuracy.csv", index=False)
    row = {"ratio": 0.1, "concept": "church", "density": 0.09, "sign_accuracy": 0.7}
    for name in ("erased", "preserved"):
        row |= {name: 0.5, f"{name}_low": 0.3, f"{name}_high": 0.7, f"{name}_n": 25}
    pd.DataFrame([row]).to_csv(folder / "emoji_erasability.csv", index=False)


def test_the_card_is_written_from_the_records_alone(tmp_path):
    model = tmp_path / "models" / "emoji-sd"
    model.mkdir(parents=True)
    (model / "training.json").write_text(json.dumps(_second_stage()), encoding="utf-8")
    words = {"concepts": ["church"] * 3, "styles": ["a", "b"], "scenes": []}
    (model / "concepts.json").write_text(json.dumps(words), encoding="utf-8")
    judge = tmp_path / "models" / "emoji-judge-concept"
    judge.mkdir()
    content = {"names": ["church"] * 7, "scores": {}, "training": _stage("concept-judge")}
    (judge / "judge.json").write_text(json.dumps(content), encoding="utf-8")
    _write_results(tmp_path / "results")
    text = card(tmp_path / "models", tmp_path / "results")
    for part in (
        "28.4 dB",
        "32 of 192",
        "fluentflat",
        "`activation_sparsity` | 0.5",
        "0.96",
        "7\nthings",
    ):
        assert part in text


def test_a_model_of_an_earlier_edition_keeps_its_card(tmp_path):
    folder = tmp_path / "models" / "emoji-sd"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text('{"stages": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match="earlier edition"):
        card(tmp_path / "models")


def test_the_committed_card_is_what_the_command_writes():
    committed = models_folder() / "emoji-sd" / "README.md"
    text = card(results=models_folder().parents[1] / "results")
    assert text == committed.read_text(encoding="utf-8")
