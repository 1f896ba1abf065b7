"""Heavy pictures get a palette, and nothing else changes."""

import base64
import io

import nbformat
import numpy as np
from PIL import Image

from rbtc.book.execute import COLOURS, HEAVY, lighter, slim


def png(pixels):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def smooth_noise(height=500, width=500, channels=3):
    """Many colours that no PNG filter foresees, near one another as in a drawing."""
    rng = np.random.default_rng(0)
    base = np.linspace(40, 200, width)[None, :, None] + rng.normal(0, 12, (height, width, channels))
    return base.clip(0, 255).astype(np.uint8)


def test_a_heavy_picture_keeps_its_size_and_its_look():
    pixels = smooth_noise()
    heavy = png(pixels)
    assert len(heavy) > HEAVY
    light = lighter(heavy)
    assert len(light) < 0.6 * len(heavy)
    back = np.asarray(Image.open(io.BytesIO(light)).convert("RGB")).astype(float)
    assert back.shape == pixels.shape
    assert len(np.unique(back.reshape(-1, 3), axis=0)) <= COLOURS
    # Tiles of 10 x 10 keep their colour: dithering spreads what a palette lacks.
    mean = lambda x: x.reshape(50, 10, 50, 10, 3).mean(axis=(1, 3))  # noqa: E731
    assert np.abs(mean(back) - mean(pixels.astype(float))).mean() < 2


def test_small_and_see_through_pictures_stay_as_they_are():
    small = png(smooth_noise(20, 20))
    assert lighter(small) is small
    see_through = smooth_noise(channels=4)
    see_through[0, 0, 3] = 0
    heavy = png(see_through)
    assert len(heavy) > HEAVY and lighter(heavy) is heavy


def test_all_pictures_of_a_page_and_only_pictures():
    heavy, small = png(smooth_noise()), png(smooth_noise(20, 20))
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={"image/png": base64.b64encode(one).decode(), "text/plain": "<Figure>"},
        )
        for one in (heavy, small)
    ]
    table = nbformat.v4.new_output("display_data", data={"text/html": "<table></table>"})
    cell = nbformat.v4.new_code_cell("1", outputs=[*outputs, table])
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text"), cell])
    slim(page)
    found = [base64.b64decode(o.data["image/png"]) for o in cell.outputs[:2]]
    assert found == [lighter(heavy), small]
    assert cell.outputs[0].data["text/plain"] == "<Figure>"
    assert cell.outputs[2].data == {"text/html": "<table></table>"}
