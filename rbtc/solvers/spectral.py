"""The released attack as one member of a family: completions of least Schatten quasi-norm.

The released iteration ends where the nuclear norm of Z, the sum of its singular values, is least.
Nothing singles that norm out. Take any exponent p and make

    tr (Z Z')^(p/2) = sum_i s_i^p

least over the missing entries, with the observed ones held fixed. Its gradient is p G^(p/2-1) Z,
G = Z Z', so the update reads as the released one with another power of the Gram matrix:

    z_M <- z_M - omega (W Z)_M / W,   W = G^(p/2-1),

where the division solves one small linear system per column, W[I, I] d = (W Z)_I for its missing
rows I, as in `rbtc.solvers.reweighted`. p = 1 is the paper's attack; p = 2 leaves zeros; p = 0 is
the limit sum_i log s_i, under which each column is completed by the linear regression of its
missing rows on its observed ones, with Z's own covariance. The larger p, the less the small
singular values count.

For p <= 2 the quadratic form of W bounds the objective from above, up to a constant, so that any
0 < omega < 2 decreases it (Mohan and Fazel, "Iterative Reweighted Algorithms for Matrix Rank
Minimization", JMLR 2012). For p < 1 the problem is not convex and the start matters.
"""

import torch
from torch import Tensor

from rbtc.solvers.polar import PartlyKnown
from rbtc.solvers.reweighted import reweighted
from rbtc.solvers.svd import Solution, check_stop


def spectral(
    filled: Tensor,
    index: Tensor,
    *,
    exponent: float = 1.0,
    ridge: float = 1e-6,
    max_iterations: int = 50,
    tolerance: float = 1e-5,
    early_stop: bool = True,
) -> Solution:
    """Complete a wide matrix with the least sum of the singular values' powers.

    Args:
        filled: (m, n), m <= n, with the initial values at its flat indices `index` (k,).
        index: int64 (k,), where entries are missing.
        exponent: p in [0, 2); 1 is the limit of the released iteration.
        ridge: fraction of their mean that is added to the squared singular values, at least 0. What
            it adds counts as noise: the smallest directions of Z are then not trusted.
        max_iterations: reweighted steps.
        tolerance: compared with the change of the whole matrix in a step, relative Frobenius norm.
        early_stop: also stop once hardly a sign flips and the Top-0.6 set stays, as in
            `rbtc.solvers.reweighted`.

    Raises:
        ValueError: an exponent outside [0, 2), a negative ridge, or a stopping rule that cannot be
            followed.
    """
    check_exponent(exponent, ridge)
    check_stop(max_iterations, tolerance)
    matrix = PartlyKnown(filled, index)
    return reweighted(
        matrix,
        matrix.gram(torch.float64),
        lambda gram: gram_power(gram, exponent / 2 - 1, ridge).to(filled.dtype),
        keep=False,  # far from p = 1 the weighting changes more than the steps shrink
        max_iterations=max_iterations,
        tolerance=tolerance,
        early_stop=early_stop,
    )


def gram_power(gram: Tensor, power: float, ridge: float = 0.0) -> Tensor:
    """(G + ridge mean(s^2) I)^power of a Gram matrix (m, m), in its dtype, with mean diagonal 1.

    The scale cancels in the update. Eigenvalues that rounding can no longer tell from zero are
    raised to where it can, which keeps a negative power of a singular matrix finite.
    """
    squares, basis = torch.linalg.eigh(gram)
    numbers = torch.finfo(squares.dtype)
    squares = squares / squares[-1].clamp(min=numbers.tiny)
    squares = squares.clamp(min=numbers.eps * len(squares))
    squares = squares + ridge * squares.mean()
    root = (basis * squares**power) @ basis.mT
    return root / root.diagonal().mean()


def check_exponent(exponent: float, ridge: float = 0.0) -> None:
    """Refuse a p outside [0, 2), or a negative ridge, with a ValueError."""
    if not 0 <= exponent < 2:
        raise ValueError(f"exponent is {exponent}, expected p in [0, 2); 1 is the paper's attack")
    if not ridge >= 0:
        raise ValueError(f"ridge is {ridge}, expected a fraction not below 0")
