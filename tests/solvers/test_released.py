"""The two engines of the released iteration, against each other and a plain float64 loop."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles import pruned, released_loop, wanda_mask

from rbtc.attack.completion import complete
from rbtc.solvers import released as engines
from rbtc.solvers.polar import InverseRoot, PartlyKnown, ProductRoot
from rbtc.solvers.released import exchanged, flipped, largest_set, released_exact, released_tracked
from rbtc.solvers.reweighted import ColumnSystems, _by_bases, _by_products, released_fast
from rbtc.solvers.svd import observed_energy, relative_change

STOP = {"max_iterations": 500, "tolerance": 1e-5}


def problem(rows=64, columns=256, power=0.5, fraction=0.04, dtype=torch.float64, seed=0):
    """A filled wide matrix, its missing entries, and the reference loop's last estimate."""
    _, mask, weight = pruned(rows, columns, power, fraction, seed)
    expected = released_loop(weight.numpy(), mask.numpy())
    filled = torch.from_numpy(expected[0]).to(dtype)
    values = torch.from_numpy(expected[-1][mask.numpy()])
    return filled, mask.flatten().nonzero().flatten(), values, len(expected) - 1


def shared_top(found, expected):
    top = largest_set(expected)
    return float((largest_set(found) & top).sum() / top.sum())


@pytest.mark.parametrize("fraction", [0.04, 0.12])  # sparse and dense products
def test_tracked_follows_the_released_loop(fraction):
    filled, index, expected, iterations = problem(fraction=fraction)
    before = filled.clone()
    exact = released_exact(filled, index, **STOP)
    assert torch.equal(filled, before) and exact.iterations == iterations
    np.testing.assert_allclose(exact.values, expected, atol=1e-8, rtol=0)
    for dtype in (torch.float32, torch.float64):
        tracked = released_tracked(filled.to(dtype), index, **STOP)
        assert torch.equal(filled, before) and tracked.values.dtype == dtype
        assert abs(tracked.iterations - iterations) <= 1 and tracked.converged
        assert len(tracked.residuals) == tracked.iterations - 1
        assert float((tracked.values - expected).norm() / expected.norm()) < 2e-3
        assert flipped(tracked.values, expected) < 1e-3


def test_products_alone_take_the_released_steps_and_reach_the_fast_limit():
    filled, index, *_ = problem()
    exact = released_exact(filled, index, max_iterations=500, tolerance=1e-5)
    stop = {"max_iterations": 500, "tolerance": 1e-5}
    tracked = released_tracked(filled.float(), index, root_of=ProductRoot, **stop)
    assert abs(tracked.iterations - exact.iterations) <= 1
    assert float((tracked.values - exact.values).norm() / exact.values.norm()) < 2e-3
    assert flipped(tracked.values, exact.values) < 1e-3
    matrix = PartlyKnown(filled.float(), index)
    starts = [_by_bases(matrix), _by_products(matrix)]
    torch.testing.assert_close(starts[0][1], starts[1][1], rtol=1e-3, atol=1e-3)
    assert abs(starts[0][2] / starts[1][2] - 1) < 1e-3
    again = starts[1][3](starts[1][0])
    torch.testing.assert_close(again, starts[1][1], rtol=1e-4, atol=1e-4)


def test_tracked_steps_are_the_released_steps_when_the_number_is_fixed():
    filled, index, *_ = problem()
    for steps in (1, 2, 10):
        stop = {"max_iterations": steps, "tolerance": 0.0}
        exact, tracked = (run(filled, index, **stop) for run in (released_exact, released_tracked))
        assert exact.iterations == tracked.iterations == steps
        assert float((exact.values - tracked.values).norm() / exact.values.norm()) < 1e-3


def test_forecast_steps_save_inverse_roots_and_stay_within_the_tolerance(monkeypatch):
    computed = []
    called = InverseRoot.__call__
    monkeypatch.setattr(InverseRoot, "__call__", lambda root: computed.append(1) or called(root))
    filled, index, *_ = problem()
    stop = {"max_iterations": 500, "tolerance": 1e-5}
    saving = released_tracked(filled, index, **stop)
    saved = saving.iterations - len(computed)
    assert saved >= 5
    monkeypatch.setattr(engines, "FORECAST_ERROR", 0.0)
    whole = released_tracked(filled, index, **stop)
    assert len(computed) == saving.iterations - saved + whole.iterations
    assert relative_change(saving.values, whole.values, observed_energy(filled, index)) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("power", "outliers"), [(0.3, False), (0.5, False), (0.5, True)])
def test_fast_has_the_signs_and_the_top_set_of_the_converged_loop(dtype, power, outliers):
    generator = torch.Generator().manual_seed(3)
    original, _, _ = pruned(96, 384, power)
    if outliers:
        original[torch.randperm(96, generator=generator)[:2]] *= 4
        original[:, torch.randperm(384, generator=generator)[:4]] *= 4
    mask = wanda_mask(original, 0.03, generator)
    weight = original.masked_fill(mask, 0)
    slow = complete(weight, mask, tolerance=1e-6, max_iterations=1000)
    fast = complete(weight.to(dtype), mask, fast=True)
    assert fast.converged and fast.iterations <= 8 < slow.iterations
    assert flipped(fast.values, slow.values) <= 0.005
    assert shared_top(fast.values.double(), slow.values) >= 0.99


def test_fast_reaches_the_least_nuclear_norm_and_descends():
    filled, index, *_ = problem()
    norms = []
    for steps in (1, 2, 4, 8, 40):
        found = released_fast(filled, index, max_iterations=steps, tolerance=0.0, early_stop=False)
        z = filled.clone()
        z.view(-1)[index] = found.values
        norms.append(float(torch.linalg.matrix_norm(z, "nuc")))
    assert all(b <= a + 1e-10 for a, b in pairwise(norms))
    u, _, vt = torch.linalg.svd(z, full_matrices=False)
    assert float((u @ vt).view(-1)[index].abs().max()) < 1e-8  # the subgradient vanishes


def test_fast_keeps_the_factors_of_its_systems_while_the_steps_shrink(monkeypatch):
    factored = []
    factor = ColumnSystems.factor
    monkeypatch.setattr(
        ColumnSystems, "factor", lambda systems, w: factored.append(1) or factor(systems, w)
    )
    filled, index, *_ = problem()
    found = released_fast(filled, index, max_iterations=50, tolerance=1e-5)
    assert found.converged and found.iterations > 2 and len(factored) == 1
    monkeypatch.setattr("rbtc.solvers.reweighted._SHRINKS", 0.0)  # no step shrinks enough
    again = released_fast(filled, index, max_iterations=50, tolerance=1e-5)
    assert len(factored) == again.iterations  # the second step takes those of the first
    assert flipped(found.values, again.values) < 0.005


def test_fast_does_not_move_where_the_released_loop_would_not():
    low = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 11)).double()
    generator = torch.Generator().manual_seed(0)
    for noise in (0.0, 1e-7):
        filled = low + noise * torch.randn(6, 10, generator=generator, dtype=torch.float64)
        index = torch.tensor([0, 13, 25])
        slow, fast = released_exact(filled, index, **STOP), released_fast(filled, index, **STOP)
        torch.testing.assert_close(slow.values, fast.values, rtol=0, atol=1e-5)


def test_float32_falls_back_to_decompositions_when_nearly_singular(monkeypatch):
    monkeypatch.setattr(engines, "TRACKED_ROWS", 1)
    generator = torch.Generator().manual_seed(5)
    low = torch.randn(20, 4, generator=generator) @ torch.randn(4, 50, generator=generator)
    weight = low + 1e-7 * torch.randn(20, 50, generator=generator)
    mask = torch.rand(20, 50, generator=generator) < 0.01
    found = complete(weight, mask, max_iterations=40)
    assert found.converged and torch.isfinite(found.values).all()


def test_few_flips_can_stop_the_faithful_iteration_early():
    _, _, weight = pruned(64, 256, fraction=0.04)
    slow = complete(weight, tolerance=1e-7)
    early = complete(weight, tolerance=1e-7, early_stop=True)
    assert early.converged and early.iterations < slow.iterations
    assert flipped(early.values, slow.values) < 0.03
    full = complete(weight, tolerance=1e-7, fast=True, early_stop=False)
    assert full.iterations > complete(weight, tolerance=1e-7, fast=True).iterations
    with pytest.raises(ValueError, match="early_stop is no option of algorithm='svt'"):
        complete(weight, algorithm="svt", early_stop=True)


def test_sets_of_largest_magnitude():
    values = torch.tensor([0.1, -5.0, 2.0, -3.0, 0.2])
    assert largest_set(values).tolist() == [False, True, True, True, False]
    other = largest_set(torch.tensor([9.0, -5.0, 2.0, 0.0, 0.2]))
    assert exchanged(other, largest_set(values)) == pytest.approx(1 / 3)
    assert flipped(values, -values) == 1.0
