"""Checkpoints on disk: names, headers, and copies that differ only where they should."""

import json

import pytest
import torch
from checkpoint_files import NAMES, ORIGINAL, cut, matrices, others, save
from safetensors.torch import load_file, save_file
from scipy.stats import chi2, poisson

from rbtc.audit.checkpoints import Entry, diffusers_name, open_checkpoint
from rbtc.audit.copies import check_target, rewrite, write_copy
from rbtc.audit.release import audit_matrix
from rbtc.audit.zeros import RARE, poisson_bound, rounded_zeros, scatter
from rbtc.models.folders import read_header


def test_the_original_names_are_those_of_the_conversion_in_diffusers():
    """The table that diffusers builds when it converts a checkpoint in one file."""
    assert [diffusers_name(name) for name in ORIGINAL] == NAMES
    assert [diffusers_name(name) for name in NAMES] == NAMES
    bare = [name.removeprefix("model.diffusion_model.") for name in ORIGINAL]
    assert [diffusers_name(name) for name in bare] == NAMES


def test_diffusers_converts_to_the_same_places():
    utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    from collections import defaultdict

    marks = {name: torch.full((1,), float(number)) for number, name in enumerate(ORIGINAL)}
    # Whatever else the conversion wants to see is a placeholder.
    state = defaultdict(lambda: torch.zeros(1), marks)
    for block in range(12):
        state[f"model.diffusion_model.input_blocks.{block}.0.x"] = torch.zeros(1)
        state[f"model.diffusion_model.output_blocks.{block}.0.x"] = torch.zeros(1)
        state[f"model.diffusion_model.output_blocks.{block}.1.norm.weight"] = torch.zeros(1)
    for block in range(3):
        state[f"model.diffusion_model.middle_block.{block}.x"] = torch.zeros(1)
    converted = utils.convert_ldm_unet_checkpoint(state, {"layers_per_block": 2})
    for number, name in enumerate(NAMES):
        assert float(converted[name]) == number


@pytest.mark.parametrize(
    "name",
    [
        "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.ff.net.2.weight",
        "model.diffusion_model.input_blocks.1.0.transformer_blocks.0.ff.net.2.weight",
        NAMES[6].replace("net.2", "net.0"),
        "x." + NAMES[0],
        NAMES[0] + ".x",
    ],
)
def test_other_names_are_looked_at_and_not_attacked(tmp_path, name):
    tensors = {each: torch.ones(4, 4) for each in (NAMES[6], name)}
    found = open_checkpoint(save(tmp_path / "a.safetensors", tensors))
    assert [entry.name for entry in found.entries] == [NAMES[6]] and len(found.matrices) == 2


def test_headers_are_read_and_weights_only_when_asked(tmp_path, monkeypatch):
    file = save(tmp_path / "a.safetensors", matrices() | others())
    monkeypatch.setattr(Entry, "read", lambda self: pytest.fail("read"))
    checkpoint = open_checkpoint(file)
    assert [entry.name for entry in checkpoint.entries] == NAMES
    assert {(entry.shape, entry.dtype) for entry in checkpoint.entries} == {((24, 96), "F16")}


def test_stored_zeros_keep_their_sign_and_weights_lose_it(tmp_path):
    checkpoint = open_checkpoint(save(tmp_path / "a.safetensors", cut(matrices(), signed=True)))
    stored, clean = checkpoint.entries[0].read(), checkpoint.weights()[NAMES[0]]
    assert ((stored == 0) & stored.signbit()).any() and torch.equal(stored, clean)
    assert not ((clean == 0) & clean.signbit()).any()


def test_a_file_whose_header_is_as_long_as_a_pickle_begins(tmp_path):
    """The first bytes are the header's length, and 0x010280 begins as pickles do."""
    entries = {name: {"dtype": "F16", "shape": [2, 2], "data_offsets": [8 * n, 8 * n + 8]}
               for n, name in enumerate(NAMES)}  # fmt: skip
    header = json.dumps(entries).ljust(0x010280).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8 * 16))
    assert file.read_bytes().startswith(b"\x80\x02")
    assert len(open_checkpoint(file).entries) == 16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_copy_differs_in_what_was_changed(tmp_path, dtype):
    tensors = matrices(dtype=dtype) | others()
    checkpoint = open_checkpoint(save(tmp_path / "a.safetensors", tensors))
    changed = {NAMES[0]: torch.full((24, 96), 0.5), NAMES[9]: -tensors[NAMES[9]].double()}
    copy = write_copy(checkpoint, tmp_path / "b.safetensors", changed)
    now = load_file(copy)
    assert copy.stat().st_size == checkpoint.path.stat().st_size and now.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert now[name].dtype == tensor.dtype
        assert torch.equal(now[name], changed.get(name, tensor).to(tensor.dtype))


def test_a_read_only_source_gives_a_copy(tmp_path):
    file = save(tmp_path / "a.safetensors", matrices())
    file.chmod(0o400)
    write_copy(open_checkpoint(file), tmp_path / "b.safetensors", {})
    assert load_file(tmp_path / "b.safetensors").keys() == set(NAMES)


def test_links_of_a_hub_cache_are_followed_and_not_written_through(tmp_path):
    blob = save(tmp_path / "blobs" / "1234.safetensors", matrices())
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "diffusion_pytorch_model.safetensors").symlink_to(blob)
    before = blob.read_bytes()
    zeros = {name: torch.zeros(24, 96) for name in NAMES}
    write_copy(open_checkpoint(folder), tmp_path / "copy", zeros)
    own = tmp_path / "copy" / "diffusion_pytorch_model.safetensors"
    assert blob.read_bytes() == before and not own.is_symlink()
    assert not any(tensor.any() for tensor in load_file(own).values())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"attic": torch.ones(2, 2)}, "has no matrix 'attic'"),
        ({NAMES[0]: torch.ones(2, 2)}, r"has shape \(2, 2\)"),
        ({NAMES[0]: torch.full((24, 96), 1e9)}, "NaN or infinite"),
    ],
)
def test_weights_that_do_not_fit_leave_no_copy(tmp_path, weights, message):
    checkpoint = open_checkpoint(save(tmp_path / "a.safetensors", matrices()))
    with pytest.raises(ValueError, match=message):
        write_copy(checkpoint, tmp_path / "b.safetensors", weights)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_target_is_checked_without_being_made(tmp_path):
    file = save(tmp_path / "a.safetensors", matrices())
    check_target(file, tmp_path / "new" / "b.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_rewriting_reaches_a_tensor_of_one_element_and_drops_what_became_false(tmp_path):
    tensors = {"a": torch.ones(1, 1), "b": torch.ones(1), "c": torch.arange(6.0).reshape(2, 3)}
    told = {"format": "pt", "modelspec.hash_sha256": "0x1", "sd_merge_recipe": "{}"}
    save_file(tensors, tmp_path / "a.safetensors", metadata=told)
    rewrite(tmp_path / "a.safetensors", tmp_path / "b.safetensors",
            {"a": torch.tensor([[2.0]])}, drop=["b"])  # fmt: skip
    found = load_file(tmp_path / "b.safetensors")
    assert found.keys() == {"a", "c"} and float(found["a"]) == 2.0
    assert torch.equal(found["c"], tensors["c"])
    header = read_header(tmp_path / "b.safetensors")
    assert header.metadata == {"format": "pt"}


# ---- zeros ---------------------------------------------------------------------------------------


def test_scatter_tells_quota_chance_and_crowd_apart():
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(200, 500, generator=generator)
    quota = places.argsort(dim=1).argsort(dim=1) < 10
    crowd = (places < 0.04) & (torch.arange(200) % 2 == 0)[:, None]
    found = {name: scatter(mask) for name, mask in
             {"even": quota, "random": places < 0.02, "gathered": crowd}.items()}  # fmt: skip
    assert {name: each.kind for name, each in found.items()} == {n: n for n in found}
    assert found["even"].ratio == 0 and found["random"].ratio == pytest.approx(1, abs=0.3)
    assert scatter(torch.zeros(3, 3, dtype=torch.bool)) is None
    assert scatter(torch.ones(3, 3, dtype=torch.bool)) is None
    assert scatter(torch.eye(1, 9, dtype=torch.bool)) is None


@pytest.mark.parametrize("scale", [1e-6, 1e-5, 1e-3])
def test_rounding_explains_its_own_zeros_and_no_others(scale):
    generator = torch.Generator().manual_seed(0)
    weight = (scale * torch.randn(200, 500, generator=generator)).half()
    natural = int((weight == 0).sum())
    assert natural <= rounded_zeros(weight)
    cut_too = weight.clone()
    cut_too[:, :10] = 0
    assert int((cut_too == 0).sum()) > rounded_zeros(cut_too) or scale == 1e-6


@pytest.mark.parametrize("mean", [1, 1.5, 7, 333.5, 1e4, 123456.5, 1e6])
def test_the_bound_of_a_count_is_the_quantile_of_poisson(mean):
    assert poisson_bound(mean) == poisson.isf(RARE, mean)


@pytest.mark.parametrize(("rows", "columns"), [(2, 40), (24, 96), (320, 1280)])
def test_the_kinds_of_scatter_end_at_the_quantiles_of_chi_squared(rows, columns):
    generator = torch.Generator().manual_seed(rows)
    low, high = chi2.ppf([0.025, 0.975], rows - 1) / (rows - 1)
    for _ in range(100):
        found = scatter(torch.rand(rows, columns, generator=generator) < 0.1)
        assert found is not None
        kind = "even" if found.ratio < low else "gathered" if found.ratio > high else "random"
        assert found.kind == kind


def test_a_pruned_matrix_is_counted_exactly():
    weight = cut({NAMES[0]: matrices()[NAMES[0]]}, signed=True)[NAMES[0]]
    found = audit_matrix(Entry(NAMES[0], None, NAMES[0], (24, 96), "F16"), weight)  # type: ignore
    assert (found.zeros, found.negative_zeros) == (
        96,
        int((weight.signbit() & (weight == 0)).sum()),
    )
    assert found.pruned and found.leaks and found.signs is None and found.empty_rows == 0
