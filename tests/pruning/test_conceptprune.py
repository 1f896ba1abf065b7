"""ConceptPrune against independent references, and what its masks promise."""

from __future__ import annotations

import copy
import dataclasses
import stat

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.layers import find_layers, prune, read_weights, zero_masks
from rbtc.models.generate import call_pipeline, draw_noise, seeded_generators
from rbtc.pruning.activations import ActivationNorms, collect_norms
from rbtc.pruning.conceptprune import ConceptPruneConfig, concept_masks, concept_prune, step_mask
from rbtc.pruning.masks import load_masks, save_masks

TARGET = ["a ball on a road", "a ball in a garden", "a ball in a room"]
REFERENCE = ["a road", "a garden", "a room"]
CONFIG = ConceptPruneConfig(ratio=0.1, calls=3, steps=4)
LAYER = "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight"


@pytest.fixture(scope="module")
def norms(tiny_pipeline):
    return (
        collect_norms(tiny_pipeline, TARGET, CONFIG),
        collect_norms(tiny_pipeline, REFERENCE, CONFIG),
    )


@pytest.fixture
def unet_inputs(tiny_pipeline):
    """The latents of every call of the tiny pipeline's UNet."""
    seen: list[torch.Tensor] = []
    handle = tiny_pipeline.unet.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].clone())
    )
    yield seen
    handle.remove()


def random_case(seed: int, rows: int = 5, columns: int = 40):
    rng = np.random.default_rng(seed)
    weight = torch.tensor(rng.standard_normal((rows, columns)), dtype=torch.float32)
    target, reference = (torch.tensor(rng.random(columns)) for _ in range(2))
    return weight, target, reference


def naive_mask(weight, target, reference, ratio) -> np.ndarray:
    """Row by row, by sorting: no tensor operation in common with the code under test."""
    rows, columns = weight.shape
    mask = np.zeros((rows, columns), dtype=bool)
    for i in range(rows):
        wanted = [abs(float(weight[i, j])) * float(target[j]) for j in range(columns)]
        other = [abs(float(weight[i, j])) * float(reference[j]) for j in range(columns)]
        best = sorted(range(columns), key=lambda j: -wanted[j])[: int(ratio * columns)]
        for j in best:
            mask[i, j] = wanted[j] > other[j]
    return mask


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), ratio=st.sampled_from([0.03, 0.1, 0.25, 0.5, 1.0]))
def test_step_mask_equals_the_naive_one(seed, ratio):
    weight, target, reference = random_case(seed)
    mask = step_mask(weight, target, reference, ratio=ratio)
    assert mask.dtype == torch.bool
    assert np.array_equal(mask.numpy(), naive_mask(weight, target, reference, ratio))


@pytest.mark.parametrize(("columns", "ratio", "k"), [(1280, 0.02, 25), (2560, 0.01, 25)])
def test_k_candidates_per_row(columns, ratio, k):
    weight, target, _ = random_case(0, rows=4, columns=columns)
    everything = step_mask(weight, target, torch.zeros(columns), ratio=ratio)
    assert (everything.sum(1) == k).all()
    weight, target, reference = random_case(1, rows=4, columns=columns)
    some = step_mask(weight, target, reference, ratio=ratio)
    assert (some.sum(1) <= k).all() and some.any()


def test_equal_norms_and_zero_weights_prune_nothing():
    weight, target, reference = random_case(2)
    assert not step_mask(weight, target, target.clone(), ratio=0.5).any()
    weight[:, ::2] = 0
    assert not step_mask(weight, target, reference, ratio=1.0)[:, ::2].any()


def test_half_precision_weights_are_scored_exactly():
    weight, target, reference = random_case(3)
    half = weight.half()
    assert np.array_equal(
        step_mask(half, target, reference, ratio=0.2).numpy(),
        naive_mask(half, target, reference, 0.2),
    )


def test_norms_equal_the_naive_ones(tiny_pipeline, norms):
    """Every call, every layer: numpy on the raw activations of a plain, uncut generation."""
    raw: dict[tuple[int, str], list[np.ndarray]] = {}
    state = {"call": -1}
    unet = tiny_pipeline.unet
    names = list(find_layers(unet))
    handles = [unet.register_forward_pre_hook(lambda *_: state.update(call=state["call"] + 1))]
    for name in names:
        # the input of the second linear layer itself, not the output of the GEGLU
        linear = unet.get_submodule(name.removesuffix(".weight"))
        handles.append(
            linear.register_forward_pre_hook(
                lambda _, inputs, name=name: raw.setdefault((state["call"], name), []).append(
                    inputs[0].detach().numpy().astype(np.float64)
                )
            )
        )
    for prompt in TARGET:
        state["call"] = -1
        call_pipeline(tiny_pipeline, [prompt], [CONFIG.seed], steps=4, output_type="latent")
    for handle in handles:
        handle.remove()

    found = norms[0]
    assert list(found) == [0, 1, 2] and all(list(layers) == names for layers in found.values())
    for call, layers in found.items():
        for name, norm in layers.items():
            total = np.zeros(norm.shape)
            for batch in raw[call, name]:
                assert batch.shape[0] == 2  # the unconditional and the conditional half
                for token in batch.reshape(-1, batch.shape[-1]):
                    total += (token / np.sqrt((token**2).sum())) ** 2
            assert norm.dtype == torch.float64
            np.testing.assert_allclose(norm.numpy(), np.sqrt(total), rtol=1e-4)


def test_norms_do_not_depend_on_batch_size(tiny_pipeline, norms):
    small = collect_norms(tiny_pipeline, TARGET, dataclasses.replace(CONFIG, batch_size=2))
    for call, layers in norms[0].items():
        for name, norm in layers.items():
            torch.testing.assert_close(small[call][name], norm, rtol=1e-4, atol=1e-7)


def test_every_prompt_starts_from_the_same_noise(tiny_pipeline, unet_inputs):
    config = ConceptPruneConfig(ratio=0.1, calls=1, steps=2, seed=5, batch_size=2)
    collect_norms(tiny_pipeline, TARGET, config)
    assert [len(batch) for batch in unet_inputs] == [4, 2]  # two halves each, one call per batch
    expected = draw_noise(seeded_generators([5]), (4, 8, 8))[0]
    assert all(torch.equal(latent, expected) for latent in torch.cat(unet_inputs))


def test_calls_are_counted_not_assumed(tiny_pipeline, unet_inputs):
    """PNDM calls the UNet once more than it has steps."""
    from diffusers import PNDMScheduler

    pipe = copy.copy(tiny_pipeline)
    pipe.scheduler = PNDMScheduler.from_config(tiny_pipeline.scheduler.config, skip_prk_steps=True)
    with ActivationNorms(pipe.unet) as recorder:
        call_pipeline(pipe, ["a ball"], [0], steps=5, output_type="latent")
    assert recorder.count == len(unet_inputs) == 6
    assert list(recorder.norms()) == [0, 1, 2, 3, 4, 5]
    config = ConceptPruneConfig(ratio=0.1, calls=6, steps=5)
    assert len(collect_norms(pipe, ["a ball"], config)) == 6
    too_many = ConceptPruneConfig(ratio=0.1, calls=7, steps=5)
    with pytest.raises(ValueError, match="only 6 times"):
        collect_norms(pipe, ["a ball"], too_many)


def test_generation_stops_after_the_calls_in_question(tiny_pipeline, unet_inputs):
    collect_norms(tiny_pipeline, ["a ball"], ConceptPruneConfig(ratio=0.1, calls=2, steps=20))
    assert len(unet_inputs) == 2


class Block(torch.nn.Module):
    """The smallest module with a feed-forward block named as in diffusers."""

    def __init__(self):
        super().__init__()
        self.ff = torch.nn.Module()
        self.ff.net = torch.nn.ModuleList(
            [torch.nn.Identity(), torch.nn.Identity(), torch.nn.Linear(3, 2, bias=False)]
        )

    def forward(self, x):
        return self.ff.net[2](self.ff.net[0](x))


def test_restart_adds_generations_call_by_call_and_hooks_come_off():
    block = Block()
    first, second = torch.randn(2, 4, 3), torch.randn(1, 4, 3)
    with ActivationNorms(block) as recorder:
        block(first)
        recorder.restart()
        block(second)
        block(second)
    block(first)
    norms = recorder.norms()
    assert list(norms) == [0, 1] and recorder.count == 2
    unit = torch.nn.functional.normalize(torch.cat([first, second]).reshape(-1, 3).double(), dim=1)
    torch.testing.assert_close(norms[0]["ff.net.2.weight"], unit.norm(dim=0))


@settings(max_examples=20, deadline=None)
@given(exponent=st.integers(-60, 60))
def test_scaling_all_activations_changes_nothing(exponent):
    block = Block()
    x = torch.tensor([[[1.0, 2.0, 3.0], [0.5, -1.0, 0.25]]])
    found = []
    for factor in (1.0, 2.0**exponent):
        with ActivationNorms(block) as recorder:
            block(x * factor)
        found.append(recorder.norms()[0]["ff.net.2.weight"])
    assert torch.equal(*found)


def test_silent_tokens_count_as_zero_and_broken_ones_are_refused():
    block = Block()
    with ActivationNorms(block) as recorder:
        block(torch.zeros(1, 2, 3))
    assert torch.equal(recorder.norms()[0]["ff.net.2.weight"], torch.zeros(3).double())
    with ActivationNorms(block) as recorder:
        block(torch.tensor([[[1.0, float("inf"), 0.0]]]))
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        recorder.norms()
    with pytest.raises(ValueError, match="no UNet call was recorded"):
        ActivationNorms(block).norms()
    with pytest.raises(ValueError, match="calls must be at least 1"):
        ActivationNorms(block, calls=0)
    with pytest.raises(ValueError, match="no feed-forward output matrix"):
        ActivationNorms(torch.nn.Linear(2, 2))


def test_union_grows_with_calls_and_equals_the_or_of_the_steps(tiny_pipeline, norms):
    target, reference = norms
    weights = read_weights(tiny_pipeline.unet)
    assert len(weights) == 16
    previous = None
    for calls in (1, 2, 3):
        masks = concept_masks(weights, target, reference, ratio=0.1, calls=calls)
        for name, weight in weights.items():
            union = torch.zeros_like(weight, dtype=torch.bool)
            for call in range(calls):
                union |= step_mask(weight, target[call][name], reference[call][name], ratio=0.1)
            assert torch.equal(masks[name], union)
            if previous:
                assert (previous[name] <= masks[name]).all()
        previous = masks
    assert any(mask.any() for mask in previous.values())


def test_select_ratio_asks_for_more_than_its_share_of_calls():
    weight = torch.ones(1, 2)
    hot, cold = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 0.0])
    reference = {call: {"w": torch.tensor([1.0, 1.0])} for call in range(4)}
    target = {call: {"w": hot if call < 2 else cold} for call in range(4)}  # 2 votes of 4

    def chosen(select_ratio):
        options = {"ratio": 0.5, "calls": 4, "select_ratio": select_ratio}
        return bool(concept_masks({"w": weight}, target, reference, **options)["w"][0, 0])

    assert chosen(0.0) and chosen(0.25) and not chosen(0.5) and not chosen(0.75)


def test_concept_prune_is_the_three_steps_in_a_row(tiny_pipeline, norms):
    masks = concept_prune(tiny_pipeline, TARGET, REFERENCE, CONFIG)
    expected = concept_masks(find_layers(tiny_pipeline.unet), *norms, ratio=0.1, calls=3)
    assert all(torch.equal(masks[name], expected[name]) for name in expected)


def test_pruned_weights_are_positive_zero_and_the_rest_untouched():
    weights = {"w": torch.tensor([[-1.0, 2.0], [-0.0, -3.0]], dtype=torch.float16)}
    mask = {"w": torch.tensor([[True, False], [False, True]])}
    pruned = prune(weights, mask)
    assert weights["w"][0, 0] == -1  # the input is left alone
    assert not torch.signbit(pruned["w"])[mask["w"]].any()
    assert (pruned["w"][mask["w"]] == 0).all()
    kept = ~mask["w"]
    bits = [each["w"][kept].view(torch.int16) for each in (pruned, weights)]
    assert torch.equal(*bits)
    multiplied = weights["w"] * ~mask["w"]  # the recipe this avoids leaks every sign
    assert torch.equal(torch.signbit(multiplied)[mask["w"]], torch.tensor([True, True]))


def test_masks_survive_the_file(tmp_path, tiny_pipeline, norms):
    weights = read_weights(tiny_pipeline.unet)
    masks = concept_masks(weights, *norms, ratio=0.1, calls=2)
    path = tmp_path / "new" / "masks.safetensors"
    save_masks(path, masks, {"concept": "ball", "ratio": 0.1})
    loaded = load_masks(path, weights)
    assert list(loaded) == sorted(masks)
    assert all(mask.dtype == torch.bool for mask in loaded.values())
    assert all(torch.equal(loaded[name], masks[name]) for name in masks)
    assert [each.name for each in path.parent.iterdir()] == ["masks.safetensors"]
    assert path.stat().st_mode & stat.S_IRUSR
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        assert file.metadata() == {"concept": "ball", "ratio": "0.1"}
    pruned = prune(weights, loaded)
    assert all(torch.equal(zero_masks(pruned)[name], masks[name]) for name in masks)


def test_every_target_prompt_needs_its_reference(tiny_pipeline):
    with pytest.raises(ValueError, match="2 target prompts but 1 reference prompts"):
        concept_prune(tiny_pipeline, TARGET[:2], REFERENCE[:1], CONFIG)


def test_bad_mask_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="no mask file"):
        load_masks(tmp_path / "missing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a mask")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_masks(broken)
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(ValueError, match=r"empty\.safetensors holds no masks"):
        load_masks(tmp_path / "empty.safetensors")
    save_file({"w": torch.full((2, 2), 2, dtype=torch.uint8)}, tmp_path / "two.safetensors")
    save_file({"w": torch.zeros(2, 2)}, tmp_path / "float.safetensors")
    for name in ("two", "float"):
        with pytest.raises(ValueError, match="is not a mask"):
            load_masks(tmp_path / f"{name}.safetensors")
    path = tmp_path / "masks.safetensors"
    save_masks(path, {"w": torch.zeros(2, 2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="w has shape"):
        load_masks(path, {"w": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="layers differ"):
        load_masks(path, {"v": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="no masks to save"):
        save_masks(path, {})
    with pytest.raises(ValueError, match=r"dtype torch\.uint8"):
        save_masks(path, {"w": torch.zeros(2, 2, dtype=torch.uint8)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": 0.0}, r"ratio must lie in \(0, 1\]"),
        ({"ratio": 1.5}, r"ratio must lie in \(0, 1\]"),
        ({"ratio": 0.02}, "less than one weight per row: use at least 0.025"),
        ({"weight": torch.ones(40)}, "two dimensions"),
        ({"target_norm": torch.ones(39)}, r"target_norm has shape \(39,\)"),
        ({"reference_norm": torch.ones(2, 20)}, r"reference_norm has shape \(2, 20\)"),
        ({"target_norm": torch.full((40,), float("nan"))}, "target_norm must hold finite"),
        ({"reference_norm": -torch.ones(40)}, "reference_norm must hold finite"),
    ],
)
def test_bad_step_arguments_are_refused(change, message):
    weight, target, reference = random_case(0)
    arguments = {"weight": weight, "target_norm": target, "reference_norm": reference, "ratio": 0.1}
    with pytest.raises(ValueError, match=message):
        step_mask(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": -1.0}, "ratio must lie"),
        ({"calls": 0}, "calls must be at least 1"),
        ({"select_ratio": 1.0}, "select_ratio must lie"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"guidance": float("inf")}, "guidance must be a finite"),
        ({"seed": 0.5}, "a seed must be a whole number"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ConceptPruneConfig(**change)


def test_bad_inputs_of_the_combining_step_are_refused(tiny_pipeline, norms):
    weights = read_weights(tiny_pipeline.unet)
    with pytest.raises(ValueError, match="hold nothing for UNet call 3"):
        concept_masks(weights, *norms, ratio=0.1, calls=4)
    with pytest.raises(ValueError, match="layer other"):
        concept_masks({"other": torch.ones(2, 20)}, *norms, ratio=0.1, calls=1)
    with pytest.raises(ValueError, match="select_ratio"):
        concept_masks(weights, *norms, ratio=0.1, calls=1, select_ratio=-0.1)
    with pytest.raises(ValueError, match="no prompts"):
        collect_norms(tiny_pipeline, [], CONFIG)
    with pytest.raises(ValueError, match="layers differ"):
        prune(weights, {})
    with pytest.raises(ValueError, match="bool is needed"):
        prune({"w": torch.ones(2, 2)}, {"w": torch.ones(2, 2)})
