"""What emoji-sd is trained on: a concept, drawn by a house, placed on a scene, and a caption.

The caption grammar gives ConceptPrune's prompt pairs their meaning: "a church" (on white), "a
church on a blue background", "a blue background", "a church in the style of fluent", and the empty
caption that guidance needs. A caption without a style always shows the same house: a small model
that has to guess the house draws the mean of eight.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from rbtc.models import templates

PICTURE_SIZE = 64
COLOURS = {
    "red": (205, 52, 52),
    "orange": (240, 140, 40),
    "yellow": (245, 215, 70),
    "green": (70, 160, 75),
    "blue": (60, 110, 215),
    "purple": (130, 75, 180),
    "pink": (245, 160, 190),
    "brown": (125, 85, 55),
    "gray": (140, 140, 145),
    "black": (25, 25, 28),
    "white": (255, 255, 255),
    "teal": (45, 150, 150),
}
SCENE_ALONE, ON_SCENE, STYLED, EMPTY = 0.05, 0.5, 0.35, 0.1
"""Fractions of captioned pictures: no icon; a scene other than white; a named style; no caption."""
ON_SCENE_JUDGED = 0.67
"""Fraction of pictures for judges that stand on a scene other than white."""
PATTERNS = ("", "striped", "dotted", "checkered")
SCENES = tuple(
    f"{colour} {pattern} background".replace("  ", " ")
    for pattern in PATTERNS
    for colour in COLOURS
)


def article(phrase: str) -> str:
    """The phrase behind "a" or "an", as the prompts of a profile have it."""
    return f"{templates.article(phrase)} {phrase}"


def scene_picture(scene: str, generator: np.random.Generator) -> np.ndarray:
    """A background, (64, 64, 3) uint8; patterns draw a paler tone on the scene's colour."""
    words = scene.split()
    base = np.array(COLOURS[words[0]], dtype=np.float32)
    pattern = words[1] if len(words) == 3 else ""
    second = base * 0.82 if base.mean() > 160 else base + (255 - base) * 0.35
    y, x = np.mgrid[0:PICTURE_SIZE, 0:PICTURE_SIZE]
    period = 16
    dx, dy = generator.integers(0, 2, size=2) * (period // 2)
    if pattern == "striped":
        mask = ((x + y + dx) % period) < period // 2
    elif pattern == "checkered":
        mask = (((x + dx) // (period // 2)) + ((y + dy) // (period // 2))) % 2 == 0
    elif pattern == "dotted":
        half = period / 2
        mask = ((x + dx) % period - half) ** 2 + ((y + dy) % period - half) ** 2 < (
            period / 3.4
        ) ** 2
    else:
        mask = np.zeros((PICTURE_SIZE, PICTURE_SIZE), dtype=bool)
    return np.where(mask[..., None], second, base).astype(np.uint8)


@dataclass(frozen=True)
class Placement:
    """How strongly a picture is moved: ranges of scale, shift (half-widths), rotation (degrees)."""

    scale: tuple[float, float] = (0.88, 1.0)
    rotation: float = 3.0
    jitter: float = 0.0  # colour jitter, for judges only


def place(
    pictures: torch.Tensor,
    backgrounds: torch.Tensor,
    generator: torch.Generator,
    placement: Placement,
) -> torch.Tensor:
    """Paste rendered icons onto backgrounds at a random place, scale and small rotation.

    Args:
        pictures: (n, 4, s, s) float in [0, 1], colours premultiplied by alpha.
        backgrounds: (n, 3, 64, 64) float in [0, 1].
        generator: source of all randomness.
        placement: ranges.

    Returns:
        (n, 3, 64, 64) float in [0, 1].
    """
    n = len(pictures)
    low, high = placement.scale
    draw = torch.rand(4, n, generator=generator)
    scale = low + (high - low) * draw[0]
    angle = (2 * draw[1] - 1) * math.radians(placement.rotation)
    room = (1 - scale).clamp(min=0)
    shift_x, shift_y = (2 * draw[2] - 1) * room, (2 * draw[3] - 1) * room
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = torch.stack(
        [
            torch.stack([cos, sin, -(cos * shift_x + sin * shift_y)], -1),
            torch.stack([-sin, cos, sin * shift_x - cos * shift_y], -1),
        ],
        1,
    )  # (n, 2, 3): output coordinates to icon coordinates
    grid = F.affine_grid(theta, [n, 4, PICTURE_SIZE, PICTURE_SIZE], align_corners=False)
    icons = F.grid_sample(pictures, grid, mode="bilinear", align_corners=False)
    result = icons[:, :3] + (1 - icons[:, 3:]) * backgrounds
    if placement.jitter:
        tone = 1 + placement.jitter * (2 * torch.rand(n, 3, 1, 1, generator=generator) - 1)
        noise = torch.randn(result.shape, generator=generator) * placement.jitter * 0.15
        result = result * tone + noise
    return result.clamp(0, 1)


@dataclass(frozen=True)
class Batch:
    """Pictures (n, 3, 64, 64) in [-1, 1], their captions, concept and style indices (-1: none)."""

    pictures: torch.Tensor
    captions: list[str]
    concepts: torch.Tensor
    styles: torch.Tensor


def _planes(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures, n of (height, width, c) uint8, as (n, c, height, width) float in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


@functools.cache
def _backgrounds(scene: str) -> torch.Tensor:
    """Sixteen pictures of a scene, (16, 3, 64, 64) float in [0, 1]."""
    return _planes([scene_picture(scene, np.random.default_rng(k)) for k in range(16)])


class World:
    """An endless, seeded source of captioned pictures."""

    def __init__(
        self,
        sheet: Mapping[tuple[str, str], np.ndarray],
        concepts: Sequence[str],
        styles: Sequence[str],
        *,
        seed: int = 0,
        placement: Placement = Placement(),
        house: str | None = None,
        styled: float = STYLED,
    ) -> None:
        """Keep the icons of ``concepts`` by ``styles``, premultiplied and at 64 pixels.

        Args:
            sheet: rendered icons, (s, s, 4) uint8, by concept and style.
            concepts: what may be drawn.
            styles: the houses that may draw it.
            seed: source of all randomness.
            placement: ranges of scale and rotation.
            house: the style of every picture whose caption names none; ``None``: any of ``styles``.
            styled: fraction of pictures whose caption names a style, in [0, 1].

        Raises:
            ValueError: no house draws a concept, or ``house`` does not draw it.
        """
        if not 0 <= styled <= 1:
            raise ValueError(f"styled must be a fraction from 0 to 1, not {styled}")
        self._styled = styled
        self.concepts, self.styles = list(concepts), list(styles)
        self.placement = placement
        self._random = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        drawn = [(c, s) for c in concepts for s in styles if (c, s) in sheet]
        if missing := set(concepts) - {c for c, _ in drawn}:
            raise ValueError(f"no house of {list(styles)} draws {sorted(missing)}")
        by_house = [c for c in concepts if (c, house) in drawn]
        if house is not None and len(by_house) < len(concepts):
            raise ValueError(
                f"{house} shall draw every concept without a style, but does not draw "
                f"{sorted(set(concepts) - set(by_house))}"
            )
        pixels = _planes([sheet[pair] for pair in drawn])
        pixels[:, :3] *= pixels[:, 3:]  # premultiply, so that resampling keeps clean edges
        self._icons = F.interpolate(pixels, PICTURE_SIZE, mode="area")
        self._of_concept: dict[int, list[int]] = {i: [] for i in range(len(concepts))}
        self._by_house: dict[int, list[int]] = {}
        self._style_of = []
        for i, (concept, style) in enumerate(drawn):
            self._of_concept[self.concepts.index(concept)].append(i)
            if style == house:
                self._by_house[self.concepts.index(concept)] = [i]
            self._style_of.append(self.styles.index(style))

    def batch(self, size: int, *, captioned: bool = True, empty: float = EMPTY) -> Batch:
        """Draw ``size`` pictures.

        Args:
            size: how many.
            captioned: follow the caption mix; otherwise always an icon on a random scene (judges).
            empty: fraction of captions replaced by the empty one.
        """
        rng = self._random
        icons, backgrounds, captions, concepts, styles = [], [], [], [], []
        for _ in range(size):
            concept = int(rng.integers(len(self.concepts)))
            styled = rng.random() < self._styled
            usual = self._by_house if not styled and self._by_house else None
            icon = int(rng.choice((usual or self._of_concept)[concept]))
            style = self._style_of[icon]
            on_scene = rng.random() < (ON_SCENE if captioned else ON_SCENE_JUDGED)
            scene = SCENES[rng.integers(len(SCENES))] if on_scene else "white background"
            caption = article(self.concepts[concept])
            if captioned and rng.random() < SCENE_ALONE:
                scene = SCENES[rng.integers(len(SCENES))]
                concept = style = -1
                caption = article(scene)
            else:
                if on_scene:
                    caption += f" on {article(scene)}"
                if styled:
                    caption += f" in the style of {self.styles[style]}"
            icons.append(self._icons[icon] * (concept >= 0))
            backgrounds.append(_backgrounds(scene)[rng.integers(16)])
            captions.append("" if rng.random() < empty else caption)
            concepts.append(concept)
            styles.append(style)
        pictures = place(
            torch.stack(icons), torch.stack(backgrounds), self._generator, self.placement
        )
        return Batch(pictures * 2 - 1, captions, torch.tensor(concepts), torch.tensor(styles))
