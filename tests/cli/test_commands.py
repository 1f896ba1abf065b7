"""Every command on real files: what it prints, what it writes, and what it leaves alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_files import NAMES, ORIGINAL, cut, matrices, others, save
from safetensors.torch import load_file

from rbtc.files import data_root
from rbtc.layers import find_layers
from rbtc.pruning.masks import load_masks

ROOT = Path(__file__).parents[2]
EMOJI = data_root() / "models" / "emoji-sd"
UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


def digests(place):
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return {str(p.relative_to(place)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def negative_zeros(tensors):
    return sum(int(((t == 0) & t.signbit()).sum()) for t in tensors.values())


# ---- audit ---------------------------------------------------------------------------------------


def test_a_pruned_file_is_found_and_its_counts_are_exact(call, pruned):
    done = call("audit", pruned, "--json")
    found = done.json
    assert done.status == 1 and found["findings"] == ["recoverable"]
    assert [layer["name"] for layer in found["layers"]] == NAMES
    assert {layer["zeros"] for layer in found["layers"]} == {24 * 4}
    assert found["density"] == pytest.approx(4 / 96) and found["negative_zeros"] == 0
    assert {layer["dtype"] for layer in found["layers"]} == {"F16"}
    assert {layer["rows"]["kind"] for layer in found["layers"]} == {"even"}
    assert found["signs"]["low"] > 0.5 and found["signs"]["n"] == 16 * 24
    assert "16 of 16 layers are pruned: 4.17%" in found["verdict"]
    assert "can partly be brought back" in found["verdict"]


def test_signed_zeros_are_a_leak(call, signed):
    found = call("audit", signed, "--json", "--no-estimate").json
    leaked = negative_zeros(load_file(signed))
    assert found["negative_zeros"] == leaked > 0
    assert found["findings"] == ["signed zeros"] and found["signs"] is None
    assert f"{leaked} of the {16 * 24 * 4} zeros are negative" in found["verdict"]


def test_a_whole_file_is_not_accused(call, whole):
    done = call("audit", whole, "--json")
    assert done.status == 0 and done.json["findings"] == [] and not done.json["pruned"]
    assert "Nothing here looks pruned" in done.json["verdict"]


def test_noise_has_nothing_to_bring_back(call, tmp_path):
    tensors = cut(matrices(noise=100.0))
    done = call("audit", save(tmp_path / "noise.safetensors", tensors), "--json")
    assert done.status == 0 and done.json["pruned"] and done.json["signs"]["low"] <= 0.5
    assert "not shown to be more than chance" in done.json["verdict"]


def test_zeros_that_rounding_leaves_are_no_pruning(call, tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {n: (3e-6 * torch.randn(64, 256, generator=generator)).half() for n in NAMES}
    assert min(int((t == 0).sum()) for t in tensors.values()) > 20 and negative_zeros(tensors)
    done = call("audit", save(tmp_path / "tiny.safetensors", tensors), "--json", "--no-estimate")
    assert done.status == 0 and not done.json["pruned"] and done.json["negative_zeros"] == 0


def test_the_table_has_a_line_per_layer_and_the_verdict_below(call, signed):
    done = call("audit", signed)
    assert done.status == 1 and done.err == ""
    for short in ("down0.0", "mid", "up3.2", "24x96", "F16", "even", "-0.0", "density"):
        assert short in done.out
    verdict = " ".join(done.out.split())
    assert "zeros are negative" in verdict and "came back with the right sign" in verdict


def test_one_file_in_the_original_naming_gives_the_same(call, signed, tmp_path):
    tensors = load_file(signed)
    renamed = dict(zip(ORIGINAL, (tensors[name] for name in NAMES), strict=True))
    renamed |= {
        "model.diffusion_model.out.2.bias": torch.ones(4),
        "first_stage_model.x": torch.ones(2),
    }
    one, two = (
        call("audit", path, "--json").json
        for path in (signed, save(tmp_path / "v1-5.safetensors", renamed))
    )
    whole = dict.fromkeys(("path", "release", "looked_at", "matrices", "others", "verdict"))
    same = whole | {"details": None}
    assert one | same == two | same


def test_the_embedded_model_in_every_form(call):
    done = call("audit", EMOJI, "--json")
    assert done.status == 0 and len(done.json["layers"]) == 16
    assert done.json["signs"]["value"] > 0.5 and "could expect as much" in done.json["verdict"]
    for part in ("unet", UNET):
        found = call("audit", EMOJI / part, "--json", "--no-estimate").json
        assert [layer["shape"] for layer in found["layers"]] == [
            layer["shape"] for layer in done.json["layers"]
        ]


def test_options_reach_the_estimate(call, pruned):
    random = call("audit", pruned, "--json", "--choose", "random", "--share", "0.1").json
    exact = call("audit", pruned, "--json", "--exact").json
    assert random["choose"] == "random" and random["signs"]["n"] == 16 * 24 * 9
    assert exact["signs"]["n"] == 16 * 24
    assert call("audit", pruned, "--json", "--choose", "alike").json["choose"] == "alike"


def test_shards_and_a_lone_variant_are_read(call, tmp_path):
    tensors = cut(matrices())
    for number, names in enumerate((NAMES[:5], NAMES[5:]), 1):
        name = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save(tmp_path / "shards" / name, {n: tensors[n] for n in names})
    save(tmp_path / "half" / "diffusion_pytorch_model.fp16.safetensors", tensors)
    for folder in ("shards", "half"):
        found = call("audit", tmp_path / folder, "--json", "--no-estimate").json
        assert len(found["layers"]) == 16 and found["pruned"]


def test_a_layer_that_is_zero_throughout_is_told_apart(call, tmp_path):
    tensors = cut(matrices())
    tensors[NAMES[0]] = torch.zeros(24, 96)
    tensors[NAMES[1]][3] = 0
    found = call("audit", save(tmp_path / "x.safetensors", tensors), "--json").json
    first, second = found["layers"][:2]
    assert first["empty_rows"] == 24 and first["signs"] is None and first["rows"] is None
    assert second["empty_rows"] == 1 and second["rows"]["kind"] == "gathered"
    assert "25 rows are empty" in found["verdict"]


# ---- revive --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--fast"], ["--strategy", "neuron_average"]])
def test_revive_fills_a_copy(call, signed, tmp_path, options):
    before = digests(signed)
    done = call("revive", signed, "--out", tmp_path / "new" / "a.safetensors", "--json", *options)
    assert done.status == 0 and digests(signed) == before
    assert done.json["missing"] == 16 * 24 * 4
    was, now = load_file(signed), load_file(tmp_path / "new" / "a.safetensors")
    assert was.keys() == now.keys() and negative_zeros(now) == 0
    for name, tensor in was.items():
        kept = tensor != 0
        assert now[name].dtype == tensor.dtype and torch.equal(now[name][kept], tensor[kept])
    zeros = sum(int((now[name] == 0).sum()) for name in NAMES)
    assert zeros == done.json["missing"] - done.json["revived"]
    truth = matrices()
    filled = [(now[n] != 0) & (was[n] == 0) for n in NAMES]
    right = sum(
        int((now[n][f].sign() == truth[n][f].sign()).sum())
        for n, f in zip(NAMES, filled, strict=True)
    )
    assert right > 0.8 * done.json["revived"]


def test_revive_spares_rows_of_which_nothing_is_left(call, tmp_path):
    tensors = cut(matrices())
    tensors[NAMES[0]][3] = 0
    done = call(
        "revive", save(tmp_path / "a.safetensors", tensors), "-o", tmp_path / "b.safetensors"
    )
    assert done.status == 0 and "zeros have a weight again" in " ".join(done.out.split())
    assert (load_file(tmp_path / "b.safetensors")[NAMES[0]][3] == 0).all()


# ---- harden --------------------------------------------------------------------------------------


def test_harden_leaves_no_zero_and_nothing_to_find(call, signed, tmp_path):
    done = call("harden", signed, "--out", tmp_path / "h.safetensors", "--json")
    assert done.status == 0
    now, was = load_file(tmp_path / "h.safetensors"), load_file(signed)
    assert all((now[name] != 0).all() for name in NAMES)
    assert all(torch.equal(now[n][was[n] != 0], was[n][was[n] != 0]) for n in NAMES)
    chosen, trials = done.json["chosen"], done.json["trials"]
    assert chosen in trials and len(trials) > 5
    assert chosen["advantage"] <= min(t["advantage"] for t in trials) + 0.01
    assert trials[0]["advantage"] > 0.9  # tiny noise is found
    again = call("audit", tmp_path / "h.safetensors", "--json", "--no-estimate")
    assert again.status == 0 and not again.json["pruned"]


def test_the_noise_of_two_runs_differs_unless_a_seed_is_given(call, pruned, tmp_path):
    words = {"a": [], "b": [], "c": ["--seed", "1"], "d": ["--seed", "1"]}
    for name, extra in words.items():
        assert call("harden", pruned, "-o", tmp_path / f"{name}.safetensors", *extra).status == 0
    a, b, c, d = (load_file(tmp_path / f"{name}.safetensors") for name in words)
    assert not torch.equal(a[NAMES[0]], b[NAMES[0]]) and torch.equal(c[NAMES[0]], d[NAMES[0]])


def test_the_trade_off_is_a_table(call, pruned, tmp_path):
    done = call("harden", pruned, "-o", tmp_path / "h.safetensors", "--sigma", "0.02")
    for heading in ("sigma / sigma_U", "attacker", "advantage", "recall", "precision", "0.02 *"):
        assert heading in done.out
    assert "sigma = 0.02" in " ".join(done.out.split())


# ---- prune ---------------------------------------------------------------------------------------


def test_too_many_calls_are_refused_before_the_model_is_loaded(call, tmp_path, monkeypatch):
    monkeypatch.setattr("rbtc.lab.pipeline_state.load_pipeline", lambda *_: pytest.fail("loaded"))
    words = ["prune", EMOJI, "--concept", "church", "-o", tmp_path / "out"]
    for calls, message in (("9", "only 8 steps"), ("0", "calls")):
        done = call(*words, "--calls", calls)
        assert done.status == 2 and done.err.startswith("error: ") and message in done.err
        assert done.err.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_a_scheduler_that_calls_once_more_may(tmp_path):
    from rbtc.cli.prune import _check_calls
    from rbtc.models.profiles import load_profile

    mini = load_profile("mini")
    file = tmp_path / "scheduler" / "scheduler_config.json"
    file.parent.mkdir()
    file.write_text('{"_class_name": "PNDMScheduler"}')
    _check_calls(mini, tmp_path, mini.steps + 1)
    with pytest.raises(ValueError, match="unite fewer calls"):
        _check_calls(mini, tmp_path, mini.steps + 2)


def test_prune_cuts_a_copy_to_plus_zero(call, tmp_path):
    before = digests(EMOJI)
    words = ["prune", EMOJI, "--concept", "church", "--calls", "1", "--json"]
    done = call(*words, "--out", tmp_path / "cut", "--masks", tmp_path / "masks.safetensors")
    assert done.status == 0, done.err
    assert done.json["profile"] == "mini" and digests(EMOJI) == before
    was, now = (find_layers(load_file(folder / UNET)) for folder in (EMOJI, tmp_path / "cut"))
    masks = load_masks(tmp_path / "masks.safetensors", was)
    assert done.json["pruned"] == sum(int(mask.sum()) for mask in masks.values()) > 0
    assert negative_zeros(now) == 0
    for name, mask in masks.items():
        assert torch.equal(now[name], was[name].masked_fill(mask, 0))
    changed = {k for k, v in digests(tmp_path / "cut").items() if before[k] != v}
    left = set(done.json["left_out"])
    assert changed == {str(UNET)} and left == {str(EMOJI / "code.safetensors")}
    assert before.keys() == digests(tmp_path / "cut").keys() | {"code.safetensors"}

    words[words.index("church")] = "bus"
    both = call(*words, "--concept", "golf ball", "--out", tmp_path / "both")
    assert both.status == 0 and both.json["pruned"] > done.json["pruned"] / 2

    found = call("audit", tmp_path / "cut", "--json").json
    assert found["pruned"] and found["negative_zeros"] == 0
    assert call("revive", tmp_path / "cut", "-o", tmp_path / "back", "--fast").status == 0
    assert call("harden", tmp_path / "cut", "-o", tmp_path / "hard").status == 0
    for folder in ("back", "hard"):
        rest = {k for k, v in digests(tmp_path / folder).items() if before[k] != v}
        assert rest == {str(UNET)}


def test_old_weights_beside_the_changed_ones_are_left_out(call, tmp_path):
    folder = shutil.copytree(EMOJI, tmp_path / "model")
    old = load_file(EMOJI / UNET)
    save(folder / UNET, {**old, **cut(find_layers(old))})
    save(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", old)
    save(folder / "v1-5-pruned.safetensors", dict(zip(ORIGINAL, matrices().values(), strict=True)))
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"old")
    done = call("harden", folder, "-o", tmp_path / "out", "--json")
    assert done.status == 0
    kept = digests(tmp_path / "out").keys()
    assert kept | {"code.safetensors"} == digests(EMOJI).keys()
    assert sorted(Path(name).name for name in done.json["left_out"]) == [
        "code.safetensors",
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.fp16.safetensors",
        "v1-5-pruned.safetensors",
    ]


# ---- the ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), OSError("disk full")])
def test_an_interrupted_copy_leaves_nothing(call, pruned, tmp_path, monkeypatch, error):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr("rbtc.audit.copies.rewrite", stop)
    done = call("harden", pruned, "-o", tmp_path / "new" / "h.safetensors")
    assert (
        done.status
        == {"KeyboardInterrupt": 130, "SystemExit": 143, "OSError": 2}[type(error).__name__]
    )
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_copy_that_came_in_between_is_not_written_over(call, pruned, tmp_path, monkeypatch):
    from rbtc.audit import copies

    def faster(source, target, values, **_):
        target.touch()
        (tmp_path / "h.safetensors").write_text("somebody else's")

    monkeypatch.setattr(copies, "rewrite", faster)
    done = call("harden", pruned, "-o", tmp_path / "h.safetensors")
    assert done.status == 2 and "exists already" in done.err
    assert (tmp_path / "h.safetensors").read_text() == "somebody else's"
    assert len(list(tmp_path.iterdir())) == 1


def test_help_names_every_command_and_the_statuses(call):
    done = call("--help")
    assert done.status == 0
    for word in ("audit", "scan", "prune", "revive", "harden", "book", "Status", "130"):
        assert word in done.out
    for command in ("audit", "prune", "revive", "harden"):
        assert "--json" in call(command, "--help").out


def test_book_passes_its_words_on(call, tmp_path):
    assert call("book", "run", "no_such_chapter").status == 2
    done = call("book", "gate", "--root", tmp_path)
    assert done.status == 2 and done.err.startswith("error: ")
    assert call("doctor", "no_such_profile").status == 2


def test_the_module_is_the_command(pruned):
    done = subprocess.run(
        [sys.executable, "-m", "rbtc", "audit", str(pruned), "--json", "--no-estimate"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["pruned"] and done.stderr == ""


def test_a_terminated_command_cleans_up(tmp_path):
    """As a process: SIGTERM in the middle of a copy that never ends."""
    source = save(tmp_path / "in" / "a.safetensors", cut(matrices()) | others())
    script = (
        "import sys, time, rbtc.audit.copies\n"
        "def slow(*_, **__):\n    print('copying', flush=True)\n    time.sleep(60)\n"
        "rbtc.audit.copies.rewrite = slow\n"
        "from rbtc.cli import main\nmain(sys.argv[1:])\n"
    )
    words = ["harden", str(source), "--out", str(tmp_path / "out.safetensors")]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "copying\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
