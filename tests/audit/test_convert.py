"""Pickles of the layouts that authors publish, and those that are refused."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import NAMES, matrices
from safetensors.torch import load_file

from rbtc.audit.convert import convert_pickle

UNET = matrices(4, 8) | {"conv_in.weight": torch.ones(2, 2, 1, 1), "conv_out.weight": torch.eye(2)}
ONE_FILE = {f"model.diffusion_model.{name}": weight for name, weight in UNET.items()}

LAYOUTS = {
    "UNet": (UNET, "a UNet of diffusers", []),
    "wrapped": ({"state_dict": UNET, "epoch": 3}, "a UNet of diffusers", ["epoch"]),
    "twice": ({"state_dict": {"unet": UNET, "steps": 1}}, "a UNet of diffusers", ["steps"]),
    "compiled": ({f"_orig_mod.{n}": w for n, w in UNET.items()}, "a UNet of diffusers", []),
    "partial": ({NAMES[0]: torch.randn(3, 3)}, "a part of a UNet", []),
    "one file": (ONE_FILE, "a UNet in the naming of one file", []),
    "whole": (ONE_FILE | {"first_stage_model.x": torch.ones(1)}, "a whole model in one file", []),
    "text": ({"text_encoder.text_model.x": torch.randn(2)}, "a text encoder", []),
    "masks": ({NAMES[0]: torch.eye(3), NAMES[1]: torch.eye(2).bool()}, "masks by name", []),
    "a list": ([torch.randn(3).bfloat16(), torch.randn(2)], "masks or saliencies", []),
    "saliencies": ({(0, 1): torch.randn(2, 2), (0, 2): torch.randn(1)}, "masks or sal", []),
    "others": ({"a": torch.randn(1), "b": "text", "c": torch.eye(2).to_sparse()}, "tensors in no",
               ["b", "c"]),
    "shared": ({"a": torch.arange(6.0).view(2, 3).T, "b": torch.randn(4)[::2]}, "tensors in", []),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(tmp_path, case):
    content, layout, dropped = LAYOUTS[case]
    torch.save(content, tmp_path / "a.pt")
    found = convert_pickle(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert found.layout.startswith(layout) and found.dropped == dropped
    assert len(load_file(tmp_path / "a.safetensors")) == found.tensors > 0
    if case == "compiled":
        assert load_file(tmp_path / "a.safetensors").keys() == content.keys()


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("bang"),))


REFUSED = {
    "a class": ({"args": argparse.Namespace(x=1)}, "argparse.Namespace"),
    "a module": (torch.nn.Linear(2, 2), "Linear"),
    "an array": ({"a": np.ones(2)}, "numpy"),
    "code": (Bomb(), "getattr|pathlib"),
    "no tensor": ({"a": 1}, "holds no tensor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_by_name(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, name = REFUSED[case]
    torch.save(content, "a.pt")
    with pytest.raises(ValueError, match=name):
        convert_pickle(Path("a.pt"), Path("a.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_plain_pickles_damage_and_memory(tmp_path):
    file, out = tmp_path / "a.pt", tmp_path / "a.safetensors"
    for content in (pickle.dumps(Bomb(), 4), b"PK\x03\x04 cut short", b"\x80\x02"):
        file.write_bytes(content)
        with pytest.raises(ValueError):
            convert_pickle(file, out)
    torch.save({"a": torch.zeros(1).expand(50_000_000)}, file)  # small, and large when written
    with pytest.raises(ValueError, match="GB of memory"):
        convert_pickle(file, out, memory=0.05)
    with pytest.raises(ValueError, match="new file"):
        convert_pickle(file, tmp_path / "a.bin")
    with pytest.raises(FileNotFoundError, match="no file"):
        convert_pickle(tmp_path / "gone.pt", out)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
