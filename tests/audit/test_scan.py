"""What a release holds besides its published matrices."""

import json
import os
import shutil

import pytest
import torch
from checkpoint_files import NAMES, ORIGINAL, cut, matrices, others, save
from safetensors.torch import load_file, save_file

from rbtc.audit.checkpoints import open_checkpoint
from rbtc.audit.copies import left_out, write_copy
from rbtc.audit.scan import scan

FILE = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def release(tmp_path):
    """A pipeline's folder whose UNet is pruned."""
    root = tmp_path / "release"
    save(root / FILE, cut(matrices()) | others())
    (root / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "x"],
             "vae": ["diffusers", "AutoencoderKL"]}  # fmt: skip
    (root / "model_index.json").write_text(json.dumps(index))
    (root / "README.md").write_text("a model\n")
    save(root / "vae" / "diffusion_pytorch_model.safetensors", {"a": torch.ones(2)})
    return root


def _ema(name):
    return "model_ema." + name.removeprefix("model.").replace(".", "")


def test_a_release_that_holds_nothing_else(release):
    found = scan(release)
    assert not found.leaks and found.findings == () and found.files == 5


PLACES = [
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/backup/diffusion_pytorch_model.safetensors",
    "unet.bak/diffusion_pytorch_model.safetensors",
    "original/v1-5.safetensors",
    ".git/lfs/objects/ab/cd/abcd",
    "checkpoint-500/unet/X.SAFETENSORS",
    "unet/diffusion_pytorch_model.safetensors.orig",
    "vae/old.safetensors",
]


@pytest.mark.parametrize("place", PLACES)
def test_the_original_is_found_wherever_it_lies_and_never_copied(release, tmp_path, place):
    half = {name: weight.to(torch.bfloat16) for name, weight in matrices().items()}
    save(release / place, half)
    found = scan(release)
    assert found.leaks
    assert {(one.kind, one.file) for one in found.findings} == {("original", place)}
    assert len(found.findings) == 16
    assert all(one.differs == 24 * 4 for one in found.findings)
    checkpoint = open_checkpoint(release)
    copy = write_copy(checkpoint, tmp_path / "copy", {})
    assert left_out(checkpoint) == [str(release / place)]
    assert not scan(copy).leaks
    assert sorted(str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()) == [
        "README.md", "model_index.json", "unet/config.json", FILE,
        "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip


def test_weights_beside_the_live_ones_are_found_and_dropped(tmp_path):
    whole = matrices(names=ORIGINAL)
    state = cut(whole) | {_ema(name): weight for name, weight in whole.items()}
    file = save(tmp_path / "a.safetensors", state)
    found = scan(file)
    assert {one.kind for one in found.findings} == {"original"}
    assert {one.key for one in found.findings} == {_ema(name) for name in ORIGINAL}
    copy = write_copy(open_checkpoint(file), tmp_path / "b.safetensors", {})
    assert load_file(copy).keys() == set(ORIGINAL) and not scan(copy).leaks
    assert left_out(open_checkpoint(file)) == sorted(f"{file}: {_ema(name)}" for name in ORIGINAL)


def test_torch_prune_keeps_the_original_and_its_mask(tmp_path):
    state = {f"{name}_orig": weight for name, weight in matrices().items()}
    state |= {f"{name}_mask": (weight != 0).to(weight.dtype)
              for name, weight in cut(matrices()).items()}  # fmt: skip
    kinds = [one.kind for one in scan(save(tmp_path / "a.safetensors", state)).findings]
    assert sorted(kinds) == ["mask"] * 16 + ["original"] * 16


def test_a_header_names_the_parent(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file(cut(matrices()), file, metadata={"sd_merge_recipe": "sd15 minus church"})
    (found,) = scan(file).findings
    assert (found.kind, found.key) == ("header", "sd_merge_recipe")
    copy = write_copy(open_checkpoint(file), tmp_path / "b.safetensors", {})
    assert not scan(copy).findings


def test_files_that_cannot_be_looked_into_are_named(release):
    (release / "backup.zip").write_bytes(b"PK\x03\x04" + bytes(10))
    (release / "unet" / "model.bin").write_bytes(b"\x80\x02" + bytes(10))
    assert [(one.kind, one.file) for one in scan(release).findings] == [
        ("unreadable", "backup.zip"), ("unreadable", "unet/model.bin")
    ]  # fmt: skip


def test_the_same_values_once_more_give_nothing_away(release):
    shutil.copy(release / FILE, release / "unet" / "again.safetensors")
    found = scan(release)
    assert not found.leaks and {one.kind for one in found.findings} == {"copy"}


def test_links_are_not_followed_out_of_the_release(release, tmp_path):
    save(tmp_path / "elsewhere.safetensors", matrices())
    (release / "unet" / "link.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    os.mkfifo(release / "unet" / "pipe.json")
    assert not scan(release).findings
    copy = write_copy(open_checkpoint(release), tmp_path / "copy", {})
    assert not (copy / "unet" / "link.safetensors").exists()


NAMINGS = [
    "diffusion_pytorch_model-0000{}-of-00002.safetensors",
    "diffusion_pytorch_model.fp16-0000{}-of-00002.safetensors",
    "diffusion_pytorch_model-0000{}-of-00002.fp16.safetensors",
]


@pytest.mark.parametrize("naming", NAMINGS)
def test_shards_of_every_naming_and_one_that_is_missing(release, tmp_path, naming):
    (release / FILE).unlink()
    names = [naming.format(number) for number in (1, 2)]
    save(release / "unet" / names[0], matrices())
    with pytest.raises(FileNotFoundError, match=f"{names[1]} is missing"):
        open_checkpoint(release)
    save(release / "unet" / names[1], others())  # nothing in it is attacked
    checkpoint = open_checkpoint(release)
    assert len(checkpoint.entries) == 16
    copy = write_copy(checkpoint, tmp_path / "copy", {})
    assert (copy / "unet" / names[1]).is_file() and left_out(checkpoint) == []


def test_a_second_copy_of_any_matrix_is_found(release):
    """The original of what was pruned elsewhere, in a variant."""
    to_v = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"
    whole = {to_v: torch.randn(24, 40), **others()}
    save(release / FILE, matrices() | whole | {to_v: whole[to_v].masked_fill(whole[to_v] > 1, 0)})
    save(release / "unet" / "diffusion_pytorch_model.fp16.safetensors", matrices() | whole)
    (found, again) = scan(release).findings
    assert (found.kind, found.key, again.kind) == ("original", to_v, "copy")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "unet.", "module.unet."])
def test_prefixes_of_wrappers_are_read_over(tmp_path, prefix):
    state = {prefix + name: weight for name, weight in matrices().items()}
    found = open_checkpoint(save(tmp_path / "a.safetensors", state))
    assert [entry.name for entry in found.entries] == sorted(NAMES)
