"""Which noise is taken, and who decides."""

import math

import pytest
import torch

from rbtc.defense.detection import budget_attack, detection
from rbtc.defense.hardening import (
    ATTACKERS,
    CLOSE,
    Knowledge,
    Trial,
    best,
    harden,
    posterior_attack,
    smallest_of_all,
    smallest_of_each,
)


def pruned(rows=64, columns=256, layers=2, scale=(0.02, 0.06), dtype=torch.float32):
    """Gaussian layers of different widths, 4 % of each row pruned at random."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for number in range(layers):
        weight = scale[number % len(scale)] * torch.randn(rows, columns, generator=generator)
        rank = torch.rand(rows, columns, generator=generator).argsort(dim=1)
        weights[f"layer{number}"] = weight.masked_fill(rank < columns // 25, 0).to(dtype)
    return weights


def told(weights, sigma):
    masks = {name: weight == 0 for name, weight in weights.items()}
    shares = {name: float(mask.double().mean()) for name, mask in masks.items()}
    return masks, Knowledge(sigma, sum(shares.values()) / len(shares), shares)


def test_every_place_is_filled_and_the_rest_is_left_alone():
    weights = pruned(dtype=torch.float16)
    found = harden(weights, seed=1)
    for name, weight in weights.items():
        kept = weight != 0
        assert (found.weights[name] != 0).all()
        assert torch.equal(found.weights[name][kept], weight[kept])


def test_gaussian_weights_hide_noise_of_their_own_width():
    found = harden(pruned(scale=(0.05,)), seed=1)
    assert 0.6 <= found.chosen.relative <= 1.4 and found.chosen.advantage < 0.1
    by_sigma = [each.advantage for each in found.trials]
    assert by_sigma[0] > 0.9 and by_sigma[-1] > 0.1  # too little and too much are both found
    assert [each.sigma for each in found.trials] == sorted(each.sigma for each in found.trials)
    assert found.trials[0].auc > 0.9 > 0.6 > found.trials[-1].auc


def test_a_sigma_of_ones_own_is_taken_and_compared():
    found = harden(pruned(), sigma=0.003, seed=1)
    assert found.chosen.sigma == 0.003 and len(found.trials) == 11
    hidden = torch.cat([w[pruned()[n] == 0] for n, w in found.weights.items()])
    assert float(hidden.std()) == pytest.approx(0.003, rel=0.1)


def test_the_strongest_attacker_decides():
    weights = pruned()
    masks, _ = told(weights, 1.0)
    sees_all = {**ATTACKERS, "oracle": lambda *_: masks}
    found = harden(weights, seed=1, attackers=sees_all)
    assert {each.attacker for each in found.trials} == {"oracle"}
    assert all(each.advantage == each.recall == each.precision == 1 for each in found.trials)
    assert found.chosen.sigma == found.trials[0].sigma  # all alike: the least disturbance
    blind = {"blind": lambda w, _: {n: torch.zeros_like(x, dtype=torch.bool) for n, x in w.items()}}
    found = harden(weights, seed=1, attackers=blind)
    assert found.chosen.advantage == 0 and math.isnan(found.chosen.precision)
    assert found.chosen.as_dict()["precision"] is None


def test_the_posterior_finds_noise_that_lies_outside():
    weights = pruned(scale=(0.05,))
    masks, knowledge = told(weights, 0.5)
    generator = torch.Generator().manual_seed(1)
    noisy = {
        name: torch.where(masks[name], 0.5 * torch.randn(w.shape, generator=generator), w)
        for name, w in weights.items()
    }
    outside = detection(posterior_attack(noisy, knowledge), masks)
    small = detection(budget_attack(noisy, fraction=knowledge.fraction), masks)
    assert outside.recall > 0.7 and small.recall < 0.1


def test_a_layer_without_zeros_is_not_accused():
    weights = pruned()
    weights["whole"] = torch.ones(4, 4) + torch.eye(4)
    _, knowledge = told(weights, 0.01)
    assert not posterior_attack(weights, knowledge)["whole"].any()
    assert torch.equal(harden(weights, seed=1).weights["whole"], weights["whole"])


def test_budgets_are_exact_down_to_one_weight():
    weight = torch.randn(10, 30, generator=torch.Generator().manual_seed(0))
    weight[3, 4] = 0
    weights = {"one": weight, "whole": weight.abs() + 1}
    masks, knowledge = told(weights, 0.01)
    for attack in (smallest_of_all, smallest_of_each):
        assert detection(attack(weights, knowledge), masks).hits == 1
        assert detection(attack(weights, knowledge), masks).flagged == 1
    assert (harden(weights, seed=1).weights["one"] != 0).all()


def test_equal_advantages_take_the_smallest_sigma():
    def one(sigma, advantage):
        return Trial(sigma, sigma, "x", advantage, 0.5, 0.5, 0.5, 0.1)

    trials = [one(1.0, 0.5), one(2.0, 0.2 + CLOSE / 2), one(3.0, 0.2), one(4.0, 0.3)]
    assert best(trials).sigma == 2.0


def test_candidates_are_watched():
    seen = []

    def watch(items):
        for item in items:
            seen.append(item)
            yield item

    found = harden(pruned(), seed=1, factors=(0.5, 1.0), watch=watch)
    assert seen == [each.sigma for each in found.trials] and len(seen) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "positive finite"),
        ({"sigma": float("nan")}, "positive finite"),
        ({"factors": (1.0, float("inf"))}, "positive finite"),
        ({"pruned": {"a": torch.ones(3, 3)}}, "nothing to hide,"),
        ({"pruned": {"a": torch.zeros(3, 3)}}, "nothing to hide among"),
        ({"seed": "secret"}, "a seed must be"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        harden(**({"pruned": pruned(), "seed": 1} | options))
