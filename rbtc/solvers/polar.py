"""The inverse square root of a Gram matrix, kept up to date with matrix products.

The released completion needs, at every iteration, the polar factor P = (Z Z')^(-1/2) Z of a wide
matrix and its smallest singular value. Between two iterations only the missing 2-4 % of Z change:

    Z Z' -> Z Z' + T + T',   T = D (Z + D / 2)',   D the sparse change,

so the Gram matrix costs a sparse product instead of a dense one, P is only evaluated where entries
are missing, and the inverse square root W is corrected instead of recomputed. In the basis U of an
earlier eigendecomposition both Gram matrix G and W stay nearly diagonal. Newton's method for
W G W = I asks for a symmetric E with E G W + W G E = I - W G W; with the nearly diagonal
W G = G^(1/2) replaced by the diagonal 1/w, this is solved entry by entry:

    E_ij = (I - W G W)_ij / (1/w_i + 1/w_j).

Uncorrected Newton-Schulz is unstable from such a start (its error modes grow like s_i / s_j,
Higham, "Functions of Matrices", SIAM 2008, Sec. 6.4), while here a correction costs two products
and contracts the error to a fraction that is measured and compared with the cost of a new basis.

A GPU is far quicker at products than at a decomposition, in float64 too, so there (`ProductRoot`)
every W is made from nothing: coupled Newton-Schulz (Higham, Sec. 6.7)

    T = 1/2 mu (3 I - mu^2 X Y),   Y <- Y T,   X <- T X,   from Y = G / c, X = I,

with c >= s_max^2 and the scale mu that is best for the singular values' interval [l, 1]: with
mu^2 = 3 / (1 + l + l^2) both its ends become the new l, 2.6 times the old one while it is small.
"""

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

SPARSE_FRACTION = 0.07
"""On a CPU, up to this fraction of missing entries sampled and sparse products beat dense ones."""


_BLOCK = 8  # width of the block that follows the smallest singular values


_BANDS, _BAND_ROWS = 4, 128  # blocks of a symmetric product, and the least height of one


HALF = (1 + 1 / _BANDS) / 2
"""Fraction of a product that is computed where the result is symmetric and large."""


_CORRECTIONS = {"cpu": 5, "cuda": 8}  # so many cost as much as one eigendecomposition


_REMAINDER = 0.02  # fraction of a refill's disturbance that may remain in W


_ACCURATE = 1e-7  # root mean square of I - X Y that ends it: the next step squares it


_STEPS = 60


_SQUARINGS = 5


_SINGULAR = 1e-12  # s_min^2 / s_max^2 that a float64 Gram matrix no longer resolves


class NearlySingularError(ArithmeticError):
    """The Gram matrix does not resolve the smallest singular value, even in float64."""


class PartlyKnown:
    """A wide matrix Z (m, n) of which the entries at flat indices `index` (k,) change.

    Products with the changing part only: `sample(w)` is (w Z) at `index`, `refill(values)` sets
    them and returns what the Gram matrix changes by, `place(values)` sets them and leaves that to
    the next `refill`. Sparse kernels on a CPU when few entries are missing, dense products
    otherwise. `filled` is copied.
    """

    def __init__(self, filled: Tensor, index: Tensor) -> None:
        self.shape = filled.shape
        m, n = filled.shape
        self.rows, self.columns = index // n, index % n
        self.values = filled.reshape(-1)[index]
        # The transpose: both sparse products then read contiguous rows of length m.
        self.transposed = filled.mT.contiguous().clone()  # (n, m)
        self.sparse = filled.device.type == "cpu" and len(index) <= SPARSE_FRACTION * m * n
        self._starts = torch.searchsorted(self.rows, torch.arange(m + 1, device=index.device))
        energy = filled.double().square().sum() - self.values.double().square().sum()
        self.energy = float(energy.clamp(min=0))  # of the observed entries

    def gram(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return Z Z' (m, m), computed in `dtype`."""
        z = self.transposed if dtype is None else self.transposed.to(dtype)
        return z.mT @ z

    def sample(self, w: Tensor, every: int = 1) -> Tensor:
        """Return (w Z) at every `every`-th place, (ceil(k / every),), for a matrix w (m, m)."""
        if not self.sparse:
            return (w @ self.transposed.mT)[self.rows[::every], self.columns[::every]]
        pattern = self._pattern(torch.zeros_like(self.values[::every]), every)
        return torch.sparse.sampled_addmm(pattern, w, self.transposed.mT, beta=0).values()

    def place(self, values: Tensor) -> None:
        """Set the values at `index`; `self.values` stay those of the last `refill`."""
        self._write(values)

    def refill(self, values: Tensor) -> Tensor:
        """Set the values at `index`; return T (m, m) of `Z Z' -> Z Z' + T + T'`.

        The change is counted from the last refill.
        """
        change = values - self.values
        self._write(self.values + change / 2)
        if self.sparse:
            product = torch.sparse.mm(self._pattern(change), self.transposed, "sum")
        else:
            dense = change.new_zeros(self.shape)
            dense[self.rows, self.columns] = change
            product = dense @ self.transposed
        self._write(values)
        self.values = values
        return product

    def _write(self, values: Tensor) -> None:
        self.transposed[self.columns, self.rows] = values

    def _pattern(self, values: Tensor, every: int = 1) -> Tensor:
        starts = (self._starts + every - 1) // every
        with warnings.catch_warnings():  # "Sparse CSR tensor support is in beta state"
            warnings.simplefilter("ignore", UserWarning)
            return torch.sparse_csr_tensor(starts, self.columns[::every], values, self.shape)


@dataclass
class InverseRoot:
    """W = (Z Z')^(-1/2) of a `PartlyKnown` Z, followed through its refills by products.

    tolerance: bound on the relative error of W, root mean square over its eigen-directions; None
        takes 1e-5 in float32 and 1e-12 in float64.
    corrections: how many are tried before the basis is computed anew; None suits the device.
    bases, products: eigendecompositions and products of (m, m) matrices needed so far; a symmetric
        product counts as `HALF`.

    Raises NearlySingularError, at the start or later, when s_min is below 1e-6 s_max.
    """

    matrix: PartlyKnown
    tolerance: float | None = None
    corrections: int | None = None
    bases: int = field(default=0, init=False)
    products: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        z = self.matrix.transposed
        if self.tolerance is None:
            self.tolerance = 1e-12 if z.dtype == torch.float64 else 1e-5
        if self.corrections is None:
            self.corrections = _CORRECTIONS.get(z.device.type, 3)
        self._restart()

    def __call__(self) -> Tensor:
        """Return W (m, m) in the original basis."""
        self.products += 1 + HALF
        return symmetric_product(self.basis @ self.root, self.basis.mT)

    def smallest(self) -> float:
        """Return s_min, as the inverse of the largest Ritz value of W on a small block.

        Block Krylov from the last call's block: the Ritz value's error is the square of the
        block's, and the block moves little between iterations.
        """
        self.block, largest = _largest(self.root, self.block)
        return 1 / largest

    def refill(self, values: Tensor) -> None:
        """Set the missing entries of the matrix; W follows with the next `update`."""
        self.matrix.place(values)
        self.waiting = values

    def update(self) -> None:
        """Bring W up to date with all refills since the last call."""
        if self.waiting is None:
            return
        self.products += 1 + HALF
        change = self.matrix.refill(self.waiting)
        self.waiting = None
        change = symmetric_product(self.basis.mT @ (change + change.mT), self.basis)
        self.gram += change
        # To first order, and where W is diagonal, what I - W G W becomes costs no product.
        scale = self.root.diagonal()
        first = change.mul_(-scale[:, None]).mul_(scale[None, :])
        disturbed = _relative_error(first)
        if disturbed < 0.5:
            self._correct(first)
        assert self.tolerance is not None and self.corrections is not None
        error, error_norm = self._error()
        # What the refill disturbed shrinks with the steps; removing most of it is enough.
        target = max(self.tolerance, _REMAINDER * disturbed)
        for count in range(self.corrections + 1):
            if error_norm < self.tolerance or (count and error_norm < target):
                return
            if (
                not error_norm * self.rate ** (self.corrections - count) < target
                or not error_norm < 0.5
            ):
                break
            self._correct(error)
            if error_norm * self.rate < target:
                return  # another look costs as much as a correction: trust the measured rate
            last = error_norm
            error, error_norm = self._error()
            self.rate = min(max(error_norm / last, 0.05), 0.95)
        self._restart()

    def _error(self) -> tuple[Tensor, float]:
        self.products += 1 + HALF
        error = symmetric_product(self.root @ self.gram, self.root).neg_()
        error.diagonal().add_(1)
        return error, _relative_error(error)

    def _correct(self, error: Tensor) -> None:
        """One step of Newton's method against I - W G W; `error` is used up."""
        inverse = 1 / self.root.diagonal()
        self.root += error.div_(inverse[:, None] + inverse[None, :])

    def _restart(self) -> None:
        self.waiting: Tensor | None = None
        self.rate = 0.3  # contraction of one correction, until it is measured
        squares, basis = torch.linalg.eigh(self.matrix.gram(torch.float64))
        if not squares[0] > _SINGULAR * squares[-1]:
            raise NearlySingularError
        dtype = self.matrix.values.dtype
        self.bases += 1
        self.basis = basis.to(dtype)  # (m, m), columns are eigenvectors
        self.gram = torch.diag(squares.to(dtype))
        self.root = torch.diag(squares.rsqrt().to(dtype))
        self.block = torch.eye(len(squares), dtype=dtype, device=basis.device)[:, :_BLOCK]


class ProductRoot:
    """W = (Z Z')^(-1/2) of a `PartlyKnown` Z, in float64 and by products alone: for a GPU.

    Has the methods of `InverseRoot`. Raises NearlySingularError, at the start or later, when s_min
    is below 1e-6 of a bound on s_max.
    """

    def __init__(self, matrix: PartlyKnown) -> None:
        self.matrix = matrix
        self.root = inverse_root_by_products(matrix.gram(torch.float64))
        power = self.root / self.root.norm()
        for _ in range(_SQUARINGS):  # the largest directions of W stand out
            power = power @ power
            power /= power.norm()
        start = torch.randn(len(power), _BLOCK, generator=torch.Generator().manual_seed(0))
        self.block, largest = _largest(self.root, power @ start.to(power))
        self.least = 1 / largest

    def __call__(self) -> Tensor:
        """Return W (m, m) in the dtype of the values."""
        return self.root.to(self.matrix.values.dtype)

    def smallest(self) -> float:
        """Return s_min."""
        return self.least

    def refill(self, values: Tensor) -> None:
        """Set the missing entries of the matrix; W follows with the next `update`."""
        self.matrix.place(values)

    def update(self) -> None:
        """Bring W up to date with all refills since the last call."""
        self.root = inverse_root_by_products(self.matrix.gram(torch.float64), self.least / 2)
        self.block, largest = _largest(self.root, self.block)
        self.least = 1 / largest


def inverse_root_by_products(gram: Tensor, smallest: float = 0.0) -> Tensor:
    """The inverse square root (m, m) of a symmetric, positive definite G (m, m), in products.

    Args:
        gram: G, float64 where its condition number asks for it.
        smallest: about a lower bound of s_min, the root of the least eigenvalue; 0 if none is
            known, and a bound that is too high costs some steps.

    Raises:
        NearlySingularError: s_min is below 1e-6 of a bound on s_max, or G is not definite.
    """
    bound = torch.minimum(gram.norm(), gram.abs().sum(dim=0).max())
    y, eye = gram / bound, torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    x, low = eye.clone(), max(smallest / float(bound.sqrt()), _SINGULAR**0.5)
    for _ in range(_STEPS):
        product = x @ y
        if low > 0.5:  # before that nothing can be accurate
            off = float((eye - product).norm()) / len(gram) ** 0.5
            if not math.isfinite(off):
                break
            if off < _ACCURATE:
                step = (3 * eye - product) / 2
                x = step @ x
                if float(x.norm()) > _SINGULAR**-0.5:
                    break
                return (x + x.mT) / (2 * bound.sqrt())
        mu = (3 / (1 + low + low * low)) ** 0.5
        step = (mu / 2) * (3 * eye - mu * mu * product)
        y, x = y @ step, step @ x
        low = min(mu * low * (3 - mu * mu * low * low) / 2, 1.0)
    raise NearlySingularError


def _largest(w: Tensor, block: Tensor) -> tuple[Tensor, float]:
    """Largest Ritz value of W (m, m) after two block Krylov steps, and its block (m, 8)."""
    ritz = block.new_zeros(1)
    for _ in range(2):
        block, _ = torch.linalg.qr(torch.cat([block, w @ block], dim=1))
        ritz, mix = torch.linalg.eigh(block.mT @ (w @ block))
        block = (block @ mix)[:, -_BLOCK:]
    return block, float(ritz[-1])


def symmetric_product(a: Tensor, b: Tensor) -> Tensor:
    """The product (m, m) of two matrices whose product is symmetric: half of it is computed."""
    m = len(a)
    height = -(-m // _BANDS) if m >= _BANDS * _BAND_ROWS else m
    result = a.new_empty(m, m)
    for top in range(0, m, height):
        end = min(top + height, m)
        result[top:end, :end] = a[top:end] @ b[:, :end]
        corner = result[top:end, top:end].tril_()
        corner += corner.tril(-1).mT
        result[:top, top:end] = result[top:end, :top].mT
    return result


def _relative_error(error: Tensor) -> float:
    """Relative error of W, root mean square over its directions, for I - W G W."""
    return float(error.norm()) / len(error) ** 0.5 / 2
