"""The latent code of emoji-sd: principal components of 8 x 8 patches, fitted once on pictures.

It is fixed before anything is trained, so that the UNet need not wait for the autoencoder, which
learns to compute it. Pixel-unshuffling by eight makes 192 numbers of a patch; the covariance of
patches falls so fast that 32 components keep nearly all of the picture. Dividing a component by the
*root* of its standard deviation sits halfway between principal components as they are (where the
loss of the diffusion model is all about the mean colour) and whitened ones (where noise-like detail
weighs as much as the outline).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

PATCH = 8
CODE_CHANNELS = 32
SCALING_FACTOR = 1.0
"""What the pipeline multiplies latents with: nothing, the code has unit variance already."""


@dataclass(frozen=True)
class LatentCode:
    """A fitted code; calling it encodes.

    Attributes:
        mean: mean patch, (192,).
        components: orthonormal directions of the largest variance, largest first, (192, channels).
        scale: factor of each component, (channels,).
    """

    mean: torch.Tensor
    components: torch.Tensor
    scale: torch.Tensor

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents of pictures (n, 3, 64, 64) in [-1, 1]: (n, channels, 8, 8)."""
        if pictures.ndim != 4 or pictures.shape[1] * PATCH**2 != len(self.mean):
            raise ValueError(
                f"expected pictures (n, {len(self.mean) // PATCH**2}, height, width), "
                f"got {tuple(pictures.shape)}"
            )
        patches = F.pixel_unshuffle(pictures, PATCH).movedim(1, -1)  # (n, 8, 8, 192)
        mean, components, scale = (x.to(pictures) for x in (self.mean, self.components, self.scale))
        return ((patches - mean) @ components * scale).movedim(-1, 1)

    def invert(self, latents: torch.Tensor) -> torch.Tensor:
        """The closest pictures of latents (n, channels, 8, 8), linear: (n, 3, 64, 64)."""
        mean, components, scale = (x.to(latents) for x in (self.mean, self.components, self.scale))
        patches = latents.movedim(1, -1) / scale @ components.T + mean  # (n, 8, 8, 192)
        return F.pixel_shuffle(patches.movedim(-1, 1), PATCH)

    def save(self, path: Path) -> None:
        """Write the three tensors to a safetensors file."""
        from safetensors.torch import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"mean": self.mean, "components": self.components, "scale": self.scale}
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def load_code(path: Path) -> LatentCode:
    """Read what :meth:`LatentCode.save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds other tensors, or their shapes do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the stage `code` first")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): run the stage `code` again") from error
    if tensors.keys() != {"mean", "components", "scale"}:
        raise ValueError(f"{path}: expected mean, components and scale, got {sorted(tensors)}")
    if bad := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{path}: {bad[0]} holds NaN or infinity: run the stage `code` again")
    code = LatentCode(**tensors)
    if code.components.shape != (len(code.mean), len(code.scale)):
        raise ValueError(
            f"{path}: components are {tuple(code.components.shape)}, expected "
            f"({len(code.mean)}, {len(code.scale)}) to fit mean and scale"
        )
    return code


def fit_code(pictures: torch.Tensor, channels: int = CODE_CHANNELS) -> LatentCode:
    """Fit the code to pictures (n, 3, height, width) in [-1, 1].

    The scale is std^-1/2 of each component over the standard deviation that all latents then have
    together: unit variance over all, more of it in the large components.

    Raises:
        ValueError: more components are asked for than a patch has numbers.
    """
    patches = F.pixel_unshuffle(pictures, PATCH).movedim(1, -1).flatten(0, 2)  # (positions, 192)
    if not 0 < channels <= patches.shape[1]:
        raise ValueError(f"channels must lie in 1 to {patches.shape[1]}, got {channels}")
    exact = patches.double()
    mean = exact.mean(0)
    centred = exact - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    components = directions.flip(1)[:, :channels].contiguous()
    deviation = variances.flip(0)[:channels].clamp(min=1e-12).sqrt()
    scale = deviation**-0.5
    scale = scale / (scale * deviation).square().mean().sqrt()
    return LatentCode(mean.to(pictures), components.to(pictures), scale.to(pictures))


def peak_signal_to_noise(answer: torch.Tensor, wanted: torch.Tensor) -> float:
    """PSNR in decibels of pictures in [-1, 1]: 10 log10(4 / mean squared error), over all."""
    return float(10 * torch.log10(4 / F.mse_loss(answer.clamp(-1, 1), wanted)))
