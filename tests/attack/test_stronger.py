"""The stronger attack as a whole: layers tuned by hide and complete."""

import pytest
import torch

from rbtc.attack.completion import complete
from rbtc.attack.input_projection import InputProjection, predictive_correlation
from rbtc.attack.revive import revive
from rbtc.attack.stronger import (
    WITH_PROJECTION,
    Setting,
    choose_setting,
    complete_stronger,
    complete_with,
)

NAME = "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight"


def layer(relation=1.0, seed=0, rows=10, hidden=240):
    """A pruned layer whose large entries are gone, its truth, mask and projection."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(4 * rows, hidden, generator=generator)
    mix = torch.randn(rows, 4 * rows, generator=generator) / (4 * rows) ** 0.5
    truth = relation * mix @ value + torch.randn(rows, hidden, generator=generator)
    activation = 0.3 + 2 * torch.rand(hidden, generator=generator)
    score = truth.abs() * activation
    mask = score > score.kthvalue(int(0.9 * hidden), dim=1, keepdim=True).values
    return truth.masked_fill(mask, 0), truth, mask, InputProjection(value, value)


def right(found, truth):
    return float((found.values.sign() == truth[found.missing].sign()).float().mean())


def test_the_projection_is_chosen_where_it_tells_something():
    alone, joint = Setting(0.0, 0.1), Setting(0.0, 0.1, projection=0.5)
    weight, truth, mask, projection = layer(relation=2.0)
    choice = choose_setting(weight, mask, [alone, joint], projection.value)
    assert choice.setting == joint and set(choice.estimates) == {alone, joint}
    better = right(complete_with(joint, weight, mask, projection.value), truth)
    assert better > right(complete_with(alone, weight, mask), truth) + 0.1
    assert predictive_correlation(truth, projection.value) > 0.5


def test_what_the_projection_tells_is_nothing_where_there_is_no_relation():
    _, truth, _, projection = layer(relation=0.0)
    assert abs(predictive_correlation(truth, projection.value)) < 0.1
    assert predictive_correlation(truth, torch.zeros(3, truth.shape[1])) == 0.0


def test_a_setting_without_extras_is_the_family_and_exponent_one_the_released_attack():
    weight, _, mask, _ = layer()
    plain = complete_with(Setting(1.0), weight, mask)
    released = complete(weight, mask, fast=True)
    assert float((plain.values.sign() == released.values.sign()).float().mean()) > 0.97


def test_the_whole_attack_finds_more_signs_and_reads_the_pruned_weights_only():
    weight, truth, mask, projection = layer()
    found, choices = complete_stronger({NAME: weight}, {NAME: projection})
    assert right(found[NAME], truth) > right(complete(weight, mask), truth) + 0.05
    assert choices[NAME].setting in WITH_PROJECTION
    again, _ = complete_stronger({NAME: truth}, {NAME: projection}, masks={NAME: mask})
    assert torch.equal(found[NAME].values, again[NAME].values)


def test_choices_once_made_can_be_used_again():
    weight, _, _, projection = layer()
    linear, choices = complete_stronger({NAME: weight}, {NAME: projection}, soft=False)
    soft, same = complete_stronger({NAME: weight}, {NAME: projection}, choices=choices)
    assert same == choices
    assert linear[NAME].algorithm == "joint" and soft[NAME].algorithm == "soft"
    with pytest.raises(ValueError, match="not among the 0 layers"):
        complete_stronger({NAME: weight}, {NAME: projection}, choices={})


def test_its_expected_values_can_be_written_into_the_model():
    weight, truth, mask, projection = layer()
    found, _ = complete_stronger({NAME: weight}, {NAME: projection}, WITH_PROJECTION[:1])
    revival = revive({NAME: weight}, completions=found, strategy="completed", keep_ratio=1.0)
    revived = revival.weights[NAME]
    assert torch.equal(revived[~mask], weight[~mask])
    torch.testing.assert_close(revived[mask], found[NAME].values)
    assert (revived - truth).norm() < (weight - truth).norm()


def test_what_cannot_be_done_is_refused():
    weight, truth, _, projection = layer()
    with pytest.raises(ValueError, match="has no input projection"):
        complete_stronger({NAME: weight}, {}, WITH_PROJECTION)
    with pytest.raises(ValueError, match="is it pruned"):
        complete_stronger({NAME: truth}, {NAME: projection})
