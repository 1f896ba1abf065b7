"""Signs weighed by their odds, from all that the survivors tell (beyond the paper).

Completion shrinks: its estimates are a small part of the weights they stand for, and every missing
weight is estimated as if its missing neighbours were as small as their estimates. But pruning takes
large weights, and `rbtc.attack.selection` says how large. With the magnitude m_i known, only the
sign of a missing weight is open, and a column becomes a small problem of spins. Let its weights be
Gaussian with precision W, so that weight i is expected at

    h_i = -sum_{k != i} W_ik z_k / W_ii,    with precision W_ii,

given all others. The odds of its two signs are exp(2 W_ii h_i m_i), and its expected value is

    z_i = m_i tanh(W_ii h_i m_i).

Solving these equations for all missing weights at once is the mean field approximation. W is taken
from the filled matrix itself, with the spread that the missing entries keep about their expected
values added to its diagonal, and both are renewed in turns. |z_i| / m_i, between 0 and 1, is the
confidence in a sign.
"""

import torch
from torch import Tensor

from rbtc.attack.completion import Completion
from rbtc.attack.input_projection import stacked

DAMPING = 0.5
"""Fraction of the old estimate kept in a sweep; without it signs that contradict swing for ever."""


def soften(
    weight: Tensor,
    start: Completion,
    magnitudes: Tensor,
    *,
    projection: Tensor | None = None,
    scale: float = 1.0,
    ridge: float = 0.1,
    rounds: int = 3,
    sweeps: int = 8,
) -> Completion:
    """Turn a completion into expected values: confidence times magnitude, signed.

    Args:
        weight: (rows, columns); what it holds at the missing entries is not looked at.
        start: a completion of it, whose `missing` says where; its values only start the sweeps.
        magnitudes: (rows, columns), finite and not below 0 at the missing entries, see
            `rbtc.attack.selection.expected_magnitudes`.
        projection: (further rows, columns) of which nothing is missing, see
            `rbtc.attack.input_projection`.
        scale: of the projection, see `rbtc.attack.input_projection.stacked`.
        ridge: fraction of the mean variance that is added to the covariance as noise, above 0.
        rounds: how often the covariance is renewed.
        sweeps: of the mean field in each round.

    Returns:
        Completion with algorithm "soft"; |value| <= magnitude.
    """
    missing = start.missing
    rows, columns = weight.shape
    z = start.dense(weight).to(start.values.dtype)
    magnitude = magnitudes.to(z).masked_fill(~missing, 0)
    z = torch.where(missing, z.clamp(min=-magnitude, max=magnitude), z)
    z = z if projection is None else stacked(z, missing, projection, scale=scale)
    residuals = []
    for _ in range(rounds):
        spread = (magnitude.square() - z[:rows].square()).clamp(min=0).masked_fill(~missing, 0)
        precision = _precision(z, spread.sum(dim=1) / columns, ridge)[:rows]  # (rows, all rows)
        own = precision.diagonal()[:, None]  # W_ii
        before = z[:rows][missing]
        for _ in range(sweeps):
            field = own * z[:rows] - precision @ z  # W_ii h_i
            expected = magnitude * torch.tanh(field * magnitude)
            mixed = DAMPING * z[:rows] + (1 - DAMPING) * expected
            z[:rows] = torch.where(missing, mixed, z[:rows])
        change = (z[:rows][missing] - before).norm() / before.norm().clamp(min=1e-30)
        residuals.append(float(change))
    values = z[:rows][missing]
    return Completion(values, missing, rounds * sweeps, tuple(residuals), True, "soft")


def _precision(z: Tensor, spread: Tensor, ridge: float) -> Tensor:
    """Inverse covariance of the columns of z (all rows, columns), in its dtype."""
    wide = z.double()
    covariance = wide @ wide.mT / wide.shape[1]
    covariance.diagonal()[: len(spread)].add_(spread.double())
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    return torch.cholesky_inverse(torch.linalg.cholesky(covariance)).to(z.dtype)
