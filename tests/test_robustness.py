"""Whatever a checkpoint may hold: every algorithm completes it finitely or says what is wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.attack.completion import complete
from rbtc.solvers import released as engines

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
METHODS = {
    "released": {"algorithm": "released"},
    "fast": {"algorithm": "released", "fast": True},
    "svt": {"algorithm": "svt"},
    "softimpute": {"algorithm": "softimpute", "path_length": 3},
    "als": {"algorithm": "als"},
}
methods = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def small_matrices_take_the_path_of_large_ones(monkeypatch):
    monkeypatch.setattr(engines, "TRACKED_ROWS", 2)


def run(weight, mask, method, **options):
    return complete(weight, mask, max_iterations=15, **METHODS[method], **options)


@st.composite
def weights(draw, dtype=torch.float32):
    """A matrix of any rank and scale, and a mask that leaves every row an observed entry."""
    rows, columns = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    rank = draw(st.integers(1, min(rows, columns)))
    scale = 10.0 ** draw(st.integers(-3, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    left = torch.randn(rows, rank, generator=generator)
    weight = scale * left @ torch.randn(rank, columns, generator=generator)
    share = draw(st.floats(0.02, 0.6))
    mask = torch.rand(rows, columns, generator=generator) < share
    mask[torch.arange(rows), torch.randint(columns, (rows,), generator=generator)] = False
    mask[0, 0], mask[0, 1] = True, False
    return weight.to(dtype), mask


def check(found, weight, mask):
    assert found.values.shape == (int(mask.sum()),)
    assert torch.isfinite(found.values).all()
    filled = found.dense(weight)
    assert torch.equal(filled[~mask], weight[~mask])
    limit = 10 * float(weight.float().masked_fill(mask, 0).norm()) + 1e-6
    assert float(found.values.abs().max()) <= limit


@methods
@settings(max_examples=15, deadline=None)
@given(data=weights())
def test_any_rank_and_scale(method, data):
    weight, mask = data
    check(run(weight, mask, method), weight, mask)
    check(run(weight.double(), mask, method), weight.double(), mask)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 6), seed=st.integers(0, 10**6), fast=st.booleans())
def test_without_a_smallest_singular_value_nothing_moves(rows, seed, fast):
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn(rows, 14, generator=generator, dtype=torch.float64)
    lost = torch.rand(rows, 14, generator=generator) < 0.2
    lost[:, 0], lost[:, 1] = True, False
    weight, mask = torch.cat([half, half]), torch.cat([lost, lost])  # every row twice
    for matrix, missing in ((weight, mask), (weight.float(), mask)):
        found = complete(matrix, missing, init="zero", fast=fast)
        assert found.converged
        assert float(found.values.abs().max()) < 1e-5 * float(matrix.norm())


@methods
@settings(max_examples=10, deadline=None)
@given(data=weights(), column=st.integers(0, 11))
def test_a_column_without_survivors_is_completed(method, data, column):
    weight, mask = data
    mask = mask.clone()
    mask[:, column % mask.shape[1]] = True
    if bool(mask.all(dim=1).any()):
        with pytest.raises(ValueError, match="has no surviving entry"):
            run(weight, mask, method)
    else:
        check(run(weight, mask, method), weight, mask)


@methods
@settings(max_examples=5, deadline=None)
@given(data=weights(), row=st.integers(0, 11), bad=st.sampled_from([torch.nan, torch.inf]))
def test_lost_rows_and_broken_entries_are_named(method, data, row, bad):
    weight, mask = data
    row %= len(weight)
    lost = mask.clone()
    lost[row] = True
    with pytest.raises(ValueError, match=f"row {row} has no surviving entry"):
        run(weight, lost, method)
    broken = weight.clone()
    broken[0, 1] = bad  # observed by construction
    with pytest.raises(ValueError, match="1 NaN or infinite values among its observed"):
        run(broken, mask, method)
    hidden = weight.clone()
    hidden[mask] = bad  # what is missing is never read
    assert torch.equal(run(hidden, mask, method).values, run(weight, mask, method).values)


@methods
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_stays_on_the_device(method, device, dtype):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 40, generator=generator, dtype=dtype)
    mask = torch.rand(12, 40, generator=generator) < 0.05
    found = run(weight.to(device), mask, method)
    assert found.values.device.type == device and found.missing.device.type == device
    expected = run(weight, mask, method).values
    torch.testing.assert_close(found.values.cpu(), expected, rtol=1e-2, atol=1e-3)
