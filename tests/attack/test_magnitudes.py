import pytest
import torch

from rbtc.attack.completion import Completion
from rbtc.attack.idealised import _IDEAL_MODES, idealised
from rbtc.attack.magnitudes import _STRATEGIES, assign_magnitudes, row_statistics


def pruned(dtype=torch.float32, rows=12, columns=80):
    generator = torch.Generator().manual_seed(0)
    original = {name: torch.randn(rows, columns, generator=generator).to(dtype) for name in "ab"}
    missing = {name: torch.rand(rows, columns, generator=generator) < 0.2 for name in "ab"}
    weights = {name: original[name].masked_fill(missing[name], 0) for name in "ab"}
    signs = {}
    for name in "ab":
        kept = missing[name] & (torch.rand(rows, columns, generator=generator) < 0.6)
        signs[name] = (original[name].sign() * kept).to(torch.int8)
    return original, missing, weights, signs


def completions_of(original, missing):
    return {
        name: Completion(
            0.1 * original[name][missing[name]].float(), missing[name], 1, (), True, "released"
        )
        for name in original
    }


def bits(tensor):
    return tensor.view(torch.int16 if tensor.element_size() == 2 else torch.int32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_neuron_max_scaling_promise(dtype):
    _, missing, weights, signs = pruned(dtype)
    before = {name: weight.clone() for name, weight in weights.items()}
    revived = assign_magnitudes(weights, signs, missing)
    for name, weight in revived.items():
        mask = missing[name]
        assert weight.dtype == dtype
        assert torch.equal(weights[name], before[name])
        assert torch.equal(bits(weight)[~mask], bits(weights[name])[~mask])  # survivors untouched
        largest = weights[name].abs().amax(dim=1, keepdim=True).expand_as(weight)
        expected = torch.where(signs[name] != 0, largest, torch.zeros_like(largest))
        assert torch.equal(weight.abs()[mask], expected[mask])  # row maximum or zero, exactly
        assert torch.equal(weight.sign()[mask], signs[name].to(dtype)[mask])
        assert not torch.signbit(weight[mask & (signs[name] == 0)]).any()


@pytest.mark.parametrize("strategy", _STRATEGIES)
def test_every_strategy_keeps_survivors_signs_and_zeros(strategy):
    original, missing, weights, signs = pruned()
    options = {"strategy": strategy, "completions": completions_of(original, missing)}
    revived = assign_magnitudes(weights, signs, missing, **options)
    again = assign_magnitudes(weights, signs, missing, **options)
    for name, weight in revived.items():
        assert torch.equal(weight, again[name])
        assert torch.equal(weight[~missing[name]], weights[name][~missing[name]])
        assert torch.equal(weight.sign()[missing[name]].to(torch.int8), signs[name][missing[name]])


@pytest.mark.parametrize("strategy", ["neuron_sample", "neuron_empirical", "layer_sample"])
def test_draws_depend_on_the_seed_but_not_on_the_kept_signs(strategy):
    _, missing, weights, signs = pruned()
    half = assign_magnitudes(weights, signs, missing, strategy=strategy)
    every = {name: missing[name].to(torch.int8) for name in signs}
    full = assign_magnitudes(weights, every, missing, strategy=strategy)
    other = assign_magnitudes(weights, every, missing, strategy=strategy, seed=1)
    for name in signs:
        kept = signs[name] != 0
        assert torch.equal(half[name].abs()[kept], full[name].abs()[kept])
        assert not torch.equal(full[name], other[name])


def test_neuron_sample_draws_as_the_release_does():
    """One float32 generator for all layers in the order of their names, asked row by row."""
    _, missing, weights, _ = pruned()
    every = {name: missing[name].to(torch.int8) for name in missing}
    found = assign_magnitudes(weights, every, missing, strategy="neuron_sample", seed=2021)
    generator = torch.Generator().manual_seed(2021)
    for name in "ab":
        for row in range(len(weights[name])):
            mask = missing[name][row]
            kept = weights[name][row][~mask]
            noise = torch.randn(int(mask.sum()), generator=generator)
            expected = (kept.mean() + kept.std(unbiased=False) * noise).abs()
            torch.testing.assert_close(found[name][row][mask], expected)


def test_released_margin():
    _, missing, weights, _ = pruned()
    every = {name: missing[name].to(torch.int8) for name in missing}
    sample = assign_magnitudes(weights, every, missing, strategy="neuron_sample")
    found = assign_magnitudes(weights, every, missing, released=True)
    for name in "ab":
        largest = weights[name].abs().amax(dim=1, keepdim=True)
        expected = torch.maximum(sample[name], (largest * (1 + 1e-6)).expand_as(sample[name]))
        mask = missing[name]
        torch.testing.assert_close(found[name][mask], expected[mask], rtol=2e-7, atol=0)
        assert (found[name] > largest)[mask].all()


def test_average_empirical_and_completed_magnitudes():
    original, missing, weights, _ = pruned()
    every = {name: missing[name].to(torch.int8) for name in missing}
    average = assign_magnitudes(weights, every, missing, strategy="neuron_average")
    drawn = assign_magnitudes(weights, every, missing, strategy="neuron_empirical")
    completed = assign_magnitudes(
        weights, every, missing, strategy="completed", completions=completions_of(original, missing)
    )
    for name in "ab":
        mask = missing[name]
        torch.testing.assert_close(completed[name][mask], 0.1 * original[name][mask].abs())
        for row in range(len(mask)):
            kept = weights[name][row][~mask[row]].abs()
            torch.testing.assert_close(
                average[name][row][mask[row]], kept.mean().expand(int(mask[row].sum()))
            )
            assert torch.isin(drawn[name][row][mask[row]], kept).all()


def test_row_statistics_and_the_row_without_survivors():
    weight = torch.tensor([[3.0, -1.0, 0.0, 9.0], [5.0, 6.0, 7.0, 8.0], [2.0, 2.0, 2.0, 2.0]])
    missing = torch.zeros(3, 4, dtype=torch.bool)
    missing[0, 3] = True
    missing[1] = True
    found = row_statistics(weight, missing)
    survivors = torch.tensor([3.0, -1.0, 2.0, 2.0, 2.0, 2.0])
    assert found.max.tolist() == [3.0, 3.0, 2.0]
    torch.testing.assert_close(found.mean.float(), torch.tensor([1.0, float(survivors.mean()), 2]))
    torch.testing.assert_close(
        found.std.float(), torch.tensor([2.0, float(survivors.std(unbiased=False)), 0])
    )
    torch.testing.assert_close(
        found.average_magnitude.float(), torch.tensor([2.0, float(survivors.abs().mean()), 2])
    )
    signs = {"x": missing.to(torch.int8)}
    for strategy in ("neuron_max", "neuron_sample", "neuron_empirical"):
        revived = assign_magnitudes({"x": weight}, signs, {"x": missing}, strategy=strategy)["x"]
        assert torch.isfinite(revived).all() and (revived[1] != 0).all()
    assert (assign_magnitudes({"x": weight}, signs, {"x": missing})["x"][1] == 3).all()


def test_layers_without_missing_weights_pass_through():
    weights = {"x": torch.ones(2, 2)}
    missing = {"x": torch.zeros(2, 2, dtype=torch.bool)}
    assert torch.equal(assign_magnitudes(weights, {}, missing)["x"], weights["x"])
    assert torch.equal(
        idealised(weights, weights, missing, mode=_IDEAL_MODES[0])["x"], weights["x"]
    )


def drawn_signs(original, weights, missing, seed=2021):
    """The signs that App. A draws at the missing entries, 0 elsewhere."""
    filled = idealised(
        original, weights, missing, mode="pretrained_magnitude_random_sign", seed=seed
    )
    return {name: (filled[name].sign() * missing[name]).to(torch.int8) for name in filled}


def test_random_signs_are_a_fair_coin_at_missing_entries():
    original, missing, weights, _ = pruned(rows=40, columns=200)
    signs = drawn_signs(original, weights, missing, 5)
    for name in "ab":
        drawn = signs[name][missing[name]]
        assert (drawn != 0).all()
        assert abs(float(drawn.double().mean())) < 4 / len(drawn) ** 0.5 + 0.1
    assert not torch.equal(signs["a"], drawn_signs(original, weights, missing, 6)["a"])
    biased = {name: weight.abs() + 10 * (weight != 0) for name, weight in weights.items()}
    assert (
        drawn_signs(original, biased, missing)["a"][missing["a"]] == 1
    ).all()  # follows the neuron


@pytest.mark.parametrize("mode", _IDEAL_MODES)
def test_idealised_halves_of_the_truth(mode):
    original, missing, weights, _ = pruned()
    row, column = missing["a"].nonzero()[0].tolist()
    original["a"][row, column] = 0  # zero before pruning: stays zero
    found = idealised(original, weights, missing, mode=mode)
    for name in "ab":
        mask = missing[name]
        assert torch.equal(found[name][~mask], weights[name][~mask])
        new, truth = found[name][mask], original[name][mask]
        if mode == "pretrained_magnitude_random_sign":
            assert torch.equal(new.abs(), truth.abs())
            assert 0.3 < float((new.sign() == truth.sign()).double().mean()) < 0.7
        else:
            assert torch.equal(new.sign(), truth.sign())
        if mode == "pretrained_sign_neuron_max":
            largest = weights[name].abs().amax(dim=1, keepdim=True).expand_as(mask)[mask]
            assert torch.equal(new.abs(), torch.where(truth != 0, largest, 0.0))


def test_idealised_modes_share_their_draws():
    original, missing, weights, _ = pruned()
    signs = drawn_signs(original, weights, missing)
    sampled = idealised(original, weights, missing, mode="pretrained_sign_random_magnitude")
    expected = assign_magnitudes(weights, signs, missing, strategy="neuron_sample")
    margin = idealised(original, weights, missing, mode="pretrained_sign_neuron_max", released=True)
    for name in "ab":
        mask = missing[name]
        assert torch.equal(sampled[name].abs()[mask], expected[name].abs()[mask])
        assert (margin[name].abs() >= sampled[name].abs())[mask].all()


def test_bad_input():
    original, missing, weights, signs = pruned()
    with pytest.raises(ValueError, match="strategy is 'max', expected one of neuron_max"):
        assign_magnitudes(weights, signs, missing, strategy="max")
    with pytest.raises(ValueError, match="'completed' needs `completions`"):
        assign_magnitudes(weights, signs, missing, strategy="completed")
    with pytest.raises(ValueError, match="`completions` has no such layer"):
        assign_magnitudes(weights, signs, missing, strategy="completed", completions={})
    with pytest.raises(ValueError, match="a: the completion was made for another mask"):
        assign_magnitudes(
            weights,
            signs,
            missing,
            strategy="completed",
            completions=completions_of(original, {"a": missing["b"], "b": missing["b"]}),
        )
    with pytest.raises(ValueError, match="released belongs to strategy='neuron_max'"):
        assign_magnitudes(weights, signs, missing, strategy="neuron_average", released=True)
    with pytest.raises(ValueError, match="the two sets of layers differ"):
        assign_magnitudes(weights, signs, {"a": missing["a"]})
    with pytest.raises(ValueError, match="b has missing weights but `signs` has no such layer"):
        assign_magnitudes(weights, {"a": signs["a"]}, missing)
    with pytest.raises(ValueError, match=r"a: signs have shape \(1, 1\)"):
        assign_magnitudes(weights, {**signs, "a": torch.ones(1, 1)}, missing)
    with pytest.raises(ValueError, match="mode is 'signs'"):
        idealised(original, weights, missing, mode="signs")
    with pytest.raises(ValueError, match="released belongs to mode='pretrained_sign_neuron_max'"):
        idealised(original, weights, missing, mode=_IDEAL_MODES[0], released=True)
    with pytest.raises(ValueError, match="none of the 4 weights survives"):
        row_statistics(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"missing is torch\.int64"):
        row_statistics(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.int64))


def test_magnitudes_too_small_for_the_dtype_leave_no_signed_zero():
    _, missing, weights, _ = pruned(torch.float16)
    signs = {name: -missing[name].to(torch.int8) for name in missing}
    tiny = {name: torch.full(mask.shape, 1e-12) for name, mask in missing.items()}
    found = assign_magnitudes(
        weights, signs, missing, strategy="completed", completions=completions_of(tiny, missing)
    )
    for name, mask in missing.items():
        assert not found[name][mask].any() and not torch.signbit(found[name][mask]).any()


@pytest.mark.parametrize("mode", _IDEAL_MODES)
def test_noise_at_missing_entries_is_no_survivor(mode):
    """An obfuscated model holds noise where weights were pruned; statistics must not see it."""
    original, missing, weights, _ = pruned()
    rows, columns = missing["a"].nonzero()[::3].T
    original["a"][rows, columns] = 0
    noisy = {name: weight + 50 * missing[name] for name, weight in weights.items()}
    clean = idealised(original, weights, missing, mode=mode)
    found = idealised(original, noisy, missing, mode=mode)
    for name in "ab":
        filled = missing[name] & (original[name] != 0)
        assert torch.equal(found[name][filled], clean[name][filled])
        assert torch.equal(found[name][~filled], noisy[name][~filled])
