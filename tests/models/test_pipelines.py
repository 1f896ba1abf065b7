"""Model folders that are whole, missing or damaged."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from rbtc.models.pipelines import load_pipeline, model_folder
from rbtc.models.profiles import load_profile


@pytest.fixture
def mini():
    return dataclasses.replace(load_profile("mini"), model="models/not-there")


@pytest.fixture
def folder(tiny_pipeline_folder, tmp_path):
    return shutil.copytree(tiny_pipeline_folder, tmp_path / "model")


def at(profile, folder):
    return dataclasses.replace(profile, model=str(folder))


def test_load_pipeline(mini, tiny_pipeline_folder, tiny_pipeline):
    pipe = load_pipeline(at(mini, tiny_pipeline_folder), device="cpu")
    assert pipe.safety_checker is None
    assert pipe.unet.dtype == torch.float32 and pipe.device.type == "cpu"
    assert Path(pipe.name_or_path) == tiny_pipeline_folder
    for name, value in tiny_pipeline.unet.state_dict().items():
        assert torch.equal(pipe.unet.state_dict()[name], value)


def test_half_precision_is_not_used_on_a_cpu(mini, tiny_pipeline_folder):
    profile = dataclasses.replace(at(mini, tiny_pipeline_folder), dtype="float16")
    assert load_pipeline(profile, device="cpu").unet.dtype == torch.float32


def test_missing_model_folder(mini):
    with pytest.raises(FileNotFoundError, match=r"models/not-there does not exist: fetch or copy"):
        load_pipeline(mini, device="cpu")


def test_folder_without_index(mini, folder):
    (folder / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model_index\.json"):
        load_pipeline(at(mini, folder), device="cpu")


def test_damaged_index(mini, folder):
    (folder / "model_index.json").write_text('{"unet": ')
    with pytest.raises(ValueError, match=r"model_index\.json is damaged"):
        load_pipeline(at(mini, folder), device="cpu")
    (folder / "model_index.json").write_text('{"unet": []}')
    with pytest.raises(ValueError, match="this is no Stable Diffusion model"):
        load_pipeline(at(mini, folder), device="cpu")


def test_truncated_weights(mini, folder):
    (path,) = (folder / "unet").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"unet/.*safetensors is damaged"):
        load_pipeline(at(mini, folder), device="cpu")


def test_missing_weights(mini, folder):
    for path in (folder / "vae").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"vae holds no \.safetensors"):
        load_pipeline(at(mini, folder), device="cpu")


def test_damaged_part_configuration(mini, folder):
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be loaded as a Stable Diffusion pipeline"):
        load_pipeline(at(mini, folder), device="cpu")


def test_model_without_feed_forward_layers(mini, folder, tiny_pipeline):
    from diffusers import UNet2DConditionModel

    plain = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(4, 4), norm_num_groups=2,
        layers_per_block=1, down_block_types=("DownBlock2D",) * 2, mid_block_type=None,
        up_block_types=("UpBlock2D",) * 2, cross_attention_dim=16,
    )  # fmt: skip
    shutil.rmtree(folder / "unet")
    plain.save_pretrained(folder / "unet")
    with pytest.raises(ValueError, match="no feed-forward output matrix"):
        load_pipeline(at(mini, folder), device="cpu")


def test_devices(mini, tiny_pipeline_folder):
    with pytest.raises(ValueError, match="unknown device 'gpu7'"):
        load_pipeline(at(mini, tiny_pipeline_folder), device="gpu7")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU"):
            load_pipeline(at(mini, tiny_pipeline_folder), device="cuda")


def test_hub_models_are_fetched_or_explained(tiny_pipeline_folder, monkeypatch):
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    sd15, asked = load_profile("sd15"), {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tiny_pipeline_folder)

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    assert model_folder(sd15) == tiny_pipeline_folder
    assert asked["name"] == sd15.model
    assert asked["revision"] is None and asked["use_safetensors"] is True

    def offline(name, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(DiffusionPipeline, "download", offline)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*no route to host"):
        load_pipeline(sd15, device="cpu")
