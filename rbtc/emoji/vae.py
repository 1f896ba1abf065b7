# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false, reportOptionalMemberAccess=false, reportOptionalCall=false
# pyright: reportOptionalSubscript=false
# (diffusers annotates less than it accepts and returns)
"""The autoencoder of emoji-sd: 64 x 64 pictures to 8 x 8 latents, diffusers' AutoencoderKL.

What the latents are is fixed beforehand (`rbtc.emoji.code`): the encoder learns to compute them.
The decoder learns to draw clean pictures from latents with noise, as imperfect models produce them;
the code's own inverse is linear patch by patch and passes every error on, as an 8 x 8 grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from rbtc.emoji.code import CODE_CHANNELS, SCALING_FACTOR, LatentCode, peak_signal_to_noise
from rbtc.emoji.loop import LoopConfig, train
from rbtc.emoji.scenes import World

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WIDTHS = (16, 32, 64, 128)
NOISE = 0.9
"""Largest noise that the decoder is trained on, in standard deviations of a latent channel."""
NOISE_POWER = 1.5
"""The noise of a picture is `NOISE` times u to this power, u uniform: weak noise more often."""
SMOOTH = 0.3
"""Fraction of pictures whose noise is smooth over the picture; the others' is white."""
EDGES = 0.5
"""Weight of the error of horizontal and vertical differences beside that of the pixels."""
ENCODED = 4
"""One picture of so many also trains the encoder, whose task is linear."""
LOG_VARIANCE = -12.0


def build_vae(
    *, latent_channels: int = CODE_CHANNELS, widths: tuple[int, ...] = WIDTHS
) -> AutoencoderKL:
    """An untrained AutoencoderKL with three halvings (f = 8) and a nearly certain encoder.

    The full-resolution level is narrow on purpose: on a CPU it is most of the cost of decoding.
    """
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
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
    with torch.no_grad():
        vae.quant_conv.weight[latent_channels:] = 0
        vae.quant_conv.bias[latent_channels:] = LOG_VARIANCE
    return vae


def noisy(latents: torch.Tensor, deviation: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Latents as an imperfect model might give them.

    Args:
        latents: (n, channels, 8, 8).
        deviation: standard deviation of each channel, (channels,).
        strength: of the noise of each picture, in these deviations, (n,).
    """
    n, channels, height, width = latents.shape
    noise = torch.randn_like(latents)
    coarse = torch.randn(n, channels, 2, 2, dtype=latents.dtype, device=latents.device)
    blurred = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    smooth = torch.rand(n, 1, 1, 1, device=latents.device) < SMOOTH
    noise = torch.where(smooth, blurred, noise)
    return latents + noise * deviation[:, None, None] * strength[:, None, None, None]


def _differences(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return pictures.diff(dim=-1), pictures.diff(dim=-2)


def train_vae(
    code: LatentCode,
    world: World,
    config: LoopConfig,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    compiled: bool = False,
    bfloat16: bool = False,
) -> AutoencoderKL:
    """Train an autoencoder that computes ``code`` and draws clean pictures from noisy latents.

    The decoder's loss is the mean absolute error of the pixels and, times `EDGES`, of their
    differences; the encoder's is the mean squared error of the latents.

    Args:
        code: fitted.
        world: source of pictures.
        config: length and optimiser.
        folder: of the run, see ``loop.train``.
        device: where.
        compiled: run both halves through ``torch.compile``.
        bfloat16: compute in it; the weights stay float32. Together with ``compiled`` this is
            several times as fast on CPUs with matrix units (AMX).
    """
    torch.manual_seed(config.seed)
    vae = build_vae(latent_channels=len(code.scale))
    vae = vae.to(device, memory_format=torch.channels_last)
    deviation = code(world.batch(512).pictures).std((0, 2, 3)).to(device)
    parts = [vae.decoder, vae.encoder]
    decoder, encoder = (torch.compile(part) if compiled else part for part in parts)

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        pictures = world.batch(config.batch_size).pictures.to(device)
        latents = code(pictures)
        strength = NOISE * torch.rand(len(latents), device=device) ** NOISE_POWER
        few = slice(0, len(pictures) // ENCODED)
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=bfloat16):
            drawn = decoder(vae.post_quant_conv(noisy(latents, deviation, strength))).float()
            moments = vae.quant_conv(encoder(pictures[few])).float()
        error = F.l1_loss(drawn, pictures)
        edges = sum(
            F.l1_loss(a, b)
            for a, b in zip(_differences(drawn), _differences(pictures), strict=True)
        )
        encoding = F.mse_loss(moments.chunk(2, dim=1)[0], latents[few])
        figures = {"error": error.item(), "encoding": encoding.item()}
        return error + EDGES * edges + encoding, figures

    groups = [
        {"params": [p for p in vae.parameters() if p.ndim > 1]},
        {"params": [p for p in vae.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return train(vae, loss, config, folder, groups=groups)


@torch.no_grad()
def vae_scores(
    vae: AutoencoderKL, code: LatentCode, world: World, pictures: int
) -> dict[str, float]:
    """How well the autoencoder does what it is for, on fresh pictures of ``world``.

    Returns:
        ``score_pictures``, on how many; in decibels ``code_psnr`` and ``decoder_psnr``, of the
        code's inverse and of the decoder's pictures, and ``code_psnr_noisy`` and
        ``decoder_psnr_noisy``, of the same under noise of half a standard deviation;
        ``encoder_error``, the mean squared error of the encoder's latents (variance one).
    """
    x = world.batch(pictures).pictures
    z = code(x)
    generator_state = torch.get_rng_state()
    torch.manual_seed(0)
    worse = noisy(z, z.std((0, 2, 3)), torch.full((len(z),), 0.5))
    torch.set_rng_state(generator_state)

    def decoded(latents: torch.Tensor) -> torch.Tensor:
        return torch.cat([vae.decode(part).sample for part in latents.split(128)])

    encoded = torch.cat([vae.encode(part).latent_dist.mean for part in x.split(128)])
    return {
        "score_pictures": pictures,
        "code_psnr": peak_signal_to_noise(code.invert(z), x),
        "decoder_psnr": peak_signal_to_noise(decoded(z), x),
        "code_psnr_noisy": peak_signal_to_noise(code.invert(worse), x),
        "decoder_psnr_noisy": peak_signal_to_noise(decoded(worse), x),
        "encoder_error": F.mse_loss(encoded, z).item(),
    }
