"""The committed model, pruned and attacked for real: what `make book` does, in a few pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rbtc.attack.revive import revive_model
from rbtc.emoji.report import BARS
from rbtc.lab import Lab
from rbtc.layers import find_layers, read_weights
from rbtc.models.generate import generate
from rbtc.stats import pool

SIXTEEN = 16


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab("mini", store=tmp_path_factory.mktemp("store"), device="cpu", progress=False)


def test_the_model_has_sd15s_sixteen_layers_and_no_safety_checker(lab):
    names = list(find_layers(lab.pipeline.unet))
    assert len(names) == SIXTEEN
    blocks = [f"down_blocks.{b}.attentions.{a}" for b in range(3) for a in range(2)]
    blocks += ["mid_block.attentions.0"]
    blocks += [f"up_blocks.{b}.attentions.{a}" for b in range(1, 4) for a in range(3)]
    assert names == [f"{b}.transformer_blocks.0.ff.net.2.weight" for b in blocks]
    assert lab.pipeline.safety_checker is None


def test_the_model_fits_the_repository():
    folder = Lab("mini").profile.locate("models/emoji-sd")
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) <= 60e6
    assert not [f for f in folder.rglob("*") if f.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]


def test_the_model_draws_what_it_is_asked_for(lab):
    # The project's bar for the mean; how good each class is stands in the model's card.
    found = pool(lab.measure.accuracy(lab.pretrained, c, 8) for c in lab.profile.classes.values())
    assert found.value >= BARS["mean_class_accuracy"]


def test_pruning_and_revival_end_to_end(lab):
    pruned, masks = lab.owner.pruned("church"), lab.owner.masks("church")
    assert 0 < lab.density("church") < 0.5
    for name, weight in pruned.weights.items():
        assert not weight[masks[name]].any()
        assert not torch.signbit(weight[masks[name]]).any()
    signs = lab.sign_accuracy("church")
    assert signs.low > 0.55  # far above chance: the zeros give the signs away
    revived = lab.revived("church")
    for name, weight in revived.weights.items():
        kept = ~masks[name]
        assert torch.equal(weight[kept], pruned.weights[name][kept])
    pictures = {
        variant.label: lab.measure.images(variant, "a church", [0, 1])
        for variant in (lab.pretrained, pruned, revived)
    }
    first, *others = pictures.values()
    assert first.shape == (2, 64, 64, 3) and first.dtype == np.uint8
    assert all(not np.array_equal(first, other) for other in others)


def test_the_attack_on_a_bare_unet_equals_the_labs(lab):
    pruned = lab.owner.pruned("church")
    unet = lab.apply(pruned).unet
    revived = read_weights(revive_model(unet, keep_ratio=lab.profile.revive.keep_ratio))
    for name, weight in lab.revived("church").weights.items():
        assert torch.equal(revived[name], weight)
    lab.restore()


def test_the_same_seed_gives_the_same_picture_alone_and_in_a_batch(lab):
    alone = lab.measure.images(lab.pretrained, "a star", [7])[0].astype(int)
    together = generate(
        lab.apply(lab.pretrained), ["a bus", "a star"], [3, 7],
        steps=lab.profile.steps, guidance=lab.profile.guidance,
    )[1].astype(int)  # fmt: skip
    assert np.abs(alone - together).max() <= 2


def test_an_unknown_concept_names_close_ones(lab):
    with pytest.raises(ValueError, match="church"):
        lab.owner.pruned("churhc")


def test_masks_and_signs_do_not_hang_on_threads_or_batches(tmp_path):
    found = []
    before = torch.get_num_threads()
    try:
        for threads, batch in ((1, 16), (2, 32)):
            torch.set_num_threads(threads)
            lab = Lab("mini", store=tmp_path / str(threads), device="cpu", progress=False)
            lab.profile = dataclasses.replace(lab.profile, batch_size=batch)
            lab.owner.profile = lab.profile
            found.append((lab.owner.masks("church"), lab.revived("church").weights))
    finally:
        torch.set_num_threads(before)
    (masks, revived), (others, again) = found
    assert all(torch.equal(masks[name], others[name]) for name in masks)
    for name, weight in revived.items():
        assert torch.equal(weight.sign(), again[name].sign())
