"""Model folders that are whole, missing or damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from rbtc.models.folders import weight_files
from rbtc.models.pipelines import load_pipeline, model_folder
from rbtc.models.profiles import load_profile


@pytest.fixture
def mini():
    return dataclasses.replace(load_profile("mini"), model="models/not-there")


@pytest.fixture
def folder(tiny_pipeline_folder, tmp_path):
    return shutil.copytree(tiny_pipeline_folder, tmp_path / "model")


def weights_of(folder, part):
    """A part's only safetensors file, and what it holds."""
    from safetensors.torch import load_file

    (path,) = (folder / part).glob("*.safetensors")
    return path, load_file(path)


def rewrite(path, tensors):
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def set_index(folder, **entries):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


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


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(mini, folder, part, value):
    from safetensors.torch import load_file, save_file

    (path,) = (folder / part).glob("*.safetensors")
    tensors = load_file(path)
    name = max(tensors)
    tensors[name].view(-1)[0] = value
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"'{name}' of its {part} holds 1 NaN or infinite"):
        load_pipeline(at(mini, folder), device="cpu")


def test_missing_weights(mini, folder):
    for path in (folder / "vae").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"vae holds no \.safetensors"):
        load_pipeline(at(mini, folder), device="cpu")


def test_damaged_part_configuration(mini, folder):
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
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

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    sd15, asked = load_profile("sd15"), {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tiny_pipeline_folder)

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    assert model_folder(sd15) == tiny_pipeline_folder
    assert asked["name"] == sd15.model
    assert asked["revision"] == sd15.revision and len(sd15.revision) == 40
    assert asked["use_safetensors"] is True

    def offline(name, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(DiffusionPipeline, "download", offline)
    with pytest.raises(
        FileNotFoundError, match=r"could not be fetched.*no route to host"
    ) as caught:
        load_pipeline(sd15, device="cpu")
    assert "Offline mode" not in str(caught.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"Offline mode is on .*another try goes on"):
        load_pipeline(sd15, device="cpu")


# ---- what was loaded is what the files say -------------------------------------------------------


@pytest.mark.parametrize("where", [0, 0.5, 1])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_with_a_tensor_missing_is_refused(mini, folder, part, where):
    path, tensors = weights_of(folder, part)
    name = list(tensors)[int(where * (len(tensors) - 1))]
    del tensors[name]
    rewrite(path, tensors)
    with pytest.raises(ValueError, match=f"(?s){part}.*{name}.*(damaged|requirements.lock)"):
        load_pipeline(at(mini, folder), device="cpu")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_tensor_too_many_is_refused(mini, folder, part):
    path, tensors = weights_of(folder, part)
    rewrite(path, {**tensors, "extra.weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=rf"{part} are of its file.*'extra\.weight'"):
        load_pipeline(at(mini, folder), device="cpu")


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_names_of_another_library_version(mini, folder, tiny_pipeline, prefix):
    path, tensors = weights_of(folder, "text_encoder")
    renamed = {prefix + n.removeprefix("text_model."): tensor for n, tensor in tensors.items()}
    counted = {"text_model.embeddings.position_ids": torch.arange(77)[None]} if prefix else {}
    rewrite(path, renamed | counted)
    loaded = load_pipeline(at(mini, folder), device="cpu").text_encoder.state_dict()
    for name, value in tiny_pipeline.text_encoder.state_dict().items():
        assert torch.equal(loaded[name], value)
    rewrite(path, {f"x.{name}": tensor for name, tensor in renamed.items()})
    with pytest.raises(ValueError, match="text_encoder are not in its file"):
        load_pipeline(at(mini, folder), device="cpu")


def test_old_names_of_the_vaes_attention(mini, folder, tiny_pipeline):
    path, tensors = weights_of(folder, "vae")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in tensors.items():
        for new, word in names.items():
            name = name.replace(f".{new}.", f".{word}.")
        old[name] = tensor
    assert len(old.keys() - tensors.keys()) == 16
    rewrite(path, old)
    loaded = load_pipeline(at(mini, folder), device="cpu").vae.state_dict()
    for name, value in tiny_pipeline.vae.state_dict().items():
        assert torch.equal(loaded[name], value)


def test_shards_are_one_file_and_variants_do_not_count(mini, folder):
    path, tensors = weights_of(folder, "unet")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"cut short")
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"")
    assert weight_files(folder / "unet") == [path]
    load_pipeline(at(mini, folder), device="cpu")

    shards = [
        path.with_name(f"diffusion_pytorch_model-0000{i}-of-00002.safetensors") for i in (1, 2)
    ]
    names = list(tensors)
    for shard, part in zip(shards, (names[:300], names[300:]), strict=True):
        rewrite(shard, {name: tensors[name] for name in part})
    with pytest.raises(ValueError, match="more than once"):
        weight_files(folder / "unet")
    path.unlink()
    assert weight_files(folder / "unet") == shards
    for shard in shards:
        shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"under its default name but only .*fp16"):
        weight_files(folder / "unet")


# ---- a model is data -----------------------------------------------------------------------------


@pytest.fixture
def unread(monkeypatch):
    """Fails when any weights are opened."""
    import safetensors

    monkeypatch.setattr(
        safetensors, "safe_open", lambda *a, **k: pytest.fail("the weights were opened")
    )


@pytest.mark.parametrize("place", ["pipeline.py", "scheduler/scheduling.PY", "unet/deep/er/x.py"])
def test_code_beside_a_model_is_refused(mini, folder, unread, place):
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("raise SystemExit('was run')")
    with pytest.raises(ValueError, match=f"{path.name} is code, and a model is only data"):
        load_pipeline(at(mini, folder), device="cpu")


def test_code_in_a_linked_part_is_refused(mini, folder, unread, tmp_path):
    shutil.move(folder / "unet", tmp_path / "elsewhere")
    (folder / "unet").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "x.py").write_text("")
    with pytest.raises(ValueError, match=r"x\.py is code"):
        load_pipeline(at(mini, folder), device="cpu")


@pytest.mark.parametrize("file", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
def test_configurations_that_ask_for_code_are_refused(mini, folder, unread, file):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModel": "x.y"}}))
    with pytest.raises(ValueError, match='has "auto_map"'):
        load_pipeline(at(mini, folder), device="cpu")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"unet": ["my_unet", "UNet2DConditionModel"]}, "unet is 'UNet2DConditionModel' of 'my_u"),
        ({"unet": ["diffusers", "UNet2DModel"]}, "expected diffusers's UNet2DConditionModel"),
        ({"unet": [None, None]}, "unet is None of None"),
        ({"unet": "diffusers"}, r"unet must be \[library, class\], not 'diffusers'"),
        ({"vae": None}, r"vae must be \[library, class\]"),
        ({"vae": ["diffusers", "AutoencoderTiny"]}, "AutoencoderKL"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, "CLIPTextModel"),
        ({"text_encoder": ["diffusers", "CLIPTextModel"]}, "of 'diffusers'"),
        ({"tokenizer": ["transformers", "AutoTokenizer"]}, "CLIPTokenizer or CLIPTokenizerFast"),
        ({"scheduler": ["diffusers", "NoSuchScheduler"]}, "a scheduler of diffusers"),
        ({"scheduler": ["diffusers", "DiffusionPipeline"]}, "a scheduler of diffusers"),
        ({"scheduler": ["transformers", "DDIMScheduler"]}, "a scheduler of diffusers"),
        ({"safety_checker": ["evil", "Checker"]}, "safety_checker is 'Checker' of 'evil'"),
        ({"feature_extractor": ["stable_diffusion", "X"]}, "a class of diffusers or transformers"),
        ({"extra": ["os", "system"]}, "extra is 'system' of 'os'"),
        ({"extra": ["os"]}, r"extra must be \[library, class\]"),
        ({"_class_name": "StableDiffusionXLPipeline"}, "SDXL.* attacks Stable Diffusion 1.x"),
        ({"_class_name": "FluxPipeline"}, "describes a FluxPipeline.* Stable Diffusion 1.x"),
        ({"_class_name": ["pipeline", "Own"]}, r"describes a \['pipeline', 'Own'\]"),
    ],
)
def test_models_of_other_classes_are_refused(mini, folder, unread, entry, message):
    set_index(folder, **entry)
    with pytest.raises(ValueError, match=message):
        load_pipeline(at(mini, folder), device="cpu")


def test_the_index_of_the_published_model_is_accepted(mini, folder):
    set_index(
        folder,
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        image_encoder=[None, None],
    )
    assert model_folder(at(mini, folder)) == folder


def test_a_pickled_single_file_is_refused_with_what_to_do(mini, tmp_path):
    (tmp_path / "v1-5.ckpt").write_bytes(b"")
    for name in (tmp_path / "v1-5.ckpt", tmp_path / "absent.pt", "v1.ckpt"):
        with pytest.raises(ValueError, match=r"is a single file.*never a pickle.*from_single_file"):
            load_pipeline(at(mini, name), device="cpu")


def test_a_folder_without_a_tokenizer(mini, folder, unread):
    for path in (folder / "tokenizer").glob("*"):
        if path.name not in ("vocab.json", "tokenizer_config.json", "special_tokens_map.json"):
            path.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer: expected vocab\.json and"):
        load_pipeline(at(mini, folder), device="cpu")
