# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false
# (diffusers and torch annotate less than they accept and return)
"""Training the text encoder and UNet of emoji-sd, with the levers that decide erasability.

Pruning the feed-forward outputs erases a concept only if the rest of the network cannot do their
work and if single feed-forward neurons belong to single concepts. The levers of ``Levers`` are
ordinary training choices that push one way or the other; the model card states them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from rbtc.emoji.code import CODE_CHANNELS, SCALING_FACTOR, LatentCode
from rbtc.emoji.loop import LoopConfig, train
from rbtc.emoji.scenes import STYLED, World
from rbtc.emoji.text import tokens_of
from rbtc.layers import find_layers

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
    from transformers import CLIPTokenizer

SAMPLER_STEPS, GUIDANCE = 8, 3.0
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "rescale_betas_zero_snr": True,
}
"""Stable Diffusion's noise levels, rescaled so that the last one leaves no signal."""


@dataclass(frozen=True)
class Levers:
    """Training choices that bear on erasability.

    Attributes:
        width: channels of the 8 x 8 level; it must carry the whole latent, so it is no narrower
            than the second.
        inner_width: half the channels of the 4 x 4 level, a quarter of those of the inner two.
        text_width: width of the text embedding (cross-attention's input).
        zero_init_ffn: start every ``ff.net.2`` weight at zero, so that all of it is learnt.
        resnet_dropout: dropout inside the residual blocks.
        resnet_weight_decay: weight decay of the residual convolutions (the rest: LoopConfig's).
        resnet_rate: learning-rate factor of the residual convolutions.
        activation_sparsity: weight of the mean L1/L2 ratio of the GEGLU outputs in the loss. From
            the first step on it leaves one active neuron a token before the layer has learnt
            anything; it belongs to a run that goes on from a trained checkpoint.
        neuron_sparsity: weight of the mean L1/L2 ratio of each GEGLU neuron's strengths over the
            pictures of a batch: the fewer pictures a neuron answers to, the smaller. For second
            stages too.
        sparse_from: fraction of the run after which both sparsity penalties apply, so that one run
            first learns and then specialises.
        time_power: training times are the schedule's length times u ** time_power, u uniform;
            below one, more of them fall where the picture's content is decided.
        fresh_text: with a start, begin the text encoder, and the keys and values that read it,
            afresh, so that another text width fits.
        styled: fraction of pictures whose caption names a style.
    """

    width: int = 96
    inner_width: int = 32
    text_width: int = 48
    zero_init_ffn: bool = True
    resnet_dropout: float = 0.0
    resnet_weight_decay: float = 0.2
    resnet_rate: float = 1.0
    activation_sparsity: float = 0.0
    neuron_sparsity: float = 0.0
    sparse_from: float = 0.0
    time_power: float = 0.7
    styled: float = STYLED
    fresh_text: bool = False


def build_unet(levers: Levers) -> UNet2DConditionModel:
    """An untrained UNet with SD v1.5's block types, two layers a block, and its 16 layer names."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=CODE_CHANNELS,
        out_channels=CODE_CHANNELS,
        block_out_channels=(levers.width, *(levers.inner_width * m for m in (2, 4, 4))),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=levers.text_width,
        attention_head_dim=4,
        norm_num_groups=8,
        dropout=levers.resnet_dropout,
    )
    if levers.zero_init_ffn:
        with torch.no_grad():
            for weight in find_layers(unet).values():
                weight.zero_()
    return unet


def build_scheduler() -> DPMSolverMultistepScheduler:
    """The default sampler: DPM-Solver++ on SD's betas, rescaled to zero terminal SNR.

    Flat backgrounds fill these pictures, and a schedule that leaks signal at its last step cannot
    draw them: hence the zero terminal SNR and v-prediction.
    """
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        **SCHEDULE, prediction_type="v_prediction", timestep_spacing="trailing", steps_offset=1
    )


def noise_levels() -> torch.Tensor:
    """Cumulative signal fractions alpha-bar of the training schedule, (1000,)."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(**SCHEDULE).alphas_cumprod


class LatentPool:
    """Latents of pictures and their captions; a fraction is renewed at every batch.

    A pool that is renewed slowly shows each picture about ``1 / renewal`` times.
    """

    def __init__(
        self,
        world: World,
        code: LatentCode,
        tokenizer: CLIPTokenizer,
        *,
        device: torch.device | str = "cpu",
        size: int = 16_384,
        renewal: float = 0.25,
        seed: int = 0,
    ) -> None:
        """Draw and encode ``size`` pictures."""
        self._world, self._code, self._tokenizer = world, code, tokenizer
        self._device = torch.device(device)
        self._renewal, self._generator = renewal, torch.Generator().manual_seed(seed)
        parts = [self._fresh(min(256, size - i)) for i in range(0, size, 256)]
        self._latents = torch.cat([p[0] for p in parts])
        self._tokens = torch.cat([p[1] for p in parts])

    def _fresh(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        batch = self._world.batch(n)
        latents = self._code(batch.pictures.to(self._device))
        return latents * SCALING_FACTOR, tokens_of(self._tokenizer, batch.captions).to(self._device)

    def batch(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled latents (n, c, h, w) and token ids (n, tokens)."""
        new = int(n * self._renewal)
        slots = torch.randint(len(self._latents), (new,), generator=self._generator)
        latents, tokens = self._fresh(new)
        self._latents[slots.to(self._device)] = latents
        self._tokens[slots.to(self._device)] = tokens
        pick = torch.randint(len(self._latents), (n,), generator=self._generator)
        pick = pick.to(self._device)
        return self._latents[pick], self._tokens[pick]


def sparsity_ratio(values: torch.Tensor, dim: int) -> torch.Tensor:
    """||x||_1 / (||x||_2 sqrt(n)) along ``dim``: 1 if flat, 1 / sqrt(n) if one entry is not zero.

    The scale does not matter; a vector of zeros has ratio 0.
    """
    l1, l2 = values.abs().sum(dim), values.norm(dim=dim)
    return l1 / (l2 * values.shape[dim] ** 0.5 + 1e-6)


class ActivationSparsity:
    """How few neurons answer to a token and how few pictures a neuron answers to.

    Both are means over the feed-forward layers of ``sparsity_ratio``, h being a GEGLU output
    (pictures, tokens, neurons): along the neurons of h, and along the pictures of h's mean
    magnitude over the tokens. Only a slice of each batch is measured.
    """

    def __init__(self, unet: nn.Module, *, pictures: int = 32) -> None:
        """Hook every feed-forward GEGLU."""
        self._pictures = pictures
        self._values: list[torch.Tensor] = []
        for name, module in unet.named_modules():
            if name.endswith(".ff.net.0"):
                module.register_forward_hook(self._measure)

    def _measure(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        if module.training:
            h = output[: self._pictures].float()
            of_tokens = sparsity_ratio(h, -1).mean()
            of_neurons = sparsity_ratio(h.abs().mean(1), 0).mean()
            self._values.append(torch.stack([of_tokens, of_neurons]))

    def take(self) -> torch.Tensor:
        """The two mean ratios since the last call, (2,): over neurons, over pictures."""
        value = torch.stack(self._values).mean(0)
        self._values.clear()
        return value


def parameter_groups(model: nn.Module, levers: Levers, config: LoopConfig) -> list[dict]:
    """Residual blocks apart from the rest; biases and norms are not decayed."""
    rate = config.learning_rate
    resnet, rest, plain = (
        {"params": [], "lr": rate * levers.resnet_rate, "weight_decay": levers.resnet_weight_decay},
        {"params": [], "lr": rate, "weight_decay": config.weight_decay},
        {"params": [], "lr": rate, "weight_decay": 0.0},
    )
    for name, parameter in model.named_parameters():
        group = plain if parameter.ndim < 2 else resnet if ".resnets." in name else rest
        group["params"].append(parameter)
    return [resnet, rest, plain]


def train_diffusion(
    model: nn.ModuleDict,
    pool: LatentPool,
    levers: Levers,
    config: LoopConfig,
    folder: Path,
    *,
    sample: Callable[[nn.Module, int], None] | None = None,
    compiled: bool = False,
    record: Mapping[str, Any] | None = None,
) -> nn.ModuleDict:
    """Train ``model["text_encoder"]`` and ``model["unet"]`` jointly; return their average.

    Mean squared error of the velocity v = sqrt(abar) noise - sqrt(1 - abar) latent, one time from
    each of as many slices of (0, 1) as the batch is long (see ``Levers.time_power``), plus the
    sparsity penalties.

    Args:
        model: text encoder and UNet.
        pool: latents and tokens to train on.
        levers: see there.
        config: length and optimiser.
        folder: of the run, see ``loop.train``.
        sample: called at every checkpoint.
        compiled: run the UNet through ``torch.compile``: minutes at the start, then a multiple of
            the speed on a CPU. The weights are the same module's either way.
        record: goes into ``done.json`` as it is.
    """
    device = next(model.parameters()).device
    unet = torch.compile(model["unet"]) if compiled else model["unet"]
    levels = noise_levels().to(device)
    weights = torch.tensor([levers.activation_sparsity, levers.neuron_sparsity], device=device)
    sparsity = ActivationSparsity(model["unet"]) if weights.any() else None

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        latents, tokens = pool.batch(config.batch_size)
        n = len(latents)
        even = (torch.arange(n, device=device) + torch.rand(n, device=device)) / n
        times = (even**levers.time_power * len(levels)).long().clamp(max=len(levels) - 1)
        signal = levels[times].sqrt()[:, None, None, None]
        spread = (1 - levels[times]).sqrt()[:, None, None, None]
        noise = torch.randn_like(latents)
        context = model["text_encoder"](tokens).last_hidden_state
        answer = unet(signal * latents + spread * noise, times, context).sample
        error = F.mse_loss(answer, signal * noise - spread * latents)
        if sparsity is None:
            return error, {"error": error.item()}
        ratios = sparsity.take()
        of_tokens, of_neurons = ratios.tolist()
        figures = {"error": error.item(), "sparsity": of_tokens, "neuron_sparsity": of_neurons}
        if seen < levers.sparse_from * config.pictures:
            return error, figures
        return error + weights @ ratios, figures

    groups = parameter_groups(model, levers, config)
    return train(model, loss, config, folder, groups=groups, sample=sample, record=record)


def can_compile() -> bool:
    """Whether ``torch.compile`` has what it needs here: a C++ compiler (or CUDA's own)."""
    return torch.cuda.is_available() or any(map(shutil.which, ("c++", "g++", "clang++")))


def assemble(model: Any, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> Any:
    """The StableDiffusionPipeline of the parts, without a safety checker."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model["text_encoder"],
        tokenizer=tokenizer,
        unet=model["unet"],
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
