"""Matrices with holes, and independent ways to fill them, for the tests of completion."""

from __future__ import annotations

import numpy as np
import torch
from scipy import linalg


def released_loop(matrix, missing, *, max_iterations=500, tolerance=1e-5, init="mean"):
    """The released loop in numpy: full SVDs, whole matrices, no shortcut."""
    observed = np.where(missing, np.nan, matrix)
    start = np.nanmean(observed, axis=0) if init == "mean" else np.zeros(matrix.shape[1])
    iterates = [np.where(missing, start[None, :], matrix)]
    for _ in range(max_iterations):
        u, s, vt = np.linalg.svd(iterates[-1], full_matrices=False)
        low = (u * np.maximum(s - s[-1], 0)) @ vt
        iterates.append(np.where(missing, low, matrix))
        if len(iterates) >= 3:
            change = np.linalg.norm(iterates[-1] - iterates[-3]) / np.linalg.norm(iterates[-3])
            if change < tolerance:
                break
    return iterates


def wanda_mask(matrix, fraction, generator):
    """The largest |W| * activation of each row, as ConceptPrune removes them."""
    activation = torch.rand(matrix.shape[1], generator=generator, dtype=matrix.dtype) + 0.5
    score = matrix.abs() * activation
    mask = torch.zeros_like(matrix, dtype=torch.bool)
    return mask.scatter_(1, score.topk(int(fraction * matrix.shape[1]), dim=1).indices, True)


def spectrum_matrix(rows, columns, power, generator):
    """Random singular vectors with singular values i^-power; power None is iid Gaussian."""
    matrix = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    if power is None:
        return matrix
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u * torch.arange(1, len(s) + 1, dtype=torch.float64) ** -power @ vt


def pruned(rows=24, columns=60, power=0.5, fraction=0.08, seed=0):
    generator = torch.Generator().manual_seed(seed)
    matrix = spectrum_matrix(rows, columns, power, generator)
    mask = wanda_mask(matrix, fraction, generator)
    return matrix, mask, matrix.masked_fill(mask, 0)


def low_rank_problem(rows=20, columns=50, rank=4, noise=0.1, fraction=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    low = torch.randn(rows, rank, **draw) @ torch.randn(rank, columns, **draw)
    matrix = low + noise * torch.randn(rows, columns, **draw)
    mask = torch.rand(rows, columns, generator=generator) < fraction
    return matrix, mask, matrix.masked_fill(mask, 0)


def solution_of_equation_1(matrix, mask, lam, steps=6000):
    """Eq. 1 by the textbook iteration: full SVDs in scipy, from zero, to machine precision."""
    estimate = np.zeros_like(matrix)
    for _ in range(steps):
        u, s, vt = linalg.svd(np.where(mask, estimate, matrix), full_matrices=False)
        new = (u * np.maximum(s - lam, 0)) @ vt
        if np.linalg.norm(new - estimate) <= 1e-14 * np.linalg.norm(new):
            return new
        estimate = new
    return estimate
