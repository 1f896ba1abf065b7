import numpy as np
import pytest
import torch
from oracles import low_rank_problem, solution_of_equation_1

from rbtc.attack.completion import complete


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_als_reaches_the_solution_of_equation_1(shape):
    _, mask, weight = low_rank_problem(*shape)
    lam = 0.1 * float(torch.linalg.matrix_norm(weight, 2))
    expected = solution_of_equation_1(weight.numpy(), mask.numpy(), lam)[mask.numpy()]
    found = complete(
        weight, mask, algorithm="als", shrinkage=lam, tolerance=1e-26, max_iterations=5000
    )
    assert found.converged and found.algorithm == "als"
    np.testing.assert_allclose(found.values, expected, atol=1e-8)


def test_a_rank_above_the_solutions_is_enough_and_a_lower_one_binds():
    matrix, mask, weight = low_rank_problem(rank=3, noise=0.01)
    lam = 0.05 * float(torch.linalg.matrix_norm(weight, 2))
    options = {"shrinkage": lam, "tolerance": 1e-20, "max_iterations": 3000}
    expected = complete(weight, mask, algorithm="svt", **{**options, "tolerance": 1e-12}).values
    enough = complete(weight, mask, algorithm="als", max_rank=6, **options)
    torch.testing.assert_close(enough.values, expected, atol=1e-6, rtol=0)
    one = complete(weight, mask, algorithm="als", max_rank=1, **options)
    assert (one.values - matrix[mask]).norm() > 2 * (enough.values - matrix[mask]).norm()


def test_als_is_deterministic_and_reports_running_out_of_iterations():
    _, mask, weight = low_rank_problem()
    first, second = (complete(weight, mask, algorithm="als") for _ in range(2))
    assert torch.equal(first.values, second.values)
    short = complete(weight, mask, algorithm="als", tolerance=0.0, max_iterations=3)
    assert not short.converged and short.iterations == len(short.residuals) == 3
    with pytest.raises(ValueError, match="shrinkage is 0, expected a value above 0"):
        complete(torch.zeros(3, 4), torch.eye(3, 4).bool(), algorithm="als")
