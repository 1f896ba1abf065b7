import datetime
import importlib.util
import json
import subprocess
import sys
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
from rbtc.lab.store import Store
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


KINDS = pytest.mark.parametrize("kind", ["images", "weights", "json"])


def ask(store, kind, number, compute=True):
    """A request that differs from others by its number: one file, read or made."""

    def make(value):
        return value if compute else pytest.fail("was computed twice")

    if kind == "images":
        paint = Painter() if compute else lambda prompts, seeds: pytest.fail("was drawn twice")
        return store.images(CONFIG, ["a" * number], [1], paint, batch=8)
    config = CONFIG | {"number": number}
    if kind == "weights":
        found, reused = store.weights(config, lambda: make({"w": torch.full((64,), 0.25)}))
        return found["w"].numpy(), reused
    return store.json(config, lambda: make({"accuracy": [0.25, number]}))


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


def test_missing_pictures_of_several_prompts_share_batches(store):
    make = Painter()
    prompts = [f"a {'x' * i}" for i in range(11) for _ in range(8)]
    images, _ = store.images(CONFIG, [*prompts, "b", "b"], [*range(8)] * 11 + [5] * 2, make, 32)
    assert [len(call) for call in make.calls] == [32, 32, 25]  # asked for twice, made once
    np.testing.assert_array_equal(images[-1], images[-2])


def test_batches_may_be_drawn_elsewhere_and_come_in_any_order(store):
    make = Painter()

    def draw(batches):
        for batch in reversed(batches):
            yield batch, make(*batch)

    images, _ = store.images(CONFIG, ["a"] * 5, range(5), None, batch=2, draw=draw)
    assert [len(call) for call in make.calls] == [1, 2, 2]
    np.testing.assert_array_equal(images, [picture("a", seed) for seed in range(5)])
    assert store.images(CONFIG, ["a"] * 5, range(5), None, batch=2, draw=None)[1]


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
    def half(tensors, path, **notes):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", half)
        with pytest.raises(KeyboardInterrupt):
            ask(store, "images", 1)
    assert files(store) == []
    # A process that could not even tidy up: its leftovers are never read.
    ask(store, "images", 1)
    (path,) = files(store)
    path.rename(path.with_name(f".{path.name}.123.tmp"))
    assert not ask(store, "images", 1)[1]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "garbage", "no key", "another"])
@KINDS
def test_a_damaged_file_is_computed_again_with_a_warning(store, kind, damage):
    first, _ = ask(store, kind, 1)
    (path,) = files(store, kind)
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[data.rfind(b"0.25") + 2 if kind == "json" else len(data) - 2] ^= 1
    ask(store, kind, 2)
    (other,) = set(files(store, kind)) - {path}
    path.write_bytes(
        {
            "truncate": data[:-5], "flip": bytes(flipped), "empty": b"", "garbage": b"x" * 99,
            "no key": data.replace(b'"key"', b'"kex"'), "another": other.read_bytes(),
        }[damage]
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="damaged and will be computed again"):
        again, reused = ask(store, kind, 1)
    assert not reused
    np.testing.assert_equal(again, first)
    np.testing.assert_equal(ask(store, kind, 1, compute=False), (first, True))
    assert ask(store, kind, 2, compute=False)[1]


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


def test_of_two_writers_the_first_is_kept_and_none_loses_anything(store):
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
        list(pool.map(write, [*range(8)] * 2))
    assert store.images(CONFIG, ["a"] * 8, range(8), Painter(), batch=8)[1]


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


@KINDS
def test_a_folder_that_cannot_be_written_is_named(tmp_path, kind):
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "runs")
    with pytest.raises(OSError, match=r"file/runs cannot be written .*: set RBTC_CACHE to a"):
        ask(store, kind, 1, compute=False)


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
import dataclasses
from functools import partial
import numpy as np
import torch
import rbtc.layers
from rbtc.layers import density
@dataclasses.dataclass(frozen=True)
class Setting:
    size: float = 0.0
LIMIT = {limit}
def helper(x):
    return x + LIMIT
def root(x: int) -> int:
    {body}
"""


@pytest.fixture
def digest(tmp_path):
    """The digest of ``root`` in a module of this package that is not there, so to speak."""

    def digest(body, limit="1", folder=""):
        number = len(list(tmp_path.rglob("*.py")))
        path = tmp_path / folder / f"digested{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(MODULE.format(body=body, limit=limit), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"rbtc.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return code_digest(module.root)

    return digest


def test_code_counts_but_explanations_and_places_do_not(digest):
    plain = digest("return helper(x)")
    explained = '''"""What."""
    # why
    return (
        helper(x))'''
    assert digest(explained) == plain != digest("return helper(x) + 1")
    # What is called and what is read count; through modules and local imports too.
    assert digest("return helper(x)", limit=2) != plain
    alone = digest("return x")
    assert digest("return x", limit=2) == alone
    local = "from rbtc.layers import density\n    return density(x)"
    followed = {alone, digest("return density(x)"), digest(local)}
    assert len(followed | {digest("return rbtc.layers.density(x)")}) == 4
    here, there = (digest("return helper(len(__file__))", folder=name) for name in ("a", "b"))
    assert here == there
    assert code_digest(prune, write_weights) == code_digest(write_weights, prune)
    assert code_digest(prune, write_weights) != code_digest(prune)
    assert Store("x").key(CONFIG, [prune]) != Store("x").key(CONFIG)


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
def test_constants_that_hold_objects_count(digest, value, other):
    first, same, changed = (digest("return LIMIT", limit=text) for text in (value, value, other))
    assert first == same != changed


def test_a_completion_rests_on_its_own_solver_and_on_no_other(monkeypatch):
    from rbtc.attack import completion
    from rbtc.lab import digests

    def key(algorithm):
        return code_digest.__wrapped__(complete_all, completion.solver_of(algorithm))

    before = {name: key(name) for name in ("released", "spectral")}
    of = {n: digests._definitions(sys.modules[f"rbtc.solvers.{n}"]) for n in ("spectral", "svd")}
    with monkeypatch.context() as patch:
        patch.setitem(of["spectral"], "spectral", of["spectral"]["gram_power"])
        assert key("released") == before["released"] != before["spectral"] != key("spectral")
    monkeypatch.setitem(of["svd"], "check_stop", of["svd"]["Solution"])  # both use it
    assert key("released") != before["released"] and key("spectral") != before["spectral"]


def test_the_wording_of_errors_and_warnings_does_not_count(digest):
    body = "if x < 0:\n        raise ValueError({!r})\n    warnings.warn({!r})\n    return x"
    first, other = (digest(body.format(*words)) for words in (("negative", "a"), ("below", "b")))
    kind = body.replace("ValueError", "TypeError").format("negative", "a")
    assert first == other != digest(kind)


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
