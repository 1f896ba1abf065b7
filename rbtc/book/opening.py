"""The measured parts of the opening page: three numbers, a card per chapter, machines and minutes.

Everything is read from the committed pages and results files; `python -m rbtc.book.readme` writes
it into ``book/_generated`` and ``book/_static/cards``, from where ``book/intro.md`` includes it.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.book.pages import read_page
from rbtc.files import write_whole
from rbtc.models.profiles import load_profile
from rbtc.report import markdown

MODELS = {"pretrained": "pretrained", "pruned": "pruned", "NMS": "revived"}
"""Lines of chapter 08's totals, and what the three numbers are called."""

CARD = (480, 320)
"""Pixels of a card's picture."""

LADDER = (
    ("any CPU with two cores", "mini", "quick", "every chapter, a few pictures a class"),
    ("any CPU overnight, or a small GPU", "mini", "full", "every chapter, 100 pictures a class"),
    ("a GPU that holds Stable Diffusion v1.5", "sd15", "quick", "the paper's own model"),
)
"""Machine, profile, mode and what it is good for."""


def numbers(root: Path) -> str:
    """Three cards: the erased class before, after pruning and after the attack, beside the paper.

    Raises:
        FileNotFoundError: chapter 08 was never run.
        KeyError: its totals lack one of the three models.
    """
    totals = _results(root, "08_totals")
    classes = _results(root, "08_objects")["concept"].nunique()
    own = totals[totals["column"] == "erased class"].set_index("row")
    ours, theirs = load_profile("mini"), load_profile("sd15")
    cards = []
    for row, name in MODELS.items():
        line = own.loc[row]
        cards.append(
            f":::{{grid-item-card}} {name}\n**{line['ours']:.2f}** "
            f"ours, 95 % interval {line['low']:.2f} to {line['high']:.2f}<br>"
            f"**{line['paper']:.2f}** the paper's average\n:::"
        )
    note = (
        f"*Share of pictures in which a judge recognises the erased class, over {classes} classes "
        f"({int(own.loc['pretrained', 'n'])} pictures a model). Ours: the miniature, prune ratio "
        f"{ours.conceptprune.ratio:g}, K = {ours.revive.keep_ratio:g}. The paper's: Stable "
        f"Diffusion v1.5, prune ratio {theirs.conceptprune.ratio:g}, "
        f"K = {theirs.revive.keep_ratio:g}, the mean of its printed values for these classes. "
        "Compare the steps, not the heights.*"
    )
    body = "\n".join(cards)
    return f"::::{{grid}} 1 3 3 3\n:gutter: 2\n:class-container: big\n\n{body}\n::::\n\n{note}\n"


def ladder(root: Path) -> str:
    """Which machine runs what, with the minutes of a first run where the committed pages have it.

    Raises:
        FileNotFoundError: no page was ever executed.
    """
    facts = [page.metadata["rbtc"] for page in pages(root).values()]
    lines = []
    for machine, profile, mode, what in LADDER:
        own = [
            one for one in facts
            if one["mode"] == mode and one.get("parameters", {}).get("profile", "mini") == profile
        ]  # fmt: skip
        lines.append(
            {
                "machine": machine,
                "profile": f"`{profile}`",
                "what": what,
                "command": f"`{_command(profile, mode)}`",
                "minutes of a first run": _minutes(own),
            }
        )
    return markdown.table(pd.DataFrame(lines)) + "\n"


def _command(profile: str, mode: str) -> str:
    words = ["python -m rbtc.book run", "--full" if mode == "full" else ""]
    words.append("" if profile == "mini" else f"-p profile {profile}")
    return " ".join(filter(None, words))


def _minutes(facts: list[Mapping[str, Any]]) -> str:
    """Minutes of pages that ran with an empty store, and how many pages they are."""
    cold = [one for one in facts if one.get("cold")]
    if not cold:
        return "not measured"
    total = sum(float(one["wall_seconds"]) for one in cold) / 60
    where = " and ".join(dict.fromkeys(one.get("device") or "not recorded" for one in cold))
    return f"{total:.0f} ({len(cold)} chapters, {where})"


def chapters(root: Path) -> str:
    """A card per chapter, in the order of the table of contents: picture, title and question."""
    cards = []
    for name, page in pages(root).items():
        title, question = _heading(page)
        picture = f":img-top: _static/cards/{name}.webp\n:img-alt: First figure of {title}\n"
        cards.append(
            f":::{{grid-item-card}} {title}\n:link: notebooks/{name}\n:link-type: doc\n"
            f"{picture if _first_picture(page) else ''}\n{question}\n:::"
        )
    return "::::{grid} 1 2 3 3\n:gutter: 3\n\n" + "\n".join(cards) + "\n::::\n"


def thumbnails(root: Path) -> dict[str, bytes]:
    """Chapter -> its first figure as a small WebP, for those that have a figure."""
    found = {name: _first_picture(page) for name, page in pages(root).items()}
    return {name: _small(picture) for name, picture in found.items() if picture}


def pages(root: Path) -> dict[str, Any]:
    """The executed pages in the order of ``_toc.yml``; those that were never executed left out.

    Raises:
        FileNotFoundError: there is none.
    """
    listed = re.findall(r"file: notebooks/(\w+)", (root / "_toc.yml").read_text(encoding="utf-8"))
    paths = {name: root / "book" / "notebooks" / f"{name}.ipynb" for name in listed}
    found = {n: read_page(path) for n, path in paths.items() if path.is_file()}
    if not found:
        raise FileNotFoundError(f"{root}/book/notebooks holds no executed page: run `make run`")
    return found


def _heading(page: Any) -> tuple[str, str]:
    """A page's title, and the question that its introduction sets in bold."""
    text = next(cell.source for cell in page.cells if cell.cell_type == "markdown")
    title = text.partition("\n")[0].lstrip("# ").strip()
    question = re.search(r"\*\*(.+?)\*\*", text, re.DOTALL)
    return title, " ".join(question[1].split()) if question else ""


def _first_picture(page: Any) -> bytes | None:
    for cell in page.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in (data := output.get("data", {})):
                return base64.b64decode(data["image/png"])
    return None


def _small(png: bytes) -> bytes:
    """The upper part of a figure on white, `CARD` pixels."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    sheet = Image.new("RGBA", picture.size, "white")
    sheet.alpha_composite(picture)
    sheet = sheet.convert("RGB").resize(
        (CARD[0], max(1, round(picture.height * CARD[0] / picture.width))), Image.Resampling.LANCZOS
    )
    card = Image.new("RGB", CARD, "white")
    card.paste(sheet, (0, max(0, (CARD[1] - sheet.height) // 2)))
    target = io.BytesIO()
    card.save(target, format="webp", quality=80, method=6)
    return target.getvalue()


def texts(root: Path) -> dict[str, str]:
    """File below ``book/_generated`` -> what it has to hold today."""
    return {
        "numbers.md": numbers(root),
        "chapters.md": chapters(root),
        "ladder.md": ladder(root),
    }


def stale(root: Path) -> list[str]:
    """The generated files that do not hold what they should."""
    folder = root / "book" / "_generated"
    return [
        name
        for name, text in texts(root).items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def write(root: Path) -> None:
    """Write the generated files and the cards' pictures, each whole or not at all."""
    for name, text in texts(root).items():
        write_whole(
            root / "book" / "_generated" / name,
            lambda target, text=text: target.write_text(text, encoding="utf-8"),
        )
    for name, picture in thumbnails(root).items():
        write_whole(
            root / "book" / "_static" / "cards" / f"{name}.webp",
            lambda target, picture=picture: target.write_bytes(picture),
        )


def _results(root: Path, name: str) -> pd.DataFrame:
    path = root / "results" / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `python -m rbtc.book run 08_objects`")
    return pd.read_csv(path)
