"""What the choice of the pruned weights tells about their magnitude."""

import pytest
import torch

from rbtc.attack.selection import expected_magnitudes, magnitude_bounds


def pruned(rows=64, columns=400, ratio=0.1, seed=0):
    """A matrix with rows and columns of unequal scale, and what ConceptPrune's rule takes of it."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    weight *= torch.rand(rows, 1, generator=generator) + 0.5
    activation = 0.3 + torch.rand(columns, generator=generator) * 3
    score = weight.abs() * activation
    threshold = score.kthvalue(int((1 - ratio) * columns), dim=1, keepdim=True).values
    return weight, score > threshold


def test_the_bound_holds_for_what_pruning_took():
    weight, missing = pruned()
    bound = magnitude_bounds(weight, missing)
    assert (weight.abs() >= bound)[missing].float().mean() > 0.9
    assert torch.equal(bound, magnitude_bounds(weight.masked_fill(missing, 7e9), missing))


def test_the_expected_magnitude_follows_the_true_one_where_the_row_maximum_does_not():
    weight, missing = pruned()
    truth = weight.abs()[missing].log()
    expected = expected_magnitudes(weight, missing)[missing]
    largest = weight.masked_fill(missing, 0).abs().amax(dim=1, keepdim=True)
    largest = largest.expand_as(weight)[missing]

    def agreement(guess):
        return float(torch.corrcoef(torch.stack([truth, guess.log()]))[0, 1])

    assert agreement(expected) > agreement(largest) + 0.05
    assert float((weight.abs()[missing] / expected).median()) == pytest.approx(1, abs=0.25)
    assert (expected >= magnitude_bounds(weight, missing)[missing]).all()


def test_scaling_a_row_scales_its_magnitudes():
    weight, missing = pruned()
    scale = torch.ones(len(weight), 1)
    scale[3] = 5.0
    for function in (magnitude_bounds, expected_magnitudes):
        torch.testing.assert_close(function(weight * scale, missing),
                                   function(weight, missing) * scale)  # fmt: skip


def test_columns_and_rows_without_survivors_get_finite_magnitudes():
    weight, missing = pruned()
    missing[:, 5] = True
    missing[7] = True
    assert (magnitude_bounds(weight, missing)[:, 5] == 0).all()
    expected = expected_magnitudes(weight, missing)
    assert torch.isfinite(expected).all() and (expected > 0).all()


def test_bad_masks_are_refused():
    weight, missing = pruned(8, 20)
    with pytest.raises(ValueError, match="expected torch"):
        magnitude_bounds(weight, missing.float())
    with pytest.raises(ValueError, match="same shape"):
        expected_magnitudes(weight, missing[:, :3])
    with pytest.raises(ValueError, match="nothing survives"):
        magnitude_bounds(weight, torch.ones_like(missing))
