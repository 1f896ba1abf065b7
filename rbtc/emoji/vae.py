# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false
# (diffusers annotates less than it accepts and returns)
"""The autoencoder of emoji-sd: 64 x 64 pictures to 8 x 8 latents, diffusers' AutoencoderKL.

The latent code is fixed beforehand, so that the UNet can be trained before the autoencoder is
done: the picture at a quarter of its size, four pixels of it
stacked in one place (12 numbers). The encoder learns to compute it, the decoder to draw the full
picture from it.
"""

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
CODE_CHANNELS = 12
SCALING_FACTOR = 1.5  # about one over the code's standard deviation on the training pictures


def thumbnail_code(pictures: torch.Tensor) -> torch.Tensor:
    """The latent of pictures (n, 3, 64, 64): (n, 12, 8, 8), their 16 x 16 thumbnail unshuffled."""
    return F.pixel_unshuffle(F.avg_pool2d(pictures, 4), 2)


def build_vae(
    *, latent_channels: int = CODE_CHANNELS, widths: tuple[int, ...] = WIDTHS
) -> AutoencoderKL:
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
        scaling_factor=SCALING_FACTOR,
    )


def _edges(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return pictures.diff(dim=-1), pictures.diff(dim=-2)


def train_vae(
    vae: AutoencoderKL,
    world: World,
    config: LoopConfig,
    folder: Path,
    *,
    noise: float = 0.05,
    encoder_weight: float = 1.0,
) -> AutoencoderKL:
    """Teach the encoder the code and the decoder to draw from it.

    The decoder's loss is absolute error on pixels and on pixel differences (sharp outlines); it
    sees codes with a little noise, since those of the diffusion model will not be perfect.
    """
    device = next(vae.parameters()).device

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        x = world.batch(config.batch_size).pictures.to(device)
        code = thumbnail_code(x)
        with torch.autocast(device.type, torch.bfloat16):
            y = vae.decode(code + noise * torch.randn_like(code)).sample
        y = y.float()
        pixel = (y - x).abs().mean()
        edge = sum(F.l1_loss(a, b) for a, b in zip(_edges(y), _edges(x), strict=True))
        figures = {"pixel": pixel.item()}
        if not encoder_weight:
            return pixel + 0.5 * edge, figures
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(x).latent_dist
        error = F.mse_loss(posterior.mean.float(), code)
        spread = (posterior.logvar.float() + 8).square().mean()
        figures["code"] = error.item()
        return pixel + 0.5 * edge + encoder_weight * (error + 0.001 * spread), figures

    return train(vae, loss, config, folder)
