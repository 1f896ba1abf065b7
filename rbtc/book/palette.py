"""Large picture grids get a palette: a page that is light to load and to clone, and looks alike."""

from __future__ import annotations

import base64
import io
from typing import Any

HEAVY = 500_000
"""Bytes from which on a picture gets a palette; charts stay far below."""

COLOURS = 256
"""What a PNG's palette holds at most."""


def slim(notebook: Any) -> None:
    """Give every heavy PNG among a page's outputs a palette of its own, where that is lighter.

    What the pictures show was counted and saved before; this is about how they are displayed.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = base64.b64encode(
                    lighter(base64.b64decode(data["image/png"]))
                ).decode("ascii")


def lighter(png: bytes) -> bytes:
    """A PNG with the 256 colours that fit it best, dithered; as it was if that is not lighter.

    Pictures below `HEAVY` bytes and those that let the page shine through stay as they are.
    """
    from PIL import Image

    if len(png) < HEAVY:
        return png
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGBA")
    if picture.getchannel("A").getextrema() != (255, 255):
        return png
    made = io.BytesIO()
    few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    few.save(made, "PNG", optimize=True)
    return min(made.getvalue(), png, key=len)
