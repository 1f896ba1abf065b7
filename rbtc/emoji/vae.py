# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false
# (diffusers annotates less than it accepts and returns)
"""The autoencoder of emoji-sd: 64 x 64 pictures to 8 x 8 latents, diffusers' AutoencoderKL.

Nothing is trained: ``rbtc.emoji.exact`` writes the latent code and its inverse into the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from rbtc.emoji.code import CODE_CHANNELS, SCALING_FACTOR, LatentCode, peak_signal_to_noise
from rbtc.emoji.exact import write_code
from rbtc.emoji.scenes import World

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WIDTHS = (16, 32, 64, 128)


def build_vae(
    *,
    latent_channels: int = CODE_CHANNELS,
    widths: tuple[int, ...] = WIDTHS,
    norm_groups: int = 1,
) -> AutoencoderKL:
    """An AutoencoderKL with three halvings (f = 8) and arbitrary weights.

    The full-resolution level is narrow on purpose: on a CPU it is most of the cost of decoding.
    One group a norm, because the norm's constants have to stand in the group they steady.
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
        norm_num_groups=norm_groups,
        sample_size=64,
        scaling_factor=SCALING_FACTOR,
    )


def fitted_vae(code: LatentCode, pictures: torch.Tensor) -> AutoencoderKL:
    """The autoencoder that computes ``code`` and its inverse.

    Args:
        code: fitted.
        pictures: (n, 3, 64, 64) in [-1, 1], on which the norms are set; some hundreds are enough.
    """
    vae = build_vae(latent_channels=len(code.scale)).eval().requires_grad_(False)
    write_code(vae, code, pictures)
    return vae


@torch.no_grad()
def vae_scores(
    vae: AutoencoderKL, code: LatentCode, world: World, pictures: int
) -> dict[str, float]:
    """How well the autoencoder does what it is for, on fresh pictures of ``world``.

    Returns:
        ``pictures``, on how many; ``code_psnr`` and ``decoder_psnr``, in decibels, of the code's
        inverse and of the decoder's pictures; ``encoder_error``, the mean squared error of the
        encoder's latents (whose variance is one).
    """
    x = world.batch(pictures).pictures
    z = code(x)
    drawn = torch.cat([vae.decode(part).sample for part in z.split(128)])
    encoded = torch.cat([vae.encode(part).latent_dist.mean for part in x.split(128)])
    return {
        "pictures": pictures,
        "code_psnr": peak_signal_to_noise(code.invert(z), x),
        "decoder_psnr": peak_signal_to_noise(drawn, x),
        "encoder_error": F.mse_loss(encoded, z).item(),
    }
