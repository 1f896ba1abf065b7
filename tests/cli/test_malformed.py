"""Files, folders and words that are no good: one clear line, status 2, and nothing left behind.

Every case builds its input in a folder of its own and says what the line has to name.
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from checkpoint_files import NAMES, ORIGINAL, TAIL, cut, matrices, others, save

from rbtc.files import data_root

EMOJI = data_root() / "models" / "emoji-sd"
SMALL = cut(matrices(rows=8, columns=40))


@pytest.fixture
def refused(call, tmp_path):
    """Run a command line that must be refused, and leave the folder as it was."""

    def run(*words, names):
        before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if not p.is_dir()}
        done = call(*words)
        assert done.status == 2, (done.out, done.err)
        assert done.out == ""
        assert done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
        assert "Traceback" not in done.err
        for name in [names] if isinstance(names, str) else names:
            assert name in done.err, done.err
        after = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if not p.is_dir()}
        assert after == before

    return run


def command(name, model, folder):
    """The words that run a command on a model."""
    words = [name, model]
    words += [] if name == "audit" else ["--out", folder / "out.safetensors"]
    return [*words, "--concept", "church"] if name == "prune" else words


# ---- safetensors that are cut short, or whose header lies ----------------------------------------


@pytest.mark.parametrize("name", ["audit", "revive", "harden"])
@pytest.mark.parametrize("part", range(24))
def test_a_file_cut_short(refused, tmp_path, name, part):
    file = save(tmp_path / "a.safetensors", SMALL | others())
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    lengths = [0, 1, 3, 7, 8, 9, 17, header // 2, header - 1, header, header + 1, len(whole) - 1]
    lengths += [header + (len(whole) - header) * step // 13 for step in range(1, 13)]
    file.write_bytes(whole[: lengths[part]])
    refused(*command(name, file, tmp_path), names=["a.safetensors", "copy it again"])


def one(**changes):
    """A header of one matrix, changed."""
    return {NAMES[0]: {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8], **changes}}


HEADERS = {
    "not JSON": b"{]",
    "a list": b"[]",
    "a number": b"17",
    "nothing": b"",
    "not UTF-8": b'{"\xff\xfe": 1}',
    "an entry that is a list": json.dumps({NAMES[0]: [1, 2]}).encode(),
    "no shape": json.dumps({NAMES[0]: {"dtype": "F16", "data_offsets": [0, 8]}}).encode(),
    "no dtype": json.dumps({NAMES[0]: {"shape": [2, 2], "data_offsets": [0, 8]}}).encode(),
    "unknown dtype": json.dumps(one(dtype="F17")).encode(),
    "a shape that is text": json.dumps(one(shape="2x2")).encode(),
    "a negative shape": json.dumps(one(shape=[-2, 2])).encode(),
    "an enormous shape": json.dumps(one(shape=[2**62, 2**62])).encode(),
    "too large a shape": json.dumps(one(shape=[4, 4])).encode(),
    "offsets backwards": json.dumps(one(data_offsets=[8, 0])).encode(),
    "offsets beyond the end": json.dumps(one(data_offsets=[0, 800])).encode(),
    "a hole before the data": json.dumps(one(data_offsets=[4, 12])).encode(),
    "two at one place": json.dumps(one() | {"b": one()[NAMES[0]]}).encode(),
    "nested without end": b'{"a":' * 5000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_lies(refused, tmp_path, header):
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused("audit", file, names=["a.safetensors", "copy it again"])


@pytest.mark.parametrize("size", [2**63, 2**64 - 1, 10**9, 100_000_001])
def test_a_header_of_absurd_length(refused, tmp_path, size):
    file = tmp_path / "a.safetensors"
    file.write_bytes(size.to_bytes(8, "little") + b"{}")
    refused("audit", file, names=["a.safetensors", "copy it again"])


# ---- names, kinds of numbers, shapes -------------------------------------------------------------


def named(*names):
    return {name: torch.ones(4, 4) for name in names}


KEYS = {
    "nothing": ({}, "none of its 0 tensors"),
    "a motion module": (
        named(f"down_blocks.0.motion_modules.0.{TAIL}"),
        "another architecture (a video model)",
    ),
    "a prefix nobody uses": (named(f"student.{NAMES[0]}"), "no feed-forward output matrix"),
    "a language model": (
        named("model.layers.0.mlp.down_proj.weight"),
        "no feed-forward output matrix",
    ),
    "LoRA": (named("lora_unet_mid.weight"), "LoRA"),
    "both namings": (named(NAMES[6], ORIGINAL[6]), "more than once"),
}


@pytest.mark.parametrize("case", KEYS.values(), ids=KEYS.keys())
def test_a_file_of_something_else(refused, tmp_path, case):
    tensors, names = case
    refused("audit", save(tmp_path / "a.safetensors", tensors), names=["a.safetensors", names])


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool,
     torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64],
)  # fmt: skip
def test_numbers_that_are_no_weights(refused, tmp_path, dtype):
    tensors = matrices(4, 8) | {NAMES[7]: torch.ones(4, 8).to(dtype)}
    file = save(tmp_path / "a.safetensors", tensors)
    refused("audit", file, names=[NAMES[7], "stored as", "F16, BF16, F32, F64"])


@pytest.mark.parametrize("shape", [(), (4,), (2, 2, 2), (2, 2, 1, 1), (0, 4), (4, 0)])
def test_shapes_that_are_no_matrices(refused, tmp_path, shape):
    file = save(tmp_path / "a.safetensors", matrices(4, 8) | {NAMES[3]: torch.ones(shape)})
    refused("audit", file, names=[NAMES[3], "(out_features, in_features)"])


@pytest.mark.parametrize("name", ["audit", "revive", "harden"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_that_are_not_finite(refused, tmp_path, name, value, dtype):
    tensors = {n: t.to(dtype) for n, t in SMALL.items()}
    tensors[NAMES[2]][3, 3] = value
    file = save(tmp_path / "a.safetensors", tensors)
    extra = ["--no-estimate"] if name == "audit" else []
    refused(*command(name, file, tmp_path), *extra, names=[NAMES[2], "NaN or infinite"])


# ---- pickles -------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("name", ["audit", "revive", "harden", "prune"])
@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".zip"])
def test_a_pickle_is_refused_without_being_unpickled(refused, tmp_path, name, ending):
    file, bang = tmp_path / f"a{ending}", tmp_path / "bang"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Bomb(bang)))
    else:
        file.write_bytes(pickle.dumps(Bomb(bang)))
    refused(*command(name, file, tmp_path), names=[file.name, "pickle"])
    assert not bang.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_a_pickle(refused, tmp_path, protocol):
    file, bang = tmp_path / "a.ckpt", tmp_path / "bang"
    file.write_bytes(pickle.dumps(Bomb(bang), protocol))
    refused("audit", file, names="pickle")
    assert not bang.exists()


def test_a_folder_of_pickles(refused, tmp_path):
    bang = tmp_path / "bang"
    (tmp_path / "unet").mkdir()
    weights = tmp_path / "unet" / "diffusion_pytorch_model.bin"
    weights.write_bytes(pickle.dumps(Bomb(bang)))
    refused("audit", tmp_path, names="pickle")
    assert not bang.exists()


# ---- what is no file at all ----------------------------------------------------------------------


def nowhere(folder):
    return folder / "gone.safetensors"


def dangling(folder):
    (folder / "a.safetensors").symlink_to(folder / "gone")
    return folder / "a.safetensors"


def circle(folder):
    (folder / "a.safetensors").symlink_to(folder / "a.safetensors")
    return folder / "a.safetensors"


def pipe(folder):
    os.mkfifo(folder / "a.safetensors")
    return folder / "a.safetensors"


def device(folder):
    return Path("/dev/null")


def directory(folder):
    (folder / "a.safetensors").mkdir()
    return folder / "a.safetensors"


def text(folder):
    (folder / "a.safetensors").write_text("these are the weights")
    return folder / "a.safetensors"


def picture(folder):
    (folder / "a.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    return folder / "a.safetensors"


def pointer(folder):
    (folder / "a.safetensors").write_text("version https://git-lfs.example/spec/v1\nsize 9\n")
    return folder / "a.safetensors"


def empty(folder):
    (folder / "a.safetensors").touch()
    return folder / "a.safetensors"


def long_name(folder):
    return folder / ("a" * 300)


@pytest.mark.parametrize("name", ["audit", "harden"])
@pytest.mark.parametrize(
    "make",
    [nowhere, dangling, circle, pipe, device, directory, text, picture, pointer, empty, long_name],
)
def test_what_is_no_file(refused, tmp_path, name, make):
    model = make(tmp_path)
    refused(*command(name, model, tmp_path), names=model.name[:40])


# ---- folders -------------------------------------------------------------------------------------

WEIGHTS = "diffusion_pytorch_model.safetensors"


def folder_with(root, *, index=None, config=None, files=(WEIGHTS,), unet="unet"):
    folder = root / "model"
    (folder / unet).mkdir(parents=True)
    for place, content in (
        (folder / "model_index.json", index),
        (folder / unet / "config.json", config),
    ):
        if content is not None:
            place.write_text(content if isinstance(content, str) else json.dumps(content))
    for file in files:
        save(folder / unet / file, SMALL)
    return folder


SD = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}

FOLDERS = {
    "nothing in it": ({"files": ()}, "no .safetensors file"),
    "an index cut short": ({"index": '{"unet": ['}, "model_index.json is damaged"),
    "an index that is empty": ({"index": ""}, "model_index.json is damaged"),
    "an index that is a list": ({"index": []}, "model_index.json is damaged"),
    "an index that is null": ({"index": "null"}, "model_index.json is damaged"),
    "an index nested without end": ({"index": "[" * 200_000}, "model_index.json is damaged"),
    "a pipeline without a UNet": (
        {"index": {"_class_name": "FluxPipeline", "transformer": []}},
        "no folder `transformer`",
    ),
    "a UNet that is named only": ({"index": SD, "unet": "net"}, "no folder `unet`"),
    "a config cut short": ({"config": '{"_class'}, "config.json is damaged"),
    "a config that is text": ({"config": '"unet"'}, "config.json is damaged"),
    "a VAE": ({"config": {"_class_name": "AutoencoderKL"}}, "holds a AutoencoderKL"),
    "a ControlNet": ({"config": {"_class_name": "ControlNetModel"}}, "holds a ControlNetModel"),
    "weights and shards": (
        {"files": (WEIGHTS, "diffusion_pytorch_model-00001-of-00002.safetensors")},
        "more than once",
    ),
    "two names of libraries": ({"files": (WEIGHTS, "model.safetensors")}, "more than once"),
    "two variants": (
        {"files": (
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.non_ema.safetensors",
        )},
        "under its default name",
    ),
    "another name": ({"files": ("weights.safetensors",)}, "under its default name"),
    "shards with the same tensors": (
        {"files": tuple(f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2))},
        "more than once",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS.values(), ids=FOLDERS.keys())
def test_a_folder_of_something_else(refused, tmp_path, case):
    parts, names = case
    refused("audit", folder_with(tmp_path, **parts), names=names)


def test_a_directory_in_place_of_the_weights(refused, tmp_path):
    folder = folder_with(tmp_path, files=())
    (folder / "unet" / WEIGHTS).mkdir()
    refused("audit", folder, names="not a regular file")


def test_weights_of_a_folder_that_are_cut_short(refused, tmp_path):
    folder = folder_with(tmp_path, index=SD)
    file = folder / "unet" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-1])
    for name in ("audit", "revive", "harden", "prune"):
        refused(*command(name, folder, tmp_path), names=[WEIGHTS, "copy it again"])


@pytest.mark.parametrize("part", ["vae", "tokenizer", "scheduler"])
def test_a_part_of_the_model_that_has_no_such_matrix(refused, part):
    refused("audit", EMOJI / part, names=part)


# ---- where to write ------------------------------------------------------------------------------


def the_input(folder):
    return folder / "in" / "a.safetensors", "is the input"


def the_input_by_a_detour(folder):
    return folder / "in" / ".." / "in" / "a.safetensors", "is the input"


def a_link_to_the_input(folder):
    (folder / "link.safetensors").symlink_to(folder / "in" / "a.safetensors")
    return folder / "link.safetensors", "is the input"


def a_file(folder):
    (folder / "b.safetensors").write_text("mine")
    return folder / "b.safetensors", "exists already"


def an_empty_file(folder):
    (folder / "b.safetensors").touch()
    return folder / "b.safetensors", "exists already"


def a_folder(folder):
    (folder / "b.safetensors").mkdir()
    return folder / "b.safetensors", "exists already"


def a_dangling_link(folder):
    (folder / "b.safetensors").symlink_to(folder / "gone")
    return folder / "b.safetensors", "exists already"


def below_a_file(folder):
    (folder / "file").write_text("in the way")
    return folder / "file" / "b.safetensors", "cannot be written"


def another_ending(folder):
    return folder / "b.ckpt", "must be a .safetensors file"


def no_ending(folder):
    return folder / "b", "must be a .safetensors file"


def nobody_writes_there(folder):
    return Path("/proc/rbtc/b.safetensors"), "cannot be written"


def too_long(folder):
    return folder / ("b" * 300) / "b.safetensors", "File name too long"


PLACES = [
    the_input, the_input_by_a_detour, a_link_to_the_input, a_file, an_empty_file, a_folder,
    a_dangling_link, below_a_file, another_ending, no_ending, nobody_writes_there, too_long,
]  # fmt: skip


@pytest.mark.parametrize("name", ["revive", "harden"])
@pytest.mark.parametrize("make", PLACES)
def test_outputs_for_a_file(refused, tmp_path, name, make):
    source = save(tmp_path / "in" / "a.safetensors", SMALL)
    out, names = make(tmp_path)
    refused(name, source, "--out", out, names=names)


@pytest.mark.parametrize("name", ["revive", "harden", "prune"])
@pytest.mark.parametrize(
    ("out", "names"),
    [
        ("model", "is the input"),
        ("model/../model", "is the input"),
        ("model/new", "lies inside the input"),
        ("model/unet/new", "lies inside the input"),
        ("there", "exists already"),
        ("file", "exists already"),
        ("file/new", "cannot be written"),
    ],
)
def test_outputs_for_a_folder(refused, tmp_path, name, out, names):
    folder = folder_with(tmp_path, index=SD)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("in the way")
    words = [*command(name, folder, tmp_path), "--out", tmp_path / out]
    refused(*words, names=names)


# ---- words ---------------------------------------------------------------------------------------

WORDS = {
    "": "Missing command",
    "sing": "No such command",
    "audit": "Missing argument",
    "audit {pruned} more": "unexpected extra argument",
    "audit {pruned} --loud": "No such option",
    "audit {pruned} --share": "requires an argument",
    "audit {pruned} --share many": "Invalid value for '--share'",
    "audit {pruned} --share 0": "share must lie in (0, 1)",
    "audit {pruned} --share 1": "share must lie in (0, 1)",
    "audit {pruned} --share -1": "share must lie in (0, 1)",
    "audit {pruned} --share nan": "share must lie in (0, 1)",
    "audit {pruned} --share inf": "share must lie in (0, 1)",
    "audit {pruned} --choose smallest": "choose must be one of",
    "audit {pruned} --layers attic": "fits --layers",
    "audit {pruned} --layers [": "no regular expression",
    "convert {pruned} {out}": "a safetensors file already",
    "convert {file}.pt {out}": "there is no file",
    "convert {emoji} {out}": "there is no file",
    "revive {pruned}": "Missing option",
    "revive {whole} --out {out}": "is this model pruned?",
    "revive {gone} --out {out}": "nothing is missing in any",
    "revive {pruned} --out {out} --keep-ratio 0": "keep_ratio is 0",
    "revive {pruned} --out {out} --keep-ratio 1.1": "keep_ratio is 1.1",
    "revive {pruned} --out {out} --keep-ratio nan": "keep_ratio is nan",
    "revive {pruned} --out {out} --strategy loudest": "strategy is 'loudest'",
    "harden {whole} --out {out}": "nothing to hide",
    "harden {gone} --out {out}": "nothing to hide among",
    "harden {pruned} --out {out} --sigma 0": "a sigma must be a positive finite number",
    "harden {pruned} --out {out} --sigma -1": "a sigma must be a positive finite number",
    "harden {pruned} --out {out} --sigma nan": "a sigma must be a positive finite number",
    "harden {pruned} --out {out} --sigma inf": "a sigma must be a positive finite number",
    "harden {pruned} --out {out} --sigma 1e9": "cannot be stored as torch.float16",
    "harden {pruned} --out {out} --sigma 1e-12": "cannot be stored as torch.float16",
    "harden {pruned} --out {out} --seed 1.5": "Invalid value for '--seed'",
    "harden {pruned} --out {out} --seed 99999999999999999999999": "at most 64 bits",
    "prune {emoji} --out {out}": "Missing option",
    "prune {emoji} --out {out} -c unicorn-lamp": "unknown concept",
    "prune {emoji} --out {out} -c churhc": "did you mean 'church'",
    "prune {emoji} --out {out} -c church -c unicorn-lamp": "unknown concept",
    "prune {emoji} --out {out} -c church --kind animal": "kind must be",
    "prune {emoji} --out {out} -c cubism --kind style": "unknown style",
    "prune {emoji} --out {out} -c nudity --kind nudity": "no prompts of kind nudity",
    "prune {emoji} --out {out} -c church --ratio 0": "ratio must lie in (0, 1]",
    "prune {emoji} --out {out} -c church --ratio 2": "ratio must lie in (0, 1]",
    "prune {emoji} --out {out} -c church --calls 0": "calls must be at least 1",
    "prune {emoji} --out {out} -c church --calls 99": "only 8 steps",
    "prune {emoji} --out {out} -c church --profile maxi": "unknown profile",
    "prune {emoji} --out {out} -c church --masks {pruned}": "exists already",
    "prune {emoji} --out {out} -c church --masks {out}/masks": "would tell what was pruned",
    "prune {emoji} --out {out} -c church --masks {emoji}/masks": "would tell what was pruned",
    "prune {emoji}/unet --out {out} -c church": "has no model_index.json",
    "prune {file} --out {out}.safetensors -c church --profile mini": "single file",
}


@pytest.fixture(scope="module")
def gone(tmp_path_factory):
    tensors = {name: torch.zeros(4, 8) for name in NAMES}
    return save(tmp_path_factory.mktemp("gone") / "zero.safetensors", tensors)


@pytest.mark.parametrize("words", WORDS)
def test_words(refused, tmp_path, pruned, whole, gone, words):
    places = {
        "pruned": pruned, "whole": whole, "gone": gone, "emoji": EMOJI, "file": pruned,
        "out": tmp_path / ("out" if words.startswith("prune") else "out.safetensors"),
    }  # fmt: skip
    refused(*words.format(**places).split(), names=WORDS[words])
