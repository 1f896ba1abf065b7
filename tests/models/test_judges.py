"""Judges that are whole, and every way in which one can be damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rbtc.files import data_root
from rbtc.models import judges
from rbtc.models.judges import build_clip, build_resnet, load_clip, load_judge, save_judge

NAMES = ["church", "star"]
CARD = {"kind": "resnet", "names": NAMES, "layers": [1, 1, 1, 1]}
CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 16, "patch_size": 32, "head_width": 8},
    "text_cfg": {"context_length": 9, "vocab_size": 514, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def folder(tmp_path):
    save_judge(build_resnet(2), CARD, tmp_path / "judge")
    return tmp_path / "judge"


@pytest.fixture
def clip(tmp_path, tiny_pipeline):
    save_judge(build_clip(CLIP), {"kind": "clip", "model": CLIP}, tmp_path / "clip")
    tiny_pipeline.tokenizer.save_pretrained(tmp_path / "clip" / "tokenizer")
    return tmp_path / "clip"


def with_card(folder: Path, **changes):
    card = json.loads((folder / "judge.json").read_text()) | changes
    card = {key: value for key, value in card.items() if value is not ...}
    (folder / "judge.json").write_text(json.dumps(card))


def with_weights(folder: Path, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_whole_judges_load(folder, clip):
    images = np.zeros((2, 64, 64, 3), np.uint8)
    assert load_judge(folder).names == ("church", "star")
    assert load_judge(data_root() / "models" / "emoji-judge-concept").names[0] == "church"
    judge = load_clip(clip)
    assert judge.image_features(images).shape == (2, 8)
    assert judge.text_features(["a church", "a church " * 20]).shape == (2, 8)


def spoil(name, value):
    def change(state):
        state[name].view(-1)[0] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fc.bias"), r"does not fit.*Missing key.*fc\.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "does not fit.*Unexpected key.*extra"),
        (lambda s: s.update({"fc.weight": torch.zeros(3, 512)}), r"mismatch for fc\.weight"),
        (spoil("bn1.running_var", float("nan")), r"NaN or infinite values in 'bn1\.running_var'"),
        (spoil("fc.bias", -float("inf")), r"NaN or infinite values in 'fc\.bias'"),
    ],
)
def test_weights_that_do_not_fit_or_are_no_numbers_are_refused(folder, change, message):
    with_weights(folder, change)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_judge(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ...}, "names must be a list of different"),
        ({"names": []}, "names must be a list of different"),
        ({"names": "ab"}, "names must be a list of different"),
        ({"names": ["church", 3]}, "names must be a list of different"),
        ({"names": ["church", " "]}, "names must be a list of different"),
        ({"names": ["church", "Church"]}, "names must be a list of different"),
        ({"names": ["a", "b", "c"]}, "does not fit judge.json's names"),
        ({"layers": ...}, "layers must be four numbers"),
        ({"layers": [1, 1, 1]}, "layers must be four numbers"),
        ({"layers": [1, 1, 1, 0]}, "layers must be four numbers"),
        ({"layers": [1, 1, 1, 1.0]}, "layers must be four numbers"),
        ({"layers": [1, 1, 1, 10**9]}, "layers must be four numbers"),
        ({"layers": "1111"}, "layers must be four numbers"),
        ({"layers": [2, 1, 1, 1]}, "does not fit judge.json's names"),
        ({"kind": "clip"}, "holds a 'clip' judge, expected 'resnet'"),
    ],
)
def test_a_wrong_card_is_one_clear_error(folder, changes, message):
    with_card(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_judge(folder)


def test_damaged_files(folder, clip):
    with_weights(clip, spoil("positional_embedding", float("inf")))
    with pytest.raises(ValueError, match="NaN or infinite values in 'positional_embedding'"):
        load_clip(clip)
    (folder / "judge.json").write_text("[1]")
    with pytest.raises(ValueError, match="expected 'resnet'"):
        load_judge(folder)
    path = clip / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_clip(clip)
    for model, message in (
        ([], "model must be open_clip's configuration"),
        ({}, "open_clip cannot build its model"),
        (CLIP | {"text_cfg": {"width": "x"}}, "open_clip cannot build its model"),
    ):
        with_card(clip, model=model)
        with pytest.raises(ValueError, match=message):
            load_clip(clip)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_judge(clip / "nowhere")
    with pytest.raises(FileNotFoundError, match="is no judge"):
        load_judge(clip.parent)


def test_a_clip_needs_its_tokenizer(clip):
    for spoil, error, message in (
        (lambda path: path.write_text("{"), ValueError, r"tokenizer in .* is damaged"),
        (Path.unlink, FileNotFoundError, "holds no tokenizer"),
    ):
        for path in (clip / "tokenizer").iterdir():
            spoil(path)
        with pytest.raises(error, match=message):
            load_clip(clip)


def test_judging_needs_nothing_of_the_emoji_package():
    for path in Path(judges.__file__).parent.glob("*.py"):
        assert "rbtc.emoji" not in re.sub(r"`.*?`", "", path.read_text("utf-8")), path
