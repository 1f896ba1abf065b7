"""The world of emoji-sd and its training code, on pictures drawn here (no package is fetched)."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from rbtc.emoji import sets
from rbtc.emoji.code import fit_code, load_code
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
from rbtc.emoji.judge import train_clip_judge, train_resnet_judge
from rbtc.emoji.loop import LoopConfig, schedule, train
from rbtc.emoji.scenes import COLOURS, SCENES, Placement, World, article, place
from rbtc.emoji.start import fresh_model, starting_model
from rbtc.emoji.text import MAX_TOKENS, make_tokenizer
from rbtc.emoji.train import fit_code_stage, models_folder, pack, train_vae_stage
from rbtc.emoji.vae import build_vae, noisy, train_vae, vae_scores
from rbtc.layers import find_layers
from rbtc.models.generate import generate
from rbtc.models.judges import load_clip, load_judge

CONCEPTS, STYLES = ["disc", "bar"], ["plain", "bold"]
TINY = Levers(width=8, inner_width=8, text_width=8, activation_sparsity=0.1, neuron_sparsity=0.1)


def write_model(folder, tokenizer, *, seed=1):
    model = fresh_model(tokenizer, TINY, seed=seed)
    for part in ("unet", "text_encoder"):
        model[part].half().save_pretrained(folder / part)
    return folder


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
    return World(sheet, CONCEPTS, STYLES, seed=3, house="plain")


@pytest.fixture(scope="module")
def code(sheet):
    return fit_code(World(sheet, CONCEPTS, STYLES, seed=1, house="plain").batch(256).pictures)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), CONCEPTS, STYLES)


@pytest.fixture(scope="module")
def first(tmp_path_factory, tokenizer):
    """A folder with a trained UNet and text encoder, and the record of their training."""
    folder = write_model(tmp_path_factory.mktemp("first"), tokenizer)
    (folder / "done.json").write_text('{"pictures": 7}')
    return folder


def test_the_concept_list_holds_the_papers_stand_ins_and_at_least_a_hundred():
    concepts = sets.read_concepts()
    assert len(concepts) >= 100
    assert len({c.name for c in concepts}) == len(concepts)
    assert [c.role for c in concepts[:12]] == ["paper"] * 12
    assert "rocket" in {c.name for c in concepts}
    assert sum(c.role == "restricted" for c in concepts) >= 6
    assert len(sets.read_concepts(limit=5)) == 5
    longer = sets.read_concepts(sets.data_folder() / "third_edition.csv")
    assert longer[: len(concepts)] == concepts and len({c.name for c in longer}) >= 400


def test_the_manifest_names_every_package_with_licence_and_checksum():
    assert {m["style"]: m["package"] for m in sets.manifest()} == sets.PACKAGES
    for entry in sets.manifest():
        assert entry["version"] and entry["license"] and entry["author"]
        assert entry["integrity"].startswith("sha512-")


def test_fetching_without_npm_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sets.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"npm was not found.*Node\.js"):
        sets.fetch(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_changed_package_is_refused(tmp_path):
    for entry in sets.manifest():
        (tmp_path / entry["file"]).write_bytes(b"something else")
    with pytest.raises(ValueError, match="checksum differs"):
        sets.fetch(tmp_path)


def test_a_malformed_concept_list_is_refused(tmp_path):
    path = tmp_path / "concepts.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="its columns are"):
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
        else:
            assert STYLES[style] == "plain"
        if " on " in caption:
            scene = caption.split(" on ")[1].split(" ", 1)[1].split(" in the style")[0]
            assert scene in SCENES


def test_a_third_of_the_captions_name_a_style_and_judges_see_every_house(sheet, world):
    batch = world.batch(2_000, empty=0.0)
    assert np.mean(["style" in c for c in batch.captions]) == pytest.approx(0.35 * 0.95, abs=0.04)
    assert np.mean([c < 0 for c in batch.concepts.tolist()]) == pytest.approx(0.05, abs=0.02)
    judged = world.batch(400, captioned=False)  # the usual house, and all houses alike in a third
    assert judged.styles.float().mean() == pytest.approx(0.35 / 2, abs=0.07)
    every = World(sheet, CONCEPTS, STYLES, seed=3).batch(400, captioned=False)
    assert every.styles.float().mean() == pytest.approx(0.5, abs=0.1)


def test_the_judge_learns_more_concepts_than_the_model():
    own, more = sets.read_concepts(), sets.read_distractors()
    names = [c.name for c in (*own, *more)]
    assert len(more) > len(own) and len(set(names)) == len(names)
    icons = {icon for c in own for icon in c.icons}
    assert not icons & {icon for c in more for icon in c.icons}


def test_a_world_is_reproducible_and_seeds_differ(sheet):
    def draw(seed: int) -> torch.Tensor:
        return World(sheet, CONCEPTS, STYLES, seed=seed).batch(8).pictures

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))


@pytest.mark.parametrize(
    ("concepts", "options", "message"),
    [
        ([*CONCEPTS, "cube"], {}, r"draws \['cube'\]"),
        (CONCEPTS, {"house": "plain"}, r"does not draw \['bar'\]"),
        (CONCEPTS, {"house": "somebody"}, "does not draw"),
        (CONCEPTS, {"styled": 1.5}, "from 0 to 1, not 1.5"),
    ],
)
def test_a_world_that_nobody_draws_is_refused(sheet, concepts, options, message):
    sparse = {pair: icon for pair, icon in sheet.items() if pair != ("bar", "plain")}
    with pytest.raises(ValueError, match=message):
        World(sparse, concepts, STYLES, **options)


def test_placement_keeps_the_icon_inside_and_the_background_outside():
    icon = torch.zeros(16, 4, 64, 64)
    icon[:, 3] = 1  # an opaque black square
    white = torch.ones(16, 3, 64, 64)
    generator = torch.Generator().manual_seed(0)
    pictures = place(icon, white, generator, Placement(scale=(0.5, 0.5), rotation=0.0))
    share = (pictures.mean(1) < 0.5).float().mean(dim=(1, 2))
    assert torch.allclose(share, torch.full((16,), 0.25), atol=0.02)
    assert set(COLOURS) >= {"red", "blue"}


def test_every_word_is_one_token_and_unknown_text_still_encodes(tokenizer):
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


def test_the_code_has_unit_variance_and_its_inverse_is_the_best_linear_one(world, code):
    pictures = world.batch(256).pictures
    latents = code(pictures)
    assert latents.shape == (256, 32, 8, 8)
    assert latents.var() == pytest.approx(1.0, rel=0.15)
    spread = latents.std((0, 2, 3))
    assert spread[0] == spread.max()  # the large components stay larger
    again = code(code.invert(latents))
    assert torch.allclose(again, latents, atol=1e-3)  # a projection
    full = fit_code(pictures, channels=192)
    assert torch.allclose(full.invert(full(pictures)), pictures, atol=1e-3)
    with pytest.raises(ValueError, match="1 to 192, got 193"):
        fit_code(pictures, channels=193)
    with pytest.raises(ValueError, match=r"expected pictures \(n, 3"):
        code(pictures[:, :1])


def test_a_code_is_saved_and_damage_is_named(tmp_path, code):
    path = tmp_path / "code.safetensors"
    with pytest.raises(FileNotFoundError, match="run the stage `code`"):
        load_code(path)
    code.save(path)
    whole = load_file(path)
    assert torch.equal(load_code(path).components, code.components)
    for content, message in (
        ({"mean": code.mean}, "expected mean, components and scale"),
        ({**whole, "scale": code.mean}, r"components are \(192, 32\)"),
        ({**whole, "scale": code.scale * float("nan")}, "scale holds NaN"),
    ):
        save_file(content, path)
        with pytest.raises(ValueError, match=message):
            load_code(path)
    path.write_bytes(b"{junk")
    with pytest.raises(ValueError, match="is damaged"):
        load_code(path)


def test_the_encoder_of_a_new_autoencoder_is_nearly_certain():
    vae = build_vae().eval()
    with torch.no_grad():
        found = vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist
    assert found.mean.shape == (1, 32, 8, 8) and found.std.max() < 0.01


def test_noise_has_the_strength_that_is_asked_for():
    deviation = torch.tensor([1.0, 4.0])
    latents = torch.zeros(400, 2, 8, 8)
    assert torch.equal(noisy(latents, deviation, torch.zeros(400)), latents)
    found = noisy(latents, deviation, torch.full((400,), 0.5))
    white = found[0]  # smooth or white, every picture's noise has mean zero
    assert white.shape == (2, 8, 8) and abs(found.mean()) < 0.05
    spread = found.std((0, 2, 3))
    assert (spread < 0.51 * deviation).all() and (spread > 0.35 * deviation).all()


def test_a_few_steps_make_an_autoencoder_better(tmp_path, world, code):
    config = LoopConfig(256, batch_size=16, learning_rate=3e-3, warmup=16, log_every=16)
    torch.manual_seed(0)
    before = vae_scores(build_vae().eval(), code, world, 32)
    vae = train_vae(code, world, config, tmp_path)
    after = vae_scores(vae, code, world, 32)
    for name in ("decoder_psnr", "decoder_psnr_noisy"):
        assert after[name] > before[name] + 1
    assert after["encoder_error"] < before["encoder_error"]
    assert after["code_psnr"] > after["code_psnr_noisy"]


def test_the_committed_decoder_draws_cleaner_pictures_than_the_inverse_of_the_code():
    record = json.loads((models_folder() / "emoji-sd" / "training.json").read_text())["vae"]
    assert record["decoder_psnr_noisy"] > record["code_psnr_noisy"]
    assert record["decoder_psnr"] > record["code_psnr"] - 3


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
    model["block"](torch.ones(4, 3, 64))
    assert penalty.take().tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    model["block"](torch.eye(64)[None])  # each token one neuron, each neuron its token
    assert penalty.take().tolist() == pytest.approx([1 / 8, 1.0], abs=1e-4)
    model["block"](torch.eye(64)[:, None])  # each picture one neuron, each neuron its picture
    assert penalty.take().tolist() == pytest.approx([1 / 8, 32**-0.5 / 2], abs=1e-4)


def test_a_few_steps_of_the_whole_training_make_a_pipeline(tmp_path, world, code, tokenizer):
    model = fresh_model(tokenizer, TINY)
    pool = LatentPool(world, code, tokenizer, size=16)
    config = LoopConfig(32, batch_size=8, warmup=8, log_every=8)
    average = train_diffusion(model, pool, TINY, config, tmp_path / "run", record={"note": "x"})
    assert any(weight.any() for weight in find_layers(average["unet"]).values())
    vae = build_vae().eval()
    pictures = generate(assemble(average, vae, tokenizer), ["a disc"], [0], steps=2)
    assert pictures.shape == (1, 64, 64, 3)
    rows = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert {"loss", "error", "sparsity", "neuron_sparsity"} <= set(json.loads(rows[-1]))
    assert json.loads((tmp_path / "run" / "done.json").read_text())["note"] == "x"


def test_a_run_starts_from_given_weights_and_its_record_says_so(tmp_path, tokenizer, first):
    given = fresh_model(tokenizer, TINY, seed=1).half().float()
    dropout = dataclasses.replace(TINY, resnet_dropout=0.3)
    run = tmp_path / "run"
    model, record = starting_model(first, tokenizer, dropout, run)
    for (name, ours), theirs in zip(model.named_parameters(), given.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs), name
    assert model["unet"].config["dropout"] == 0.3
    assert record["start"]["training"] == {"pictures": 7}
    assert {len(digest) for digest in record["start"]["sha256"].values()} == {64}
    assert str(first) not in json.dumps(record)

    fresh, nothing = starting_model(None, tokenizer, TINY, tmp_path / "other")
    assert nothing == {} and fresh["unet"].config.in_channels == 32

    (run / "checkpoint.pt").touch()  # a resumed run cannot claim another start
    starting_model(first, tokenizer, TINY, run)
    for start in (write_model(tmp_path / "second", tokenizer, seed=2), None):
        with pytest.raises(ValueError, match="started from other weights"):
            starting_model(start, tokenizer, TINY, run)


def test_a_run_of_another_text_width_begins_its_text_afresh(tmp_path, tokenizer, first):
    levers = dataclasses.replace(TINY, text_width=2 * TINY.text_width, fresh_text=True)
    model, _ = starting_model(first, tokenizer, levers, tmp_path / "run")
    fresh = fresh_model(tokenizer, levers).state_dict()
    trained = fresh_model(tokenizer, TINY, seed=1).half().float().state_dict()
    for name, value in model.state_dict().items():
        of_text = name.startswith("text_encoder") or "attn2.to_k" in name or "attn2.to_v" in name
        assert torch.equal(value, (fresh if of_text else trained)[name]), name


def test_weights_that_do_not_fit_are_refused(tmp_path, tokenizer, first):
    run = tmp_path / "run"
    with pytest.raises(FileNotFoundError, match="is nothing to start from"):
        starting_model(tmp_path, tokenizer, TINY, run)
    with pytest.raises(ValueError, match=r"shape of unet\.conv_in"):
        starting_model(first, tokenizer, dataclasses.replace(TINY, width=16), run)
    other = make_tokenizer(tmp_path / "t2", ["zebra crossing"], STYLES)
    with pytest.raises(ValueError, match=r"shape of text_encoder.*token_embedding.*list of conc"):
        starting_model(first, other, TINY, run)


def test_a_run_folder_is_packed_in_half_precision_with_its_records(tmp_path, monkeypatch):
    for name in ("CODE_PICTURES", "SCORE_PICTURES"):
        monkeypatch.setattr(f"rbtc.emoji.train.{name}", 128)
    wanted = {(c, s): _icon(c, "plain") for c in CONCEPTS for s in sets.STYLES}
    run, target = tmp_path / "run", tmp_path / "emoji-sd"
    path = fit_code_stage(run, wanted, CONCEPTS)
    stamp = path.stat().st_mtime_ns
    assert fit_code_stage(run, wanted, CONCEPTS).stat().st_mtime_ns == stamp  # it stays
    config = LoopConfig(16, batch_size=16, warmup=16)
    assert train_vae_stage(run, wanted, CONCEPTS, config)["code_psnr"] > 20
    with pytest.raises(FileNotFoundError, match="finish the stage `diffusion`"):
        pack(run, CONCEPTS, tmp_path)
    tokenizer = make_tokenizer(run / "tokenizer", CONCEPTS, sets.STYLES)
    write_model(run / "diffusion", tokenizer)
    (run / "diffusion" / "done.json").write_text('{"pictures": 7}')
    pack(run, CONCEPTS, tmp_path)

    record = json.loads((target / "training.json").read_text())
    assert record["diffusion"] == {"pictures": 7}
    assert record["vae"]["code_psnr"] > 20
    assert json.loads((target / "concepts.json").read_text())["concepts"] == CONCEPTS
    assert load_code(target / "code.safetensors").components.shape == (192, 32)
    for file in target.rglob("*.json"):
        assert str(tmp_path) not in file.read_text()
    pipe = StableDiffusionPipeline.from_pretrained(target, torch_dtype=torch.float32)
    assert generate(pipe, ["a disc"], [0], steps=2).shape == (1, 64, 64, 3)
    _, start = starting_model(target, tokenizer, TINY, tmp_path / "next")
    assert start["start"]["training"] == {"pictures": 7}

    pack(run, CONCEPTS, tmp_path, start=write_model(tmp_path / "other", tokenizer, seed=5))
    record = json.loads((target / "training.json").read_text())
    assert record["diffusion"]["start"]["training"] is None


def test_a_judge_learns_is_saved_and_loads(tmp_path, sheet, monkeypatch):
    monkeypatch.setattr("rbtc.emoji.judge.HELD_OUT_PICTURES", 256)
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
    with pytest.raises(ValueError, match="uint8"):
        judge.predict(images.astype(float))


def test_a_clip_is_trained_saved_and_loads(tmp_path, monkeypatch):
    monkeypatch.setattr("rbtc.emoji.judge.HELD_OUT_PICTURES", 256)
    wanted = {(c, s): _icon(c, "plain") for c in CONCEPTS for s in sets.STYLES}
    tokenizer = make_tokenizer(tmp_path / "tokenizer", CONCEPTS, sets.STYLES)
    config = LoopConfig(32, batch_size=16, warmup=16)
    run, target = tmp_path / "run", tmp_path / "clip"
    card = train_clip_judge(wanted, CONCEPTS, tokenizer, config, run, target)
    assert card["scores"]["zero_shot_concept"]["n"] == 128 and card["training"]["pictures"] == 32
    clip = load_clip(target)
    assert clip.text_features(["a disc", "a bar on a blue background"]).shape == (2, 128)
    assert clip.image_features(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 128)
