import numpy as np
import pytest
import torch
from oracles import low_rank_problem, solution_of_equation_1

from rbtc.attack.completion import complete
from rbtc.solvers.als import alternating
from rbtc.solvers.softimpute import soft_impute, svt
from rbtc.solvers.svd import left_singular, shrinkage_at, truncated_svd


@pytest.mark.parametrize(
    ("shape", "fraction"), [((20, 50), 0.02), ((20, 50), 0.2), ((50, 20), 0.1)]
)
def test_the_solvers_reach_the_solution_of_equation_1(shape, fraction):
    _, mask, weight = low_rank_problem(*shape)
    lam = fraction * float(torch.linalg.matrix_norm(weight, 2))
    expected = solution_of_equation_1(weight.numpy(), mask.numpy(), lam)[mask.numpy()]
    tolerances = {"svt": 1e-14, "softimpute": 1e-27, "als": 1e-26}
    for algorithm, tolerance in tolerances.items():
        found = complete(weight, mask, algorithm=algorithm, shrinkage=lam, tolerance=tolerance,
                         max_iterations=5000)  # fmt: skip
        assert found.converged and found.algorithm == algorithm
        np.testing.assert_allclose(found.values, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("problem", "lam", "rank", "options", "atol"),
    [
        # A flat spectrum needs far more than the two ranks the first lambda starts with.
        ({"rows": 80, "columns": 200, "rank": 60, "noise": 0.5, "fraction": 0.03, "seed": 2},
         0.3, 13, {"tolerance": 1e-16, "path_length": 1}, 1e-4),
        # 4 * (7 + 8) < 120: truncated.
        ({"rows": 120, "columns": 240, "rank": 5}, 0.1, 5, {"tolerance": 1e-20}, 1e-6),
    ],
)  # fmt: skip
def test_the_truncation_grows_until_it_does_not_bind(problem, lam, rank, options, atol):
    _, mask, weight = low_rank_problem(**problem)
    lam *= float(torch.linalg.matrix_norm(weight, 2))
    expected = solution_of_equation_1(weight.numpy(), mask.numpy(), lam)
    assert np.linalg.matrix_rank(expected, tol=1e-6) >= rank
    found = complete(weight, mask, algorithm="softimpute", shrinkage=lam, **options)
    np.testing.assert_allclose(found.values, expected[mask.numpy()], atol=atol)


def test_warm_starts_save_iterations_at_the_last_lambda():
    _, _, weight = low_rank_problem()
    runs = [
        complete(weight, algorithm="softimpute", path_length=length, tolerance=1e-12)
        for length in (1, 10)
    ]
    torch.testing.assert_close(runs[0].values, runs[1].values, rtol=0, atol=1e-2)
    assert all(run.converged for run in runs)


def test_max_rank_limits_the_estimate():
    matrix, mask, weight = low_rank_problem(noise=0.0)
    found = complete(
        weight,
        algorithm="softimpute",
        max_rank=4,
        tolerance=1e-12,
        shrinkage=1e-3 * float(torch.linalg.matrix_norm(weight, 2)),
    )
    error = (found.values - matrix[mask]).norm() / matrix[mask].norm()
    assert error < 0.05
    one = complete(weight, algorithm="softimpute", max_rank=1)
    assert one.converged and torch.isfinite(one.values).all()
    assert (one.values - matrix[mask]).norm() > (found.values - matrix[mask]).norm()


def test_running_out_of_iterations_is_reported():
    _, _, weight = low_rank_problem()
    short = {"max_iterations": 2, "tolerance": 0}
    assert not complete(weight, algorithm="svt", **short).converged
    for steps, options in ((2, {"algorithm": "als"}),
                           (6, {"algorithm": "softimpute", "path_length": 3})):  # fmt: skip
        found = complete(weight, **options, **short)
        assert not found.converged and found.iterations == len(found.residuals) == steps
    with pytest.raises(ValueError, match="shrinkage is 0, expected a value above 0"):
        complete(torch.zeros(3, 4), torch.eye(3, 4).bool(), algorithm="als")


def test_als_with_a_rank_above_the_solutions_reaches_it_and_a_lower_one_binds():
    matrix, mask, weight = low_rank_problem(rank=3, noise=0.01)
    lam = 0.05 * float(torch.linalg.matrix_norm(weight, 2))
    options = {"shrinkage": lam, "tolerance": 1e-20, "max_iterations": 3000}
    expected = complete(weight, mask, algorithm="svt", **{**options, "tolerance": 1e-12}).values
    enough = complete(weight, mask, algorithm="als", max_rank=6, **options)
    torch.testing.assert_close(enough.values, expected, atol=1e-6, rtol=0)
    one = complete(weight, mask, algorithm="als", max_rank=1, **options)
    assert (one.values - matrix[mask]).norm() > 2 * (enough.values - matrix[mask]).norm()


def test_shrinkage_at_is_what_soft_thresholding_removes():
    _, mask, weight = low_rank_problem()
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    index = mask.flatten().nonzero().flatten()
    for threshold in (None, 0.5, float(s[3])):
        tau = s[-1] if threshold is None else threshold
        kept = u * (s - tau).clamp(min=0) @ vt
        torch.testing.assert_close(shrinkage_at(weight, index, threshold), (weight - kept)[mask])


def test_left_singular_handles_singular_matrices():
    wide = torch.outer(torch.arange(1.0, 4), torch.arange(1.0, 6)).double()
    u, s = left_singular(wide)
    assert s.dtype == torch.float64 and (s.diff() >= 0).all()
    torch.testing.assert_close(u.mT @ u, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(s[:2], torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [3, 30])
def test_truncated_svd(dtype, rank):
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(90, 60, generator=generator, dtype=torch.float64))
    s = 0.6 ** torch.arange(60, dtype=torch.float64)
    matrix = (u * s @ v.mT).to(dtype)
    left, values, right = truncated_svd(matrix, rank)
    assert left.shape == (60, rank) and right.shape == (90, rank) and values.dtype == dtype
    eye = torch.eye(3, dtype=dtype)
    torch.testing.assert_close(values[:3], s[:3].to(dtype), rtol=1e-4, atol=0)
    torch.testing.assert_close(left.mT[:3] @ left[:, :3], eye, atol=1e-4, rtol=0)
    torch.testing.assert_close(right.mT[:3] @ right[:, :3], eye, atol=1e-4, rtol=0)
    best = u[:, :3] * s[:3] @ v[:, :3].mT
    torch.testing.assert_close(
        (left * values @ right.mT),
        (u[:, :rank] * s[:rank] @ v[:, :rank].mT).to(dtype),
        atol=1e-3,
        rtol=0,
    )
    assert float((left[:, :3] * values[:3] @ right[:, :3].mT - best).norm()) < 1e-2


def test_solvers_leave_their_input_alone_and_are_deterministic():
    _, mask, weight = low_rank_problem(rows=80, columns=120)
    index = mask.flatten().nonzero().flatten()
    before = weight.clone()
    torch.manual_seed(0)
    first = soft_impute(weight, index)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    second = soft_impute(weight, index)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.values, second.values)
    for solve in (svt, alternating):
        assert torch.equal(*(solve(weight, index, max_iterations=3).values for _ in range(2)))
    assert torch.equal(weight, before)
