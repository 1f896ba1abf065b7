"""The attacker who knows nothing of the defence, and the defences judged by it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.defense.detection import detection, detection_auc
from rbtc.defense.fills import fill_pruned
from rbtc.defense.gaussian import obfuscate, posterior
from rbtc.defense.mask_inference import _conditional_mean, modified_probability, name_modified
from rbtc.defense.mixture import Mixture, fit_layers, fit_mixture
from rbtc.defense.roc import roc

FILLS = ("layer", "row", "resampled", "permuted", "correlated")


def mixed(fraction, modified, unmodified, n=60_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    which = torch.rand(n, generator=generator) < fraction
    values = torch.randn(n, generator=generator, dtype=torch.float64)
    return values * torch.where(which, modified, unmodified), which


def model(correlated, seed=0, rows=48, columns=192, pruned=0.12):
    """One layer whose columns share a covariance or not; most of some columns is pruned."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(rows, rows, generator=generator, dtype=torch.float64)
    mixing = mixing @ torch.diag(torch.linspace(1, 0.05, rows, dtype=torch.float64))
    draws = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    weight = 0.03 * (mixing @ draws / mixing.norm(dim=1, keepdim=True) if correlated else draws)
    chosen = torch.rand(columns, generator=generator) < pruned
    mask = (torch.rand(rows, columns, generator=generator) < 0.95) & chosen
    return {"w": weight.masked_fill(mask, 0)}, {"w": mask}


# --- the mixture fit


@pytest.mark.parametrize(
    ("fraction", "modified"), [(0.12, 1e-6), (0.12, 1e-3), (0.1, 5e-3), (0.05, 0.2), (0.02, 1.0)]
)
def test_the_fit_finds_what_made_the_weights(fraction, modified):
    values, _ = mixed(fraction, modified, 0.03)
    found = fit_mixture(values)
    assert found.fraction == pytest.approx(fraction, rel=0.15)
    assert found.sigma_modified == pytest.approx(modified, rel=0.1)
    assert found.sigma_unmodified == pytest.approx(0.03, rel=0.03)
    assert found.gain > 0


def test_half_precision_and_zeros_do_not_break_the_fit():
    values, _ = mixed(0.1, 1e-6, 0.03)
    rounded = values.half()
    assert (rounded == 0).any()
    found = fit_mixture(rounded)
    assert found.fraction == pytest.approx(0.1, rel=0.1) and found.sigma_modified < 1e-5


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-6, 1e6), sigma=st.sampled_from([1e-4, 0.05, 8.0]))
def test_the_fit_scales_with_its_weights(scale, sigma):
    values, _ = mixed(0.1, sigma, 1.0, n=4000)
    one, other = fit_mixture(values), fit_mixture(values * scale)
    assert other.fraction == pytest.approx(one.fraction, rel=1e-3)
    assert other.sigma_modified == pytest.approx(one.sigma_modified * scale, rel=1e-3)
    assert other.sigma_unmodified == pytest.approx(one.sigma_unmodified * scale, rel=1e-3)


def test_one_gaussian_gains_nothing_from_a_second():
    values, _ = mixed(0.5, 0.03, 0.03)
    assert fit_mixture(values).gain < 1e-4
    separate, _ = mixed(0.12, 1e-4, 0.03)
    assert fit_mixture(separate).gain > 0.1


def test_the_posterior_is_that_of_the_defence():
    fit = Mixture(0.1, 0.002, 0.03, 0.0)
    x = torch.linspace(-0.2, 0.2, 101, dtype=torch.float64)
    expected = posterior(x, alpha=0.1, sigma_modified=0.002, sigma_unmodified=0.03)
    torch.testing.assert_close(fit.probability(x), expected)


def test_zeros_cannot_be_fitted():
    with pytest.raises(ValueError, match="zero"):
        fit_mixture(torch.zeros(9))
    with pytest.raises(ValueError):
        fit_layers({})


# --- ROC


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({hit for _, hit in rows}) == 2
    )
)
def test_the_area_is_the_chance_to_rank_right(rows):
    score = torch.tensor([[float(value) for value, _ in rows]])
    truth = torch.tensor([[hit for _, hit in rows]])
    found = roc({"w": score}, {"w": truth})
    own, rest = score[truth], score[~truth]
    wins = (own[:, None] > rest[None]).double() + (own[:, None] == rest[None]).double() / 2
    assert found.auc == pytest.approx(float(wins.mean()))
    for threshold in (0.0, 2.0, 2.5, 99.0):
        guess = detection({"w": score >= threshold}, {"w": truth})
        at = found.at(threshold)
        assert at["recall"] == pytest.approx(guess.recall)
        assert at["precision"] == pytest.approx(guess.precision, nan_ok=True)
        assert at["named"] == pytest.approx(guess.flagged / truth.numel())


def test_the_area_of_magnitudes_is_the_book_s_own():
    weights, masks = model(False)
    filled = obfuscate(weights, masks, sigma=0.01)
    scores = {name: -own.abs() for name, own in filled.items()}
    assert roc(scores, masks).auc == pytest.approx(detection_auc(filled, masks))
    curve = roc(scores, masks).curve(11)
    assert curve.iloc[0].tolist() == [0, 0] and curve.iloc[-1].tolist() == [1, 1]
    assert (np.diff(curve["true_positive"]) >= 0).all()


def test_a_roc_needs_both_kinds_and_finite_scores():
    truth = {"w": torch.tensor([[True, False]])}
    with pytest.raises(ValueError, match="finite"):
        roc({"w": torch.tensor([[math.nan, 1.0]])}, truth)
    with pytest.raises(ValueError, match="nothing to tell"):
        roc({"w": torch.ones(1, 2)}, {"w": torch.ones(1, 2, dtype=torch.bool)})


# --- fills


@pytest.mark.parametrize("how", FILLS)
def test_every_fill_hides_the_zeros_and_nothing_else(how):
    weights, masks = model(True)
    weights["half"], masks["half"] = weights["w"].half(), masks["w"]
    before = {name: own.clone() for name, own in weights.items()}
    hidden = fill_pruned(weights, masks, how=how)
    for name, mask in masks.items():
        assert (hidden[name][mask] != 0).all()
        assert hidden[name].dtype == weights[name].dtype
        assert torch.equal(hidden[name][~mask], before[name][~mask])
        assert torch.equal(weights[name], before[name])
        kept, fill = weights[name][~mask].double(), hidden[name][mask].double()
        assert float(fill.std() / kept.std()) == pytest.approx(1, abs=0.1)
    again = fill_pruned(weights, masks, how=how)
    assert all(torch.equal(again[name], hidden[name]) for name in masks)
    assert not torch.equal(fill_pruned(weights, masks, how=how, seed=1)["w"], hidden["w"])


def test_magnitudes_of_survivors_are_the_row_s_own():
    weights, masks = model(False)
    for how in ("resampled", "permuted"):
        filled = fill_pruned(weights, masks, how=how)["w"]
        for row, mask in zip(range(len(filled)), masks["w"], strict=True):
            pool = set(weights["w"][row][~mask].abs().tolist())
            drawn = filled[row][mask].abs().tolist()
            assert set(drawn) <= pool
            if how == "permuted":
                assert len(set(drawn)) == len(drawn)


def test_permuting_goes_round_when_survivors_are_few():
    weights = {"w": torch.tensor([[1.0, 2.0, 0, 0, 0, 0]])}
    masks = {"w": weights["w"] == 0}
    drawn = fill_pruned(weights, masks, how="permuted")["w"][masks["w"]].abs()
    assert sorted(drawn.tolist()) == [1, 1, 2, 2]


def test_correlated_fills_have_the_columns_covariance():
    weights, masks = model(True, columns=800)
    filled = fill_pruned(weights, masks, how="correlated")["w"]
    whole = masks["w"].any(dim=0)
    kept, drawn = filled[:, ~whole], filled[:, whole]
    same = torch.corrcoef(kept).flatten() @ torch.corrcoef(drawn).flatten()
    same /= torch.corrcoef(kept).norm() * torch.corrcoef(drawn).norm()
    blank = fill_pruned(weights, masks, how="row")["w"][:, whole]
    other = torch.corrcoef(kept).flatten() @ torch.corrcoef(blank).flatten()
    other /= torch.corrcoef(kept).norm() * torch.corrcoef(blank).norm()
    assert same > other + 0.1


def test_an_unknown_fill_is_refused():
    weights, masks = model(False)
    with pytest.raises(ValueError, match="how is"):
        fill_pruned(weights, masks, how="deep")
    with pytest.raises(ValueError, match="surviv"):
        fill_pruned({"w": torch.ones(2, 2)}, {"w": torch.ones(2, 2, dtype=torch.bool)}, how="row")


# --- inference


def test_the_conditional_mean_leaves_its_own_column_out():
    weight = model(True, rows=6, columns=30)[0]["w"]
    found = _conditional_mean(weight, torch.zeros(6, dtype=torch.float64))
    covariance = weight @ weight.T / 30
    covariance += 0.05 * covariance.diagonal().mean() * torch.eye(6, dtype=torch.float64)
    for column in (0, 7, 29):
        own = weight[:, column]
        precision = torch.linalg.inv(covariance - torch.outer(own, own) / 30)
        expected = own - precision @ own / precision.diagonal()
        torch.testing.assert_close(found[:, column], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("evidence", ["magnitudes", "columns"])
def test_tiny_noise_is_found_entry_by_entry(evidence):
    weights, masks = model(False)
    filled = obfuscate(weights, masks, sigma=1e-6)
    found = modified_probability(filled, evidence=evidence)
    guess = detection(name_modified(found), masks)
    assert guess.precision > 0.98 and guess.recall > 0.98


@pytest.mark.parametrize("how", ["layer", "row", "resampled", "permuted"])
def test_matched_magnitudes_leave_nothing_to_the_first_attacker(how):
    weights, masks = model(False, columns=800)
    scores = modified_probability(fill_pruned(weights, masks, how=how), evidence="magnitudes")
    assert roc(scores, masks).auc == pytest.approx(0.5, abs=0.06)


def test_columns_that_go_together_give_matched_noise_away():
    weights, masks = model(True, columns=400)
    hidden = fill_pruned(weights, masks, how="row")
    alone = roc(modified_probability(hidden, evidence="magnitudes"), masks).auc
    assert roc(modified_probability(hidden), masks).auc > alone + 0.2
    drawn = fill_pruned(weights, masks, how="correlated")
    assert roc(modified_probability(drawn), masks).auc < roc(
        modified_probability(hidden), masks
    ).auc - 0.1  # fmt: skip


def test_where_columns_are_unrelated_they_tell_nothing():
    weights, masks = model(False, columns=400)
    scores = modified_probability(fill_pruned(weights, masks, how="layer"))
    assert roc(scores, masks).auc == pytest.approx(0.5, abs=0.12)


def test_inference_refuses_bad_input():
    weights, _ = model(False)
    with pytest.raises(ValueError, match="evidence"):
        modified_probability(weights, evidence="hearsay")
    with pytest.raises(ValueError, match="no weights"):
        modified_probability({})
