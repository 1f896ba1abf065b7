"""Gradient scores and their masks, against finite differences on a tiny UNet."""

import copy

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from rbtc.matrices import ALL_KINDS, find_matrices, read_matrices
from rbtc.pruning.loss import diffusion_loss, signal_and_noise
from rbtc.pruning.saliency import (
    Gradients,
    SaliencyConfig,
    forget_set,
    gradients,
    saliency,
    top_masks,
)

PROMPTS = ["a church", "a bus"]
CONFIG = SaliencyConfig(pictures=3, passes=2, batch_size=2, steps=2, loss_guidance=2.0)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def pipe(tiny_pipeline, request):
    """In float64, so that finite differences mean something; noise to the very end for v."""
    parts = {**tiny_pipeline.components}
    for name in ("unet", "text_encoder", "vae"):
        parts[name] = copy.deepcopy(parts[name]).double()
    if request.param == "v_prediction":
        parts["scheduler"] = DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            prediction_type="v_prediction", rescale_betas_zero_snr=True,
            timestep_spacing="trailing", steps_offset=1,
        )  # fmt: skip
    pipe = type(tiny_pipeline)(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def batch(pipe, n=2):
    generator = torch.Generator().manual_seed(3)
    latents, noise = (
        torch.randn(n, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    text = pipe.encode_prompt(PROMPTS, "cpu", 1, False)[0].detach()
    empty = pipe.encode_prompt([""], "cpu", 1, False)[0].detach()
    return latents, text, noise, empty


def test_noise_levels_are_the_schedulers_own(pipe):
    signal, spread = signal_and_noise(pipe.scheduler)
    assert torch.allclose(signal**2 + spread**2, torch.ones_like(signal))
    assert torch.allclose(signal.float() ** 2, pipe.scheduler.alphas_cumprod, atol=1e-6)
    if pipe.scheduler.config.prediction_type == "v_prediction":
        assert signal[-1] < 1e-3  # pure noise
    with pytest.raises(ValueError, match="alphas_cumprod"):
        signal_and_noise(object())


def test_the_loss_is_the_distance_to_the_target(pipe):
    """At the noisiest time of a v-schedule too, where a division by the signal would explode."""
    latents, text, noise, empty = batch(pipe)
    times = torch.tensor([10, 999])
    loss = diffusion_loss(pipe, latents, text, times, noise, empty=empty, guidance=3.0)
    total = 0.0
    for k in range(2):
        abar = pipe.scheduler.alphas_cumprod.double()[times[k]]
        noised = abar.sqrt() * latents[k : k + 1] + (1 - abar).sqrt() * noise[k : k + 1]
        own = pipe.unet(noised, times[k], text[k : k + 1]).sample
        free = pipe.unet(noised, times[k], empty).sample
        target = noise[k : k + 1]
        if pipe.scheduler.config.prediction_type == "v_prediction":
            target = abar.sqrt() * target - (1 - abar).sqrt() * latents[k : k + 1]
        total += float((3 * own - 2 * free - target).detach().square().mean()) / 2
    assert float(loss) == pytest.approx(total, rel=1e-5)
    assert diffusion_loss(pipe, latents, text, times, noise).isfinite()


def test_gradients_are_those_of_finite_differences(pipe):
    """The loss of every batch is repeated with one weight moved, in each kind of layer."""
    latents, text, _, empty = batch(pipe)
    config = SaliencyConfig(passes=2, batch_size=2, loss_guidance=2.0, seed=5)
    parameters = find_matrices(pipe.unet, ALL_KINDS)
    found = gradients(pipe, parameters, latents, PROMPTS, config)

    def losses():
        generator = torch.Generator().manual_seed(5)
        values = []
        for _ in range(2):
            order = torch.randperm(2, generator=generator)
            times = torch.randint(1000, (2,), generator=generator)
            noise = torch.randn(2, 4, 8, 8, generator=generator).double()
            with torch.no_grad():
                loss = diffusion_loss(
                    pipe, latents[order], text[order], times, noise, empty=empty, guidance=2.0
                )
            values.append(float(loss))
        return torch.tensor(values, dtype=torch.float64)

    kinds = ["ff.net.2.weight", "attn2.to_k.weight", "resnets.0.conv1.weight"]
    step = 1e-4
    for ending in kinds:
        name = next(n for n in parameters if n.startswith("mid") and n.endswith(ending))
        place = int(found.signed[name].abs().argmax())
        flat = parameters[name].detach().view(-1)
        before = flat[place].item()
        ends = []
        for move in (step, -step):
            flat[place] = before + move
            ends.append(losses())
        flat[place] = before
        slopes = (ends[0] - ends[1]) / (2 * step)  # (passes,)
        assert float(found.signed[name].view(-1)[place]) == pytest.approx(
            float(slopes.sum()), rel=1e-4, abs=1e-9
        )
        assert float(found.absolute[name].view(-1)[place]) == pytest.approx(
            float(slopes.abs().sum()), rel=1e-4, abs=1e-9
        )


def test_equal_settings_give_equal_gradients_and_leave_the_pipeline_alone(tiny_pipeline):
    parameters = find_matrices(tiny_pipeline.unet)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    next(iter(parameters.values())).requires_grad_(False)
    try:
        latents, prompts = forget_set(tiny_pipeline, PROMPTS, CONFIG)
        assert latents.shape == (3, 4, 8, 8) and prompts == ["a church", "a bus", "a church"]
        with torch.no_grad():  # as a caller may have it
            first = gradients(tiny_pipeline, parameters, latents, prompts, CONFIG)
        second = gradients(tiny_pipeline, parameters, latents, prompts, CONFIG)
        changed = SaliencyConfig(**{**vars(CONFIG), "seed": 1})
        other = gradients(tiny_pipeline, parameters, latents, prompts, changed)
        assert not next(iter(parameters.values())).requires_grad
    finally:
        next(iter(parameters.values())).requires_grad_(True)
    for name in parameters:
        assert torch.equal(first.signed[name], second.signed[name])
        assert torch.equal(first.absolute[name], second.absolute[name])
        assert not torch.equal(first.signed[name], other.signed[name])
        assert (first.absolute[name] >= first.signed[name].abs() - 1e-6).all()
        assert parameters[name].grad is None and torch.equal(parameters[name], before[name])


def test_scores():
    found = Gradients({"a": torch.tensor([[1.0, -3.0]])}, {"a": torch.tensor([[2.0, 4.0]])})
    weights = {"a": torch.tensor([[-5.0, 0.5]])}
    assert saliency(found, weights, "salun")["a"].tolist() == [[1.0, 3.0]]
    assert saliency(found, weights, "snip")["a"].tolist() == [[10.0, 2.0]]
    with pytest.raises(ValueError, match="score must be one of"):
        saliency(found, weights, "loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layers differ"):
        saliency(found, {"b": weights["a"]}, "snip")


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.333, 0.9])
def test_a_mask_marks_exactly_its_fraction_and_the_highest_scores(fraction):
    torch.manual_seed(0)
    scores = {"b": torch.rand(7, 9), "a": torch.rand(4, 5) + 0.3, "c": torch.ones(3, 3)}
    masks = top_masks(scores, fraction)
    total = sum(score.numel() for score in scores.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == round(fraction * total)
    kept = torch.cat([scores[n][~masks[n]] for n in scores])
    marked = torch.cat([scores[n][masks[n]] for n in scores])
    assert marked.min() >= kept.max()
    assert all(masks[n].shape == scores[n].shape and masks[n].dtype == torch.bool for n in scores)


@pytest.mark.parametrize("fraction", [0.02, 0.25, 0.9])
def test_a_mask_per_layer_is_the_mask_of_each_layer(fraction):
    torch.manual_seed(0)
    scores = {"b": torch.rand(7, 9), "a": 5 + torch.rand(4, 5)}
    masks = top_masks(scores, fraction, per="layer")
    for name, score in scores.items():
        assert int(masks[name].sum()) == round(fraction * score.numel())
        if masks[name].any():
            assert torch.equal(masks[name], top_masks({name: score}, fraction)[name])


def test_errors(tiny_pipeline):
    for fraction, message in ((0, "none"), (1e-9, "none"), (float("nan"), "none"), (1, "nothing")):
        with pytest.raises(ValueError, match=message):
            top_masks({"a": torch.rand(4, 4)}, fraction)
    with pytest.raises(ValueError, match="per must be one of"):
        top_masks({"a": torch.rand(4, 4)}, 0.5, per="row")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without NaN"):
        top_masks({"a": torch.tensor([[float("nan"), 1.0]])}, 0.5)
    with pytest.raises(ValueError, match="at least one matrix"):
        top_masks({}, 0.5)
    for wrong in (
        {"pictures": 0},
        {"passes": 0},
        {"batch_size": 0},
        {"loss_guidance": float("inf")},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SaliencyConfig(**wrong)
    with pytest.raises(ValueError, match="list of strings"):
        forget_set(tiny_pipeline, "a church", CONFIG)
    with pytest.raises(ValueError, match="no prompts"):
        forget_set(tiny_pipeline, [], CONFIG)
    latents = torch.zeros(2, 4, 8, 8)
    with pytest.raises(ValueError, match="2 seeds"):
        gradients(tiny_pipeline, find_matrices(tiny_pipeline.unet), latents, ["a"], CONFIG)
    text = torch.zeros(2, 77, 16)
    with pytest.raises(ValueError, match="empty"):
        diffusion_loss(tiny_pipeline, latents, text, torch.tensor([1, 2]), latents, guidance=3.0)
    odd = copy.copy(tiny_pipeline.scheduler)
    odd.register_to_config(prediction_type="sample")
    parts = {**tiny_pipeline.components, "scheduler": odd}
    pipe = type(tiny_pipeline)(**parts, requires_safety_checker=False)
    with pytest.raises(ValueError, match="epsilon or v_prediction"):
        diffusion_loss(pipe, latents, text, torch.tensor([1, 2]), latents)


def test_matrices_of_a_convolution_have_a_row_per_output(tiny_pipeline):
    parameters = find_matrices(tiny_pipeline.unet, ["convolution"])
    for name, matrix in read_matrices(tiny_pipeline.unet, list(parameters)).items():
        assert matrix.shape[0] == parameters[name].shape[0] and matrix.ndim == 2
