"""One table of generated models, and what an audit of each finds."""

import dataclasses

import pytest
import torch
from checkpoint_files import BLOCKS, NAMES, ORIGINAL, matrices, save

from rbtc.attack.recoverability import fast_complete
from rbtc.audit.checkpoints import open_checkpoint
from rbtc.audit.findings import HARMLESS, KINDS
from rbtc.audit.release import audit
from rbtc.audit.zeros import GRIDS, explain, repeated

SHAPE = (64, 256)


def drawn(seed, shape=SHAPE):
    return 0.03 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def largest(weight, fraction=0.04):
    """Bool (rows, columns): each row's largest magnitudes."""
    count = int(fraction * weight.shape[1])
    index = weight.abs().float().topk(count, dim=1).indices
    return torch.zeros(weight.shape, dtype=torch.bool).scatter_(1, index, True)


# ---- formats -------------------------------------------------------------------------------------


def flushed(weight):
    half = weight.half()
    return torch.where(half.abs() < 2.0**-14, half * 0, half)


def steps(weight, width, count):
    """Whole multiples of the blocks' largest magnitudes over ``count``."""
    blocks = weight.reshape(len(weight), -1, width)
    unit = blocks.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / count
    return ((blocks / unit).round().int() * unit).reshape(weight.shape).half()


def q4_0(weight):
    """As llama.cpp: of 32 the signed extreme is -8 d, and zeros are -0.0 where it is positive."""
    blocks = weight.reshape(len(weight), -1, 32)
    unit = blocks.gather(-1, blocks.abs().argmax(dim=-1, keepdim=True)) / -8
    codes = (blocks / unit + 8.5).floor().clamp(0, 15) - 8
    return (codes * unit).reshape(weight.shape).half()


def by_book(weight, name):
    levels = torch.tensor(next(grid.levels for grid in GRIDS if grid.name == name))
    blocks = weight.reshape(len(weight), -1, 64)
    unit = blocks.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    index = torch.bucketize(blocks / unit, (levels[1:] + levels[:-1]) / 2)
    made = (levels[index] * unit).reshape(weight.shape).half()
    return torch.copysign(made, weight.half()) if name == "FP4" else made


FORMATS = {
    "float16": torch.Tensor.half,
    "bfloat16": lambda weight: weight.bfloat16().half(),
    "float32 of float16": lambda weight: weight.half().float(),
    "float8 e4m3": lambda weight: weight.to(torch.float8_e4m3fn).half(),
    "float8 e4m3, scaled": lambda weight: (weight / 0.017).to(torch.float8_e4m3fn).half() * 0.017,
    "float8 e5m2": lambda weight: weight.to(torch.float8_e5m2).half(),
    "flushed": flushed,
    "int8 by row": lambda weight: steps(weight, weight.shape[1], 127),
    "Q8_0": lambda weight: steps(weight, 32, 127),
    "Q4_0": q4_0,
    "NF4": lambda weight: by_book(weight, "NF4"),
    "FP4": lambda weight: by_book(weight, "FP4"),
}


TINY = [(name, 1e-4) for name in ("float16", "bfloat16", "float32 of float16")]
"""Weights of the size of float16's smallest step."""


@pytest.mark.parametrize(("stored", "scale"), [*((name, 1.0) for name in FORMATS), *TINY])
def test_what_a_format_makes_of_a_model_is_no_pruning(stored, scale):
    """Uncut, cut before the format, and cut in it: by assigning, and by multiplying."""
    to = FORMATS[stored]
    weight = drawn(1) * scale
    mask = largest(weight)
    whole = explain(to(weight))
    assert not whole.pruned and not whole.leaks and repeated(to(weight)) is None
    cut = explain(to(weight.masked_fill(mask, 0)))
    assert cut.pruned and not cut.leaks
    assert cut.zeros - cut.expected == pytest.approx(int(mask.sum()), rel=0.25)
    multiplied = explain(to(weight) * (~mask))
    assert multiplied.pruned and multiplied.leaks


@pytest.mark.parametrize("shape", [(32, 128), (320, 1280)])
def test_heavy_tails_are_no_pruning(shape):
    generator = torch.Generator().manual_seed(0)
    made = torch.distributions.Laplace(0, 0.02).icdf(
        torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    )
    found = {name: explain(to(made)) for name, to in FORMATS.items()}
    assert not [name for name, one in found.items() if name not in ("Q4_0", "NF4") and one.pruned]
    assert not [name for name, one in found.items() if one.leaks]


# ---- models --------------------------------------------------------------------------------------


def block(dtype=torch.float16):
    """The neighbours of the attacked matrices, in every block."""
    state = matrices()
    for number, name in enumerate(BLOCKS):
        inside = f"{name}.transformer_blocks.0"
        state[f"{inside}.ff.net.0.proj.weight"] = drawn(number, (192, 24)).to(dtype)
        state[f"{inside}.attn2.to_k.weight"] = drawn(99 + number, (24, 768)).to(dtype)
    return state | {"conv_in.weight": drawn(7, (24, 4, 3, 3)).to(dtype)}


def changed(state, tail, change):
    return {k: change(w) if k.endswith(tail) else w for k, w in state.items()}


def multiplied(weight):
    return weight * ~largest(weight.flatten(1), 0.1).view(weight.shape)


def constant(value, *, signed=False):
    def change(weight):
        made = value * weight.sign() if signed else torch.full_like(weight, value)
        return torch.where(largest(weight, 0.1), made, weight)

    return change


def columns(weight):
    return weight.masked_fill(torch.arange(weight.shape[1]) % 96 == 5, 0)


def text_encoder(change=lambda weight: weight):
    name = "text_model.encoder.layers.{}.mlp.fc2.weight"
    return {name.format(n): change(drawn(n, (64, 256)).half()) for n in range(4)}


def renamed(state, prefix):
    return {f"{prefix}{key}": weight for key, weight in state.items()}


def low_rank(seed=0, rows=40, columns=160):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, 3, generator=generator)
    return (0.05 * left @ torch.randn(3, columns, generator=generator)).half()


MODELS = {
    "whole": (block(), "Stable Diffusion 1.x", []),
    "FFN-1 multiplied": (changed(block(), "0.proj.weight", multiplied), "", ["signed zeros"]),
    "convolution": (changed(block(), "conv_in.weight", multiplied), "", ["signed zeros"]),
    "keys, common columns": (changed(block(), "to_k.weight", columns), "", ["common columns"]),
    "a constant": (changed(block(), "to_k.weight", constant(1e-3)), "", ["repeated values"]),
    "constants with signs": (
        changed(block(), "to_k.weight", constant(1e-3, signed=True)), "", ["repeated values"]
    ),
    "text encoder": (text_encoder(), "a text encoder", []),
    "text encoder multiplied": (text_encoder(multiplied), "a text encoder", ["signed zeros"]),
    "SDXL": ({**block(), "add_embedding.linear_1.weight": drawn(0)}, "SDXL", []),
    "SD 2 in one file": (
        dict(zip(ORIGINAL, matrices().values(), strict=True))
        | {"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight": drawn(0)},
        "Stable Diffusion 2", [],
    ),
    "a transformer": (
        {f"transformer_blocks.{n}.ff.net.2.weight": drawn(n) for n in range(3)},
        "a transformer", [],
    ),
    "inpainting": (
        {**block(), "conv_in.weight": torch.cat([drawn(7, (24, 4, 9)), torch.zeros(24, 5, 9)], 1)},
        "Stable Diffusion 1.x, inpainting", [],
    ),
    "a part, compiled": (renamed({NAMES[0]: drawn(0)}, "_orig_mod."), "a UNet", []),
    "a prefix of one file": (
        renamed({NAMES[0]: multiplied(drawn(0))}, "model.diffusion_model."), "", ["signed zeros"]
    ),
    "masks beside": (
        {**block(), f"{NAMES[0]}_mask": (drawn(1, (24, 96)) > 0).half()}, "", []
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_what_an_audit_finds(tmp_path, case):
    state, kind, kinds = MODELS[case]
    found = audit(open_checkpoint(save(tmp_path / "a.safetensors", state)), estimate=False)
    assert found.kinds == kinds, found.findings
    assert found.kind == (kind or found.kind)
    assert found.looked == (len(state), len(state))
    assert all(one.kind in KINDS and one.detail for one in found.findings)
    if "signs" in case:
        assert any("both signs" in one.detail for one in found.findings)


def test_pruning_elsewhere_is_counted_and_estimated(tmp_path):
    whole = {f"down_blocks.{number}.attn1.to_q.weight": low_rank(number) for number in range(3)}
    cut = {name: weight.masked_fill(largest(weight), 0) for name, weight in whole.items()}
    file = save(tmp_path / "a.safetensors", matrices() | cut)
    found = audit(open_checkpoint(file))
    assert {each.name for each in found.others} == set(cut) and found.kinds == ["recoverable"]
    chosen = open_checkpoint(file, layers="to_q")
    assert {entry.name for entry in chosen.entries} == set(cut)


def test_signs_below_chance_are_a_leak(tmp_path):
    def turned(weight, missing):
        found = fast_complete(weight, missing)
        return dataclasses.replace(found, values=-found.values)

    weight = low_rank()
    file = save(tmp_path / "a.safetensors", {NAMES[0]: weight.masked_fill(largest(weight), 0)})
    found = audit(open_checkpoint(file), complete=turned)
    assert found.signs.high < 0.5 and found.kinds == ["recoverable"]


def test_the_harmless_kinds_are_the_last():
    assert tuple(KINDS)[-2:] == HARMLESS
