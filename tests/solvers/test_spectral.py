"""The spectral family: p = 1 is the released attack, other p lower their own objective."""

from itertools import pairwise

import pytest
import torch
from oracles import pruned

from rbtc.attack.completion import complete
from rbtc.solvers.released import flipped
from rbtc.solvers.spectral import gram_power

EXACT = {"max_iterations": 200, "tolerance": 1e-9, "early_stop": False}


def problem(seed=0):
    truth, mask, weight = pruned(48, 192, 0.5, 0.04, seed)
    return truth, mask, weight


def objective(weight, found, exponent):
    values = torch.linalg.svdvals(found.dense(weight))
    return float(values.log().sum() if exponent == 0 else (values**exponent).sum())


def test_exponent_one_is_the_limit_of_the_released_solver():
    _, mask, weight = problem()
    family = complete(weight, mask, algorithm="spectral", exponent=1.0, **EXACT)
    fast = complete(weight, mask, fast=True, early_stop=False, tolerance=1e-9)
    assert float((family.values - fast.values).norm() / fast.values.norm()) < 1e-3
    slow = complete(weight, mask, tolerance=1e-7, max_iterations=3000)
    assert flipped(family.values, slow.values) < 0.01


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
def test_each_exponent_lowers_its_own_objective_at_every_step(exponent):
    _, mask, weight = problem()
    heights = [
        objective(weight, complete(weight, mask, algorithm="spectral", exponent=exponent,
                                   max_iterations=steps, tolerance=0.0, early_stop=False,
                                   ridge=0.0), exponent)
        for steps in (1, 2, 4, 8)
    ]  # fmt: skip
    assert all(a >= b - 1e-9 * abs(a) for a, b in pairwise(heights))


def test_exponents_differ_and_each_wins_by_its_own_measure():
    _, mask, weight = problem()
    found = {
        p: complete(weight, mask, algorithm="spectral", exponent=p, **EXACT) for p in (0.5, 1.5)
    }
    for p, other in ((0.5, 1.5), (1.5, 0.5)):
        assert objective(weight, found[p], p) < objective(weight, found[other], p)


def test_powers_of_a_gram_matrix_and_of_a_singular_one():
    z = torch.randn(6, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram = z @ z.mT
    inverse = gram_power(gram, -1.0)
    product = inverse @ gram
    torch.testing.assert_close(product / product[0, 0], torch.eye(6, dtype=torch.float64))
    assert torch.isfinite(gram_power(torch.zeros(3, 3, dtype=torch.float64), -1.0)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"exponent": 2.0}, r"p in \[0, 2\)"), ({"exponent": -0.1}, "exponent is -0.1"),
     ({"ridge": -1.0}, "ridge is -1"), ({"max_iterations": 0}, "max_iterations is 0")],
)  # fmt: skip
def test_bad_options_are_refused(options, message):
    _, mask, weight = problem()
    with pytest.raises(ValueError, match=message):
        complete(weight, mask, algorithm="spectral", **options)
