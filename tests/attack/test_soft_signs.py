"""Signs weighed by their odds."""

import torch

from rbtc.attack.completion import complete
from rbtc.attack.soft_signs import soften


def problem(seed=0, rows=24, columns=160):
    """Correlated columns whose largest entries are missing."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(rows, rows, generator=generator) * torch.arange(1, rows + 1) ** -0.25
    weight = mix @ torch.randn(rows, columns, generator=generator)
    rank = weight.abs().argsort(dim=1, descending=True).argsort(dim=1)
    missing = rank < columns // 8
    start = complete(weight.masked_fill(missing, 0), missing, algorithm="spectral", exponent=1.0)
    return weight, missing, start


def right(found, weight):
    return float((found.values.sign() == weight[found.missing].sign()).float().mean())


def test_known_magnitudes_bring_more_signs_back():
    weight, missing, start = problem()
    soft = soften(weight.masked_fill(missing, 0), start, weight.abs())
    assert right(soft, weight) > right(start, weight) + 0.01
    assert soft.algorithm == "soft" and torch.equal(soft.missing, missing)


def test_confidence_is_at_most_one_and_tells_right_signs_from_wrong_ones():
    weight, missing, start = problem()
    soft = soften(weight, start, weight.abs())
    confidence = soft.values.abs() / weight.abs()[missing]
    assert (confidence <= 1 + 1e-6).all()
    good = soft.values.sign() == weight[missing].sign()
    assert confidence[good].mean() > confidence[~good].mean() + 0.1


def test_the_pruned_entries_themselves_are_never_read():
    weight, missing, start = problem()
    size = weight.abs().clamp(max=2)
    told = soften(weight, start, size)
    blind = soften(weight.masked_fill(missing, 0), start, size)
    assert torch.equal(told.values, blind.values)


def test_a_zero_magnitude_stays_zero():
    weight, _, start = problem()
    assert (soften(weight, start, torch.zeros_like(weight)).values == 0).all()
