"""The loss that a latent diffusion model is trained with, differentiable, for any UNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def signal_and_noise(scheduler: Any) -> tuple[Tensor, Tensor]:
    """Signal and noise amplitudes sqrt(abar_t) and sqrt(1 - abar_t), each (times,) float64.

    They are the scheduler's own, so a schedule that was rescaled to end in pure noise is rescaled
    here too. Nothing is divided by them: at its last time the signal is (almost) zero.

    Raises:
        ValueError: the scheduler has no `alphas_cumprod`, so it is not one of a diffusion model.
    """
    levels = getattr(scheduler, "alphas_cumprod", None)
    if levels is None:
        raise ValueError(f"{type(scheduler).__name__} has no alphas_cumprod: use a DDPM schedule")
    levels = torch.as_tensor(levels).cpu().double().clamp(0, 1)
    return levels.sqrt(), (1 - levels).sqrt()


def diffusion_loss(
    pipe: Any,
    latents: Tensor,
    text: Tensor,
    times: Tensor,
    noise: Tensor,
    *,
    empty: Tensor | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """Mean squared error of what the UNet says about noised latents.

    The target is the noise, or the velocity sqrt(abar) noise - sqrt(1 - abar) latent, as the
    scheduler's `prediction_type` has it.

    Args:
        pipe: A Stable Diffusion pipeline.
        latents: (n, channels, height, width), scaled as the UNet sees them.
        text: Text embeddings, (n, tokens, width).
        times: (n,) whole numbers, indices into the scheduler's training times.
        noise: Standard normal, shaped like the latents.
        empty: Embedding of the empty prompt, (1, tokens, width); needed unless guidance is 1.
        guidance: With u and c the answers to the empty and to the own prompt, u + guidance (c - u)
            is compared with the target.

    Returns:
        A number, float32 or finer, that can be differentiated.

    Raises:
        ValueError: Another prediction type, or guidance without `empty`.
    """
    kind = pipe.scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"prediction_type {kind!r} is not supported: epsilon or v_prediction")
    if guidance != 1 and empty is None:
        raise ValueError("a loss with guidance needs the embedding of the empty prompt, `empty`")
    signal, spread = (
        level[times.cpu()].to(latents.device, latents.dtype)[:, None, None, None]  # (n, 1, 1, 1)
        for level in signal_and_noise(pipe.scheduler)
    )
    noised = signal * latents + spread * noise
    times = times.to(latents.device)
    if guidance == 1:
        answer = pipe.unet(noised, times, text).sample
    else:
        assert empty is not None
        both = torch.cat([empty.expand_as(text), text])
        free, own = pipe.unet(noised.repeat(2, 1, 1, 1), times.repeat(2), both).sample.chunk(2)
        answer = free + guidance * (own - free)
    target = noise if kind == "epsilon" else signal * noise - spread * latents
    fine = torch.promote_types(answer.dtype, torch.float32)
    return functional.mse_loss(answer.to(fine), target.to(fine))
