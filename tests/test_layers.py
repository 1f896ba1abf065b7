import pytest
import torch
from stubs import Block
from torch import nn

from rbtc import layers

NAMES = [
    "down_blocks.0.attentions.1.transformer_blocks.0.ff.net.2.weight",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight",
    "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.2.weight",
]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ModuleList([Block(6)])
        self.down = nn.ModuleList([Block(4), Block(4)])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model()


def test_find_layers_is_sorted_and_live(model):
    found = layers.find_layers(model)
    assert list(found) == [
        "down.0.ff.net.2.weight",
        "down.1.ff.net.2.weight",
        "up.0.ff.net.2.weight",
    ]
    assert found["up.0.ff.net.2.weight"] is model.up[0].ff.net[2].weight
    assert list(layers.find_layers(model.state_dict())) == list(found)


def test_find_layers_ignores_lookalikes():
    mapping = {
        "x.ff.net.2.bias": torch.ones(2),
        "x.buff.net.2.weight": torch.ones(2, 2),
        "x.ff.net.20.weight": torch.ones(2, 2),
        "x.ff.net.2.weight": torch.ones(2, 2),
    }
    assert list(layers.find_layers(mapping)) == ["x.ff.net.2.weight"]


def test_find_layers_refuses_other_models():
    with pytest.raises(ValueError, match="has no feed-forward output matrix"):
        layers.find_layers(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"got str.*unet"):
        layers.find_layers("model")
    with pytest.raises(ValueError, match="expected \\(out_features, in_features\\)"):
        layers.find_layers({"x.ff.net.2.weight": torch.ones(2, 2, 1, 1)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_mask_multiplied_in_leaks_signs_and_reading_removes_them(dtype):
    weight = torch.tensor([[-1.5, 2.0, -3.0], [4.0, -5.0, 6.0]], dtype=dtype)
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]], dtype=dtype)
    pruned = weight * (1 - mask)
    leaked = torch.signbit(pruned)[mask.bool()]
    assert torch.equal(leaked, torch.signbit(weight)[mask.bool()])  # the leak is real
    read = layers.read_weights({"ff.net.2.weight": pruned})["ff.net.2.weight"]
    assert not torch.signbit(read)[mask.bool()].any()
    assert torch.equal(read[~mask.bool()], weight[~mask.bool()])
    assert read.dtype == dtype


def test_read_weights_is_a_detached_copy(model):
    weights = layers.read_weights(model)
    before = model.up[0].ff.net[2].weight.detach().clone()
    weights["up.0.ff.net.2.weight"].zero_()
    assert not weights["up.0.ff.net.2.weight"].requires_grad
    assert torch.equal(model.up[0].ff.net[2].weight, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_read_weights_refuses_nan_and_infinity(model, value):
    with torch.no_grad():
        model.up[0].ff.net[2].weight[0, 0] = value
    with pytest.raises(ValueError, match=r"up\.0\.ff\.net\.2\.weight holds 1 NaN or infinite"):
        layers.read_weights(model)


def test_write_weights_round_trip(model):
    weights = {name: 2 * weight for name, weight in layers.read_weights(model).items()}
    layers.write_weights(model, weights)
    for name, weight in layers.read_weights(model).items():
        assert torch.equal(weight, weights[name])


def test_write_weights_checks_everything_before_writing(model):
    before = layers.read_weights(model)
    good = {name: weight + 1 for name, weight in before.items()}
    with pytest.raises(ValueError, match="no feed-forward output matrix 'zzz'"):
        layers.write_weights(model, {**good, "zzz": torch.ones(1, 1)})
    with pytest.raises(ValueError, match=r"shape \(1, 1\), expected \(6, 24\)"):
        layers.write_weights(model, {**good, "up.0.ff.net.2.weight": torch.ones(1, 1)})
    after = layers.read_weights(model)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_masks_and_density():
    weights = {NAMES[1]: torch.ones(2, 4), NAMES[0]: torch.tensor([[0.0, 1.0], [-0.0, 2.0]])}
    masks = layers.zero_masks(weights)
    assert list(masks) == NAMES[:2]
    assert masks[NAMES[0]].tolist() == [[True, False], [True, False]]
    assert layers.density(masks) == 2 / 12
    with pytest.raises(ValueError, match="at least one layer"):
        layers.density({})


def test_short_names():
    assert [layers.short_name(name) for name in NAMES] == ["down0.1", "mid", "up3.2"]
    assert layers.short_name(NAMES[0].replace("blocks.0.ff", "blocks.3.ff")) == "down0.1.3"
    assert layers.short_name("anything.else") == "anything.else"


def test_check_same_layers():
    a = {"x": torch.ones(2, 3), "y": torch.ones(1, 1)}
    layers.check_same_layers(a, dict(a))
    with pytest.raises(ValueError, match="'y' is only in the first"):
        layers.check_same_layers(a, {"x": torch.ones(2, 3)})
    with pytest.raises(ValueError, match=r"x has shape \(3, 2\), expected \(2, 3\)"):
        layers.check_same_layers(a, {"x": torch.ones(3, 2), "y": torch.ones(1, 1)})
