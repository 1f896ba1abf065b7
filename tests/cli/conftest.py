"""Calling the command line in this process, as the command does it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from checkpoint_files import cut, matrices, others, save

from rbtc.cli import main


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run a command line: what it printed and its status; its cache is empty."""
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "cache"))

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return Done(left.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A file from which nothing is pruned: read it only, like the others."""
    return save(tmp_path_factory.mktemp("whole") / "unet.safetensors", matrices() | others())


@pytest.fixture(scope="session")
def pruned(tmp_path_factory):
    """The same file, pruned to +0.0."""
    return save(tmp_path_factory.mktemp("pruned") / "unet.safetensors", cut(matrices()) | others())


@pytest.fixture(scope="session")
def signed(tmp_path_factory):
    """The same file, multiplied by a mask."""
    tensors = cut(matrices(), signed=True) | others()
    return save(tmp_path_factory.mktemp("signed") / "unet.safetensors", tensors)
