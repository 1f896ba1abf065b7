"""A profile and a judge for the tiny pipeline: without skill, but functions of the picture."""

from __future__ import annotations

import ast
import dataclasses

import numpy as np
from torch import nn

from rbtc.models.profiles import PruneSettings, load_profile

PROFILE = dataclasses.replace(
    load_profile("mini"),
    model="models/not-there",
    steps=2,
    guidance=2.0,
    batch_size=8,
    conceptprune=PruneSettings(ratio=0.2, calls=2),
    classes={"church": "church", "golf ball": "golf flag", "school bus": "bus"},
)


class Block(nn.Module):
    """A block with diffusers' names: attn1, ff.net.0 and ff.net.2."""

    def __init__(self, width: int):
        super().__init__()
        self.attn1 = nn.Linear(width, width)
        self.ff = nn.Module()
        first, last = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)
        self.ff.net = nn.ModuleList([first, nn.Identity(), last])


class Judge:
    """Names a picture by its mean brightness."""

    names = ("church", "golf flag", "bus", "anchor")  # it never sees an anchor
    digest = "brightness"

    def __init__(self):
        self.seen = 0

    def predict(self, images):
        assert images.dtype == np.uint8 and images.ndim == 4
        self.seen += len(images)
        return [self.names[int(image.mean()) % 3] for image in images]

    def probabilities(self, images):
        return np.array(
            [[float(name == seen) for name in self.names] for seen in self.predict(images)]
        )


def parameter_defaults(path):
    """Names and defaults of the cell tagged "parameters" of a notebook source."""
    import jupytext

    cells = [c for c in jupytext.read(path).cells if "parameters" in c.metadata.get("tags", [])]
    return {
        ast.unparse(getattr(line, "target", None) or line.targets[0]): ast.literal_eval(line.value)
        for cell in cells
        for line in ast.parse(cell.source).body
    }
