"""The world of emoji-sd and its training code, on pictures drawn here (no package is fetched)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from rbtc.emoji import sets
from rbtc.emoji.diffusion import (
    ActivationSparsity,
    LatentPool,
    Levers,
    assemble,
    build_unet,
    noise_levels,
    parameter_groups,
    train_diffusion,
)
from rbtc.emoji.judge import score, train_resnet_judge
from rbtc.emoji.loop import LoopConfig, schedule, train
from rbtc.emoji.scenes import COLOURS, SCENES, Placement, World, article, place
from rbtc.emoji.text import MAX_TOKENS, build_text_encoder, load_tokenizer, write_tokenizer
from rbtc.emoji.vae import build_vae, thumbnail_code, train_vae
from rbtc.layers import find_layers
from rbtc.models.generate import generate
from rbtc.models.judges import load_clip, load_judge

CONCEPTS, STYLES = ["disc", "bar"], ["plain", "bold"]


def _icon(concept: str, style: str) -> np.ndarray:
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    inside = x**2 + y**2 < 0.6 if concept == "disc" else abs(y) < 0.25
    colour = (200, 30, 30) if style == "plain" else (20, 20, 160)
    icon = np.zeros((96, 96, 4), dtype=np.uint8)
    icon[inside] = (*colour, 255)
    return icon


@pytest.fixture(scope="module")
def sheet():
    return {(c, s): _icon(c, s) for c in CONCEPTS for s in STYLES}


@pytest.fixture
def world(sheet):
    return World(sheet, CONCEPTS, STYLES, seed=3)


def test_the_concept_list_holds_the_papers_stand_ins_and_at_least_a_hundred():
    concepts = sets.read_concepts()
    assert len(concepts) >= 100
    assert len({c.name for c in concepts}) == len(concepts)
    assert [c.role for c in concepts[:12]] == ["paper"] * 12
    assert "rocket" in {c.name for c in concepts}
    assert sum(c.role == "restricted" for c in concepts) >= 6
    assert len(sets.read_concepts(limit=5)) == 5


def test_the_manifest_names_every_package_with_licence_and_checksum():
    manifest = json.loads((sets.data_folder() / "manifest.json").read_text(encoding="utf-8"))
    assert {m["style"]: m["package"] for m in manifest["packages"]} == sets.PACKAGES
    for entry in manifest["packages"]:
        assert entry["version"] and entry["license"] and entry["author"]
        assert entry["integrity"].startswith("sha512-")


def test_fetching_without_npm_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sets.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"npm was not found.*Node\.js"):
        sets.fetch(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_changed_package_is_refused(tmp_path):
    manifest = json.loads((sets.data_folder() / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["packages"]:
        (tmp_path / entry["file"]).write_bytes(b"something else")
    with pytest.raises(ValueError, match="checksum differs"):
        sets.fetch(tmp_path)


def test_a_malformed_concept_list_is_refused(tmp_path):
    path = tmp_path / "concepts.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="concept, icons, role"):
        sets.read_concepts(path)


def test_captions_follow_the_grammar(world):
    batch = world.batch(400)
    assert batch.pictures.shape == (400, 3, 64, 64)
    assert batch.pictures.min() >= -1 and batch.pictures.max() <= 1
    assert "" in batch.captions
    for caption, concept, style in zip(batch.captions, batch.concepts, batch.styles, strict=True):
        if not caption:
            continue
        if concept < 0:
            assert caption.split(" ", 1)[1] in SCENES
            continue
        assert caption.startswith(article(CONCEPTS[concept]))
        if "style" in caption:
            assert caption.endswith(f"in the style of {STYLES[style]}")
        if " on " in caption:
            scene = caption.split(" on ")[1].split(" ", 1)[1].split(" in the style")[0]
            assert scene in SCENES


def test_a_world_is_reproducible_and_seeds_differ(sheet):
    def draw(seed: int) -> torch.Tensor:
        return World(sheet, CONCEPTS, STYLES, seed=seed).batch(8).pictures

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))


def test_a_concept_nobody_draws_is_refused(sheet):
    with pytest.raises(ValueError, match="draws \\['cube'\\]"):
        World(sheet, [*CONCEPTS, "cube"], STYLES)


def test_placement_keeps_the_icon_inside_and_the_background_outside():
    icon = torch.zeros(16, 4, 64, 64)
    icon[:, 3] = 1  # an opaque black square
    white = torch.ones(16, 3, 64, 64)
    generator = torch.Generator().manual_seed(0)
    pictures = place(icon, white, generator, Placement(scale=(0.5, 0.5), rotation=0.0))
    share = (pictures.mean(1) < 0.5).float().mean(dim=(1, 2))
    assert torch.allclose(share, torch.full((16,), 0.25), atol=0.02)
    assert set(COLOURS) >= {"red", "blue"}


def test_every_word_is_one_token_and_unknown_text_still_encodes(tmp_path):
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "t", CONCEPTS, STYLES))
    text = "a disc on a blue striped background in the style of bold"
    assert len(tokenizer(text).input_ids) == len(text.split()) + 2
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == text
    assert len(tokenizer("zebra!").input_ids) > 3
    padded = tokenizer(["a disc"], padding="max_length", return_tensors="pt").input_ids
    assert padded.shape == (1, MAX_TOKENS)


def test_the_schedule_warms_up_and_ends_at_zero():
    config = LoopConfig(1_000, batch_size=10, warmup=100)
    assert schedule(config, 0) == pytest.approx(0.01)
    assert schedule(config, 100) == pytest.approx(1.0)
    assert schedule(config, 1_000) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="less than one batch"):
        LoopConfig(10, batch_size=64)


def test_training_resumes_where_it_was_killed(tmp_path):
    def run(stop_at: int | None) -> list[int]:
        torch.manual_seed(0)
        model, visited = nn.Linear(2, 1), []

        def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
            if stop_at is not None and seen >= stop_at:
                raise KeyboardInterrupt
            visited.append(seen)
            return model(torch.ones(4, 2)).pow(2).mean(), {}

        config = LoopConfig(400, batch_size=10, warmup=10, save_every=100, log_every=50)
        try:
            train(model, loss, config, tmp_path)
        except KeyboardInterrupt:
            return visited
        return visited

    assert run(stop_at=250)[-1] == 240
    assert run(stop_at=None)[0] == 200  # the last checkpoint
    assert json.loads((tmp_path / "done.json").read_text())["pictures"] == 400


def test_a_diverging_loss_stops_the_run(tmp_path):
    model = nn.Linear(1, 1)

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        return model(torch.ones(1, 1)).sum() * float("nan"), {}

    with pytest.raises(ValueError, match="the loss became nan"):
        train(model, loss, LoopConfig(100, batch_size=10), tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_levers_shape_the_unet():
    levers = Levers(width=8, text_width=8, resnet_dropout=0.3, resnet_rate=0.5)
    unet = build_unet(levers)
    layers = find_layers(unet)
    assert len(layers) == 16
    assert all(not weight.any() for weight in layers.values())
    assert any(
        w.any() for w in find_layers(build_unet(Levers(width=8, zero_init_ffn=False))).values()
    )
    assert unet.config.sample_size == 8
    groups = parameter_groups(unet, levers, LoopConfig(1_000, learning_rate=1e-3))
    assert groups[0]["lr"] == pytest.approx(5e-4)
    assert sum(len(g["params"]) for g in groups) == len(list(unet.parameters()))
    assert noise_levels()[-1] == pytest.approx(0.0, abs=1e-6)


def test_the_code_is_the_thumbnail(world):
    pictures = world.batch(3).pictures
    code = thumbnail_code(pictures)
    assert code.shape == (3, 12, 8, 8)
    thumbnail = torch.nn.functional.pixel_shuffle(code, 2)
    assert torch.allclose(thumbnail[0, :, 0, 0], pictures[0, :, :4, :4].mean((1, 2)), atol=1e-6)


def test_the_encoder_learns_the_code_and_the_decoder_to_draw(tmp_path, world):
    torch.manual_seed(0)
    vae = build_vae(widths=(8, 8, 8, 8))
    pictures = world.batch(16).pictures

    def errors(network) -> tuple[float, float]:
        with torch.no_grad():
            code = thumbnail_code(pictures)
            encoded = network.encode(pictures).latent_dist.mean
            drawn = network.decode(code).sample
        return float((encoded - code).square().mean()), float((drawn - pictures).abs().mean())

    before = errors(vae)
    config = LoopConfig(320, batch_size=8, warmup=32, learning_rate=3e-3, ema=0.9)
    after = errors(train_vae(vae, world, config, tmp_path))
    assert after[0] < before[0] and after[1] < before[1]


def test_sparsity_is_one_for_flat_and_small_for_single_activations():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ff = nn.Module()
            self.ff.net = nn.ModuleList([nn.Identity()])

        def forward(self, x):
            return self.ff.net[0](x)

    model = nn.ModuleDict({"block": Block()}).train()
    penalty = ActivationSparsity(model)
    model["block"](torch.ones(2, 3, 64))
    assert penalty.take() == pytest.approx(1.0, abs=1e-4)
    model["block"](torch.eye(64)[None])
    assert penalty.take() == pytest.approx(1 / 8, abs=1e-4)


def test_a_few_steps_of_the_whole_training_make_a_pipeline(tmp_path, world):
    torch.manual_seed(0)
    vae = build_vae(widths=(8, 8, 8, 8)).eval().requires_grad_(False)
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "t", CONCEPTS, STYLES))
    levers = Levers(width=8, inner_width=8, text_width=8, activation_sparsity=0.1)
    model = nn.ModuleDict(
        {
            "unet": build_unet(levers),
            "text_encoder": build_text_encoder(tokenizer, width=8),
        }
    )
    pool = LatentPool(world, tokenizer, size=16)
    config = LoopConfig(32, batch_size=8, warmup=8, log_every=8)
    average = train_diffusion(model, pool, levers, config, tmp_path / "run")
    assert any(weight.any() for weight in find_layers(average["unet"]).values())
    pictures = generate(assemble(average, vae, tokenizer), ["a disc"], [0], steps=2)
    assert pictures.shape == (1, 64, 64, 3)
    rows = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert {"loss", "error", "sparsity"} <= set(json.loads(rows[-1]))


def test_a_judge_learns_is_saved_and_loads(tmp_path, sheet):
    config = LoopConfig(640, batch_size=32, warmup=64, learning_rate=2e-3, ema=0.9)
    card = train_resnet_judge(
        sheet, CONCEPTS, "concepts", config, tmp_path / "run", tmp_path / "judge", styles=STYLES
    )
    assert card["scores"]["held_out_augmentations"]["value"] > 0.8
    judge = load_judge(tmp_path / "judge")
    assert judge.names == tuple(CONCEPTS)
    batch = World(sheet, CONCEPTS, STYLES, seed=9).batch(16, captioned=False)
    images = ((batch.pictures + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    seen = judge.predict(images)
    assert np.mean([CONCEPTS[i] == s for i, s in zip(batch.concepts, seen, strict=True)]) > 0.7
    assert judge.probabilities(images).sum(1) == pytest.approx(np.ones(16), abs=1e-5)
    assert judge.features(images).shape == (16, 512)
    assert score(judge._model, World(sheet, CONCEPTS, STYLES), "concepts", 128).n == 128
    with pytest.raises(ValueError, match="uint8"):
        judge.predict(images.astype(float))


def test_a_missing_or_damaged_judge_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no judge"):
        load_judge(tmp_path)
    card = {"kind": "resnet", "names": ["a"], "layers": [1, 1, 1, 1]}
    (tmp_path / "judge.json").write_text(json.dumps(card))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is damaged"):
        load_judge(tmp_path)
    with pytest.raises(ValueError, match="expected 'clip'"):
        load_clip(tmp_path)
