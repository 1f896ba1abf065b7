"""The model card's text: commands that repeat the training, honest about how it went."""

import dataclasses
import json

import pandas as pd

from rbtc.emoji.card import erasability_table, sittings_note, training_commands
from rbtc.emoji.diffusion import Levers
from rbtc.emoji.train import DEFAULTS


def _stage(name, **changes):
    return {**dataclasses.asdict(DEFAULTS[name]), **changes}


def _training(**diffusion):
    stages = {"vae": _stage("vae"), "diffusion": _stage("diffusion", **diffusion)}
    return {"stages": stages, "levers": dataclasses.asdict(Levers(text_width=96))}


def test_commands_name_only_what_is_not_a_default(tmp_path):
    judge = tmp_path / "emoji-judge-concept"
    judge.mkdir()
    record = {"training": _stage("concept-judge", pictures=1_300_000)}
    (judge / "judge.json").write_text(json.dumps(record), encoding="utf-8")

    lines = training_commands(tmp_path, _training(learning_rate=1e-4)).splitlines()

    assert "python -m rbtc.emoji.train vae" in lines
    assert "python -m rbtc.emoji.train diffusion --learning-rate 0.0001 --text-width 96" in lines
    assert "python -m rbtc.emoji.train concept-judge --pictures 1300000" in lines
    assert not any("style-judge" in line for line in lines)  # there is none in the folder


def test_a_run_whose_options_changed_says_so():
    first = {"from": 0, "pictures": 300, "learning_rate": 0.1, "device": "a CPU"}
    resumed = {**first, "from": 160}
    assert sittings_note(_training(sittings=[first, resumed])) == ""

    shorter = {**resumed, "pictures": 230}
    assert "(from 160)" in sittings_note(_training(sittings=[first, shorter]))


def test_erasability_rows_carry_interval_and_count():
    row = {"ratio": 0.02, "concept": "church", "density": 0.024, "sign_accuracy": 0.87}
    for name, n in (("erased", 25), ("preserved", 33)):
        row |= {name: 0.5, f"{name}_low": 0.3, f"{name}_high": 0.7, f"{name}_n": n}
    assert "0.50 [0.30, 0.70] (25) | 0.50 [0.30, 0.70] (33)" in erasability_table(
        pd.DataFrame([row])
    )
