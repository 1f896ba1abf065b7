"""Mutated inputs: one line and status 2, or a result that an independent computation confirms.

And nothing is left behind or changed. ``RBTC_FUZZ=20`` tries twenty times as many; what was found
stands below as an example.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import struct
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import NAMES, cut, matrices, others, save
from hostile import check_refused, run, tree
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rbtc.cli.measure import LARGEST, chosen
from rbtc.files import read_json, read_table
from rbtc.models.prompt_files import read_prompts
from rbtc.studies.measuring import defaults

MORE = int(os.environ.get("RBTC_FUZZ", "1"))


def often(count):
    """Settings of a test that takes some milliseconds an example."""
    return settings(
        max_examples=count * MORE, deadline=None, derandomize=MORE == 1,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


# ---- a safetensors file, read without any library ------------------------------------------------

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def parsed(raw):
    """Key -> matrix of float64, as stored, of those of the sixteen that are there."""
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size].decode("utf-8"))
    found = {}
    for name in NAMES:
        told = header.get(name, header.get("unet." + name))
        if told is None:  # a part of a UNet
            continue
        begin, end = told["data_offsets"]
        piece = raw[8 + size + begin : 8 + size + end]
        if told["dtype"] == "BF16":
            values = (np.frombuffer(piece, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(piece, f"<f{SIZES[told['dtype']]}")
        found[name] = values.astype(np.float64).reshape(told["shape"])
    return found


def base(tensors=None):
    with tempfile.TemporaryDirectory() as folder:
        made = save(Path(folder) / "a", tensors or cut(matrices(4, 10), 2) | others())
        return made.read_bytes()


BASE = base()
(LENGTH,) = struct.unpack("<Q", BASE[:8])
HEADER, DATA = json.loads(BASE[8 : 8 + LENGTH]), BASE[8 + LENGTH :]

numbers = st.one_of(st.integers(-3, 200), st.sampled_from([2**31, 2**63, 2**64, 2**70]))
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
edits = st.one_of(
    st.tuples(st.just("dtype"), st.sampled_from([*SIZES, "I8", "BOOL", "F8_E4M3", "F17", ""])),
    st.tuples(st.just("shape"), st.lists(numbers, max_size=3)),
    st.tuples(st.just("data_offsets"), st.lists(numbers, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["dtype", "shape", "data_offsets"]), anything),
)


@st.composite
def files(draw):
    """The valid file with some edits of its header, its data or its bytes."""
    header, data = json.loads(json.dumps(HEADER)), bytearray(DATA)
    names = sorted(header)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(names))
        kind = draw(st.sampled_from(["edit", "drop", "rename", "replace", "again"]))
        if kind == "edit" and isinstance(header.get(name), dict):
            key, value = draw(edits)
            header[name][key] = value
        elif kind == "drop":
            header.pop(name, None)
        elif kind == "rename" and name in header:
            header[draw(st.text(max_size=4) | st.sampled_from(NAMES))] = header.pop(name)
        elif kind == "replace":
            header[name] = draw(anything)
        elif kind == "again":
            header["unet." + name] = header.get(name)
    for _ in range(draw(st.integers(0, 4))):  # other values, NaN and infinity among them
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    text = json.dumps(header).encode()
    raw = struct.pack("<Q", len(text)) + text + bytes(data)
    cuts = st.one_of(st.just(len(raw)), st.integers(0, len(raw)))
    return raw[: draw(cuts)] + draw(st.binary(max_size=draw(st.sampled_from([0, 0, 0, 9]))))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    before = os.environ.get("RBTC_CACHE")
    os.environ["RBTC_CACHE"] = str(folder / "cache")
    yield folder / "work"
    os.environ.pop("RBTC_CACHE")
    if before is not None:
        os.environ["RBTC_CACHE"] = before


def clear(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@often(120)
@given(raw=files())
@example(raw=BASE)
@example(raw=BASE[:-1])
def test_a_mutated_file_is_refused_or_counted_right(place, raw):
    file = clear(place) / "a.safetensors"
    file.write_bytes(raw)
    before = tree(place)
    done = run("audit", file, "--no-estimate", "--json")
    assert tree(place) == before
    if done.status == 2:
        return check_refused(done, "a.safetensors" if raw[8:9] != b"{" else "")
    assert done.status in (0, 1)
    right, told = parsed(raw), {one["name"]: one for one in json.loads(done.out)["layers"]}
    assert told.keys() == right.keys()
    for name, values in right.items():
        zeros = values == 0
        assert np.isfinite(values).all()
        assert told[name]["shape"] == list(values.shape)
        assert told[name]["zeros"] == zeros.sum()
        assert told[name]["negative_zeros"] == (zeros & np.signbit(values)).sum()


@often(40)
@given(raw=files(), options=st.sampled_from([("revive", "--fast"), ("harden", "--sigma", "0.02")]))
@example(raw=BASE, options=("revive", "--fast"))
@example(raw=BASE, options=("harden", "--sigma", "0.02"))
def test_a_copy_changes_zeros_and_nothing_else(place, raw, options):
    file = clear(place) / "a.safetensors"
    file.write_bytes(raw)
    before = tree(place)
    done = run(options[0], file, "--out", place / "new" / "b.safetensors", *options[1:])
    after = tree(place)
    assert {name: after.pop(name) for name in before} == before
    if done.status:
        check_refused(done)
        assert not after
        return
    assert after.keys() == {"new", "new/b.safetensors"}
    was, now = parsed(raw), parsed((place / "new" / "b.safetensors").read_bytes())
    for name, values in was.items():
        kept = values != 0
        assert np.array_equal(values[kept], now[name][kept]) and np.isfinite(now[name]).all()
    filled = sum(((was[n] == 0) & (now[n] != 0)).sum() for n in was)
    zeros = sum((values == 0).sum() for values in was.values())
    assert filled == zeros if options[0] == "harden" else filled <= zeros


@pytest.mark.parametrize("exponent", [-1000, -60, 100, 1000])
def test_scale_does_not_change_what_is_found(place, exponent):
    clear(place)
    found = []
    for power in (0, exponent):
        tensors = {name: weight.double() * 2.0**power for name, weight in
                   cut(matrices(8, 40)).items()}  # fmt: skip
        file = save(place / "a.safetensors", tensors)
        signs = json.loads(run("audit", file, "--json").out)["signs"]
        out = place / f"{power}.safetensors"
        words = ["harden", file, "--out", out, "--seed", "3", "--json"]
        told = json.loads(run(*words).out)
        relative = {name: values / 2.0**power for name, values in parsed(out.read_bytes()).items()}
        found.append((signs, told["chosen"]["advantage"], relative))
        assert math.isclose(told["chosen"]["sigma"] / 2.0**power / told["chosen"]["relative"],
                            told["sigma_unmodified"] / 2.0**power)  # fmt: skip
    (signs, advantage, weights), (others_, also, scaled) = found
    assert signs == others_ and advantage == pytest.approx(also)
    for name in NAMES:
        np.testing.assert_allclose(weights[name], scaled[name], rtol=1e-9)


# ---- folders -------------------------------------------------------------------------------------

UNET = "unet/diffusion_pytorch_model.safetensors"
CONFIG = {"_class_name": "UNet2DConditionModel", "block_out_channels": [4, 4, 4, 4],
          "layers_per_block": 2, "cross_attention_dim": 10}  # fmt: skip
INDEX = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
         "vae": ["diffusers", "AutoencoderKL"]}  # fmt: skip
KINDS = ["json", "key", "text", "gone", "folder", "pipe", "link", "copy", "twice"]


@st.composite
def changes(draw):
    """Changes of a valid folder: (kind, file, key, value)."""
    files = ["model_index.json", "unet/config.json", UNET, "unet/extra.json", "vae/config.json"]
    one = st.tuples(st.sampled_from(KINDS), st.sampled_from(files),
                    st.sampled_from([*CONFIG, *INDEX, "x"]), anything)  # fmt: skip
    return draw(st.lists(one, min_size=1, max_size=2))


def make(folder, wanted):
    (folder / "unet").mkdir(parents=True)
    (folder / "vae").mkdir()
    (folder / UNET).write_bytes(BASE)
    (folder / "unet" / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    for kind, name, key, value in wanted:
        file = folder / name
        if file.is_file() and kind not in ("json", "key", "copy", "twice"):
            file.unlink()
        if file.is_dir() or (os.path.lexists(file) and not file.is_file()):
            continue
        if kind in ("json", "key"):
            try:
                before = json.loads(file.read_text()) if file.exists() else {}
            except ValueError:
                continue
            file.write_text(json.dumps(value if kind == "json" or not isinstance(before, dict)
                                       else {**before, key: value}))  # fmt: skip
        elif kind == "text":
            file.write_text(str(value), errors="replace")
        elif kind == "folder":
            file.mkdir()
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "link":
            file.symlink_to(folder.parent / "elsewhere")
        elif kind in ("copy", "twice"):
            (folder / "unet" / "more.safetensors").write_bytes(BASE)
    return folder


@often(60)
@given(wanted=changes(), command=st.sampled_from(["audit", "scan", "revive"]))
@example(wanted=[("key", "unet/config.json", "layers_per_block", 10**6)], command="audit")
@example(wanted=[("key", "unet/config.json", "block_out_channels", [8, 8, 8, 8])], command="scan")
@example(wanted=[("pipe", "model_index.json", "", None)], command="revive")
@example(wanted=[("pipe", "unet/config.json", "", None)], command="revive")
def test_a_mutated_folder_is_refused_or_read(place, wanted, command):
    model = make(clear(place) / "model", wanted)
    (place / "elsewhere").write_text("not to be copied")
    before = tree(place)
    more = {"audit": ["--no-estimate"], "revive": ["--fast", "--out", place / "out"]}
    done = run(command, model, *more.get(command, ()))
    after = tree(place)
    assert {name: after.pop(name) for name in before} == before
    if done.status == 2:
        check_refused(done)
        assert not after
        return
    assert done.status in (0, 1) and (command == "revive" or not after)
    for name in after:  # what was copied is the source's, and no weights but the changed file
        copied, source = place / name, model / Path(name).relative_to("out")
        assert not copied.is_symlink()
        if copied.is_file() and copied.suffix != ".safetensors":
            assert copied.read_bytes() == source.read_bytes()
        elif copied.is_file():
            assert name == f"out/{UNET}"


# ---- tables --------------------------------------------------------------------------------------

cells = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('",\n; '), max_size=8
).map(lambda text: unicodedata.normalize("NFC", text))


def written(rows):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


@often(150)
@given(rows=st.lists(st.tuples(cells, cells, cells), max_size=5), mark=st.booleans())
def test_a_table_comes_back_as_it_was_written(place, rows, mark):
    file = clear(place) / "t.csv"
    text = written([("asked", "prompt", "seed"), *rows])
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    assert [tuple(row.values()) for row in read_table(file)] == rows


def records(text):
    """RFC 4180 by hand: None for what is no table."""
    rows, row, cell, state = [], [], "", "start"  # start, plain, quoted, closed
    for letter in text + "\n" * (not text.endswith("\n")):
        if state == "quoted":
            if letter == '"':
                state = "closed"
            else:
                cell += letter
        elif letter == '"' and state in ("start", "closed"):
            cell, state = cell + '"' * (state == "closed"), "quoted"
        elif letter == ",":
            row, cell, state = [*row, cell], "", "start"
        elif letter == "\n":
            if row or cell or state == "closed":
                rows.append([*row, cell])
            row, cell, state = [], "", "start"
        elif state == "closed":
            return None
        else:
            cell, state = cell + letter, "plain"
    return None if state == "quoted" else rows


@often(250)
@given(
    rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=3),
    at=st.lists(st.integers(0, 60), max_size=3),
    put=st.text(st.sampled_from('",\n;\ta\ufeff'), max_size=3),
)
@example(rows=[("a", "b")], at=[0], put='"')
@example(rows=[("a", "b")], at=[], put="")
def test_a_mutated_table_is_refused_or_read_as_the_standard_says(place, rows, at, put):
    file = clear(place) / "t.csv"
    text = written([("x", "prompt"), *rows])
    for number in at:
        text = text[:number] + put + text[number:]
    text = unicodedata.normalize("NFC", text.removeprefix("\ufeff"))
    file.write_text(text, encoding="utf-8")
    right = records(text)
    try:
        found = [list(row.values()) for row in read_table(file)]
    except ValueError as error:
        assert "t.csv, line " in str(error) and len(str(error).splitlines()) == 1
        bad = right is None or not right or len({*map(len, right)}) > 1
        assert bad or len({*right[0]}) < len(right[0])
        return
    assert found == right[1:]


@often(100)
@given(raw=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
@example(raw=b"\xef\xbb\xbfprompt\na church\n")
@example(raw=b"prompt;seed\na church;1\n")
@example(raw=b'prompt\n"a church\nb\n')
@example(raw=b"prompt\n \n")
@example(raw=b"a\na\n")
def test_prompts_are_refused_or_each_is_one(place, raw):
    file = clear(place) / "p.csv"
    file.write_bytes(raw)
    try:
        prompts = read_prompts(file)
    except ValueError as error:
        assert str(file) in str(error) and "\n" not in str(error)
        return
    text = raw.decode("utf-8-sig")
    assert prompts and all(prompt == prompt.strip() != "" for prompt in prompts)
    assert all("\ufeff" not in p for p in prompts) or "\ufeff" in text
    assert not {"prompt", "adv_prompt"} & {prompts[0].casefold()}


@often(80)
@given(raw=st.binary(max_size=40), value=anything)
@example(raw=b"[" * 100_000, value=None)
def test_json_is_refused_or_read(place, raw, value):
    file = clear(place) / "a.json"
    file.write_bytes(raw)
    try:
        read_json(file)
    except ValueError as error:
        assert str(file) in str(error)
    file.write_text(json.dumps(value))
    assert json.dumps(read_json(file)) == json.dumps(value)


# ---- parameters ----------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=8), numbers.map(str), st.floats().map(repr), anything.map(repr),
    st.sampled_from(["{[]:1}", "[" * 300, "nan", "inf", "-1", "1e999", "[1,'a']", "()", "True"]),
)  # fmt: skip


@often(250)
@given(
    chapter=st.sampled_from(["05_defense", "07_nsfw", "08_objects", "13_audit", "92_explorers"]),
    data=st.data(),
)
def test_parameters_are_refused_or_of_their_kind(chapter, data):
    usual = defaults(chapter)
    name = data.draw(st.sampled_from(sorted(usual)))
    text = data.draw(texts)
    try:
        value = chosen(chapter, {name: text})[name]
    except ValueError as error:
        assert name in str(error)
        return
    default = usual[name]
    if default is None or value is None:
        return
    for one, like in zip(value, default * len(value), strict=False) if default and isinstance(
            default, list) else [(value, default)]:  # fmt: skip
        assert type(one) is type(like) or (isinstance(like, float) and isinstance(one, int))
        if isinstance(one, int | float) and not name.endswith(("seed", "seeds")):
            assert 0 <= one <= LARGEST


WORDS = {
    "audit": ("--share",), "revive": ("--keep-ratio", "--strategy"), "harden": ("--sigma", "--seed")
}  # fmt: skip


@often(50)
@given(command=st.sampled_from(sorted(WORDS)), data=st.data())
def test_options_are_refused_or_obeyed(place, command, data):
    file = clear(place) / "a.safetensors"
    file.write_bytes(BASE)
    before = tree(place)
    option = data.draw(st.sampled_from(WORDS[command]))
    text = data.draw(texts.filter(lambda text: "\0" not in text))
    out = [] if command == "audit" else ["--out", place / "b.safetensors"]
    done = run(command, file, *out, f"{option}={text}")
    after = tree(place)
    assert {name: after.pop(name) for name in before} == before
    if done.status == 2:
        check_refused(done)
    assert done.status in ((0, 1, 2) if command == "audit" else (0, 2))
    assert after.keys() == ({"b.safetensors"} if out and not done.status else set())
