"""The sign bit of a zero: read exactly from what multiplication leaves, and gone after the fix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.attack.idealised import idealised
from rbtc.audit.signed_zeros import (
    count_zeros,
    prune_by_multiplying,
    read_signs,
    revive_exactly,
)
from rbtc.layers import canonicalise_zeros, prune, read_weights

NAME = "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight"
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def matrix(rows=6, columns=20, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator).to(dtype)
    return weight, torch.rand(rows, columns, generator=generator) < 0.3


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 5), columns=st.integers(1, 9), seed=st.integers(0, 99),
    dtype=st.sampled_from(DTYPES),
)  # fmt: skip
def test_mask_and_signs_are_read_exactly(rows, columns, seed, dtype):
    weight, mask = matrix(rows, columns, dtype, seed)
    cut = prune_by_multiplying({NAME: weight}, {NAME: mask})[NAME]
    assert cut.dtype == dtype
    assert torch.equal(bits(cut[~mask]), bits(weight[~mask]))
    signs = read_signs(cut)
    assert signs.dtype == torch.int8 and torch.equal(signs != 0, mask)
    assert torch.equal(signs[mask].to(dtype), torch.sign(weight[mask]))
    # The fix, on both sides: what is written, and what is read.
    filled = prune({NAME: weight}, {NAME: mask})[NAME]
    for clean in (filled, canonicalise_zeros(cut), read_weights({NAME: cut})[NAME]):
        assert torch.equal(bits(clean), bits(filled))
        assert (read_signs(clean)[mask] == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bit_survives_files(dtype, tmp_path):
    from safetensors.torch import load_file, save_file

    weight, mask = matrix(dtype=dtype)
    cut = prune_by_multiplying({NAME: weight}, {NAME: mask})
    save_file(cut, tmp_path / "w.safetensors")
    torch.save(cut, tmp_path / "w.pt")
    for loaded in (
        load_file(tmp_path / "w.safetensors"),
        torch.load(tmp_path / "w.pt", weights_only=True),
    ):
        assert torch.equal(read_signs(loaded[NAME]), read_signs(cut[NAME]))
        assert count_zeros(loaded)[NAME].leaks


def test_exact_signs_are_the_papers_thought_experiment():
    weights, masks = {}, {}
    for seed, name in enumerate(("a", "b")):
        weights[name], masks[name] = matrix(seed=seed)
    pruned = prune(weights, masks)
    found = revive_exactly(prune_by_multiplying(weights, masks))
    expected = idealised(weights, pruned, masks, mode="pretrained_sign_neuron_max")
    for name, mask in masks.items():
        assert torch.equal(found[name], expected[name])
        assert torch.equal(torch.sign(found[name]), torch.sign(weights[name]))
        assert torch.equal(bits(found[name][~mask]), bits(weights[name][~mask]))
    with pytest.raises(ValueError, match="tell no signs"):
        revive_exactly(pruned)


def test_counts_of_both_zeros():
    weights = {"b": torch.tensor([0.0] * 5 + [-0.0] * 50 + [1.0]), "a": torch.ones(2, 2)}
    counts = count_zeros(weights)
    assert list(counts) == ["a", "b"]
    assert (counts["b"].negative_zeros, counts["b"].zeros) == (50, 55)
    assert counts["b"].leaks and not counts["a"].leaks


def test_a_few_negative_zeros_of_small_weights_are_no_leak():
    # Trained weights too small for half precision become zeros of either sign.
    weight, mask = matrix(40, 50)
    weight[0, :4] = -1e-9
    mask[0, :4] = False
    cut = prune({NAME: weight.half()}, {NAME: mask})
    assert count_zeros(cut)[NAME].negative_zeros == 4
    assert not count_zeros(cut)[NAME].leaks
    with pytest.raises(ValueError, match="4 of"):
        revive_exactly(cut)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, m: prune_by_multiplying({}, {}), "at least one layer"),
        (lambda w, m: prune_by_multiplying({"a": w}, {"b": m}), "two sets of layers differ"),
        (lambda w, m: prune_by_multiplying({"a": w}, {"a": m.float()}), "bool is needed"),
        (lambda w, m: prune_by_multiplying({"a": w / 0}, {"a": m}), "NaN or infinite"),
        (lambda w, m: read_signs(torch.zeros(2, dtype=torch.int8)), "only floating-point"),
        (lambda w, m: revive_exactly({}), "at least one layer"),
        (lambda w, m: revive_exactly({"a": w}), "0 of 0 zeros are negative"),
        (lambda w, m: revive_exactly({"a": w}, strategy="nms"), "strategy is 'nms'"),
        (lambda w, m: revive_exactly({"a": w}, strategy="completed"), "exact signs need none"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*matrix())
