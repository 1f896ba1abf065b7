"""The wheel, outside the repository, where nothing but the core's packages is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from checkpoint_files import cut, matrices, others, save

ROOT = Path(__file__).parents[1]
CORE = ("torch", "safetensors", "numpy", "typer", "rich")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel built from a copy of what it is made of, without a network."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("rbtc", "data/profiles", "data/prompts"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    script = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", script], cwd=copy, check=True, capture_output=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def needed(names):
    """Distributions with all that they require here, extras left out."""
    found, todo = {}, list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).casefold()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        # nvidia's libraries come by the extras of a package of theirs
        todo += [
            match[0]
            for one in found[name].requires or ()
            if ("extra ==" not in one or one.startswith("nvidia-"))
            and (match := re.match(r"[\w.-]+", one))
        ]
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel and links to the core's packages: how to run ``rbtc``."""
    place = tmp_path_factory.mktemp("outside")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "env"], check=True)
    (site,) = (place / "env").rglob("site-packages")
    for each in needed(CORE).values():
        for top in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(each.locate_file(top))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (python,) = (path for path in (place / "env").glob("*/python*") if path.stem == "python")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RBTC_", "VIRTUAL"))}

    def run(*words):
        return subprocess.run(
            [python, "-m", "rbtc", *map(str, words)], cwd=place, env=kept,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


def test_the_wheel_holds_profiles_and_prompts_and_no_weights(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        assert b"rbtc = rbtc.cli:main" in file.read(next(n for n in names if "entry_points" in n))
    data = {str(path.relative_to(ROOT)) for name in ("profiles", "prompts")
            for path in (ROOT / "data" / name).iterdir()}  # fmt: skip
    assert {name.removeprefix("rbtc/") for name in names if name.startswith("rbtc/data/")} == data
    assert "rbtc/py.typed" in names and not [n for n in names if n.endswith(".safetensors")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rbtc"}


@pytest.mark.slow
def test_the_five_commands_run_on_the_core_alone(installed, tmp_path):
    pruned = save(tmp_path / "pruned.safetensors", cut(matrices()) | others())
    torch.save(matrices(), tmp_path / "pickle.pt")
    out = tmp_path / "out"
    for status, *words in (
        (1, "audit", pruned),
        (0, "scan", pruned),
        (0, "convert", tmp_path / "pickle.pt", f"{out}-converted.safetensors"),
        (0, "revive", pruned, "--out", f"{out}-revived.safetensors"),
        (0, "harden", pruned, "--out", f"{out}-hardened.safetensors"),
    ):
        done = installed(*words, "--json")
        assert (done.returncode, done.stderr) == (status, ""), words
        json.loads(done.stdout)
    assert len(list(tmp_path.glob("out-*.safetensors"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("prune x --concept church --out y", "models"),
        ("measure 08_objects", "book"),
        ("verify", "book"),
        ("doctor mini", "book"),
        ("book gate", "book"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(installed, words, extra):
    done = installed(*words.split())
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"rbtc[{extra}]" in line


def test_weights_that_no_wheel_has_are_asked_for(monkeypatch, tmp_path):
    from rbtc import files
    from rbtc.models.judges import load_judge
    from rbtc.models.pipelines import model_folder
    from rbtc.models.profiles import load_profile

    for name in ("profiles", "prompts"):
        shutil.copytree(ROOT / "data" / name, tmp_path / "rbtc" / "data" / name)
    monkeypatch.delenv("RBTC_DATA", raising=False)
    monkeypatch.setattr(files, "_PACKAGED", tmp_path / "rbtc" / "data")
    mini, judge = load_profile("mini"), files.data_root() / "models" / "emoji-judge-concept"
    for load in (lambda: model_folder(mini), lambda: load_judge(judge)):
        with pytest.raises(FileNotFoundError, match="RBTC_DATA"):
            load()
