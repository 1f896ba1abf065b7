import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.solvers.polar import (
    InverseRoot,
    NearlySingularError,
    PartlyKnown,
    ProductRoot,
    inverse_root_by_products,
)


def wide(rows=40, columns=90, fraction=0.04, seed=0, dtype=torch.float64, decay=0.5):
    """A matrix with singular values about i^-decay and the flat indices of its missing entries."""
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    left = torch.linalg.qr(torch.randn(rows, rows, **draw)).Q
    scale = torch.arange(1, rows + 1, dtype=torch.float64) ** -decay
    matrix = (left * scale) @ torch.randn(rows, columns, **draw)
    index = (torch.rand(rows, columns, **draw) < fraction).flatten().nonzero().flatten()
    return matrix.to(dtype), index


def exact(matrix):
    """The inverse square root of the Gram matrix and s_min, from a float64 SVD."""
    u, s, _ = torch.linalg.svd(matrix.double(), full_matrices=False)
    return (u / s) @ u.mT, float(s[-1])


@pytest.mark.parametrize("fraction", [0.03, 0.3])  # sparse and dense products
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_with_the_missing_entries_equal_dense_ones(fraction, dtype):
    matrix, index = wide(fraction=fraction, dtype=dtype)
    known = PartlyKnown(matrix, index)
    assert known.sparse == (fraction < 0.05)
    w = torch.randn(40, 40, dtype=dtype)
    there = (w @ matrix).flatten()[index]
    torch.testing.assert_close(known.sample(w), there)
    for every in (2, 7, len(index)):
        torch.testing.assert_close(known.sample(w, every), there[::every])
    before, values = known.gram(), torch.randn(len(index), dtype=dtype)
    change = known.refill(values)
    matrix = matrix.clone()
    matrix.view(-1)[index] = values
    torch.testing.assert_close(known.transposed, matrix.mT)
    torch.testing.assert_close(known.values, values)
    torch.testing.assert_close(before + change + change.mT, matrix @ matrix.mT, atol=1e-4, rtol=0)
    assert known.gram(torch.float64).dtype == torch.float64


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 40), st.integers(0, 30), st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_the_inverse_root_follows_refills(rows, more, seed, decay):
    matrix, index = wide(rows, 2 * rows + more, fraction=0.05, seed=seed, decay=decay)
    known = PartlyKnown(matrix, index)
    root = InverseRoot(known)
    smallest = exact(matrix)[1]
    generator = torch.Generator().manual_seed(seed)
    for size in (0.5, 0.2, 0.01, 1e-5):
        step = torch.randn(len(index), generator=generator, dtype=torch.float64)
        root.refill(known.values + size * smallest / len(matrix) ** 0.5 * step)
        root.update()
        w, s_min = exact(known.transposed.mT)
        error = torch.linalg.matrix_norm(root() - w, 2) / torch.linalg.matrix_norm(w, 2)
        assert error < 0.1 * size + 1e-9  # what is left is a small fraction of the disturbance
        assert abs(root.smallest() / s_min - 1) < 0.1 * size + 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(9, 40), st.integers(0, 30), st.integers(0, 10**6), st.floats(0.0, 1.5))
def test_products_alone_make_the_inverse_root_and_find_the_smallest(rows, more, seed, decay):
    matrix, index = wide(rows, 2 * rows + more, fraction=0.05, seed=seed, decay=decay)
    known = PartlyKnown(matrix.float(), index)
    root = ProductRoot(known)
    for size in (0.0, 0.5, 0.01):
        known.refill(known.values * (1 + size))
        root.refill(known.values)
        root.update()
        w, s_min = exact(known.transposed.mT)
        assert torch.linalg.matrix_norm(root.root - w, 2) < 1e-9 * torch.linalg.matrix_norm(w, 2)
        assert root().dtype == torch.float32
        assert abs(root.smallest() / s_min - 1) < 0.1 * size + 1e-6


@pytest.mark.parametrize("bound", [0.0, 1e-3, 1.0])
def test_a_wrong_bound_of_the_smallest_costs_steps_and_nothing_else(bound):
    matrix, _ = wide(decay=1.5)
    gram = matrix @ matrix.mT
    torch.testing.assert_close(inverse_root_by_products(gram, bound), exact(matrix)[0])


@pytest.mark.parametrize("least", [0.0, -1.0, 1e-14, float("nan")])
def test_products_refuse_what_they_cannot_resolve(least):
    gram = torch.diag(torch.tensor([1.0, 0.5, least], dtype=torch.float64))
    with pytest.raises(NearlySingularError):
        inverse_root_by_products(gram)


def test_a_small_change_takes_products_only_and_a_large_one_a_new_basis():
    matrix, index = wide()
    known = PartlyKnown(matrix, index)
    root = InverseRoot(known)
    root.refill(known.values * (1 + 1e-3))
    root.update()
    assert root.bases == 1
    root.refill(known.values + 10 * matrix.abs().max())
    root.update()
    assert root.bases == 2
    torch.testing.assert_close(root(), exact(known.transposed.mT)[0])


def test_float32_keeps_small_singular_values_apart():
    """A float32 Gram matrix of condition number 1e8 would have lost them."""
    matrix, index = wide(decay=2.5, dtype=torch.float32)
    w, smallest = exact(matrix)
    root = InverseRoot(PartlyKnown(matrix, index))
    assert float(torch.linalg.matrix_norm(matrix, 2)) / smallest > 1e3
    assert abs(root.smallest() / smallest - 1) < 1e-4
    assert float(torch.linalg.matrix_norm(root() - w, 2) / torch.linalg.matrix_norm(w, 2)) < 1e-4


def test_a_singular_matrix_is_reported():
    matrix = torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 11))
    with pytest.raises(NearlySingularError):
        InverseRoot(PartlyKnown(matrix, torch.tensor([0, 3])))
