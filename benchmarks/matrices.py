"""The matrices of the benchmark: drawn ones of Stable Diffusion's shapes, and emoji-sd's own."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rbtc.layers import Masks, Weights, read_weights, short_name

SD_SHAPES = [(320, 1280)] * 5 + [(640, 2560)] * 5 + [(1280, 5120)] * 6
QUICK_SHAPES = [(24, 96), (24, 96), (48, 192)]
SMALL_SHAPES = [(96, 384)]
EMOJI = Path("data/models/emoji-sd/unet/diffusion_pytorch_model.safetensors")

SPECTRUM = (
    "singular values i^-0.5 (full rank, random singular vectors), then 1 % of the rows and 1 % of "
    "the columns times 3; per row the 2-4 % largest |weight| * activation missing, activations "
    "log-normal (sigma 0.3) per column"
)


@dataclass(frozen=True)
class Task:
    """Weights before pruning and what is missing, on one device."""

    name: str
    original: Weights
    missing: Masks

    @property
    def pruned(self) -> Weights:
        """The weights with zeros where they are missing."""
        return {name: w.masked_fill(self.missing[name], 0) for name, w in self.original.items()}


def realistic(rows: int, columns: int, *, seed: int = 0, power: float = 0.5) -> Tensor:
    """Draw one weight matrix, float32; see `SPECTRUM`."""
    generator = torch.Generator().manual_seed(seed)
    m, n = min(rows, columns), max(rows, columns)
    left = torch.linalg.qr(torch.randn(m, m, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(n, m, generator=generator)).Q
    scale = torch.arange(1, m + 1, dtype=torch.float32) ** -power
    weight = (left * scale) @ right.mT  # (m, n)
    weight[torch.randperm(m, generator=generator)[: max(m // 100, 1)]] *= 3
    weight[:, torch.randperm(n, generator=generator)[: max(n // 100, 1)]] *= 3
    return (weight if rows <= columns else weight.mT).contiguous()


def row_wise_mask(weight: Tensor, share: float, *, seed: int = 0) -> Tensor:
    """Mark per row the `share` of entries with the largest |weight| * activation."""
    generator = torch.Generator().manual_seed(seed)
    activation = torch.exp(0.3 * torch.randn(weight.shape[1], generator=generator))
    score = weight.abs() * activation.to(weight)
    count = max(int(share * weight.shape[1]), 1)
    return torch.zeros_like(weight, dtype=torch.bool).scatter_(
        1, score.topk(count, dim=1).indices, True
    )


def drawn(name: str, shapes: list[tuple[int, int]], device: str) -> Task:
    """Return a task of drawn matrices, their missing shares spread evenly over 2-4 %."""
    weights, masks = {}, {}
    for number, (rows, columns) in enumerate(shapes):
        key = f"{number:02d}.{rows}x{columns}"
        share = 0.02 + 0.02 * number / max(len(shapes) - 1, 1)
        weight = realistic(rows, columns, seed=number)
        weights[key] = weight.to(device)
        masks[key] = row_wise_mask(weight, share, seed=number).to(device)
    return Task(name, weights, masks)


def emoji(device: str, path: Path = EMOJI) -> Task | None:
    """Return the feed-forward matrices of emoji-sd, 3 % pruned; None where it is not stored."""
    if not path.is_file():
        return None
    from safetensors.torch import load_file

    weights = {
        short_name(name): weight.float() for name, weight in read_weights(load_file(path)).items()
    }
    masks = {name: row_wise_mask(weight, 0.03) for name, weight in weights.items()}
    return Task(
        "emoji-sd",
        {name: weight.to(device) for name, weight in weights.items()},
        {name: mask.to(device) for name, mask in masks.items()},
    )
