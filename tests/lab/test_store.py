import datetime
import importlib.util
import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.attack.completion import complete_all
from rbtc.lab import store as store_module
from rbtc.lab.digests import (
    canonical,
    code_digest,
    library_versions,
    model_digest,
    tensors_digest,
)
from rbtc.lab.store import BLOCK, Store
from rbtc.layers import prune, write_weights

CONFIG = {"kind": "test", "steps": 3}


class Painter:
    """Makes 2x2 pictures that are a function of prompt and seed, and remembers what it made."""

    def __init__(self, fail_at=None):
        self.calls = []
        self.fail_at = fail_at

    def __call__(self, prompts, seeds):
        if self.fail_at is not None and len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(list(zip(prompts, seeds, strict=True)))
        return np.stack([picture(p, s) for p, s in zip(prompts, seeds, strict=True)])

    @property
    def made(self):
        return [pair for call in self.calls for pair in call]


def picture(prompt, seed):
    return np.random.default_rng([len(prompt), seed]).integers(0, 256, (2, 2, 3), dtype=np.uint8)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def files(store, kind=""):
    found = (store.root / kind).rglob("*")
    return sorted(p for p in found if p.is_file() and p.name != ".lock")


def test_images_are_made_once_and_come_back_in_the_order_asked_for(store):
    make = Painter()
    prompts, seeds = ["a", "bb", "a", "bb"], [3, 0, 1, 9]
    images, reused = store.images(CONFIG, prompts, seeds, make, batch=3)
    assert not reused and [len(call) for call in make.calls] == [3, 1]
    expected = np.stack([picture(p, s) for p, s in zip(prompts, seeds, strict=True)])
    np.testing.assert_array_equal(images, expected)
    assert images.dtype == np.uint8

    again, reused = Store(store.root).images(CONFIG, prompts[::-1], seeds[::-1], make, batch=3)
    assert reused and len(make.calls) == 2
    np.testing.assert_array_equal(again, expected[::-1])


def test_asking_for_100_after_24_makes_76(store):
    make = Painter()
    store.images(CONFIG, ["a"] * 24, range(24), make, batch=16)
    images, reused = store.images(CONFIG, ["a"] * 100, range(100), make, batch=16)
    assert not reused and len(images) == 100
    assert sorted(make.made) == [("a", s) for s in range(100)]
    assert store.report() == "reused 24 of 124 pictures"
    # Seeds that do not fill a block are extended in place.
    store.images(CONFIG, ["a"] * 103, range(103), make, batch=16)
    assert len(make.made) == 103
    assert len(files(store, "images")) == -(-103 // BLOCK)


def test_missing_pictures_of_several_prompts_share_batches(store):
    make = Painter()
    prompts = [f"a {'x' * i}" for i in range(11) for _ in range(8)]
    seeds = [s for _ in range(11) for s in range(8)]
    store.images(CONFIG, prompts, seeds, make, batch=32)
    assert [len(call) for call in make.calls] == [32, 32, 24]


def test_a_repeated_request_in_one_call_is_made_once(store):
    make = Painter()
    images, _ = store.images(CONFIG, ["a", "a"], [5, 5], make, batch=8)
    assert make.made == [("a", 5)]
    np.testing.assert_array_equal(images[0], images[1])


def test_a_killed_run_loses_at_most_the_batch_it_was_in(store):
    make = Painter(fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        store.images(CONFIG, ["a"] * 20, range(20), make, batch=4)
    make.fail_at = None
    images, _ = store.images(CONFIG, ["a"] * 20, range(20), make, batch=4)
    assert sorted(make.made) == [("a", s) for s in range(20)]  # nothing twice
    assert make.calls[2][0] == ("a", 8)
    np.testing.assert_array_equal(images, [picture("a", s) for s in range(20)])


def test_a_process_killed_while_writing_leaves_no_half_file(store, monkeypatch):
    def half(stream, **content):
        stream.write(b"PK half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", half)
        with pytest.raises(KeyboardInterrupt):
            store.images(CONFIG, ["a"], [0], Painter(), batch=1)
    assert files(store) == []
    # A process that could not even tidy up: its leftovers are never read.
    store.images(CONFIG, ["a"], [0], Painter(), batch=1)
    (path,) = files(store)
    path.rename(path.with_name(f".{path.name}.123.tmp"))
    make = Painter()
    store.images(CONFIG, ["a"], [0], make, batch=1)
    assert make.made == [("a", 0)]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "garbage"])
@pytest.mark.parametrize("kind", ["images", "weights", "json"])
def test_a_damaged_file_is_computed_again_with_a_warning(store, kind, damage):
    def ask():
        if kind == "images":
            return store.images(CONFIG, ["a"] * 8, range(8), Painter(), batch=8)
        if kind == "weights":
            return store.weights(CONFIG, lambda: {"w": torch.arange(64.0)})
        return store.json(CONFIG, lambda: {"accuracy": [0.25, 0.5]})

    first, _ = ask()
    (path,) = files(store, kind)
    data = path.read_bytes()
    spot = {
        "images": data.find(b"images.npy") + 120,  # inside the compressed pictures
        "weights": len(data) - 100,
        "json": data.rfind(b"0.25") + 2,
    }[kind]
    flipped = bytearray(data)
    flipped[spot] ^= 1
    path.write_bytes(
        {"truncate": data[:-40], "flip": bytes(flipped), "empty": b"", "garbage": b"x" * 99}[damage]
    )
    with pytest.warns(RuntimeWarning, match="damaged and will be computed again"):
        again, reused = ask()
    assert not reused
    third, reused = ask()
    assert reused
    for value in (again, third):
        if kind == "weights":
            torch.testing.assert_close(value["w"], first["w"])
        else:
            np.testing.assert_equal(value, first)


def test_weights_keep_dtype_bits_and_shared_memory(store):
    base = torch.tensor([[0.0, -0.0, 1e-7], [1.5, -2.5, 3.0]])
    tensors = {
        "half": base.half(), "transposed": base.T, "same": base, "view": base[0],
        "mask": base > 0, "count": torch.tensor([3]), "none": torch.zeros(0),
    }  # fmt: skip
    fresh, reused = store.weights(CONFIG, lambda: tensors)
    assert not reused
    read, reused = store.weights(CONFIG, lambda: pytest.fail("was computed twice"))
    assert reused and list(read) == sorted(tensors)
    for name, tensor in tensors.items():
        for got in (read[name], fresh[name]):
            assert got.dtype == tensor.dtype and torch.equal(got, tensor)
    assert torch.signbit(read["same"]).tolist() == torch.signbit(base).tolist()


def test_json_fresh_and_read_are_the_same_value(store):
    fresh, reused = store.json(CONFIG, lambda: {"n": np.int64(3), "x": (1, 0.1 + 0.2)})
    assert fresh == {"n": 3, "x": [1, 0.1 + 0.2]} and not reused
    assert store.json(CONFIG, lambda: None) == (fresh, True)
    assert store.report() == "reused 1 of 2 results"


def test_report_of_an_unused_store(store):
    assert store.report() == "reused 0 of 0"


def test_bad_requests_are_refused(store):
    with pytest.raises(ValueError, match="expected 1 uint8 pictures"):
        store.images(CONFIG, ["a"], [1], lambda p, s: np.zeros((1, 2, 2, 3)), batch=1)
    for seeds in ([0.5], [1.0], ["1"], [None]):
        with pytest.raises(ValueError, match="seeds must be whole numbers, not"):
            store.images(CONFIG, ["a"], seeds, Painter(), batch=1)
    assert files(store) == []
    store.images(CONFIG, ["a"] * 2, [np.int64(1), torch.tensor(2)], Painter(), batch=2)


def ask(store, kind, number, compute=True):
    """A request that differs from others by its number."""

    def make(value):
        return value if compute else pytest.fail("was computed twice")

    if kind == "images":
        paint = Painter() if compute else lambda prompts, seeds: pytest.fail("was drawn twice")
        return store.images(CONFIG, ["a" * number] * 8, range(8), paint, batch=8)
    config = CONFIG | {"number": number}
    if kind == "weights":
        found, reused = store.weights(config, lambda: make({"w": torch.full((9,), number)}))
        return found["w"].numpy(), reused
    return store.json(config, lambda: make([number]))


@pytest.mark.parametrize("kind", ["images", "weights", "json"])
def test_a_file_in_the_place_of_another_is_damaged(store, kind):
    first, _ = ask(store, kind, 1)
    (one,) = files(store, kind)
    second, _ = ask(store, kind, 2)
    (two,) = set(files(store, kind)) - {one}
    two.write_bytes(one.read_bytes())
    with pytest.warns(RuntimeWarning, match="damaged .* filed under another key"):
        again, reused = ask(store, kind, 2)
    assert not reused
    np.testing.assert_equal(again, second)
    np.testing.assert_equal(ask(store, kind, 2, compute=False)[0], second)
    np.testing.assert_equal(ask(store, kind, 1, compute=False)[0], first)


@pytest.mark.parametrize("kind", ["images", "weights", "json"])
def test_entries_of_old_stores_are_computed_again_without_a_warning(store, kind):
    ask(store, kind, 1)
    (path,) = files(store, kind)
    if kind == "images":
        with np.load(path) as file:
            content = {name: file[name] for name in file if name != "key"}
        np.savez_compressed(path, **content)
    elif kind == "weights":
        from safetensors.torch import load_file, save_file

        tensors = load_file(path)
        save_file(tensors, path, metadata={"digest": tensors_digest(tensors)})
    else:
        entry = json.loads(path.read_text())
        del entry["key"]
        path.write_text(json.dumps(entry))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not ask(store, kind, 1)[1]
        assert ask(store, kind, 1, compute=False)[1]


def test_two_writers_of_one_block_lose_nothing(store):
    other = Store(store.root)

    def meanwhile(prompts, seeds):
        other.images(CONFIG, ["a"] * 2, [1, 2], lambda p, s: Painter()(p, s) // 2, batch=2)
        return Painter()(prompts, seeds)

    ours, _ = store.images(CONFIG, ["a"] * 2, [2, 3], meanwhile, batch=2)
    never = Painter(fail_at=0)
    filed, reused = Store(store.root).images(CONFIG, ["a"] * 3, [1, 2, 3], never, batch=3)
    assert reused
    np.testing.assert_array_equal(filed[1:], ours)  # what was filed first is what both see
    np.testing.assert_array_equal(filed[0], picture("a", 1) // 2)


def test_writers_in_many_threads_lose_nothing(store):
    def write(seed):
        Store(store.root).images(CONFIG, ["a"], [seed], Painter(), batch=1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(BLOCK)))
    _, reused = store.images(CONFIG, ["a"] * BLOCK, range(BLOCK), Painter(), batch=8)
    assert reused


def test_leftovers_of_killed_runs_are_swept(store):
    for kind in ("images", "weights", "json"):
        ask(store, kind, 1)
        place = files(store, kind)[0].parent
        for name, owner in ((".rbtc-old.tmp", "x.npz"), (".rbtc-none.tmp", "")):
            folder = place / name
            folder.mkdir()
            (folder / "rbtc.owner").write_text(owner)
            (folder / "x.npz").write_bytes(b"half")
    before = len(files(store))
    again = Store(store.root)
    ask(again, "json", 1, compute=False)
    assert len(files(store)) == before  # reading removes nothing
    ask(again, "json", 2)
    left = {path.parent.name for path in files(store) if path.name == "x.npz"}
    assert left == {".rbtc-none.tmp"}  # not ours: there is no mark


@pytest.mark.parametrize("kind", ["images", "weights", "json"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, kind):
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "runs")
    with pytest.raises(OSError, match=r"file/runs cannot be written .*: set RBTC_CACHE to a"):
        ask(store, kind, 1)


@pytest.mark.parametrize(
    "value", [torch.zeros(2), datetime.datetime(2026, 1, 1), float("nan"), {1, 2}, object()]
)
def test_a_configuration_holds_only_exact_values(store, value):
    with pytest.raises(ValueError, match="cannot be filed"):
        store.key({"value": value})


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=4),
        st.integers() | st.text(max_size=4) | st.booleans() | st.none(),
        max_size=5,
    )
)
def test_key_ignores_the_order_of_keys_and_nothing_else(config):
    key = Store("unused").key(config)
    assert key == Store("unused").key(dict(reversed(config.items())))
    assert key != Store("unused").key({**config, "another": 0})
    assert len(key) == 64 and json.loads(canonical(config)) == config


def test_key_is_the_same_in_another_process_and_place():
    code = (
        "from rbtc.lab.store import Store; from rbtc.layers import prune; "
        "print(Store('/x').key({'b': 1.5, 'a': [1]}, [prune]))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == Store("/y").key({"a": (1,), "b": np.float64(1.5)}, [prune])


MODULE = """
import rbtc.layers
from rbtc.layers import density
LIMIT = {limit}
def helper(x):
    return x + LIMIT
def root(x: int) -> int:
    {body}
"""


def load(tmp_path, name, body, limit=1):
    """A function of a module of this package that is not there, so to speak."""
    path = tmp_path / f"{name}.py"
    path.write_text(MODULE.format(body=body, limit=limit), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"rbtc.{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"rbtc.{name}"] = module
    spec.loader.exec_module(module)
    return module.root


def test_code_counts_but_explanations_and_places_do_not(tmp_path):
    plain = code_digest(load(tmp_path, "plain", "return helper(x)"))
    explained = '''"""What."""
    # why
    return (
        helper(x))'''
    assert code_digest(load(tmp_path, "explained", explained)) == plain
    assert code_digest(load(tmp_path, "other", "return helper(x) + 1")) != plain
    # What is called and what is read count; through modules and local imports too.
    assert code_digest(load(tmp_path, "limit", "return helper(x)", limit=2)) != plain
    alone = code_digest(load(tmp_path, "alone", "return x"))
    assert code_digest(load(tmp_path, "limit_alone", "return x", limit=2)) == alone
    by_name = code_digest(load(tmp_path, "a", "return density(x)"))
    local = "from rbtc.layers import density\n    return density(x)"
    followed = {by_name, code_digest(load(tmp_path, "b", local)), alone}
    followed.add(code_digest(load(tmp_path, "c", "return rbtc.layers.density(x)")))
    assert len(followed) == 4
    assert code_digest(prune, write_weights) == code_digest(write_weights, prune)
    assert code_digest(prune, write_weights) != code_digest(prune)
    assert Store("x").key(CONFIG, [prune]) != Store("x").key(CONFIG)


CONSTANTS = """
import dataclasses
from functools import partial
import numpy as np
import torch
from rbtc.layers import density
@dataclasses.dataclass(frozen=True)
class Setting:
    size: float = 0.0
VALUE = {value}
def root(x):
    return VALUE
"""


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("partial(density, fast=True)", "partial(density, fast=False)"),
        ("(Setting(1.0), Setting(2.0))", "(Setting(1.0), Setting(3.0))"),
        ("{'a': [Setting()]}", "{'a': [Setting(4.0)]}"),
        ("np.linspace(0, 1, 5)", "np.linspace(0, 1, 6)"),
        ("torch.tensor([1.0])", "torch.tensor([1.0], dtype=torch.float64)"),
    ],
)
def test_constants_that_hold_objects_count(tmp_path, value, other):
    made = []
    for number, text in enumerate((value, value, other)):
        path = tmp_path / f"constant{number}.py"
        path.write_text(CONSTANTS.format(value=text), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"rbtc.constant{number}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        made.append(code_digest(module.root))
    assert made[0] == made[1] != made[2]


def test_the_place_of_a_checkout_does_not_count(tmp_path):
    (tmp_path / "other").mkdir()
    body = "return helper(len(__file__))"
    here, there = load(tmp_path, "here", body), load(tmp_path / "other", "there", body)
    assert code_digest(here) == code_digest(there)


def test_a_completion_rests_on_its_own_solver_and_on_no_other(monkeypatch):
    from rbtc.attack import completion

    def key(algorithm):
        return code_digest.__wrapped__(complete_all, completion.solver_of(algorithm))

    before = {name: key(name) for name in ("released", "spectral")}
    assert before["released"] != before["spectral"]
    monkeypatch.setattr(sys.modules["rbtc.solvers.spectral"], "spectral_step", None, raising=False)
    monkeypatch.setattr(completion, "svt", completion.spectral)
    assert {name: key(name) for name in before} == before


def test_the_wording_of_errors_and_warnings_does_not_count(tmp_path):
    body = "if x < 0:\n        raise ValueError({!r})\n    warnings.warn({!r})\n    return x"
    first = code_digest(load(tmp_path, "one", body.format("negative", "careful")))
    other = code_digest(load(tmp_path, "two", body.format("below zero", "take care")))
    kind = body.replace("ValueError", "TypeError").format("negative", "careful")
    assert first == other != code_digest(load(tmp_path, "three", kind))


def test_library_versions_are_those_that_decide_numbers():
    versions = library_versions()
    assert {"torch", "torchvision", "transformers", "open_clip_torch", "numpy", "scipy"} <= set(
        versions
    )
    assert all("+" not in version for version in versions.values())


def test_library_versions_are_part_of_a_key(monkeypatch):
    key = Store("x").key(CONFIG)
    monkeypatch.setattr(store_module, "library_versions", lambda: {"torch": "0"})
    assert Store("x").key(CONFIG) != key


def test_default_root_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path))
    assert Store().root == tmp_path / "runs"
    monkeypatch.delenv("RBTC_CACHE")
    assert "rbtc" in str(Store().root)
    assert not files(Store(tmp_path))  # nothing is made before the first write


def test_model_digest_sees_content_and_place_of_every_file(tmp_path):
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "w.safetensors").write_bytes(b"one")
    (model / "model_index.json").write_text("{}")
    first = model_digest(model)
    (model / "README.md").write_text("does not count")
    assert model_digest(model) == first
    (model / "unet" / "w.safetensors").write_bytes(b"two")
    second = model_digest(model)
    (model / "unet" / "w.safetensors").rename(model / "unet" / "v.safetensors")
    assert len({first, second, model_digest(model)}) == 3
    with pytest.raises(FileNotFoundError, match="does not exist"):
        model_digest(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no safetensors"):
        model_digest(tmp_path / "empty")


def test_tensors_digest_sees_names_dtypes_shapes_and_signed_zeros():
    base = torch.zeros(2, 3)
    others = [
        {"v": base}, {"w": base.half()}, {"w": base.T}, {"w": -base}, {"w": base, "x": base},
    ]  # fmt: skip
    assert len({tensors_digest({"w": base}), *map(tensors_digest, others)}) == 6
    assert tensors_digest({"w": base.T}) == tensors_digest({"w": base.T.contiguous()})
