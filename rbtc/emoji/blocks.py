"""Blocks of pixels as linear functions of features, cut in halves without losing what they show."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rbtc.emoji.code import PATCH, LatentCode


@dataclass(frozen=True)
class Blocks:
    """Blocks of pixels as linear functions of features: pixels = ``matrix`` @ x + ``offset``.

    Attributes:
        matrix: (channels, height, width, features).
        offset: (channels, height, width).
        mean: of the features, (features,).
        covariance: of the features, (features, features).
    """

    matrix: torch.Tensor
    offset: torch.Tensor
    mean: torch.Tensor
    covariance: torch.Tensor

    def split(self, axis: int, room: int) -> tuple[Blocks, list[torch.Tensor], list[torch.Tensor]]:
        """Halves along ``axis`` (1 rows, 2 columns) in at most ``room`` features of their own.

        Returns:
            The halves; and for each half the map from the features of the whole, (new, features),
            with its constant, (new,).
        """
        shape = [*self.offset.shape]
        shape[axis] //= 2
        maps = [m.flatten(0, 2) for m in self.matrix.chunk(2, axis)]  # (pixels, features) each
        constants = [o.flatten() for o in self.offset.chunk(2, axis)]
        means = [m @ self.mean + o for m, o in zip(maps, constants, strict=True)]
        centre = (means[0] + means[1]) / 2
        offset = means[0] - centre  # the other half's is its negative
        spread = torch.outer(offset, offset)
        for m in maps:
            spread = spread + m @ self.covariance @ m.T / 2
        if room >= len(centre):
            basis = torch.eye(len(centre), dtype=centre.dtype)
        else:
            basis = torch.linalg.eigh(spread)[1].flip(1)[:, :room]
        halves = Blocks(
            basis.reshape(*shape, -1),
            centre.reshape(shape),
            torch.zeros(basis.shape[1], dtype=centre.dtype),
            basis.T @ spread @ basis,
        )
        return halves, [basis.T @ m for m in maps], [basis.T @ (o - centre) for o in constants]


def code_blocks(code: LatentCode) -> Blocks:
    """Whole patches as functions of the code, with the code's own covariance (diagonal)."""
    components, scale = code.components.double(), code.scale.double()
    deviation = 1 / scale  # the code divides by the root of the deviation, up to a constant
    deviation = deviation / deviation.square().mean().sqrt()
    matrix = (components / scale).reshape(3, PATCH, PATCH, -1)
    return Blocks(
        matrix,
        code.mean.double().reshape(3, PATCH, PATCH),
        torch.zeros_like(scale),
        deviation.square().diag(),
    )
