"""Stable Diffusion v1.5's build: its configuration, its sampler's calls, its single file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from published import configuration, random_pipeline, save_single_file, single_state, unet_name
from safetensors.torch import load_file, save_file

from rbtc.layers import find_layers
from rbtc.models.generate import generate
from rbtc.models.pipelines import load_pipeline
from rbtc.models.profiles import load_profile
from rbtc.models.sd15 import FULL, is_random, write_configuration, write_tokenizer
from rbtc.models.single_file import as_folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return random_pipeline(tmp_path_factory.mktemp("small"), small=True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def at(model):
    return dataclasses.replace(load_profile("sd15"), model=str(model))


def test_the_full_build_has_the_published_number_of_weights():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(FULL["unet"])
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964  # METHOD 2.1
    layers = find_layers(unet)
    assert len(layers) == 16
    assert sum(weight.numel() for weight in layers.values()) == 49_561_600


def test_fifty_steps_of_the_profile_are_51_calls_of_the_unet(small):
    sd15, calls = load_profile("sd15"), []
    counter = small.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        generate(small, ["a church"], [0], steps=sd15.steps, guidance=sd15.guidance)
    finally:
        counter.remove()
    assert type(small.scheduler).__name__ == "PNDMScheduler"
    assert len(calls) == 51


def test_the_tokenizer_is_clips(small, tmp_path):
    # The numbers that everybody's CLIP gives to this sentence.
    expected = [49406, 320, 1125, 539, 320, 2368, 49407]
    assert small.tokenizer("a photo of a cat").input_ids == expected
    from open_clip import get_tokenizer

    theirs = get_tokenizer("ViT-B-32")(["It's an élan: 3 houses, gas-pump!"])[0]
    ours = small.tokenizer("It's an élan: 3 houses, gas-pump!").input_ids
    assert theirs[: len(ours)].tolist() == ours
    assert write_tokenizer(tmp_path).is_dir()


def test_pictures_are_of_the_published_size():
    assert configuration()["unet"]["sample_size"] * 8 == 512
    assert configuration(sample_size=16)["vae"]["sample_size"] == 128
    with pytest.raises(ValueError, match=r"multiple of 8, not 12"):
        configuration(sample_size=12)


def test_a_single_file_draws_what_the_pipeline_draws(small, tmp_path, cache):
    file = save_single_file(small, tmp_path / "model.safetensors", random=True)
    folder = as_folder(file, configuration(small=True))
    assert folder.is_relative_to(cache) and is_random(folder)
    again = load_pipeline(at(file), device="cpu")  # made once, found again
    assert again.name_or_path == str(folder)
    first = generate(small, ["a church"], [0], steps=2)
    np.testing.assert_array_equal(generate(again, ["a church"], [0], steps=2), first)
    assert [path.name for path in (cache / "models").iterdir()] == [folder.name]


def test_a_single_file_has_the_published_names(small):
    names = set(single_state(small))
    # One of each kind, as they stand in the published checkpoint.
    expected = {
        "model.diffusion_model.time_embed.0.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.2.weight",
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight",
        "model.diffusion_model.middle_block.1.proj_in.weight",
        "model.diffusion_model.output_blocks.2.1.conv.weight",
        "model.diffusion_model.output_blocks.5.2.conv.weight",
        "model.diffusion_model.output_blocks.11.0.out_layers.3.bias",
        "model.diffusion_model.out.2.weight",
        "first_stage_model.encoder.down.0.downsample.conv.weight",
        "first_stage_model.decoder.up.3.block.2.conv1.weight",
        "first_stage_model.decoder.mid.attn_1.proj_out.weight",
        "first_stage_model.post_quant_conv.bias",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
    }
    assert expected <= names
    with pytest.raises(ValueError, match=r"'attic.weight' is none of Stable Diffusion 1"):
        unet_name("attic.weight")


def test_half_precision_stays_half(small, tmp_path, cache):
    save_single_file(small, tmp_path / "whole.safetensors")
    state = {k: v.half() for k, v in load_file(tmp_path / "whole.safetensors").items()}
    save_file(state, tmp_path / "half.safetensors")
    folder = as_folder(tmp_path / "half.safetensors", configuration(small=True))
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert not is_random(folder)


def test_wrong_single_files_are_one_clear_error(small, tmp_path, cache):
    file = save_single_file(small, tmp_path / "model.safetensors")
    whole = file.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"does not exist"):
        as_folder(tmp_path / "absent.safetensors")
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_pipeline(at(file), device="cpu")
    save_file({"conditioner.embedders.1.x": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"another architecture \(SDXL\)"):
        load_pipeline(at(file), device="cpu")
    save_file({"unet.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"no whole checkpoint"):
        load_pipeline(at(file), device="cpu")
    file.write_bytes(whole)
    state = load_file(file)
    del state["first_stage_model.quant_conv.weight"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"Stable Diffusion 1.x.*quant_conv.weight"):
        as_folder(file, configuration(small=True))
    assert not list((cache / "models").glob("*"))  # nothing half-made stays


def test_a_full_disk_is_said_and_leaves_nothing(small, tmp_path, cache, monkeypatch):
    file = save_single_file(small, tmp_path / "model.safetensors")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(small), "save_pretrained", full)
    with pytest.raises(OSError, match=r"No space left"):
        as_folder(file, configuration(small=True))
    assert not list((cache / "models").glob("*"))


def test_a_configuration_is_a_model_folder_without_weights(tmp_path):
    from rbtc.models.folders import check_model_folder

    with pytest.raises(FileNotFoundError, match=r"holds no .safetensors file"):
        check_model_folder(write_configuration(tmp_path))
