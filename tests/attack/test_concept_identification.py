"""The attacker's guess: distances, ranks, and the control that tosses coins."""

import math

import numpy as np
import pytest
import torch

from rbtc.attack.concept_identification import feature_change, identified, random_signs, rank


def test_change_is_one_minus_the_cosine_and_knows_no_length():
    before = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    after = np.array([[5.0, 0.0], [0.0, 2.0], [-3.0, -4.0], [1.0, 1.0]])
    expected = [0, 1, 2, 1 - math.sqrt(0.5)]
    np.testing.assert_allclose(feature_change(before, after), expected, atol=1e-12)
    np.testing.assert_allclose(feature_change(10 * before, after), feature_change(before, after))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (np.zeros((2, 3)), "all zero"),
        (np.full((2, 3), np.nan), "finite"),
        (np.ones((1, 3)), "one shape"),
        (np.ones(3), r"\(n, d\)"),
    ],
)
def test_features_without_a_direction_are_refused(after, message):
    with pytest.raises(ValueError, match=message):
        feature_change(np.ones((2, 3)), after)


def test_ties_count_against_the_attacker():
    scores = {"a": 0.5, "b": 0.9, "c": 0.5, "d": 0.1}
    assert [rank(scores, word) for word in "abcd"] == [3, 1, 3, 4]
    assert rank(dict.fromkeys("abcd", 0.0), "a") == 4
    with pytest.raises(ValueError, match="none of the 4 words"):
        rank(scores, "e")
    with pytest.raises(ValueError, match="NaN"):
        rank({**scores, "e": math.nan}, "a")


def test_of_several_erased_words_as_many_are_looked_at():
    scores = {"a": 0.4, "b": 0.9, "c": 0.5, "d": 0.1}
    assert identified(scores, ["b"]) == [True]
    assert identified(scores, ["b", "a"]) == [True, False]
    assert identified(scores, ["b", "a", "c"]) == [True] * 3


def test_coins_change_signs_at_the_filled_entries_and_nothing_else():
    torch.manual_seed(0)
    weight = torch.randn(40, 50)
    mask = torch.rand(40, 50) < 0.3
    weight[mask & (torch.rand(40, 50) < 0.4)] = 0.0  # what Top-K dropped
    tossed = random_signs({"w": weight}, {"w": mask}, seed=3)["w"]
    assert torch.equal(tossed[~mask], weight[~mask])
    assert torch.equal(tossed.abs(), weight.abs())
    filled = mask & (weight != 0)
    turned = (tossed[filled] != weight[filled]).double().mean()
    assert 0.4 < turned < 0.6
    assert torch.equal(tossed, random_signs({"w": weight}, {"w": mask}, seed=3)["w"])
    assert not torch.equal(tossed, random_signs({"w": weight}, {"w": mask}, seed=4)["w"])
    with pytest.raises(ValueError, match="shape"):
        random_signs({"w": weight}, {"w": mask[:3]})
