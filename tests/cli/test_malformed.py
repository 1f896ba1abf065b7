"""Bad input as one table: what it is, the commands that meet it, and what their one line names.

Every case makes its input in a folder of its own. Status 2, one line, and the folder as it was.
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
from hostile import check_refused, run, tree

from rbtc.files import data_root

EMOJI = data_root() / "models" / "emoji-sd"
SMALL = cut(matrices(rows=8, columns=40))
WEIGHTS = "diffusion_pytorch_model.safetensors"
READ, ALL, UNTOLD = "audit revive harden", "audit revive harden prune", "revive harden"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path_factory.mktemp("cache")))


def words(name, model, folder):
    """What runs a command on a model."""
    if name in ("audit", "scan"):
        return [name, model]
    out = [name, model, "--out", folder / f"out{model.suffix}"]
    return [*out, "--concept", "church", "--profile", "mini"] if name == "prune" else out


def check(folder, names, *lines):
    before = tree(folder)
    for line in lines:
        check_refused(run(*line), *([names] if isinstance(names, str) else names))
        assert tree(folder) == before


# ---- files ---------------------------------------------------------------------------------------


def tensors(found, name="a.safetensors"):
    return lambda folder: save(folder / name, found)


def content(raw, name="a.safetensors"):
    def make(folder):
        (folder / name).write_bytes(raw.encode() if isinstance(raw, str) else raw)
        return folder / name

    return make


def cut_short(part):
    def make(folder):
        whole = save(folder / "a.safetensors", SMALL | others()).read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little")
        parts = [0, 1, 7, 8, 9, header // 2, header, header + 1, len(whole) // 2, len(whole) - 1]
        return content(whole[: parts[part]])(folder)

    return make


def header(told, size=None):
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    return content((len(raw) if size is None else size).to_bytes(8, "little") + raw + bytes(8))


def one(**changes):
    """A header of one matrix, changed."""
    return {NAMES[0]: {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8], **changes}}


def without(key):
    return {NAMES[0]: {k: v for k, v in one()[NAMES[0]].items() if k != key}}


def named(*names):
    return tensors({name: torch.ones(4, 4) for name in names})


def huge(folder):
    """As large as no machine's memory can map, and nothing of it on the disk."""
    file = header(one(shape=[2**20, 2**22], data_offsets=[0, 2**43]))(folder)
    try:
        os.truncate(file, file.stat().st_size - 8 + 2**43)
    except OSError:
        pytest.skip("the file system has no files of 8 TB")
    return file


def odd(value, dtype):
    found = {n: t.to(dtype) for n, t in SMALL.items()}
    found[NAMES[2]][3, 3] = value
    return tensors(found)


AGAIN = ["a.safetensors", "copy it again"]
NONE = "no feed-forward output matrix"
ENDS = ["conv_in.weight", "model.diffusion_model.out.2.weight"]
HALF = {name: torch.ones(4, 4) for name in NAMES[:8]}
TEXT = NAMES[0].replace("ff.net.2", "attn2.to_k")
BLOCKS = [f"model.diffusion_model.input_blocks.{n}.1.{TAIL}" for n in (0, 3, 6, 9, 10, 11)]
BLOCKS += [f"model.diffusion_model.output_blocks.{n}.1.{TAIL}" for n in (0, 1, 2, 12)]

FILES = {
    **{f"cut short at {n}": (cut_short(n), READ, AGAIN) for n in range(10)},
    "not JSON": (header(b"{]"), "audit", AGAIN),
    "a list": (header([]), "audit", AGAIN),
    "a number": (header(17), "audit", AGAIN),
    "an empty header": (header(b""), "audit", AGAIN),
    "not UTF-8": (header(b'{"\xff\xfe": 1}'), "audit", AGAIN),
    "an entry that is a list": (header({NAMES[0]: [1, 2]}), "audit", AGAIN),
    "no shape": (header(without("shape")), "audit", AGAIN),
    "no dtype": (header(without("dtype")), "audit", AGAIN),
    "unknown dtype": (header(one(dtype="F17")), "audit", AGAIN),
    "a shape that is text": (header(one(shape="2x2")), "audit", AGAIN),
    "a negative shape": (header(one(shape=[-2, 2])), "audit", AGAIN),
    "an enormous shape": (header(one(shape=[2**62, 2**62])), "audit", AGAIN),
    "too large a shape": (header(one(shape=[4, 4])), "audit", AGAIN),
    "offsets backwards": (header(one(data_offsets=[8, 0])), "audit", AGAIN),
    "offsets beyond the end": (header(one(data_offsets=[0, 800])), "audit", AGAIN),
    "a hole before the data": (header(one(data_offsets=[4, 12])), "audit", AGAIN),
    "two at one place": (header(one() | {"b": one()[NAMES[0]]}), "audit", AGAIN),
    "nested without end": (header(b'{"a":' * 5000), "audit", AGAIN),
    **{f"a header of {n} bytes": (header(b"{}", n), "audit", AGAIN)
       for n in (2**63, 2**64 - 1, 10**9, 100_000_001)},
    "too large to map": (huge, READ, AGAIN),
    "no tensor": (tensors({}), "audit", "none of its 0 tensors"),
    "a text encoder": (named("text_model.final.weight"), UNTOLD, NONE),
    "the proj of the GEGLU": (named(NAMES[6].replace("2.weight", "0.proj.weight")), UNTOLD, NONE),
    "a bias": (named(NAMES[0].replace("weight", "bias")), UNTOLD, NONE),
    "a prefix nobody uses": (named(f"student.{NAMES[0]}"), "audit", NONE),
    "a language model": (named("model.layers.0.mlp.down_proj.weight"), "audit", NONE),
    "blocks without attention": (named(*BLOCKS, ENDS[1]), READ, "0 of the 16"),
    "a motion module": (named(f"down_blocks.0.motion_modules.0.{TAIL}"), "audit", "a video model"),
    "Stable Diffusion 3": (named("joint_blocks.0.x", TAIL), "prune", "Stable Diffusion 3"),
    "Flux": (named("double_blocks.0.x"), "prune", "Flux"),
    "LoRA": (named("lora_unet_mid.weight"), "audit prune", "LoRA"),
    "a ControlNet": (named(*NAMES[:7], "controlnet_cond_embedding.x"), READ, "a ControlNet"),
    "SDXL in diffusers' naming": (named(*NAMES, "add_embedding.x"), "prune", "SDXL"),
    "SDXL in one file": (named(*ORIGINAL, "conditioner.embedders.1.x"), "prune", "SDXL"),
    "SDXL's UNet": (named(ORIGINAL[6], "label_emb.0.0.weight"), "prune", "SDXL"),
    "fifteen of sixteen": (named(*NAMES[:15], ENDS[0]), READ, "15 of the 16"),
    "half in diffusers' naming": (named(*NAMES[:8], ENDS[0]), READ, "8 of the 16"),
    "half in one file": (named(*ORIGINAL[:8], ENDS[1]), READ, "8 of the 16"),
    "one too many": (named(*NAMES, NAMES[0].replace("blocks.0.ff", "blocks.1.ff"), ENDS[0]), READ,
                     "which Stable Diffusion 1.x has not"),
    "half by the width of its texts": (tensors({**HALF, TEXT: torch.ones(4, 768)}), READ,
                                       "8 of the 16"),
    "both namings": (named(NAMES[6], ORIGINAL[6]), "audit", "more than once"),
    "a shard alone": (tensors(SMALL, "a-00001-of-00002.safetensors"), READ,
                      "a-00002-of-00002.safetensors is missing"),
    **{f"{dtype}": (tensors(SMALL | {NAMES[7]: torch.ones(4, 8).to(dtype)}), "audit",
                    [NAMES[7], "stored as"])
       for dtype in (torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn,
                     torch.float8_e5m2, torch.complex64)},
    **{f"a shape of {shape}": (tensors(SMALL | {NAMES[3]: torch.ones(shape)}), "audit",
                               [NAMES[3], "(out_features, in_features)"])
       for shape in ((), (4,), (2, 2, 2), (2, 2, 1, 1), (0, 4), (4, 0))},
    **{f"{value} in {dtype}": (odd(value, dtype), READ, [NAMES[2], "NaN or infinite"])
       for value in (float("nan"), float("inf"), float("-inf"))
       for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)},
}  # fmt: skip


@pytest.mark.parametrize(("make", "commands", "names"), FILES.values(), ids=FILES)
def test_files(tmp_path, make, commands, names):
    file = make(tmp_path)
    check(tmp_path, names, *(words(name, file, tmp_path) for name in commands.split()))


# ---- pickles -------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


PICKLES = [f"a{end}" for end in (".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".zip")]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", [*PICKLES, "unet/diffusion_pytorch_model.bin"])
def test_a_pickle_is_refused_without_being_unpickled(tmp_path, name, protocol):
    file, bang = tmp_path / "in" / name, tmp_path / "bang"
    file.parent.mkdir(parents=True)
    raw = pickle.dumps(Bomb(bang), protocol)
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", raw)
    elif protocol < 2 and file.suffix == ".safetensors":
        pytest.skip("looks like no pickle, and is no safetensors file")
    else:
        file.write_bytes(raw)
    model = file if file.parent.name == "in" else tmp_path / "in"
    commands = ALL if protocol == 4 else "audit"
    check(tmp_path, "pickle", *(words(each, model, tmp_path) for each in commands.split()))
    assert not bang.exists()


# ---- what is no file at all ----------------------------------------------------------------------


def link(folder, to):
    (folder / "a.safetensors").symlink_to(folder / to)
    return folder / "a.safetensors"


def pipe(folder):
    os.mkfifo(folder / "a.safetensors")
    return folder / "a.safetensors"


NO_FILES = {
    "nowhere": lambda folder: folder / "gone.safetensors",
    "a dangling link": lambda folder: link(folder, "gone"),
    "a circle": lambda folder: link(folder, "a.safetensors"),
    "a pipe": pipe,
    "a device": lambda _: Path("/dev/null"),
    "a text": content("these are the weights"),
    "a picture": content(b"\x89PNG\r\n\x1a\n" + bytes(64)),
    "a pointer": content("version https://git-lfs.example/spec/v1\nsize 9\n"),
    "an empty file": content(""),
    "a long name": lambda folder: folder / ("a" * 300),
    "no user": lambda _: Path("~nosuchuser/a.safetensors"),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file(tmp_path, make):
    model = make(tmp_path)
    check(tmp_path, model.name[:40], *(words(name, model, tmp_path) for name in READ.split()))


# ---- folders -------------------------------------------------------------------------------------

SD = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
SHARDS = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
FIRST, LAST = ({n: SMALL[n] for n in names} for names in (NAMES[:8], NAMES[8:]))
FITS = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 2}


def folder_with(index=None, config=None, files=(WEIGHTS,), unet="unet", shards=None, told=None):
    """A maker of a model's folder: index, configuration and weights of its UNet."""

    def make(root):
        place = root / "model" / unet
        place.mkdir(parents=True)
        texts = {place.parent / "model_index.json": index, place / "config.json": config,
                 place / f"{WEIGHTS}.index.json": told and {"weight_map": told}}  # fmt: skip
        for file, text in texts.items():
            if text is not None:
                file.write_text(text if isinstance(text, str) else json.dumps(text))
        for name, found in (shards or dict.fromkeys(files, SMALL)).items():
            save(place / name, found)
        return place.parent

    return make


def special(name):
    def make(root):
        model = folder_with(index=SD, config=FITS)(root)
        (model / name).unlink(missing_ok=True)
        os.mkfifo(model / name)
        return model

    return make


def map_of(first, last, **more):
    return dict.fromkeys(first, SHARDS[0]) | dict.fromkeys(last, SHARDS[1]) | more


BOTH = dict(zip(SHARDS, (FIRST, LAST), strict=True))
FOLDERS = {
    "nothing in it": (folder_with(files=()), "no .safetensors file"),
    "an index cut short": (folder_with('{"unet": ['), "model_index.json is damaged"),
    "an index that is empty": (folder_with(""), "model_index.json is damaged"),
    "an index that is a list": (folder_with([]), "model_index.json is damaged"),
    "an index that is null": (folder_with("null"), "model_index.json is damaged"),
    "an index nested without end": (folder_with("[" * 200_000), "model_index.json is damaged"),
    "an index that is a pipe": (special("model_index.json"), "not a regular file"),
    "no UNet": (folder_with({"_class_name": "FluxPipeline"}), "FluxPipeline without a UNet"),
    "a UNet that is named only": (folder_with(SD, unet="net"), "no folder `unet`"),
    "a config cut short": (folder_with(config='{"_class'), "config.json is damaged"),
    "a config that is text": (folder_with(config='"unet"'), "config.json is damaged"),
    "a config that is a pipe": (special("unet/config.json"), "not a regular file"),
    "weights that are a pipe": (special(f"unet/{WEIGHTS}"), "not a regular file"),
    "a VAE": (folder_with(config={"_class_name": "AutoencoderKL"}), "holds a AutoencoderKL"),
    "a ControlNet": (folder_with(config={"_class_name": "ControlNetModel"}), "ControlNetModel"),
    "weights and shards": (folder_with(files=(WEIGHTS, SHARDS[0])), "more than once"),
    "two names of libraries": (folder_with(files=(WEIGHTS, "model.safetensors")), "more than once"),
    "two variants": (
        folder_with(files=[WEIGHTS.replace(".", f".{v}.") for v in ("fp16", "non_ema")]),
        "under its default name",
    ),
    "another name": (folder_with(files=("weights.safetensors",)), "under its default name"),
    "shards with the same tensors": (folder_with(files=SHARDS), "more than once"),
    "a shard alone": (folder_with(shards={SHARDS[0]: FIRST}), f"{SHARDS[1]} is missing"),
    "a shard by another name": (folder_with(config=FITS, shards={WEIGHTS: FIRST}), "8 of the 16"),
    "an index of a tensor elsewhere": (
        folder_with(shards=BOTH, told=map_of([*FIRST, NAMES[15]], [])),
        "which diffusion_pytorch_model.safetensors.index.json says is in it",
    ),
    "an index of a tensor that is gone": (
        folder_with(shards=BOTH, told=map_of(FIRST, [*LAST, "gone"])), "lacks 'gone'"
    ),
    "other widths": (folder_with(config=FITS | {"block_out_channels": [320, 640]}), "is 320"),
    "another width": (folder_with(config=FITS | {"block_out_channels": [8, 40, 8, 8]}),
                      "says 40 rows"),
    "fewer layers": (folder_with(config=FITS | {"layers_per_block": 1}), "has not"),
    "more layers": (folder_with(config=FITS | {"layers_per_block": 3}), "16 of the 22"),
    "layers without end": (folder_with(config=FITS | {"layers_per_block": 10**9}), "1 to 64"),
    "layers that are text": (folder_with(config=FITS | {"layers_per_block": "2"}), "a number"),
    "blocks that are text": (folder_with(config=FITS | {"down_block_types": 3}), "no UNet"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "names"), FOLDERS.values(), ids=FOLDERS)
def test_folders(tmp_path, make, names):
    model = make(tmp_path)
    check(tmp_path, names, *(words(name, model, tmp_path) for name in (*READ.split(), "scan")))


@pytest.mark.parametrize("part", ["vae", "tokenizer", "scheduler"])
def test_a_part_of_the_model_that_has_no_such_matrix(tmp_path, part):
    check(tmp_path, part, ["audit", EMOJI / part])


# ---- pipelines, which prune loads ----------------------------------------------------------------


def text(raw):
    return lambda file: file.write_text(raw)


def told(**entries):
    def change(file):
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))

    return change


def fifo(file):
    file.unlink(missing_ok=True)
    os.mkfifo(file)


INDEX, SCHEDULER, CONFIG = (
    "model_index.json", "scheduler/scheduler_config.json", "unet/config.json"
)  # fmt: skip
PIPELINES = {
    "endless steps": (SCHEDULER, told(num_train_timesteps=10**9), "expected 1 to 100000"),
    "no steps": (SCHEDULER, told(num_train_timesteps=0), "expected 1 to"),
    "steps that are text": (SCHEDULER, told(num_train_timesteps="many"), "expected a number"),
    "noise without bounds": (SCHEDULER, told(beta_end=1e9), "beta_end is 1000000000.0"),
    "a scheduler that is a list": (SCHEDULER, text("[]"), "expected an object"),
    "a scheduler cut short": (SCHEDULER, text("{"), f"{SCHEDULER} is damaged"),
    "a scheduler that is a pipe": (SCHEDULER, fifo, "is a pipe"),
    "pictures without bounds": (CONFIG, told(sample_size=10**6), "expected 1 to 1024"),
    "a text too wide": (CONFIG, told(cross_attention_dim=49), "contradicts its weights"),
    "words without bounds": ("text_encoder/config.json", told(vocab_size=2**36), "to 1e+06"),
    "a hidden size": ("text_encoder/config.json", told(hidden_size=8192), "contradicts"),
    "another VAE": ("vae/config.json", told(block_out_channels=[7, 7]), "contradicts"),
    "a scale of zero": ("vae/config.json", told(scaling_factor=0), "expected 1e-06 to"),
    "a scale that is none": ("vae/config.json", told(scaling_factor=float("nan")), "nan"),
    "a VAE that is a pipe": (f"vae/{WEIGHTS}", fifo, "pipe"),
    "a pipe beside the weights": ("unet/zz.safetensors", fifo, "is a pipe"),
    "code": ("unet/model.py", text(""), "is code"),
    "a tokenizer cut short": ("tokenizer/tokenizer.json", text("{"), "tokenizer"),
    "tokenizer settings": ("tokenizer/tokenizer_config.json", text("[]"), "tokenizer"),
    "a vocabulary that is a list": ("tokenizer/vocab.json", text("[]"), "tokenizer"),
    "merges that are none": ("tokenizer/merges.txt", text("#version: 0.2\nzz qq\n"), "tokenizer"),
    "SDXL": (INDEX, told(_class_name="StableDiffusionXLInpaintPipeline"), "SDXL"),
    "SDXL that does not say": (INDEX, told(_class_name=None, text_encoder_2=[]), "SDXL"),
    "another pipeline": (INDEX, told(_class_name="FluxPipeline"), "FluxPipeline"),
    "no tokenizer": (INDEX, told(tokenizer=[None, None]), "has no tokenizer"),
    "a class of its own": (INDEX, told(vae=["x", "Y"]), "expected diffusers's"),
}


@pytest.fixture
def embedded(tmp_path):
    """The embedded model by links, of which each may be replaced."""
    for file in sorted(path for path in EMOJI.rglob("*") if path.is_file()):
        place = tmp_path / "model" / file.relative_to(EMOJI)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, place) if file.stat().st_size > 10**6 else place.write_bytes(
            file.read_bytes()
        )
    return tmp_path / "model"


@pytest.mark.parametrize(("file", "change", "names"), PIPELINES.values(), ids=PIPELINES)
def test_pipelines(embedded, tmp_path, file, change, names, monkeypatch):
    monkeypatch.setattr("rbtc.models.pipelines.load_parts", lambda *_: pytest.fail("loaded"))
    if file in ("tokenizer/vocab.json", "tokenizer/merges.txt"):
        (embedded / "tokenizer" / "tokenizer.json").unlink()
    if file.endswith(".safetensors"):
        (embedded / file).unlink(missing_ok=True)  # a link to the repository's
    change(embedded / file)
    check(tmp_path, names, words("prune", embedded, tmp_path))


def test_a_model_is_known_by_its_record_not_by_its_folder(embedded, tmp_path, monkeypatch):
    from rbtc.cli.prune import _profile

    assert _profile(None, embedded).name == _profile(None, EMOJI).name == "mini"
    (embedded / "training.json").write_text("{}")
    names = ["--profile", "mini, sd15"]
    check(tmp_path, names, words("prune", embedded, tmp_path)[:-2])


# ---- where to write ------------------------------------------------------------------------------


def made(name, kind=None):
    def make(folder):
        place = folder / name
        if kind == "folder":
            place.mkdir()
        elif kind == "file":
            place.write_text("mine")
        elif kind:
            place.symlink_to(folder / kind)
        return place

    return make


def below_a_file(folder):
    return made("file", "file")(folder) / "b.safetensors"


PLACES = {
    "the input": (made("in/a.safetensors"), "is the input"),
    "a detour": (made("in/../in/a.safetensors"), "is the input"),
    "a link to it": (made("link.safetensors", "in/a.safetensors"), "is the input"),
    "a file": (made("b.safetensors", "file"), "exists already"),
    "a folder": (made("b.safetensors", "folder"), "exists already"),
    "a dangling link": (made("b.safetensors", "gone"), "exists already"),
    "below a file": (below_a_file, "cannot be written"),
    "another ending": (made("b.ckpt"), "must be a .safetensors file"),
    "no ending": (made("b"), "must be a .safetensors file"),
    "nobody writes there": (lambda _: Path("/proc/rbtc/b.safetensors"), "cannot be written"),
    "too long": (made("b" * 300 + "/b.safetensors"), "File name too long"),
    "no user": (lambda _: Path("~nosuchuser/b.safetensors"), "home folder"),
}


@pytest.mark.parametrize(("make", "names"), PLACES.values(), ids=PLACES)
def test_outputs_of_a_file(tmp_path, make, names):
    source = save(tmp_path / "in" / "a.safetensors", SMALL)
    out = make(tmp_path)
    check(tmp_path, names, *([name, source, "--out", out] for name in ("revive", "harden")))


OUTPUTS = {
    "model": "is the input",
    "model/../model": "is the input",
    "model/new": "lies inside the input",
    "model/unet/new": "lies inside the input",
    "there": "exists already",
    "file": "exists already",
    "dangling": "exists already",
    "file/new": "cannot be written",
}


@pytest.mark.parametrize("out", OUTPUTS)
def test_outputs_of_a_folder(tmp_path, out):
    model = folder_with(SD, FITS)(tmp_path)
    for name, kind in (("there", "folder"), ("file", "file"), ("dangling", "gone")):
        made(name, kind)(tmp_path)
    lines = [words(name, model, tmp_path) for name in ("revive", "harden", "prune")]
    check(tmp_path, OUTPUTS[out], *([*line[:3], tmp_path / out, *line[4:]] for line in lines))


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
    "audit {pruned} --choose smallest": "choose must be one of",
    "audit {pruned} --layers attic": "fits --layers",
    "audit {pruned} --layers [": "no regular expression",
    "convert {pruned} {out}": "a safetensors file already",
    "convert {out}.pt {out}": "there is no file",
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
    "harden {pruned} --out {out} --sigma nan": "a sigma must be a positive finite number",
    "harden {pruned} --out {out} --sigma inf": "a sigma must be a positive finite number",
    "harden {pruned} --out {out} --sigma 1e9": "cannot be stored as torch.float16",
    "harden {pruned} --out {out} --sigma 1e-12": "cannot be stored as torch.float16",
    "harden {pruned} --out {out} --seed 1.5": "Invalid value for '--seed'",
    "harden {pruned} --out {out} --seed -1": "Invalid value for '--seed'",
    "harden {pruned} --out {out} --seed 99999999999999999999999": "Invalid value for '--seed'",
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
    "prune {emoji} --out {out} -c church --profile ~nosuchuser/p.toml": "home folder",
    "prune {emoji} --out {out} -c church --masks {pruned}": "exists already",
    "prune {emoji} --out {out} -c church --masks {dangling}": "exists already",
    "prune {emoji} --out {out} -c church --masks {out}/masks": "would tell what was pruned",
    "prune {emoji} --out {out} -c church --masks {emoji}/masks": "would tell what was pruned",
    "prune {emoji}/unet --out {out} -c church": "has no model_index.json",
    "prune {pruned} --out {out}.safetensors -c church --profile mini": "single file",
    "measure 08_objects --out {out} --images 0": "Invalid value for '--images'",
    "measure 08_objects --out {out} --hours nan": "--hours",
    "measure 08_objects --out {out} --hours inf": "--hours",
    "measure 08_objects --out {out} --hours -1": "--hours",
    "measure 08_objects --out {out} -p images=1e999": "expected a int",
    "measure 08_objects --out {out} -p images=99999999999999999999": "at most 1e+06",
    "measure 08_objects --out {out} -p concepts=[1,2]": "is a int, expected a str",
    "measure 07_nsfw --out {out} -p prompt_files={{[]:1}}": "prompt file",
    "measure 13_audit --out {out} -p share=2": "share must lie in (0, 1]",
    "measure 90_operating_point --out {out} -p ratios=[0.5,1.5]": "ratios must lie in (0, 1]",
    "measure 05_defense --out {out} -p sigmas=[nan]": "is a str, expected a float",
    "verify --rows 0": "Invalid value for '--rows'",
    "verify --results ~nosuchuser/x": "home folder",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "emoji": EMOJI,
        "pruned": save(folder / "pruned.safetensors", cut(matrices()) | others()),
        "whole": save(folder / "whole.safetensors", matrices() | others()),
        "gone": save(folder / "gone.safetensors", {name: torch.zeros(4, 8) for name in NAMES}),
        "dangling": made("dangling", "nowhere")(folder),
    }


@pytest.mark.parametrize("line", WORDS)
def test_words(tmp_path, inputs, line):
    out = tmp_path / ("out" if "prune {" in line else "out.safetensors")
    check(tmp_path, WORDS[line], line.format(**inputs, out=out).split())
