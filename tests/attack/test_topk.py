import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbtc.attack.completion import Completion
from rbtc.attack.sign_accuracy import alignment_matrix, top_rest_accuracy
from rbtc.attack.topk import retain_signs, retain_top_signs

RATIOS = st.floats(0.01, 1.0)


def distinct(count, seed=0):
    """Values of distinct, non-zero magnitude and random sign."""
    generator = torch.Generator().manual_seed(seed)
    magnitudes = torch.randperm(count, generator=generator).double() + 1
    return magnitudes * (2 * torch.randint(2, (count,), generator=generator) - 1)


def completion(values, missing):
    return Completion(values, missing, 1, (), True, "released")


@given(st.integers(1, 200), RATIOS, st.integers(0, 1000))
def test_kept_count_and_order(count, ratio, seed):
    values = distinct(count, seed)
    signs = retain_top_signs(values, keep_ratio=ratio)
    kept = signs != 0
    assert signs.dtype == torch.int8
    assert int(kept.sum()) == count - int((1 - ratio) * count)
    assert torch.equal(signs[kept], values[kept].sign().to(torch.int8))
    if not kept.all():
        assert values[kept].abs().min() > values[~kept].abs().max()


def test_one_keeps_everything_and_ties_go_together():
    values = torch.tensor([1.0, -2.0, 2.0, -3.0])
    assert retain_top_signs(values, keep_ratio=1.0).tolist() == [1, -1, 1, -1]
    assert retain_top_signs(values, keep_ratio=0.5).tolist() == [0, 0, 0, -1]
    assert retain_top_signs(torch.zeros(3), keep_ratio=1.0).tolist() == [0, 0, 0]
    assert len(retain_top_signs(torch.zeros(0))) == 0


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.1, math.nan])
def test_bad_ratio(ratio):
    with pytest.raises(ValueError, match="expected a fraction in \\(0, 1\\]"):
        retain_top_signs(torch.ones(3), keep_ratio=ratio)


def test_bad_values():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), expected a vector"):
        retain_top_signs(torch.ones(2, 2))
    with pytest.raises(ValueError, match="values hold NaN"):
        retain_top_signs(torch.tensor([1.0, math.nan]))


def layers():
    generator = torch.Generator().manual_seed(3)
    masks = {name: torch.rand(4, 10, generator=generator) < 0.5 for name in "ba"}
    masks["a"][2] = False
    values = {
        "a": 100 * distinct(int(masks["a"].sum()), 1),
        "b": distinct(int(masks["b"].sum()), 2),
    }
    return {name: completion(values[name], masks[name]) for name in "ba"}


@pytest.mark.parametrize("per", ["layer", "row", "global"])
def test_retain_signs_units(per):
    found = layers()
    signs = retain_signs(found, keep_ratio=0.5, per=per)
    assert list(signs) == ["a", "b"]
    total = 0
    for name, sign in signs.items():
        missing = found[name].missing
        assert sign.shape == missing.shape and sign.dtype == torch.int8
        assert not sign[~missing].any()
        kept = sign != 0
        truth = torch.zeros_like(sign)
        truth[missing] = found[name].values.sign().to(torch.int8)
        assert torch.equal(sign[kept], truth[kept])
        count = int(missing.sum())
        total += int(kept.sum())
        if per == "layer":
            assert int(kept.sum()) == count - int(0.5 * count)
        if per == "row":
            rows = missing.sum(dim=1)
            assert torch.equal(kept.sum(dim=1), rows - (0.5 * rows).long())
    if per == "global":
        everything = sum(len(item.values) for item in found.values())
        assert total == everything - int(0.5 * everything)
        assert int((signs["a"] != 0).sum()) > int((signs["b"] != 0).sum())  # a is 100 times larger


def test_retain_signs_refuses():
    with pytest.raises(ValueError, match="per is 'column'"):
        retain_signs(layers(), per="column")
    with pytest.raises(ValueError, match="at least one layer"):
        retain_signs({})


def test_alignment_of_equal_reversed_and_unrelated_rankings():
    values = distinct(1003)
    assert torch.equal(alignment_matrix(values, -values), torch.eye(5, dtype=torch.float64))
    swapped = alignment_matrix(1 / values[:1000], values[:1000])
    assert torch.equal(swapped, torch.eye(5, dtype=torch.float64).flip(0))
    unrelated = alignment_matrix(distinct(5000, 1), distinct(5000, 2))
    assert float((unrelated - 0.2).abs().max()) < 0.06
    torch.testing.assert_close(unrelated.sum(0), torch.ones(5, dtype=torch.float64))


def test_alignment_drops_the_remainder_and_pools_layers():
    values = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    truth = torch.tensor([4.0, 5.0, 1.0, 3.0, 2.0])
    assert alignment_matrix(values, truth, groups=2).tolist() == [[1.0, 0.0], [0.0, 0.5]]
    mask = torch.ones(1, 5, dtype=torch.bool)
    found = {"a": completion(values, mask), "b": completion(values, mask)}
    original = {"a": truth[None], "b": values[None]}
    assert alignment_matrix(found, original, groups=2).tolist() == [[1.0, 0.0], [0.0, 0.75]]


def test_top_rest_accuracy():
    values = torch.tensor([10.0, -9.0, 8.0, -7.0, 6.0, -5.0, 4.0, -3.0, 2.0, -1.0, 5.5])
    truth = values.clone()
    truth[6:10] *= -1  # the four smallest are wrong
    truth[10] = 0.0  # had no sign: not judged
    table = top_rest_accuracy(values, truth, [0.5, 0.6, 1.0])
    assert table["ratio"].tolist() == [0.5, 0.6, 1.0]
    assert table["n_top"].tolist() == [5, 6, 10]
    assert table["n_rest"].tolist() == [5, 4, 0]
    assert table["top"].tolist() == [1.0, 1.0, 0.6]
    assert table["rest"].tolist()[:2] == [0.2, 0.0]
    assert math.isnan(table["rest"].iloc[2])
    mask = torch.ones(1, 11, dtype=torch.bool)
    pooled = top_rest_accuracy(
        {"a": completion(values, mask), "b": completion(values, mask)},
        {"a": truth[None], "b": values[None].clone()},
        [0.6],
    )
    assert pooled.loc[0, ["n_top", "n_rest"]].tolist() == [13, 8]
    assert list(top_rest_accuracy(values, truth)["ratio"]) == [0.2, 0.3, 0.5, 0.7, 0.9]


def test_bad_pairs():
    values = distinct(10)
    with pytest.raises(ValueError, match="too few for 5 groups"):
        alignment_matrix(values[:4], values[:4])
    with pytest.raises(ValueError, match="groups is 0"):
        alignment_matrix(values, values, groups=0)
    with pytest.raises(ValueError, match=r"recovered has shape \(10,\), original \(9,\)"):
        top_rest_accuracy(values, values[:9])
    with pytest.raises(ValueError, match="expected two vectors, or completions and weights"):
        alignment_matrix(values, {"a": values})
    with pytest.raises(ValueError, match="no layer 'a' of shape"):
        alignment_matrix({"a": completion(values, torch.ones(2, 5).bool())}, {"a": values})
