import json
from pathlib import Path

import pandas as pd
import pytest

from rbtc.emoji import variants
from rbtc.emoji.scenes import STYLED
from rbtc.emoji.variants import score_variant, trained, variants_table


def test_a_variant_is_counted_before_and_after_pruning_and_attack(lab):
    scores = score_variant(
        lab, ["church", "bus"], images=2, other_images=1, ratios=(0.2,), keep_ratios=(0.5, 1.0)
    )
    assert len(scores) == 2 * (2 + 1 + 2)
    assert (scores["erased_n"] == 2).all() and (scores["preserved_n"] == 1).all()
    cut = scores[scores["ratio"] == 0.2]
    assert (cut["density"] > 0).all() and cut["sign_accuracy"].between(0, 1).all()
    levers = {"activation_sparsity": 0.5, "neuron_sparsity": 1.0, "styled": 0.5, "pictures": 7}
    table = variants_table(scores.assign(variant="A", **levers))
    assert list(table["model"]) == ["pretrained", "no feed-forward", "pruned", "revived", "revived"]
    assert (table["erased_n"] == 4).all()


def test_training_is_summed_over_the_runs(tmp_path):
    first = {"pictures": 100, "levers": {"activation_sparsity": 0.2}}
    last = {"pictures": 20, "levers": {"neuron_sparsity": 1.0}, "start": {"training": first}}
    (tmp_path / "training.json").write_text(json.dumps({"diffusion": last}))
    assert trained(tmp_path) == {
        "pictures": 120, "activation_sparsity": 0.0, "neuron_sparsity": 1.0, "styled": STYLED,
    }  # fmt: skip


def test_a_folder_that_holds_no_packed_model_is_refused_before_any_work(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected NAME=FOLDER"):
        variants.main([f"A={tmp_path}", "--folder", str(tmp_path)])
    assert not list(tmp_path.glob("*.csv"))


def test_rows_of_other_variants_stay_to_the_letter(tmp_path, monkeypatch, lab):
    path = Path(__file__).parents[2] / "results" / "emoji_variants.csv"
    before = path.read_text(encoding="utf-8").splitlines()
    file = tmp_path / path.name
    (tmp_path / "training.json").write_text(json.dumps({"diffusion": {"pictures": 5}}))
    row = {"model": "new", "concept": "bus", "erased_hits": 3, "erased_n": 4}
    monkeypatch.setattr(variants, "Lab", lambda profile: lab)
    monkeypatch.setattr(variants, "held_out_concepts", lambda profile, count: ["church", "bus"])
    monkeypatch.setattr(variants, "score_variant", lambda *_, **__: pd.DataFrame([row]))
    file.write_text("\n".join([*before, ""]), encoding="utf-8")
    variants.main([f"A={tmp_path}", "--folder", str(tmp_path)])
    after = file.read_text(encoding="utf-8").splitlines()
    assert after[:-1] == before

    monkeypatch.setattr(variants, "variants_table", lambda scores: scores)
    old = [{"variant": "A", "model": "pretrained"}, {"variant": "B", "model": "x"}]
    pd.DataFrame(old).to_csv(file, index=False)
    variants.main([f"A={tmp_path}", "--folder", str(tmp_path)])
    found = pd.read_csv(file)
    assert list(zip(found["variant"], found["model"], strict=True)) == [("B", "x"), ("A", "new")]
    assert (found["styled"] == STYLED).all()  # of a time when no run named it
