# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false
# (diffusers annotates less than it accepts and returns)
"""The autoencoder of emoji-sd: 64 x 64 pictures to 8 x 8 latents, diffusers' AutoencoderKL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from rbtc.emoji.loop import LoopConfig, train
from rbtc.emoji.scenes import World

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


WIDTHS = (16, 32, 64, 96)


def build_vae(*, latent_channels: int = 12, widths: tuple[int, ...] = WIDTHS) -> AutoencoderKL:
    """An untrained AutoencoderKL with three halvings (f = 8).

    The full-resolution level is narrow on purpose: on a CPU it is most of the cost of both
    training and decoding.
    """
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=64,
    )


def _edges(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return pictures.diff(dim=-1), pictures.diff(dim=-2)


def train_vae(
    vae: AutoencoderKL,
    world: World,
    config: LoopConfig,
    folder: Path,
    *,
    kl_weight: float = 2e-4,
    decoder_only: bool = False,
) -> AutoencoderKL:
    """Train on pixels, pixel differences (sharp outlines) and a light KL term; set the scaling.

    ``scaling_factor`` becomes one over the standard deviation of the latents, as in Stable
    Diffusion, so that the UNet sees unit variance. ``decoder_only`` leaves the latents alone,
    so that a UNet already trained on them stays valid.
    """
    device = next(vae.parameters()).device

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        x = world.batch(config.batch_size).pictures.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        y = y.float()
        pixel = (y - x).abs().mean()
        edge = sum(F.l1_loss(a, b) for a, b in zip(_edges(y), _edges(x), strict=True))
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return pixel + 0.5 * edge + kl_weight * kl, {"pixel": pixel.item(), "kl": kl.item()}

    learnt = [vae.decoder, vae.post_quant_conv] if decoder_only else [vae]
    groups = [{"params": [p for part in learnt for p in part.parameters()]}]
    average = train(vae, loss, config, folder, groups=groups)
    if decoder_only:
        return average
    with torch.no_grad():
        latents = torch.cat(
            [
                average.encode(world.batch(128).pictures.to(device)).latent_dist.mean
                for _ in range(8)
            ]
        )
    average.register_to_config(scaling_factor=round(float(1 / latents.std()), 5))
    return average
