import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import pruned, released_loop, spectrum_matrix, wanda_mask

from rbtc.attack.completion import Completion, complete, complete_all
from rbtc.attack.sign_accuracy import SignAccuracy, count_signs, sign_accuracy


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (30, 30)])
@pytest.mark.parametrize("init", ["mean", "zero"])
def test_agrees_with_the_released_loop(shape, init):
    _, mask, weight = pruned(*shape)
    expected = released_loop(weight.numpy(), mask.numpy(), init=init)
    found = complete(weight, init=init)
    assert found.iterations == len(expected) - 1
    assert found.converged and found.algorithm == "released"
    assert len(found.residuals) == found.iterations - 1
    np.testing.assert_allclose(found.dense(weight).numpy(), expected[-1], atol=1e-8, rtol=0)


def test_agrees_with_the_released_loop_when_nearly_singular():
    generator = torch.Generator().manual_seed(5)
    low = spectrum_matrix(20, 4, None, generator) @ spectrum_matrix(4, 50, None, generator)
    weight = low + 1e-7 * spectrum_matrix(20, 50, None, generator)  # condition number about 1e8
    mask = torch.rand(20, 50, generator=generator) < 0.01
    expected = released_loop(weight.numpy(), mask.numpy(), max_iterations=40)
    found = complete(weight, mask, max_iterations=40)
    assert found.iterations == len(expected) - 1
    np.testing.assert_allclose(found.dense(weight).numpy(), expected[-1], atol=1e-8, rtol=0)


def test_one_step_subtracts_the_smallest_singular_value_times_the_polar_factor():
    _, mask, weight = pruned()
    found = complete(weight, max_iterations=1, init="zero")
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(found.values, -(s[-1] * u @ vt)[mask])
    assert (found.iterations, found.residuals, found.converged) == (1, (), False)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 12), st.integers(4, 12), st.integers(0, 10**6))
def test_nuclear_norm_does_not_grow_and_survivors_stay(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    mask[torch.arange(rows), torch.randint(columns, (rows,), generator=generator)] = True
    norms = []
    for steps in (1, 3, 9):
        filled = complete(weight, mask, max_iterations=steps, init="zero").dense(weight)
        assert torch.equal(filled[~mask], weight[~mask])
        norms.append(float(torch.linalg.matrix_norm(filled, "nuc")))
    start = float(torch.linalg.matrix_norm(weight.masked_fill(mask, 0), "nuc"))
    assert start >= norms[0] - 1e-9
    assert norms[0] >= norms[1] - 1e-9 and norms[1] >= norms[2] - 1e-9


@pytest.mark.parametrize("algorithm", ["released", "svt", "softimpute"])
def test_signs_of_structured_matrices_come_back(algorithm):
    original, _, weight = pruned(64, 256, power=0.5, fraction=0.04)
    accuracy = sign_accuracy({"x": complete(weight, algorithm=algorithm)}, {"x": original})
    assert accuracy > 0.75

    generator = torch.Generator().manual_seed(1)
    low = spectrum_matrix(64, 8, None, generator) @ spectrum_matrix(8, 256, None, generator)
    original = low + 0.1 * spectrum_matrix(64, 256, None, generator)
    mask = wanda_mask(original, 0.04, generator)
    found = complete(original.masked_fill(mask, 0), algorithm=algorithm)
    assert sign_accuracy({"x": found}, {"x": original}) > 0.95


@pytest.mark.parametrize("algorithm", ["released", "svt", "softimpute"])
def test_without_structure_signs_are_chance(algorithm):
    original, mask, weight = pruned(64, 256, power=None, fraction=0.08)
    accuracy = sign_accuracy({"x": complete(weight, algorithm=algorithm)}, {"x": original})
    assert abs(accuracy - 0.5) < 4 * 0.5 / int(mask.sum()) ** 0.5  # four standard errors


def test_rank_deficient_matrices_converge_at_once():
    weight = torch.zeros(6, 10, dtype=torch.float64)
    weight[:, 1:] = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 10)).double()
    mask = torch.zeros(6, 10, dtype=torch.bool)
    mask[0, 0] = True
    found = complete(weight, mask)
    assert found.converged and found.iterations == 2
    assert found.values.abs().max() < 1e-12
    zeros = complete(torch.zeros(3, 4), torch.eye(3, 4).bool())  # every singular value is 0
    assert zeros.converged and not zeros.values.any()


def test_float32_is_close_and_half_is_computed_in_float32():
    _, mask, weight = pruned(48, 160)
    exact = complete(weight)
    single = complete(weight.float(), mask)
    assert single.values.dtype == torch.float32
    scale = float(exact.values.abs().max())
    assert float((single.values - exact.values).abs().max()) < 1e-3 * scale
    assert float((single.values.sign() != exact.values.sign()).double().mean()) < 2e-3
    for dtype in (torch.float16, torch.bfloat16):
        half = complete(weight.to(dtype), mask)
        assert half.values.dtype == torch.float32
        assert torch.equal(half.values, complete(weight.to(dtype).float(), mask).values)
        assert half.dense(weight.to(dtype)).dtype == dtype


@pytest.mark.parametrize("algorithm", ["released", "svt", "softimpute"])
@pytest.mark.parametrize("shape", [(24, 60), (60, 24)])
def test_memory_layout_does_not_matter(algorithm, shape):
    _, mask, weight = pruned(*shape)
    expected = complete(weight, algorithm=algorithm).values
    column_major = weight.T.contiguous().T
    strided = torch.zeros(shape[0], 2 * shape[1], dtype=torch.float64)[:, ::2].copy_(weight)
    for other in (column_major, strided):
        assert torch.equal(complete(other, algorithm=algorithm).values, expected)
    assert torch.equal(
        complete(weight, mask.T.contiguous().T, algorithm=algorithm).values, expected
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"fast": True}, {"algorithm": "spectral", "exponent": 0.5, "early_stop": False}],
)
def test_a_transposed_matrix_is_completed_alike(options):
    _, mask, weight = pruned(48, 192, fraction=0.04)
    wide = complete(weight, mask, init="zero", **options).dense(weight)
    tall = complete(weight.T, mask.T, init="zero", **options).dense(weight.T)
    torch.testing.assert_close(tall.T, wide, rtol=1e-4, atol=1e-6)


def test_input_is_not_modified_and_values_are_row_major():
    _, mask, weight = pruned()
    before = weight.clone()
    found = complete(weight)
    assert torch.equal(weight, before)
    full = found.dense(weight)
    assert torch.equal(full[mask], found.values)
    assert torch.equal(full[~mask], weight[~mask])
    with pytest.raises(ValueError, match=r"of shape \(24, 60\)"):
        found.dense(weight[:3])


def test_zeros_count_as_missing_only_without_a_mask():
    weight = torch.randn(5, 8, dtype=torch.float64)
    weight[0, 0] = weight[1, 1] = 0
    assert len(complete(weight).values) == 2
    mask = torch.zeros(5, 8, dtype=torch.bool)
    mask[0, 0] = True
    found = complete(weight, mask)
    assert len(found.values) == 1 and found.dense(weight)[1, 1] == 0


def test_signed_zeros_do_not_reach_the_result():
    original, mask, weight = pruned()
    leaky = original * (~mask).double()
    assert torch.signbit(leaky[mask]).any()
    assert torch.equal(complete(leaky).values, complete(weight).values)


def test_a_column_nobody_observed_starts_from_zero():
    _, mask, weight = pruned()
    mask[:, 3] = True
    found = complete(weight, mask, max_iterations=1)
    column = found.dense(weight)[:, 3]
    assert torch.isfinite(found.values).all()
    u, s, vt = torch.linalg.svd(
        torch.where(mask, weight.masked_fill(mask, 0).sum(0) / (~mask).sum(0).clamp(min=1), weight),
        full_matrices=False,
    )
    torch.testing.assert_close(column, -(s[-1] * u @ vt)[:, 3])


def test_complete_all_skips_untouched_layers_and_names_the_failing_one():
    _, _, weight = pruned()
    weights = {"b": weight, "a": weight.T.contiguous(), "c": torch.ones(3, 4)}
    found = complete_all(weights, max_iterations=2)
    assert list(found) == ["a", "b"]
    assert all(isinstance(item, Completion) and item.iterations == 2 for item in found.values())
    with pytest.raises(ValueError, match="nothing is missing in any of the 1 layers"):
        complete_all({"c": torch.ones(3, 4)})
    with pytest.raises(ValueError, match="d: row 0 has no surviving entry"):
        complete_all({"d": torch.eye(2, 3) - torch.eye(2, 3)})
    with pytest.raises(ValueError, match="the two sets of layers differ"):
        complete_all(weights, {"b": weight == 0})


@pytest.mark.parametrize(
    ("weight", "missing", "message"),
    [
        (torch.ones(2, 3), None, "nothing is missing: is this model pruned"),
        (torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool), "nothing is missing"),
        (torch.tensor([[0.0, 0.0], [1.0, 2.0]]), None, "row 0 has no surviving entry"),
        (torch.tensor([[0.0, torch.nan], [1.0, 2.0]]), None, "holds 1 NaN or infinite"),
        (torch.tensor([[0.0, torch.inf], [1.0, 2.0]]), None, "holds 1 NaN or infinite"),
        (torch.ones(2, 3), torch.ones(3, 2, dtype=torch.bool), "expected torch.bool of the weight"),
        (torch.ones(2, 3), torch.eye(2, 3), "missing is torch.float32"),
        (torch.zeros(4), None, "expected a floating-point matrix"),
        (torch.zeros(2, 2, 1, 1), None, "expected a floating-point matrix"),
        (torch.eye(2, dtype=torch.int8), None, "weight is torch.int8"),
    ],
)
def test_bad_matrices(weight, missing, message):
    with pytest.raises(ValueError, match=message):
        complete(weight, missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "lsq"}, "algorithm is 'lsq', expected one of released"),
        ({"init": "median"}, "init is 'median'"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"tolerance": -1.0}, "tolerance is -1.0"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"algorithm": "softimpute", "path_length": 0}, "path_length is 0"),
        ({"algorithm": "softimpute", "max_rank": 0}, "max_rank is 0"),
        ({"max_rank": 3}, "max_rank is no option of algorithm='released'"),
        ({"shrinkage": 0.1}, "shrinkage is no option of algorithm='released'"),
        ({"algorithm": "svt", "fast": True}, "fast is no option of algorithm='svt'"),
        ({"algorithm": "svt", "shrinkage": 0.0}, "shrinkage is 0, expected a value above 0"),
        ({"algorithm": "svt", "shrinkage": 1e9}, "below the largest singular value"),
        ({"algorithm": "softimpute", "shrinkage": 1e9}, "below the largest singular value"),
        ({"algorithm": "softimpute", "shrinkage": float("nan")}, "shrinkage is nan"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        complete(pruned()[2], **options)


def test_sign_accuracy_counts():
    original = {"a": torch.tensor([[1.0, -2.0, 0.0], [3.0, -4.0, 5.0]])}
    mask = torch.tensor([[True, True, True], [False, True, True]])
    values = torch.tensor([1.0, 1.0, 1.0, -1.0, 0.0])  # right, wrong, no truth, right, no estimate
    found = {"a": Completion(values, mask, 1, (), True, "released")}
    assert count_signs(found, original) == {"a": SignAccuracy(2, 4)}
    assert sign_accuracy(found, original) == 0.5
    signs = {"a": torch.tensor([[1, 1, 1], [0, 0, 1]], dtype=torch.int8)}
    assert count_signs(signs, original) == {"a": SignAccuracy(2, 3)}
    assert SignAccuracy(1, 2) + SignAccuracy(2, 2) == SignAccuracy(3, 4)
    assert np.isnan(SignAccuracy(0, 0).value)
    with pytest.raises(ValueError, match="no layer 'a'"):
        sign_accuracy(found, {})
    with pytest.raises(ValueError, match="a: recovered"):
        sign_accuracy(found, {"a": torch.ones(3, 2)})


def test_layers_side_by_side_are_those_one_by_one_and_threads_come_back():
    torch.manual_seed(0)
    weights = {str(i): torch.randn(8 + i, 40) for i in range(5)}
    masks = {name: torch.rand_like(weight) < 0.05 for name, weight in weights.items()}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = complete_all(weights, masks)
        torch.set_num_threads(3)
        beside = complete_all(weights, masks)
        assert torch.get_num_threads() == 3
        with pytest.raises(ValueError, match="3: "):
            complete_all(weights | {"3": weights["3"].fill_(float("nan"))}, masks)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert list(beside) == sorted(weights)
    assert all(torch.equal(alone[name].values, beside[name].values) for name in weights)
