"""Gradient saliency: find the weights that a concept's pictures pull at (paper App. E).

Two unlearning methods choose weights by the gradient of the diffusion loss on a *forget set*,
pictures of the concept with their prompts. With g_b the gradient of batch b at weight w,

    SalUn (Fan et al.)         | sum_b g_b |              gradient saliency,
    Scissorhands (Wu et al.)   |w| * sum_b | g_b |        SNIP's connection sensitivity,

and the weights of highest score over all layers together are taken. Both methods then retrain what
they took. The paper zeroes it instead, and so does this module's caller; fraction, ranking, layers
and forget data are not printed, so ours are choices, named where they are made.
Here the forget set is drawn by the model that is to forget: no training data is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from rbtc.layers import Masks, Weights, check_same_layers
from rbtc.models.generate import call_pipeline, check_prompts, check_settings
from rbtc.pruning.loss import diffusion_loss, signal_and_noise

Score = Literal["snip", "salun"]
SCORES: tuple[Score, ...] = ("snip", "salun")

Ranking = Literal["all", "layer"]
RANKINGS: tuple[Ranking, ...] = ("all", "layer")


@dataclass(frozen=True)
class SaliencyConfig:
    """Settings of one gradient pass.

    Attributes:
        pictures: Pictures of the concept in the forget set.
        passes: How often each picture is used, every time with fresh noise.
        batch_size: Pictures per gradient g_b.
        loss_guidance: Guidance scale inside the loss, in the pipeline's convention; 1 is the loss
            a diffusion model is trained with. Both released class scripts guide here.
        first_seed: Picture k is drawn from the noise of seed first_seed + k. The default is far
            from the seeds that pictures are judged on, so no judged picture is in the forget set.
        seed: Of the noise and the times inside the loss.
        steps: Denoising steps of the forget set's pictures; None keeps the pipeline's default.
        guidance: Guidance scale of these pictures; None keeps the pipeline's default.

    Raises:
        ValueError: For a value outside its range.
    """

    pictures: int = 48
    passes: int = 4
    batch_size: int = 16
    loss_guidance: float = 1.0
    first_seed: int = 1_000_000
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        check_settings([self.seed, self.first_seed], self.batch_size, self.steps, self.guidance)
        for name in ("pictures", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not np.isfinite(self.loss_guidance):
            raise ValueError(f"loss_guidance must be a finite number, not {self.loss_guidance}")


@dataclass(frozen=True, eq=False)
class Gradients:
    """Sums over the batches, per matrix (rows, columns), at least float32.

    signed: sum_b g_b. absolute: sum_b |g_b|.
    """

    signed: Weights
    absolute: Weights


def forget_prompts(prompts: Sequence[str], config: SaliencyConfig) -> list[str]:
    """The prompt of each picture of the forget set: the given ones in turn.

    Raises:
        ValueError: For a bare string, or no prompts.
    """
    check_prompts(prompts, [0] * len(prompts))
    return [prompts[k % len(prompts)] for k in range(config.pictures)]


def forget_set(
    pipe: Any, prompts: Sequence[str], config: SaliencyConfig
) -> tuple[Tensor, list[str]]:
    """Pictures that the pipeline draws of a concept, as latents, and the prompt of each.

    Returns:
        ((pictures, channels, height, width) scaled as the UNet sees them, prompts in turn).
    """
    asked = forget_prompts(prompts, config)
    seeds = [config.first_seed + k for k in range(config.pictures)]
    parts = []
    for start in range(0, len(seeds), config.batch_size):
        part = slice(start, start + config.batch_size)
        latents = call_pipeline(
            pipe,
            asked[part],
            seeds[part],
            steps=config.steps,
            guidance=config.guidance,
            output_type="latent",
        )
        parts.append(latents)
    return torch.cat(parts).detach(), asked


def gradients(
    pipe: Any,
    parameters: Mapping[str, Parameter],
    latents: Tensor,
    prompts: Sequence[str],
    config: SaliencyConfig,
) -> Gradients:
    """Gradients of the diffusion loss on a forget set, summed over its batches.

    Times are uniform over the scheduler's training times. They and the noise come from a CPU
    generator of `config.seed`. The pipeline is left as it was: no weight moves, and no parameter's
    own `grad` is touched.

    Args:
        pipe: A Stable Diffusion pipeline.
        parameters: Parameters of its UNet by name, see `rbtc.matrices.find_matrices`.
        latents: (n, channels, height, width), see `forget_set`.
        prompts: n prompts.
        config: Settings of the pass.

    Raises:
        ValueError: Unequal lengths, or a gradient that is NaN or infinite.
    """
    check_prompts(prompts, [0] * len(latents))
    text, empty = _embedded(pipe, list(prompts)), _embedded(pipe, [""])
    generator = torch.Generator("cpu").manual_seed(config.seed)
    times_known = len(signal_and_noise(pipe.scheduler)[0])
    signed: Weights = {}
    for name in sorted(parameters):
        matrix = parameters[name].detach().flatten(1)  # (rows, columns)
        dtype = torch.promote_types(matrix.dtype, torch.float32)
        signed[name] = torch.zeros_like(matrix, dtype=dtype)
    absolute = {name: zero.clone() for name, zero in signed.items()}
    with _differentiable(parameters.values()):
        for _ in range(config.passes):
            order = torch.randperm(len(latents), generator=generator)
            for batch in order.split(config.batch_size):
                times = torch.randint(times_known, (len(batch),), generator=generator)
                noise = torch.randn(latents[batch].shape, generator=generator).to(latents)
                loss = diffusion_loss(
                    pipe, latents[batch], text[batch.to(text.device)], times, noise, empty=empty,
                    guidance=config.loss_guidance,
                )  # fmt: skip
                found = torch.autograd.grad(loss, [parameters[name] for name in signed])
                for name, gradient in zip(signed, found, strict=True):
                    signed[name] += gradient.flatten(1)
                    absolute[name] += gradient.flatten(1).abs()
    for name, total in absolute.items():
        if not total.isfinite().all():
            raise ValueError(
                f"the gradient of {name} holds NaN or infinity: load the model in float32"
            )
    return Gradients(signed, absolute)


def saliency(found: Gradients, weights: Weights, score: Score) -> Weights:
    """Score of every weight, (rows, columns) per matrix: "snip" or "salun" (see the module).

    Raises:
        ValueError: An unknown score, or gradients of other matrices.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {list(SCORES)}, not {score!r}")
    check_same_layers(weights, found.signed)
    if score == "salun":
        return {name: total.abs() for name, total in found.signed.items()}
    return {name: weights[name].abs() * total for name, total in found.absolute.items()}


def top_masks(scores: Weights, fraction: float, *, per: Ranking = "all") -> Masks:
    """The highest scores.

    Args:
        scores: (rows, columns) per matrix.
        fraction: Of the weights, in (0, 1).
        per: "all" ranks the weights of all matrices together, as both methods do;
            "layer" takes the fraction in every matrix. Either marks round(fraction * weights),
            exactly.

    Returns:
        Bool (rows, columns) per matrix, True = prune.

    Raises:
        ValueError: No matrix, NaN, an unknown ranking, or a fraction that marks nothing or all.
    """
    if per not in RANKINGS:
        raise ValueError(f"per must be one of {list(RANKINGS)}, not {per!r}")
    names = sorted(scores)
    if not names or any(bool(scores[name].isnan().any()) for name in names):
        raise ValueError("expected scores of at least one matrix, without NaN")
    groups = [[name] for name in names] if per == "layer" else [names]
    masks: Masks = {}
    for group in groups:
        flat = torch.cat([scores[name].flatten() for name in group])
        count = round(fraction * len(flat)) if np.isfinite(fraction) else 0
        if not 0 <= count < len(flat):
            raise ValueError(f"a fraction of {fraction} leaves nothing of {len(flat)} weights")
        marked = torch.zeros_like(flat, dtype=torch.bool)
        marked[flat.topk(count).indices] = True
        pieces = marked.split([scores[name].numel() for name in group])
        for name, piece in zip(group, pieces, strict=True):
            masks[name] = piece.view_as(scores[name])
    if not any(bool(mask.any()) for mask in masks.values()):
        raise ValueError(f"a fraction of {fraction} marks none of the weights: raise it")
    return masks


def _embedded(pipe: Any, prompts: list[str]) -> Tensor:
    with torch.no_grad():
        return pipe.encode_prompt(prompts, pipe.unet.device, 1, False)[0]  # (n, tokens, width)


@contextmanager
def _differentiable(parameters: Any) -> Iterator[None]:
    """Let gradients reach these parameters, and put their settings back."""
    parameters = list(parameters)
    before = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, setting in zip(parameters, before, strict=True):
            parameter.requires_grad_(setting)
