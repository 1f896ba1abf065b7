"""Pictures depend on their own prompt and seed, and on nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from rbtc.models import generate as module
from rbtc.models.generate import (
    call_pipeline,
    draw_noise,
    generate,
    latent_shape,
    seeded_generators,
)

PROMPTS = ["a ball", "a church on a road", "a ball", "a racket", "a candle"]
SEEDS = [3, 1, 4, 1, 5]


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to one grey level: batched arithmetic rounds differently."""
    return np.abs(a.astype(int) - b.astype(int)).max() <= 1


def with_scheduler(pipe, scheduler):
    other = copy.copy(pipe)
    other.scheduler = scheduler
    return other


def noise_of(seeds, shape):
    return draw_noise(seeded_generators(seeds), shape)


def test_noise_is_one_stream_per_seed():
    noise = noise_of([7, 8, 7], (4, 3, 2))
    assert noise.shape == (3, 4, 3, 2) and noise.dtype == torch.float32
    assert torch.equal(noise[0], noise[2]) and not torch.equal(noise[0], noise[1])
    assert torch.equal(noise_of([8], (4, 3, 2))[0], noise[1])
    reference = torch.randn((4, 3, 2), generator=torch.Generator().manual_seed(7))
    assert torch.equal(noise[0], reference)


def test_noise_is_standard_normal_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    noise = noise_of(range(50), (4, 16, 16))
    assert torch.equal(torch.rand(3), expected)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02


def test_prompts_and_guidance_matter(tiny_pipeline):
    def final_latent(prompt, guidance):
        return call_pipeline(
            tiny_pipeline, [prompt], [0], steps=2, guidance=guidance, output_type="latent"
        )

    base = final_latent("a ball", 2.0)
    assert not torch.equal(base, final_latent("a church", 2.0))
    assert not torch.equal(base, final_latent("a ball", 9.0))


def test_pictures_are_the_same_whatever_the_batch_and_differ_by_seed(tiny_pipeline):
    whole = generate(tiny_pipeline, PROMPTS, SEEDS, steps=2)
    assert whole.shape == (5, 64, 64, 3) and whole.dtype == np.uint8
    assert latent_shape(tiny_pipeline) == (4, 8, 8)
    assert not close(whole[0], whole[2])  # same prompt, other seed
    assert np.array_equal(whole, generate(tiny_pipeline, PROMPTS, SEEDS, steps=2))
    for batch_size in (1, 2, 3):
        assert close(whole, generate(tiny_pipeline, PROMPTS, SEEDS, steps=2, batch_size=batch_size))


def test_schedulers_with_step_noise_use_one_stream_per_picture(tiny_pipeline):
    from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler

    for kind in (DDPMScheduler, EulerAncestralDiscreteScheduler):
        pipe = with_scheduler(tiny_pipeline, kind.from_config(tiny_pipeline.scheduler.config))
        whole = generate(pipe, PROMPTS, SEEDS, steps=3)
        assert close(whole, generate(pipe, PROMPTS, SEEDS, steps=3, batch_size=2))
        assert close(whole[3:4], generate(pipe, PROMPTS[3:4], SEEDS[3:4], steps=3))


def test_step_noise_does_not_repeat_the_start_noise(tiny_pipeline, monkeypatch):
    from diffusers import DDPMScheduler

    pipe = with_scheduler(tiny_pipeline, DDPMScheduler.from_config(tiny_pipeline.scheduler.config))
    seen = {}
    step = pipe.scheduler.step

    def spy(output, time, sample, generator=None, **options):
        seen.setdefault("state", [each.get_state() for each in generator])
        return step(output, time, sample, generator=generator, **options)

    # the pipeline passes only what it finds in the signature, hence the named argument above
    monkeypatch.setattr(pipe.scheduler, "step", spy)
    generate(pipe, ["a ball"], [11], steps=2)
    fresh = torch.Generator().manual_seed(11)
    assert not torch.equal(seen["state"][0], fresh.get_state())
    torch.randn(latent_shape(pipe), generator=fresh)
    assert torch.equal(seen["state"][0], fresh.get_state())


def test_safety_checker_is_off_during_the_call_and_back_afterwards(tiny_pipeline, capfd):
    def checker(**arguments):
        raise RuntimeError("the safety checker ran")

    pipe = copy.copy(tiny_pipeline)
    pipe.__dict__["safety_checker"] = checker
    pipe.__dict__["_progress_bar_config"] = {"desc": "mine"}
    generate(pipe, ["a ball"], [0], steps=1)
    assert pipe.safety_checker is checker
    assert pipe._progress_bar_config == {"desc": "mine"}
    assert capfd.readouterr().err == ""
    with pytest.raises(Exception, match="step"):  # and back even after a failure inside
        call_pipeline(pipe, ["a ball"], [0], num_inference_steps=10**9, output_type="np")
    assert pipe.safety_checker is checker


def test_broken_pictures_are_blackened_with_a_warning(tiny_pipeline):
    pipe = copy.copy(tiny_pipeline)
    pipe.__dict__["unet"] = copy.deepcopy(tiny_pipeline.unet)
    with torch.no_grad():
        pipe.unet.conv_out.bias.fill_(float("nan"))
    with pytest.warns(UserWarning, match="1 of 1 pictures"):
        images = generate(pipe, ["a ball"], [0], steps=1)
    assert images.max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": "a ball"}, "not the one string 'a ball'"),
        ({"prompts": []}, "no prompts"),
        ({"prompts": ["a", 3]}, "prompts must be strings, but 3"),
        ({"seeds": [0]}, "2 prompts but 1 seeds"),
        ({"seeds": [0, 1.5]}, "whole number"),
        ({"seeds": [0, 2**70]}, "64 bits"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"guidance": float("nan")}, "guidance must be a finite number"),
    ],
)
def test_bad_requests_are_refused_before_any_picture(tiny_pipeline, change, message):
    request = {"prompts": ["a", "b"], "seeds": [0, 1]} | change
    with pytest.raises(ValueError, match=message):
        generate(tiny_pipeline, request.pop("prompts"), request.pop("seeds"), **request)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_a_batch_that_does_not_fit_is_halved(tiny_pipeline, monkeypatch, kind):
    prompts, seeds = ["a church"] * 7, list(range(7))
    expected = generate(tiny_pipeline, prompts, seeds, batch_size=2, steps=1)
    real, sizes = module.call_pipeline, []

    def small(pipe, prompts, seeds, **options):
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise kind("DefaultCPUAllocator: can't allocate memory: you tried")
        return real(pipe, prompts, seeds, **options)

    monkeypatch.setattr(module, "call_pipeline", small)
    with pytest.warns(RuntimeWarning, match="7 pictures do not fit .* going on with 3 at a time"):
        images = generate(tiny_pipeline, prompts, seeds, batch_size=8, steps=1)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert np.abs(images.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        (torch.OutOfMemoryError("out of memory"), MemoryError, "not even one picture fits"),
        (RuntimeError("shapes differ"), RuntimeError, "shapes differ"),
    ],
)
def test_what_no_halving_helps_is_an_error(tiny_pipeline, monkeypatch, raised, error, message):
    def broken(*_, **__):
        raise raised

    monkeypatch.setattr(module, "call_pipeline", broken)
    with pytest.raises(error, match=message):
        generate(tiny_pipeline, ["a church"], [0], batch_size=8, steps=1)
