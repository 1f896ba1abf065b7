import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.models.quantize import code_values, quant_recover, quantize

CODEBOOKS = ["int", "fp4", "nf4"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def matrix(seed=0, rows=6, columns=64, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    weight[torch.rand(rows, columns, generator=generator) < 0.1] = 0
    return weight.to(dtype)


@pytest.mark.parametrize("codebook", CODEBOOKS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group_size", [None, 16])
def test_zeros_stay_twice_is_once_and_few_levels(codebook, dtype, group_size):
    weight = matrix(dtype=dtype)
    once = quantize(weight, codebook=codebook, group_size=group_size)
    assert once.dtype == dtype and once.shape == weight.shape
    assert (once[weight == 0] == 0).all()
    assert not torch.signbit(once[once == 0]).any()
    assert torch.equal(quantize(once, codebook=codebook, group_size=group_size), once)
    for row in once.reshape(-1, group_size or 64):
        assert len(row.unique()) <= (16 if codebook == "nf4" else 15)
    assert not torch.equal(once, weight)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from([None, 1, 4, 8]))
def test_integer_grid(seed, bits, group_size):
    weight = matrix(seed, rows=3, columns=8, dtype=torch.float64)
    once = quantize(weight, bits=bits, group_size=group_size)
    top = 2 ** (bits - 1) - 1
    groups = weight.reshape(-1, group_size or 8)
    largest = groups.abs().amax(dim=1, keepdim=True)
    step = largest / top
    assert ((once.reshape(groups.shape) - groups).abs() <= step / 2 * (1 + 1e-9)).all()
    levels = once.reshape(groups.shape) / torch.where(step > 0, step, torch.ones_like(step))
    torch.testing.assert_close(levels, levels.round(), atol=1e-9, rtol=0)
    assert torch.equal(once.reshape(groups.shape).abs().amax(dim=1, keepdim=True), largest)
    assert torch.equal(quantize(once, bits=bits, group_size=group_size), once)


def test_matches_the_released_formula():
    weight = matrix(dtype=torch.float64)
    scale = weight.abs().amax(dim=1, keepdim=True) / 7
    expected = torch.floor(weight / scale + 0.5).clamp(-8, 7) * scale
    torch.testing.assert_close(quantize(weight), expected, rtol=1e-14, atol=1e-14)


def test_a_row_of_zeros_and_signed_zeros():
    weight = torch.tensor([[0.0, -0.0], [-0.0, 1.0]])
    for codebook in CODEBOOKS:
        found = quantize(weight, codebook=codebook)
        assert found.tolist() == [[0.0, 0.0], [0.0, 1.0]]
        assert not torch.signbit(found).any()


@pytest.mark.parametrize("codebook", ["fp4", "nf4"])
def test_code_books_round_to_the_nearest_value(codebook):
    values = code_values(codebook)
    weight = matrix(dtype=torch.float64)
    unit = weight / weight.abs().amax(dim=1, keepdim=True)
    nearest = (unit[..., None] - values).abs().amin(dim=-1)
    found = quantize(weight, codebook=codebook) / weight.abs().amax(dim=1, keepdim=True)
    torch.testing.assert_close((found - unit).abs(), nearest)


def test_code_values():
    fp4, nf4 = code_values("fp4"), code_values("nf4")
    assert (len(fp4), len(nf4)) == (15, 16)
    for values in (fp4, nf4):
        assert (values.diff() > 0).all() and 0 in values
        assert (float(values[0]), float(values[-1])) == (-1.0, 1.0)
    torch.testing.assert_close(fp4, -fp4.flip(0))
    # Three values as QLoRA's appendix E prints them.
    assert float(nf4[1]) == pytest.approx(-0.6961928009986877, abs=1e-6)
    assert float(nf4[8]) == pytest.approx(0.07958029955625534, abs=1e-6)
    assert float(nf4[14]) == pytest.approx(0.7229568362236023, abs=1e-6)
    with pytest.raises(ValueError, match="codebook is 'int'"):
        code_values("int")


def test_quant_recover_cannot_bring_pruned_weights_back():
    weights = {"b": matrix(1), "a": matrix(2)}
    found = quant_recover(weights)
    assert list(found) == ["a", "b"]
    for name in weights:
        assert torch.equal(found[name], quantize(weights[name]))
        assert not found[name][weights[name] == 0].any()


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (torch.ones(4), {}, "expected a floating-point matrix"),
        (torch.ones(2, 2, dtype=torch.int32), {}, "weight is torch.int32"),
        (torch.tensor([[1.0, torch.nan]]), {}, "holds 1 NaN or infinite"),
        (torch.ones(2, 6), {"codebook": "int4"}, "codebook is 'int4'"),
        (torch.ones(2, 6), {"bits": 2.5}, "bits is 2.5, expected a whole number"),
        (torch.ones(2, 6), {"bits": "4"}, "bits is '4', expected a whole number"),
        (torch.ones(2, 6), {"bits": 1}, "bits is 1, expected a whole number from 2 to 8"),
        (torch.ones(2, 6), {"bits": 8, "codebook": "nf4"}, "the nf4 code book has 4"),
        (torch.ones(2, 6), {"group_size": 4}, "expected a divisor of the 6 columns"),
        (torch.ones(2, 6), {"group_size": 0}, "group_size is 0"),
    ],
)
def test_bad_input(weight, options, message):
    with pytest.raises(ValueError, match=message):
        quantize(weight, **options)


def test_levels_too_small_for_the_dtype_leave_no_signed_zero():
    # The second entry is the smallest float16; its nearest fp4 level lies below half of it.
    weight = torch.tensor([[2.0**-18, -(2.0**-24)]], dtype=torch.float16)
    found = quantize(weight, codebook="fp4")
    assert found[0, 1] == 0 and not torch.signbit(found[0, 1])
