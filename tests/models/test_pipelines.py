"""Model folders that are whole, missing or damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rbtc.models.folders import weight_files
from rbtc.models.generate import generate
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


def index(**entries):
    """Damage: change entries of the index."""

    def damage(folder):
        path = folder / "model_index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return damage


def at(profile, folder):
    return dataclasses.replace(profile, model=str(folder))


def assert_same(ours, theirs):
    theirs, ours = theirs.state_dict(), ours.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def refused(profile, folder, error, message):
    with pytest.raises(error, match=message) as caught:
        load_pipeline(at(profile, folder), device="cpu")
    return str(caught.value)


def write(name, text):
    """Damage: write a file of the folder."""

    def damage(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return damage


def remove(pattern, but=()):
    """Damage: delete files."""

    def damage(folder):
        for path in folder.glob(pattern):
            if path.name not in but:
                path.unlink()

    return damage


def cut_short(folder):
    path, _ = weights_of(folder, "unet")
    path.write_bytes(path.read_bytes()[:-100])


def auto_map(name):
    def damage(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, "auto_map": {"AutoModel": "x.y"}}))

    return damage


def linked_code(folder):
    elsewhere = folder.with_name("elsewhere")
    shutil.move(folder / "unet", elsewhere)
    (folder / "unet").symlink_to(elsewhere)
    (elsewhere / "x.py").write_text("")


def without_feed_forward(folder):
    from diffusers import UNet2DConditionModel

    plain = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(4, 4), norm_num_groups=2,
        layers_per_block=1, down_block_types=("DownBlock2D",) * 2, mid_block_type=None,
        up_block_types=("UpBlock2D",) * 2, cross_attention_dim=16,
    )  # fmt: skip
    shutil.rmtree(folder / "unet")
    plain.save_pretrained(folder / "unet")


def test_load_pipeline(mini, tiny_pipeline_folder, tiny_pipeline):
    half = dataclasses.replace(at(mini, tiny_pipeline_folder), dtype="float16")
    pipe = load_pipeline(half, device="cpu")
    assert pipe.safety_checker is None
    assert pipe.unet.dtype == torch.float32 and pipe.device.type == "cpu"  # no half on a CPU
    assert Path(pipe.name_or_path) == tiny_pipeline_folder
    assert_same(pipe.unet, tiny_pipeline.unet)
    assert pipe.tokenizer("a ball").input_ids == tiny_pipeline.tokenizer("a ball").input_ids
    first, again = (generate(one, ["a ball"], [3], steps=2) for one in (tiny_pipeline, pipe))
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (shutil.rmtree, FileNotFoundError, "does not exist: fetch or copy"),
        (remove("model_index.json"), FileNotFoundError, r"has no model_index\.json"),
        (write("model_index.json", '{"unet": '), ValueError, r"model_index\.json is damaged"),
        (write("model_index.json", '{"unet": []}'), ValueError, "is no Stable Diffusion model"),
        (cut_short, ValueError, r"unet/.*safetensors is damaged"),
        (remove("vae/*.safetensors"), FileNotFoundError, r"vae holds no \.safetensors"),
        (write("unet/config.json", "{"), ValueError, r"config\.json is damaged"),
        (without_feed_forward, ValueError, "no feed-forward output matrix"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(mini, folder, damage, error, message):
    damage(folder)
    refused(mini, folder, error, message)


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
    message = refused(sd15, sd15.model, FileNotFoundError, "could not be fetched.*no route to host")
    assert "Offline mode" not in message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(sd15, sd15.model, FileNotFoundError, "Offline mode is on .*another try goes on")


# ---- what was loaded is what the files say -------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "where", "value"),
    [("unet", 0, "nan"), ("vae", 0.5, "inf"), ("text_encoder", 1, "-inf")],
)
def test_tensors_missing_too_many_or_no_numbers_are_refused(mini, folder, part, where, value):
    path, tensors = weights_of(folder, part)
    name = list(tensors)[int(where * (len(tensors) - 1))]
    rewrite(path, {n: tensor for n, tensor in tensors.items() if n != name})
    refused(mini, folder, ValueError, f"(?s){part}.*{name}.*(damaged|requirements.lock)")
    rewrite(path, {**tensors, "extra.weight": torch.zeros(2)})
    refused(mini, folder, ValueError, rf"{part} are of its file.*'extra\.weight'")
    spoilt = max(tensors)
    tensors[spoilt].view(-1)[0] = float(value)
    rewrite(path, tensors)
    refused(mini, folder, ValueError, rf"'{spoilt}' of its {part} holds 1 NaN or infinite")


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_names_of_another_library_version(mini, folder, tiny_pipeline, prefix):
    path, tensors = weights_of(folder, "text_encoder")
    renamed = {prefix + n.removeprefix("text_model."): tensor for n, tensor in tensors.items()}
    counted = {"text_model.embeddings.position_ids": torch.arange(77)[None]} if prefix else {}
    rewrite(path, renamed | counted)
    assert_same(load_pipeline(at(mini, folder), "cpu").text_encoder, tiny_pipeline.text_encoder)
    rewrite(path, {f"x.{name}": tensor for name, tensor in renamed.items()})
    refused(mini, folder, ValueError, "text_encoder are not in its file")


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
    assert_same(load_pipeline(at(mini, folder), "cpu").vae, tiny_pipeline.vae)


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (write("pipeline.py", "raise SystemExit('was run')"), "pipeline.py is code, and a model"),
        (write("scheduler/scheduling.PY", ""), "scheduling.PY is code, and a model is only data"),
        (write("unet/deep/er/x.py", ""), "x.py is code, and a model is only data"),
        (linked_code, r"x\.py is code"),
        (auto_map("text_encoder/config.json"), 'has "auto_map"'),
        (auto_map("tokenizer/tokenizer_config.json"), 'has "auto_map"'),
        (
            index(unet=["my_unet", "UNet2DConditionModel"]),
            "unet is 'UNet2DConditionModel' of 'my",
        ),
        (index(unet=["diffusers", "UNet2DModel"]), "expected diffusers's UNet2DConditionModel"),
        (index(unet=[None, None]), "unet is None of None"),
        (index(unet="diffusers"), r"unet must be \[library, class\], not 'diffusers'"),
        (index(vae=None), r"vae must be \[library, class\]"),
        (index(vae=["diffusers", "AutoencoderTiny"]), "AutoencoderKL"),
        (index(text_encoder=["transformers", "T5EncoderModel"]), "CLIPTextModel"),
        (index(text_encoder=["diffusers", "CLIPTextModel"]), "of 'diffusers'"),
        (index(tokenizer=["transformers", "AutoTokenizer"]), "CLIPTokenizer or CLIPTokenizerFast"),
        (index(scheduler=["diffusers", "NoSuchScheduler"]), "a scheduler of diffusers"),
        (index(scheduler=["diffusers", "DiffusionPipeline"]), "a scheduler of diffusers"),
        (index(scheduler=["transformers", "DDIMScheduler"]), "a scheduler of diffusers"),
        (index(safety_checker=["evil", "Checker"]), "safety_checker is 'Checker' of 'evil'"),
        (
            index(feature_extractor=["stable_diffusion", "X"]),
            "a class of diffusers or tr",
        ),
        (index(extra=["os", "system"]), "extra is 'system' of 'os'"),
        (index(extra=["os"]), r"extra must be \[library, class\]"),
        (index(_class_name="StableDiffusionXLPipeline"), "SDXL.* attacks Stable Diffusion 1.x"),
        (index(_class_name="FluxPipeline"), "describes a FluxPipeline.* Stable Diffusion 1.x"),
        (index(_class_name=["pipeline", "Own"]), r"describes a \['pipeline', 'Own'\]"),
    ],
)
def test_what_no_data_may_hold_is_refused_unread(mini, folder, unread, damage, message):
    damage(folder)
    refused(mini, folder, ValueError, message)


def test_the_index_of_the_published_model_is_accepted(mini, folder):
    index(
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        image_encoder=[None, None],
    )(folder)
    assert model_folder(at(mini, folder)) == folder


def test_a_pickled_single_file_is_refused_with_what_to_do(mini, tmp_path):
    (tmp_path / "v1-5.ckpt").write_bytes(b"")
    for name in (tmp_path / "v1-5.ckpt", tmp_path / "absent.pt", "v1.ckpt"):
        refused(mini, name, ValueError, r"is a single file.*never a pickle.*from_single_file")


def test_a_folder_without_a_tokenizer(mini, folder, unread):
    kept = ("vocab.json", "tokenizer_config.json", "special_tokens_map.json")
    remove("tokenizer/*", but=kept)(folder)
    refused(mini, folder, FileNotFoundError, r"holds no tokenizer: expected vocab\.json and")
