"""The weights that read a hidden unit's input as side information about those that write."""

import pytest
import torch

from rbtc.attack.completion import complete
from rbtc.attack.input_projection import complete_jointly, find_input_projections, stacked

NAME = "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight"
READS = NAME.replace("net.2", "net.0.proj")


def block(width=12, hidden=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        NAME: torch.randn(width, hidden, generator=generator),
        READS: torch.randn(2 * hidden, width, generator=generator),
        NAME.replace("ff.net.2", "norm3"): torch.rand(width, generator=generator) + 0.5,
    }


def related(noise=0.3, seed=1):
    """A weight that is a linear image of its projection, with holes, and the projection."""
    generator = torch.Generator().manual_seed(seed)
    projection = torch.randn(48, 300, generator=generator)
    image = torch.randn(16, 48, generator=generator) / 48**0.5
    weight = image @ projection + noise * torch.randn(16, 300, generator=generator)
    missing = torch.rand(weight.shape, generator=generator) < 0.1
    return weight, missing, projection


def right(found, weight):
    return float((found.values.sign() == weight[found.missing].sign()).float().mean())


def test_the_halves_of_the_projection_are_taken_column_by_column():
    state = block()
    (projection,) = find_input_projections(state).values()
    gain = state[NAME.replace("ff.net.2", "norm3")]
    torch.testing.assert_close(projection.value[:, 5], state[READS][5] * gain)
    torch.testing.assert_close(projection.gate[:, 5], state[READS][48 + 5] * gain)
    assert projection.half("gate") is projection.gate


def test_a_unet_has_projections_for_all_its_layers(tiny_pipeline):
    found = find_input_projections(tiny_pipeline.unet)
    assert len(found) == 16
    state = tiny_pipeline.unet.state_dict()
    assert all(one.value.shape == state[name].shape for name, one in found.items())


def test_a_block_without_a_projection_of_the_right_size_is_refused():
    state = block()
    with pytest.raises(ValueError, match="found none"):
        find_input_projections({NAME: state[NAME]})
    with pytest.raises(ValueError, match="96 rows in the same block, found one of shape"):
        find_input_projections({**state, READS: state[READS][:10]})


def test_projections_that_tell_something_are_made_use_of():
    weight, missing, projection = related()
    shown = weight.masked_fill(missing, 0)
    alone = complete(shown, missing, algorithm="spectral", exponent=0.0)
    joint = complete_jointly(shown, missing, projection, exponent=0.0)
    assert joint.values.shape == alone.values.shape and torch.equal(joint.missing, missing)
    assert right(joint, weight) > right(alone, weight) + 0.1
    assert right(joint, weight) > 0.85


def test_the_scale_given_decides_and_not_the_projections_own():
    weight, missing, projection = related()
    shown = weight.masked_fill(missing, 0)
    found = complete_jointly(shown, missing, projection)
    scaled = complete_jointly(shown, missing, projection * 100)
    torch.testing.assert_close(found.values, scaled.values, rtol=1e-3, atol=1e-3)
    both = stacked(weight, missing, projection, scale=0.5)
    assert torch.equal(both[:16], weight)
    ratio = both[16:].square().mean().sqrt() / weight[~missing].square().mean().sqrt()
    assert float(ratio) == pytest.approx(0.5, rel=1e-4)
