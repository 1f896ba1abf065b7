import json

import completion
import full_size
import pandas as pd
import pytest
import torch


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        (completion, ["--repeats", "0"], "repeats must be a whole number of at least 1"),
        (completion, ["--repeats", "-1"], "repeats must be a whole number of at least 1"),
        (completion, ["--patience", "nan"], "--patience must be a number of seconds"),
        (completion, ["--patience", "-1"], "--patience must be a number of seconds"),
        (completion, ["--device", "foo"], "the device 'foo' cannot be used here"),
        (completion, ["--device", "cuda"], "the device 'cuda' cannot be used here"),
        (completion, ["--out", "{file}/x"], "x cannot be written"),
        (full_size, ["--small", "--device", "cuda"], "the device 'cuda' cannot be used here"),
        (full_size, ["--small", "--steps", "0"], "steps must be a whole number of at least 1"),
        (full_size, ["--small", "--out", "{file}/x/y"], "x cannot be written"),
    ],
)
def test_options_are_refused_before_work(script, words, message, tmp_path, monkeypatch):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    for name in {completion: ["drawn", "emoji"], full_size: ["proof"]}[script]:
        monkeypatch.setattr(script, name, lambda *_, **__: pytest.fail("work was begun"))
    words = [word.format(file=tmp_path / "file") for word in words]
    with pytest.raises((ValueError, OSError), match=message):
        script.main(words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_quick_benchmark_writes_its_tables(tmp_path):
    completion.main(["--quick", "--growth", "--repeats", "1", "--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / "completion_benchmark.csv").set_index(["task", "contender"])
    assert set(table.index.get_level_values("task")) == {"small", "drawn"}
    assert (table["device"].str.startswith("cpu")).all()
    for task in ("small", "drawn"):
        loop, ours = (table.loc[(task, name)] for name in
                      ("released loop (SVD, float64)", "rbtc released"))  # fmt: skip
        assert loop["sign_agreement"] == 1.0 and loop["top_agreement"] == 1.0
        assert loop["speedup"] == 1.0
        assert ours["iterations"] == loop["iterations"]
        assert ours["sign_agreement"] > 0.99 and ours["seconds"] > 0
        assert table.loc[(task, "rbtc released, fast")]["sign_agreement"] > 0.97
    assert "extrapolated" in table.loc[("drawn", "released loop (SVD, float64)")]["note"]
    missing = table[table["seconds"].isna()]
    assert missing["note"].str.len().gt(0).all()  # whoever did not run says why
    limits = pd.read_csv(tmp_path / "completion_roofline.csv").set_index("part")
    assert limits.loc["computed iteration", "flops"] > limits["flops"].iloc[0]
    exponents = pd.read_csv(tmp_path / "completion_growth.csv")
    assert set(exponents["axis"]) == {"rows", "columns", "share"}
    assert exponents.groupby(["mode", "axis"])["exponent"].nunique().eq(1).all()
    assert (tmp_path / "completion_benchmark.png").stat().st_size > 1000


def test_the_proof_at_full_size_on_a_model_of_the_same_build(tmp_path):
    out = tmp_path / "full_size.json"
    # A ratio that prunes something of rows of a few dozen weights.
    options = ["--small", "--ratio", "0.1", "--iterations", "5", "--harden", "--device", "cpu"]
    full_size.main([*options, "--work", str(tmp_path), "--out", str(out)])
    found = json.loads(out.read_text())
    assert "random" in found["weights"]
    assert [line["step"] for line in found["steps"]] == [
        "build", "prune", "rbtc audit", "rbtc harden", "complete and revive", "save folder",
        "save single file", "load folder", "load single file",
    ]  # fmt: skip
    facts = found["facts"]
    assert facts["matrices"] == 16 and 0 < facts["share_pruned"] < 0.1
    assert facts["same_from_folder"] is True and facts["same_from_single_file"] is True
    assert all(line["minutes"] > 0 and line["peak_gigabytes"] > 0 for line in found["steps"])
    assert [path.name for path in tmp_path.iterdir()] == [out.name]  # it cleans up
