import pytest
import torch
from stubs import Block
from torch import nn

from rbtc.attack.completion import complete_all
from rbtc.attack.magnitudes import assign_magnitudes
from rbtc.attack.revive import revive, revive_model
from rbtc.attack.sign_accuracy import sign_accuracy
from rbtc.attack.topk import retain_signs
from rbtc.layers import read_weights, write_weights, zero_masks


@pytest.fixture(scope="module")
def models():
    """A model with structured weights, and a copy pruned row by row of its largest weights."""
    torch.manual_seed(0)
    original, pruned = (nn.ModuleList([Block(48), Block(32)]) for _ in range(2))
    pruned.load_state_dict(original.state_dict())
    weights, pruned_weights = {}, {}
    for name, weight in read_weights(original).items():
        u, s, vt = torch.linalg.svd(torch.randn(weight.shape), full_matrices=False)
        weights[name] = u * torch.arange(1, len(s) + 1) ** -0.5 @ vt
        score = weights[name].abs() * (torch.rand(weight.shape[1]) + 0.5)
        top = score.topk(int(0.04 * weight.shape[1]), dim=1).indices
        pruned_weights[name] = weights[name].scatter(1, top, 0)
    write_weights(original, weights)
    write_weights(pruned, pruned_weights)
    return original, pruned


def test_revive_brings_weights_closer_to_the_original(models):
    original, pruned = (read_weights(model) for model in models)
    found = revive(models[1])
    assert sign_accuracy(found.signs, original) > sign_accuracy(found.completions, original) > 0.7
    for name, truth in original.items():
        mask = found.missing[name]
        new = found.weights[name]
        assert torch.equal(new[~mask], pruned[name][~mask])
        assert torch.cosine_similarity(new[mask], truth[mask], dim=0) > 0.5
        kept = found.signs[name][mask] != 0
        count = int(mask.sum())
        assert int(kept.sum()) == count - int((1 - 0.6) * count)


def test_revive_is_its_three_steps(models):
    weights = read_weights(models[1])
    kept, drawn = {"keep_ratio": 0.4, "per": "row"}, {"strategy": "neuron_sample", "seed": 3}
    solver = {"algorithm": "svt", "max_iterations": 5}
    found = revive(weights, **kept, **drawn, **solver)
    masks = zero_masks(weights)
    completions = complete_all(weights, masks, **solver)
    signs = retain_signs(completions, **kept)
    expected = assign_magnitudes(weights, signs, masks, **drawn)
    for name in weights:
        assert torch.equal(found.weights[name], expected[name])
        assert torch.equal(found.signs[name], signs[name])
        assert torch.equal(found.missing[name], masks[name])
        assert found.completions[name].iterations == completions[name].iterations


def test_completions_are_reused(models):
    first = revive(models[1], max_iterations=3)
    second = revive(models[1], keep_ratio=0.2, completions=first.completions)
    third = revive(models[1], keep_ratio=0.2, max_iterations=3)
    for name in first.weights:
        assert second.completions[name] is first.completions[name]
        assert torch.equal(second.weights[name], third.weights[name])
        assert torch.equal(second.missing[name], first.missing[name])


def test_explicit_masks_overwrite_what_they_name(models):
    """An attacker of an obfuscated model flags entries that are not zero."""
    weights = read_weights(models[0])
    masks = {name: torch.zeros(weight.shape, dtype=torch.bool) for name, weight in weights.items()}
    first = next(iter(masks))
    masks[first][:, 5] = True
    found = revive(weights, missing=masks, max_iterations=2)
    assert list(found.completions) == [first]
    for name, weight in weights.items():
        assert torch.equal(found.weights[name][~masks[name]], weight[~masks[name]])
    dropped = masks[first] & (found.signs[first] == 0)
    assert dropped.any() and not found.weights[first][dropped].any()


def test_signed_zeros_do_not_help_the_attack(models):
    original, pruned = (read_weights(model) for model in models)
    leaky = {name: original[name] * (pruned[name] != 0) for name in pruned}
    assert any(torch.signbit(leaky[name][pruned[name] == 0]).any() for name in pruned)
    a, b = revive(leaky, max_iterations=2), revive(pruned, max_iterations=2)
    for name in pruned:
        assert torch.equal(a.weights[name], b.weights[name])
        dropped = a.missing[name] & (a.signs[name] == 0)
        assert not torch.signbit(a.weights[name][dropped]).any()
    first = next(iter(leaky))
    masks = {name: torch.zeros(weight.shape, dtype=torch.bool) for name, weight in leaky.items()}
    masks[first][0, 0] = True
    untouched = revive(leaky, missing=masks, max_iterations=1).weights[first]
    assert not torch.signbit(untouched[untouched == 0]).any()


def test_revive_model_copies(models):
    before = {name: value.clone() for name, value in models[1].state_dict().items()}
    revived = revive_model(models[1], max_iterations=2)
    expected = revive(models[1], max_iterations=2)
    for name, value in models[1].state_dict().items():
        assert torch.equal(value, before[name])
    for name, value in revived.state_dict().items():
        assert torch.equal(value, expected.weights.get(name, before[name]))
    assert not any((weight == 0).all() for weight in read_weights(revived).values())


def test_half_precision_models_stay_half(models):
    weights = {name: weight.half() for name, weight in read_weights(models[1]).items()}
    found = revive(weights, max_iterations=2)
    assert all(weight.dtype == torch.float16 for weight in found.weights.values())


def test_bad_input(models):
    pruned = read_weights(models[1])
    first, second = pruned
    with pytest.raises(ValueError, match=r"nothing is missing.*is this model pruned"):
        revive(models[0])
    with pytest.raises(ValueError, match="expected a UNet or a non-empty dictionary"):
        revive({})
    with pytest.raises(ValueError, match="has no feed-forward output matrix"):
        revive(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="NaN or infinite values"):
        revive({first: pruned[first] * torch.inf})
    with pytest.raises(ValueError, match="the two sets of layers differ"):
        revive(pruned, missing={first: pruned[first] == 0})
    with pytest.raises(ValueError, match="keep_ratio is 0"):
        revive(pruned, keep_ratio=0, max_iterations=1)
    with pytest.raises(ValueError, match="strategy is 'nms'"):
        revive(pruned, strategy="nms", max_iterations=1)
    done = revive(pruned, max_iterations=1).completions
    with pytest.raises(ValueError, match="max_iterations would have no effect"):
        revive(pruned, completions=done, max_iterations=1)
    with pytest.raises(ValueError, match="that the model lacks"):
        revive({first: pruned[first]}, completions=done)
    other = {name: ~mask for name, mask in zero_masks(pruned).items()}
    with pytest.raises(ValueError, match="`missing` differs from the mask"):
        revive(pruned, completions=done, missing=other)
    with pytest.raises(ValueError, match="has shape"):
        revive({first: pruned[second], second: pruned[first]}, completions=done)


def test_completions_of_another_model_are_refused():
    generator = torch.Generator().manual_seed(3)
    weights = {"a": torch.randn(8, 20, generator=generator)}
    masks = [torch.rand(8, 20, generator=generator) < 0.1 for _ in range(2)]
    first, second = ({"a": weights["a"].masked_fill(mask, 0)} for mask in masks)
    found = complete_all(first)
    assert revive(first, completions=found).missing["a"].equal(first["a"] == 0)
    with pytest.raises(ValueError, match=r"a: the model holds .* another model"):
        revive(second, completions=found)
    # Who names the entries vouches for them.
    revive(second, completions=found, missing={"a": masks[0]})
