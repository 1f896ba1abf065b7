"""Whatever stops a command, nothing stays of it, nothing else changes; the next run is equal."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from checkpoint_files import cut, matrices, others, save
from hostile import check_refused, fault, run, tree

from rbtc import command, files, results, saving
from rbtc.book.execute import sync
from rbtc.book.pages import Book
from rbtc.files import data_root
from rbtc.writing import BEFORE, MARK, made_whole, sweep

ROOT = Path(__file__).parents[1]
EMOJI = data_root() / "models" / "emoji-sd"
SMALL = cut(matrices(rows=8, columns=40)) | others()


# ---- the commands that write ---------------------------------------------------------------------


def revive(folder):
    return run("revive", folder / "in", "--out", folder / "a" / "b" / "out", "--fast")


def harden(folder):
    return run("harden", folder / "in", "--out", folder / "out", "--sigma", "0.01", "--seed", "7")


def prune(folder):
    words = ["prune", folder / "in", "--out", folder / "out", "-c", "church", "--profile", "mini"]
    return run(*words, "--masks", folder / "masks" / "m.safetensors")


@pytest.fixture
def release(tmp_path):
    """A small folder with a pruned UNet, and nothing else below ``tmp_path``."""
    save(tmp_path / "in" / "unet" / "diffusion_pytorch_model.safetensors", SMALL)
    (tmp_path / "in" / "README.md").write_text("a model\n")
    return tmp_path


@pytest.fixture
def whole_model(tmp_path, monkeypatch):
    """The embedded model, whose masks are given: nothing is drawn."""
    shutil.copytree(EMOJI, tmp_path / "in")

    def masks(*_):
        from rbtc.audit.checkpoints import open_checkpoint

        generator = torch.Generator().manual_seed(0)
        return {entry.name: torch.rand(entry.shape, generator=generator) < 0.01
                for entry in open_checkpoint(EMOJI).entries}  # fmt: skip

    monkeypatch.setattr("rbtc.cli.prune._masks", masks)
    return tmp_path


FULL = OSError(28, "No space left on device")


def check_every_fault(folder, work, errors):
    """Run with a fault at every step in turn, then without one, twice: the results are equal."""
    before = tree(folder)
    with fault(folder, 0, None) as steps:
        assert work(folder).status == 0
    after = tree(folder)
    for name in after.keys() - before.keys():
        place = folder / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    assert tree(folder) == before and len(steps) > 3
    for number in range(1, len(steps) + 1):
        error = errors[number % len(errors)]
        with fault(folder, number, error):
            done = work(folder)
        assert done.status == (2 if isinstance(error, OSError) else 130)
        assert done.err.count("\n") <= 1 and done.out == ""
        assert tree(folder) == before, steps[number - 1]
    assert work(folder).status == 0
    again = tree(folder)
    for found in (after, again):  # the library shuffles its header's texts
        found.pop("masks/m.safetensors", None)
    assert again == after


@pytest.mark.parametrize("work", [revive, harden])
def test_a_copy_is_all_or_nothing(release, work):
    check_every_fault(release, work, [FULL, KeyboardInterrupt()])


def test_masks_and_copy_are_both_there_or_neither(whole_model):
    check_every_fault(whole_model, prune, [FULL, KeyboardInterrupt()])


def test_masks_that_cannot_be_written_leave_no_copy(whole_model, monkeypatch):
    def full(*_, **__):
        raise FULL

    monkeypatch.setattr("safetensors.torch.save_file", full)
    before = tree(whole_model)
    check_refused(prune(whole_model), "No space left")
    assert tree(whole_model) == before


# ---- measurements --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Study:
    hits: pd.DataFrame
    places: np.ndarray
    name: str


def study(value):
    return Study(pd.DataFrame({"a": [value, 2], "b": ["x", "y"]}), np.arange(3) + value, "s")


RUN = results.Run("01_x", "mini", {}, 2, "rbtc measure", "abc", False, "2026-01-01", "CPU", 1.0)


def test_a_measurement_is_the_old_one_or_the_new_one(tmp_path):
    folder = tmp_path / "mini" / "01_x"
    saving.save(study(1), folder, RUN)
    old = tree(tmp_path)
    with fault(tmp_path, 0, None) as steps:
        saving.save(study(5), folder, RUN)
    new = tree(tmp_path)
    saving.save(study(1), folder, RUN)
    assert tree(tmp_path) == old != new
    for number in range(1, len(steps) + 1):
        with pytest.raises(KeyboardInterrupt), fault(tmp_path, number, KeyboardInterrupt()):
            saving.save(study(5), folder, RUN)
        assert tree(tmp_path) == old, steps[number - 1]
        assert results.load(Study, folder).places[0] == 1
    saving.save(study(5), folder, RUN)
    assert tree(tmp_path) == new


# ---- sources -------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_a.py").write_text("# %%\nx = 1\n")
    return Book(tmp_path)


def test_a_source_is_never_cut(book):
    source = book.source("01_a")
    before = tree(book.root)
    with fault(book.root, 0, None) as steps:
        sync(book, "01_a")
    after = source.read_text()
    assert "x = 1" in after and "kernelspec" in after
    for number in range(1, len(steps) + 1):
        source.write_text("# %%\nx = 1\n")
        book.twin("01_a").unlink(missing_ok=True)
        assert tree(book.root) == before
        with pytest.raises(OSError, match="No space"), fault(book.root, number, FULL):
            sync(book, "01_a")
        assert source.read_text() in ("# %%\nx = 1\n", after)
        assert not list((book.root / "notebooks").glob(".rbtc*"))
    sync(book, "01_a")
    assert source.read_text() == after


HEADERS = {
    "none": "# %%\nx = 1\n",
    "another's": "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n"
    "# %%\nx = 1\n",
    "a title": "# ---\n# title: mine\n# ---\n\n# %%\nx = 1\n",
    "an interpreter": "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# %%\nx = 1\n",
    "a word of the text": "# %% [markdown]\n# kernelspec: is a word\n\n# %%\nx = 1\n",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_source_gets_one_kernel_and_keeps_its_own_front_matter(book, header):
    import nbformat

    book.source("01_a").write_text(HEADERS[header])
    sync(book, "01_a")
    first = book.source("01_a").read_text()
    sync(book, "01_a")
    assert book.source("01_a").read_text() == first
    assert first.count("kernelspec:\n") == 1 and first.count("# ---\n") == 2
    twin = nbformat.read(book.twin("01_a"), as_version=4)
    assert twin.metadata.kernelspec.name == "python3"
    assert twin.cells[-1].source == "x = 1"


def test_an_edited_twin_is_not_written_over(book):
    sync(book, "01_a")
    source, twin = book.source("01_a"), book.twin("01_a")
    edited = twin.read_text().replace("x = 1", "x = 2")
    twin.write_text(edited)
    os.utime(twin, ns=(source.stat().st_mtime_ns + 10**9,) * 2)
    with pytest.raises(ValueError, match=r"01_a\.ipynb is newer than .*01_a\.py and differs"):
        sync(book, "01_a")
    assert twin.read_text() == edited
    os.utime(source, ns=(twin.stat().st_mtime_ns + 10**9,) * 2)  # decided: the source counts
    sync(book, "01_a")
    assert "x = 1" in twin.read_text()


# ---- signals and processes that are killed -------------------------------------------------------

SLOW = """
import sys, time, rbtc.audit.copies
def slow(source, target, *_, **__):
    target.write_bytes(bytes(99)); print("copying", flush=True); time.sleep(60)
rbtc.audit.copies.rewrite = slow
from rbtc.cli import main
main(sys.argv[1:])
"""


def started(folder):
    """A process in the middle of a copy."""
    words = ["harden", folder / "in", "--out", folder / "new" / "out", "--sigma", "0.01"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in BURSTS],
    )  # fmt: skip
    assert process.stdout.readline() == "copying\n"
    return process


BURSTS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


@pytest.mark.slow
def test_a_burst_of_signals_leaves_nothing(release):
    before = tree(release)
    for first in BURSTS:
        process = started(release)
        for number in (first, *[signal.SIGINT, signal.SIGTERM, first] * 2):
            if process.poll() is None:
                process.send_signal(number)
            time.sleep(0.02)
        _, told = process.communicate(timeout=60)
        assert process.returncode == BURSTS[first] and "Traceback" not in told
        assert tree(release) == before


@pytest.mark.slow
def test_what_a_killed_process_left_goes_at_the_next_run(release):
    process = started(release)
    process.kill()
    process.wait()
    (left,) = (release / "new").iterdir()
    assert left.name.startswith(".rbtc-") and (left / MARK).read_text() == "out"
    foreign = release / "new" / ".rbtc-0123.tmp"
    foreign.mkdir()  # by its name one of ours, and without our mark
    words = ["--out", release / "new" / "out", "--sigma", "0.01", "--seed", "7"]
    assert run("harden", release / "in", *words).status == 0
    assert sorted(path.name for path in (release / "new").iterdir()) == [foreign.name, "out"]
    assert harden(release).status == 0
    assert tree(release / "out") == tree(release / "new" / "out")


TWICE = """
import os, sys
import rbtc.audit.copies, rbtc.defense.hardening, safetensors.torch
from rbtc.cli import main
children = []
for seed in ("1", "2"):
    if not (child := os.fork()):
        main([*sys.argv[1:], "--seed", seed])
    children.append(child)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.slow
def test_two_processes_at_one_output(release):
    words = ["harden", release / "in", "--out", release / "out", "--sigma", "0.01"]
    done = subprocess.run(
        [sys.executable, "-c", TWICE, *map(str, words)], cwd=ROOT, text=True, check=False,
        capture_output=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[0, 2]", done.stderr
    both = [tree(release / "out")]
    for seed in ("1", "2"):
        out = release / seed
        assert run(*words[:3], out, *words[4:], "--seed", seed).status == 0
        both.append(tree(out))
    assert both[0] in both[1:]
    assert sorted(path.name for path in release.iterdir()) == ["1", "2", "in", "out"]


# ---- temporary folders ---------------------------------------------------------------------------


def left_behind(folder, name, content=""):
    """A temporary folder as a killed process leaves it, which was to make ``name``."""
    work = folder / ".rbtc-abc.tmp"
    work.mkdir()
    (work / MARK).write_text(name)
    (work / BEFORE).write_text(content)
    return work


def test_what_was_to_be_replaced_comes_back(tmp_path):
    work = left_behind(tmp_path, "page", "the old one")
    sweep(tmp_path)
    assert not work.exists() and (tmp_path / "page").read_text() == "the old one"


@pytest.mark.parametrize("name", ["", "../victim", "/etc/passwd"])
def test_a_mark_that_is_none_is_left_alone(tmp_path, name):
    (tmp_path / "inside").mkdir()
    work = left_behind(tmp_path / "inside", name, "x")
    before = tree(tmp_path)
    sweep(tmp_path / "inside")
    assert tree(tmp_path) == before and work.exists()


def test_a_living_process_keeps_its_temporary_folder(tmp_path):
    with made_whole(tmp_path / "a") as place:
        place.write_text("made")
        sweep(tmp_path)
        assert place.exists()
    assert tree(tmp_path).keys() == {"a"}


def test_nothing_is_made_over_what_came_in_between(tmp_path):
    with pytest.raises(ValueError, match="exists already"), made_whole(
        tmp_path / "a", over=False
    ) as place:  # fmt: skip
        place.write_text("mine")
        (tmp_path / "a").write_text("another's")
    assert (tmp_path / "a").read_text() == "another's" and len(list(tmp_path.iterdir())) == 1


# ---- places that cannot be written, packages that are not there ----------------------------------


def test_a_read_only_folder_is_refused_before_work(release, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)  # root may write anywhere
    monkeypatch.setattr("rbtc.audit.checkpoints.Entry.read", lambda _: pytest.fail("read"))
    before = tree(release)
    for work in (revive, harden):
        check_refused(work(release), "cannot be written", "Permission denied")
    assert tree(release) == before


def without(package, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def prompts():
    from rbtc.models.prompt_sets import load_prompt_set

    load_prompt_set("I2P")


def detector():
    from rbtc.models.detectors import NudeNet

    NudeNet()


def engine():
    from rbtc.lab.ray_engine import engine_of
    from rbtc.models.profiles import load_profile

    engine_of("ray", load_profile("mini"))


@pytest.mark.parametrize(
    ("package", "work"),
    [("datasets", prompts), ("nudenet", detector), ("ray", engine), ("jupytext", None)],
)
def test_a_package_that_is_not_there_is_one_line(package, work, monkeypatch, book, capsys):
    without(package, monkeypatch)
    with pytest.raises(SystemExit) as left:
        command.run(work or (lambda: sync(book, "01_a")))
    told = capsys.readouterr().err
    assert left.value.code == 2 and told.count("\n") == 1 and package in told.lower()
    assert tree(book.root).keys() == {"notebooks", "notebooks/01_a.py"}
