"""Short runs that compare the levers: variants are read, trained, scored and not run twice."""

import math

import numpy as np
import pytest
import torch

from rbtc.emoji import sweep as ablation
from rbtc.emoji.diffusion import Levers
from rbtc.emoji.loop import LoopConfig
from rbtc.layers import read_weights


def test_the_committed_variants_can_be_read():
    variants = ablation.read_variants(pictures=1_000)
    assert variants[0].levers == Levers()
    assert len({v.levers for v in variants}) == len(variants)
    assert all(v.config.pictures == 1_000 for v in variants)


def test_an_unknown_lever_is_refused_by_name(tmp_path):
    path = tmp_path / "ablation.toml"
    path.write_text("[a]\nwidht = 8\n", encoding="utf-8")
    with pytest.raises(ValueError, match="widht"):
        ablation.read_variants(path, pictures=100)


def test_a_variant_is_trained_and_scored(tmp_path):
    concepts, styles = ["disc", "bar"], ["plain", "bold"]
    random = np.random.default_rng(0)
    sheet = {
        (c, s): random.integers(0, 256, (96, 96, 4), dtype=np.uint8)
        for c in concepts
        for s in styles
    }
    variant = ablation.Variant(
        "tiny",
        Levers(width=8, inner_width=8, text_width=8, zero_init_ffn=False),
        LoopConfig(64, batch_size=32, warmup=32),
    )
    row = ablation.run_variant(
        variant,
        tmp_path,
        concepts=concepts,
        sheet=sheet,
        probed=concepts[:2],
        scenes=["blue background"],
        styles=styles,
        house="plain",
    )
    assert row["variant"] == "tiny" and row["pictures"] == 64
    for name in ("error@999", "without_ffn", "erased", "others", "density", "s[1/8]/s[0]"):
        assert math.isfinite(row[name]), name
    assert 0 < row["density"] < 1


def test_borrowed_weights_are_put_back():
    from rbtc.emoji.diffusion import build_unet
    from rbtc.emoji.report import without_ffn

    unet = build_unet(Levers(width=8, inner_width=8, text_width=8, zero_init_ffn=False))
    model = torch.nn.ModuleDict({"unet": unet})
    before = read_weights(unet)

    def fail(model):
        raise RuntimeError("measuring failed")

    with pytest.raises(RuntimeError, match="measuring failed"):
        ablation.with_weights(model, without_ffn(before), fail)
    after = read_weights(unet)
    assert all(torch.equal(before[name], after[name]) for name in before)
