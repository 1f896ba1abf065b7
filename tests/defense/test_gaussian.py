"""The defence's formulas against their limits and simulation, its attackers against naive ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from rbtc.defense.detection import (
    Detection,
    budget_attack,
    detection,
    detection_auc,
    threshold_attack,
)
from rbtc.defense.gaussian import interval_probability, obfuscate, posterior, sigma_by_layer

shares = st.floats(0.001, 0.999)
sigmas = st.floats(1e-6, 1e2)


def pruned_model(dtype=torch.float32, sigma=0.03, density=0.04, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights, masks = {}, {}
    for name, shape in (("a", (120, 400)), ("b", (60, 300))):
        masks[name] = torch.rand(shape, generator=generator) < density
        weight = (torch.randn(shape, generator=generator) * sigma).to(dtype)
        weights[name] = weight.masked_fill(masks[name], 0.0)
    return weights, masks


# --- the fill


def test_noise_has_its_sigma_and_survivors_keep_their_bits():
    weights, masks = pruned_model()
    filled = obfuscate(weights, masks, sigma=0.01)
    noise = torch.cat([filled[name][masks[name]] for name in masks])
    assert noise.mean().abs() < 4 * 0.01 / math.sqrt(noise.numel())
    assert float(noise.std()) == pytest.approx(0.01, rel=0.06)
    for name, mask in masks.items():
        assert torch.equal(filled[name][~mask], weights[name][~mask])
        assert (weights[name][mask] == 0).all()  # the input is left alone


def test_variance_is_sigma_squared_and_seeds_decide():
    weights, masks = pruned_model()
    by_sigma = obfuscate(weights, masks, sigma=0.1)
    by_variance = obfuscate(weights, masks, variance=0.01)
    torch.testing.assert_close(by_sigma, by_variance)
    assert torch.equal(obfuscate(weights, masks, sigma=0.1)["a"], by_sigma["a"])
    assert not torch.equal(obfuscate(weights, masks, sigma=0.1, seed=1)["a"], by_sigma["a"])
    backwards = {name: weights[name] for name in sorted(weights, reverse=True)}
    assert torch.equal(obfuscate(backwards, masks, sigma=0.1)["a"], by_sigma["a"])


@pytest.mark.parametrize(
    ("dtype", "sigma"),
    [
        (torch.float16, 6e-8),
        (torch.float16, 1e-6),
        (torch.bfloat16, 1e-6),
        (torch.float32, 1e-30),
        (torch.float64, 1e-200),
    ],
)
def test_noise_is_never_exactly_zero(dtype, sigma):
    weights, masks = pruned_model(dtype)
    filled = obfuscate(weights, masks, sigma=sigma)
    for name, mask in masks.items():
        assert filled[name].dtype == dtype
        assert (filled[name][mask] != 0).all()
        assert filled[name][mask].abs().double().max() < 8 * sigma
    if dtype == torch.float16:  # plain casting would have left zeros
        draws = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * sigma
        assert (draws.half() == 0).any()


# --- Eq. 7


@settings(max_examples=100, deadline=None)
@given(alpha=shares, modified=sigmas, unmodified=sigmas)
def test_interval_probability_has_its_limits(alpha, modified, unmodified):
    def p(w):
        return interval_probability(
            w, alpha=alpha, sigma_modified=modified, sigma_unmodified=unmodified
        )

    at_zero = alpha * unmodified / (alpha * unmodified + (1 - alpha) * modified)
    assert p(0.0) == pytest.approx(at_zero, rel=1e-12)
    for tiny in (1e-300, 5e-324, 1e-12 * min(modified, unmodified)):
        assert p(tiny) == pytest.approx(at_zero, rel=1e-9)
    for huge in (100 * max(modified, unmodified), 1e300, math.inf):
        assert p(huge) == pytest.approx(alpha, rel=1e-12)
    widths = np.geomspace(1e-9, 1e4, 200) * modified
    values = p(widths)
    assert np.isfinite(values).all() and ((values > 0) & (values <= 1)).all()
    steps = np.diff(values) * np.sign(modified - unmodified)
    assert (steps >= -1e-12).all()  # falls with w when sM < sU, rises when sM > sU


@settings(max_examples=30, deadline=None)
@given(w=st.floats(0, 1e6), alpha=shares, sigma=sigmas)
def test_equal_sigmas_hide_perfectly(w, alpha, sigma):
    options = {"alpha": alpha, "sigma_modified": sigma, "sigma_unmodified": sigma}
    assert interval_probability(w, **options) == pytest.approx(alpha, rel=1e-12)
    assert posterior(w, **options) == pytest.approx(alpha, rel=1e-12)


@pytest.mark.parametrize(("modified", "w"), [(0.001, 0.003), (0.01, 0.01), (0.1, 0.05)])
def test_interval_probability_matches_simulation(modified, w):
    rng = np.random.default_rng(0)
    alpha, unmodified, n = 0.2, 0.03, 400_000
    is_modified = rng.random(n) < alpha
    values = rng.standard_normal(n) * np.where(is_modified, modified, unmodified)
    inside = np.abs(values) <= w
    share = is_modified[inside].mean()
    p = interval_probability(w, alpha=alpha, sigma_modified=modified, sigma_unmodified=unmodified)
    assert p == pytest.approx(share, abs=5 * math.sqrt(p * (1 - p) / inside.sum()))


def test_equation_seven_as_printed():
    alpha, modified, unmodified, w = 0.04, 0.002, 0.03, 0.005
    top = alpha * math.erf(w / (math.sqrt(2) * modified))
    expected = top / (top + (1 - alpha) * math.erf(w / (math.sqrt(2) * unmodified)))
    found = interval_probability(
        w, alpha=alpha, sigma_modified=modified, sigma_unmodified=unmodified
    )
    assert found == pytest.approx(expected, rel=1e-13)


@settings(max_examples=100, deadline=None)
@given(
    x=st.floats(-0.2, 0.2),
    alpha=shares,
    modified=st.floats(0.02, 1),
    unmodified=st.floats(0.02, 1),
)
def test_posterior_is_bayes_rule(x, alpha, modified, unmodified):
    top = alpha * norm.pdf(x, scale=modified)
    expected = top / (top + (1 - alpha) * norm.pdf(x, scale=unmodified))
    found = posterior(x, alpha=alpha, sigma_modified=modified, sigma_unmodified=unmodified)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_posterior_is_stable_and_sees_the_tails():
    options = {"alpha": 0.04, "sigma_unmodified": 0.03}
    for x in (1e-300, 1.0, 1e100, 1e300, -1e300):
        for modified in (1e-200, 1e-6, 0.03, 0.3, 1e200):
            p = posterior(x, sigma_modified=modified, **options)
            assert 0 <= p <= 1
    assert posterior(1.0, sigma_modified=0.3, **options) > 0.99
    assert interval_probability(1.0, sigma_modified=0.3, **options) <= 0.04  # Eq. 7 does not


def test_formulas_return_what_they_were_given():
    options = {"alpha": 0.04, "sigma_modified": 0.01, "sigma_unmodified": 0.03}
    for formula in (interval_probability, posterior):
        value = formula(0.02, **options)
        assert isinstance(value, float)
        array = formula(np.array([0.02, 0.03]), **options)
        assert isinstance(array, np.ndarray) and array[0] == value
        for dtype in (torch.float32, torch.float64):
            tensor = formula(torch.tensor([0.02, 0.03], dtype=dtype), **options)
            assert tensor.dtype == dtype
            assert tensor[0].item() == pytest.approx(value, rel=1e-6)
        surface = formula(
            0.02,
            alpha=np.array([[0.01], [0.02]]),
            sigma_modified=np.array([1e-3, 1e-2, 1e-1]),
            sigma_unmodified=0.03,
        )
        assert surface.shape == (2, 3)
        assert (np.diff(surface, axis=0) > 0).all()  # the more is modified, the likelier
        assert surface[1, 1] == formula(
            0.02, alpha=0.02, sigma_modified=1e-2, sigma_unmodified=0.03
        )


# --- attackers


def test_budget_attack_takes_exactly_the_smallest_share():
    weights, _ = pruned_model()
    weights["b"] *= 3  # so that the scopes differ
    together = budget_attack(weights, fraction=0.1)
    flat = torch.cat([weights[name].abs().flatten() for name in ("a", "b")])
    chosen = torch.cat([together[name].flatten() for name in ("a", "b")])
    assert int(chosen.sum()) == int(0.1 * flat.numel())
    assert flat[chosen].max() <= flat[~chosen].min()
    each = budget_attack(weights, fraction=0.1, scope="layer")
    for name, mask in each.items():
        assert mask.shape == weights[name].shape
        assert int(mask.sum()) == int(0.1 * mask.numel())
    assert together["b"].sum() < each["b"].sum()


def test_budget_attack_keeps_its_budget_inside_ties():
    weights = {"w": torch.zeros(4, 5, dtype=torch.float16)}
    mask = budget_attack(weights, fraction=0.5)["w"]
    assert torch.equal(mask, torch.tensor([[True] * 5] * 2 + [[False] * 5] * 2))


def test_at_tiny_sigma_the_budget_limits_recall_and_the_threshold_does_not():
    weights, masks = pruned_model(density=0.04)
    filled = obfuscate(weights, masks, sigma=1e-6)
    budget = detection(budget_attack(filled, fraction=0.02), masks)
    assert budget.precision == 1 and budget.recall == pytest.approx(0.5, abs=0.03)
    threshold = detection(threshold_attack(filled, threshold=5e-6), masks)
    assert threshold.recall == 1 and threshold.precision > 0.98


@pytest.mark.parametrize(("sigma", "precision"), [(1e-3, 0.55), (1e-2, 0.11)])
def test_precision_of_the_budget_attack_falls_as_theory_says(sigma, precision):
    """Predicted from the mixture: the threshold that 2 % of all weights fall below."""
    weights, masks = pruned_model()
    found = detection(budget_attack(obfuscate(weights, masks, sigma=sigma), fraction=0.02), masks)
    assert found.precision == pytest.approx(precision, abs=0.04)


def test_threshold_attack_is_a_strict_comparison():
    weights = {"w": torch.tensor([[-0.5, 0.25], [0.5, -1.0]])}
    expected = torch.tensor([[False, True], [False, False]])
    assert torch.equal(threshold_attack(weights, threshold=0.5)["w"], expected)


def test_detection_counts_pooled_over_layers():
    truth = {"a": torch.tensor([[True, True, False]]), "b": torch.tensor([[True]])}
    guess = {"a": torch.tensor([[True, False, True]]), "b": torch.tensor([[True]])}
    assert detection(guess, truth) == Detection(2 / 3, 2 / 3, 2, 3, 3)
    nothing = {name: torch.zeros_like(mask) for name, mask in truth.items()}
    empty = detection(nothing, truth)
    assert math.isnan(empty.precision) and empty.recall == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 8))
def test_auc_equals_the_count_over_all_pairs(seed, levels):
    rng = np.random.default_rng(seed)
    values = {n: rng.integers(-levels, levels + 1, size=(3, 7)) / 8 for n in ("a", "b")}
    truth = {n: rng.random((3, 7)) < 0.3 for n in values}
    truth["a"][0, :2] = True, False  # neither group is empty
    pooled = np.abs(np.concatenate([values[n].ravel() for n in values]))
    flags = np.concatenate([truth[n].ravel() for n in values])
    wins = 0.0
    for modified in pooled[flags]:
        for other in pooled[~flags]:
            wins += 1.0 if modified < other else 0.5 if modified == other else 0.0
    expected = wins / (flags.sum() * (~flags).sum())
    found = detection_auc(
        {n: torch.tensor(value) for n, value in values.items()},
        {n: torch.tensor(flag) for n, flag in truth.items()},
    )
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_auc_falls_from_one_through_a_half(dtype):
    weights, masks = pruned_model(dtype)
    aucs = [
        detection_auc(obfuscate(weights, masks, sigma=sigma), masks) for sigma in (1e-6, 0.03, 1.0)
    ]
    assert aucs[0] > 0.999 and aucs[1] == pytest.approx(0.5, abs=0.03) and aucs[2] < 0.05


def test_sigma_by_layer_looks_at_survivors_only():
    weights, masks = pruned_model(sigma=0.03)
    table = sigma_by_layer(weights, masks)
    assert list(table.columns) == ["name", "short", "count", "mean", "sigma"]
    assert list(table["name"]) == ["a", "b"]
    for row in table.itertuples():
        kept = weights[row.name][~masks[row.name]].double().numpy()
        assert row.count == kept.size and row.mean == pytest.approx(kept.mean())
        assert row.sigma == pytest.approx(kept.std()) == pytest.approx(0.03, rel=0.05)
    gone = sigma_by_layer(weights, masks | {"a": torch.ones_like(masks["a"])})
    assert gone["count"][0] == 0 and math.isnan(gone["sigma"][0])


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either sigma"),
        ({"sigma": 0.1, "variance": 0.01}, "either sigma"),
        ({"sigma": 0.0}, "sigma must be a positive finite"),
        ({"sigma": -1.0}, "sigma must be a positive finite"),
        ({"variance": float("nan")}, "variance must be a positive finite"),
        ({"sigma": 0.1, "seed": 0.5}, "seed must be a whole number"),
        ({"sigma": 1e-9}, "cannot be stored as torch.float16"),
        ({"sigma": 1e5}, "cannot be stored as torch.float16"),
    ],
)
def test_bad_noise_is_refused(options, message):
    weights, masks = pruned_model(torch.float16)
    with pytest.raises(ValueError, match=message):
        obfuscate(weights, masks, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha is a fraction"),
        ({"alpha": 1.0}, "alpha is a fraction"),
        ({"alpha": float("nan")}, "alpha is a fraction"),
        ({"sigma_modified": 0.0}, "sigma_modified must be positive"),
        ({"sigma_unmodified": math.inf}, "sigma_unmodified must be positive"),
    ],
)
def test_bad_mixtures_are_refused(change, message):
    options = {"alpha": 0.04, "sigma_modified": 0.01, "sigma_unmodified": 0.03} | change
    for formula in (interval_probability, posterior):
        with pytest.raises(ValueError, match=message):
            formula(0.01, **options)


def test_bad_points_are_refused():
    options = {"alpha": 0.04, "sigma_modified": 0.01, "sigma_unmodified": 0.03}
    for w in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="w is a half-width"):
            interval_probability(w, **options)
    for x in (math.inf, float("nan")):
        with pytest.raises(ValueError, match="x must be finite"):
            posterior(x, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, m: budget_attack(w, fraction=0.0), "fraction must lie in"),
        (lambda w, m: budget_attack(w, fraction=1.0), "fraction must lie in"),
        (lambda w, m: budget_attack(w, fraction=1e-6), "less than one weight"),
        (lambda w, m: budget_attack(w, scope="row"), "scope must be 'global' or 'layer'"),
        (lambda w, m: budget_attack({}), "there are no weights"),
        (lambda w, m: threshold_attack(w, threshold=0.0), "threshold must be"),
        (lambda w, m: threshold_attack(w, threshold=math.inf), "threshold must be"),
        (lambda w, m: threshold_attack({}, threshold=1.0), "there are no weights"),
        (lambda w, m: obfuscate(w, {}, sigma=1.0), "layers differ"),
        (lambda w, m: obfuscate({}, {}, sigma=1.0), "there are no masks"),
        (lambda w, m: obfuscate(w, w, sigma=1.0), "bool is needed"),
        (lambda w, m: detection(m, {n: ~x & x for n, x in m.items()}), "nothing to detect"),
        (lambda w, m: detection(w, m), "bool is needed"),
        (lambda w, m: detection({}, m), "layers differ"),
        (lambda w, m: detection_auc(w, {n: x & ~x for n, x in m.items()}), "nothing to detect"),
        (lambda w, m: detection_auc(w, {n: x | ~x for n, x in m.items()}), "nothing to compare"),
        (lambda w, m: detection_auc({"a": w["a"]}, m), "layers differ"),
        (lambda w, m: sigma_by_layer(w, {"a": m["a"]}), "layers differ"),
        (lambda w, m: sigma_by_layer({n: x / 0 for n, x in w.items()}, m), "NaN or infinite"),
        (lambda w, m: budget_attack({n: x / 0 for n, x in w.items()}), "NaN or infinite"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*pruned_model())
