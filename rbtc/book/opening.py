"""The measured parts of the opening page: three numbers, a card per chapter, machines and minutes.

Everything is read from the committed pages and measurements; `rbtc.book.generated` writes it into
``book/_generated`` and ``book/_static/cards``, from where ``book/intro.md`` includes it.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.book.pages import read_page
from rbtc.models.profiles import load_profile
from rbtc.report import markdown
from rbtc.studies.chapters import study as study_of

MODELS = {"pretrained": "pretrained", "pruned": "pruned", "NMS": "revived"}
"""Models of chapter 08, and what the three numbers are called."""

CARD = (480, 320)
"""Pixels of a card's picture."""

LADDER = (
    ("any CPU with two cores", "`make book`", "the book, from the measurements in the repository"),
    (
        "any CPU with two cores",
        "`rbtc measure --all`",
        "every chapter anew, a few pictures a class",
    ),
    (
        "any CPU overnight, or a small GPU",
        "`rbtc measure --all --full`",
        "with 50 pictures a class",
    ),
    (
        "a GPU that holds Stable Diffusion v1.5",
        "`rbtc measure 08_objects --profile sd15 --hours 1`",
        "the paper's own model",
    ),
)
"""Machine, command and what it gives."""


def numbers(root: Path) -> str:
    """Three cards: the erased class before, after pruning and after the attack, beside the paper.

    Raises:
        FileNotFoundError: chapter 08 was not measured.
        KeyError: it lacks one of the three models.
    """
    study, run = study_of("08_objects", "mini", results=root / "results")
    ours, theirs = study.means("erased"), study.paper_means("erased")
    paper = load_profile("sd15")
    cards = []
    erased = study.hits[study.hits["classes"] == "erased"]
    for model, name in MODELS.items():
        share = ours[model]
        own = erased[erased["model"] == model].groupby("concept")["hit"].mean()
        printed = f"<br>**{theirs[model]:.2f}** the paper's average" if model in theirs else ""
        cards.append(
            f":::{{grid-item-card}} {name}\n**{share.value:.2f}** "
            f"ours, 95 % interval {share.low:.2f} to {share.high:.2f} over pictures; the classes "
            f"from {own.min():.2f} to {own.max():.2f}{printed}\n:::"
        )
    standing = erased[~erased["concept"].isin(study.really_erased())]
    left = standing[standing["model"] == "pruned"].groupby("concept", sort=False)["hit"].mean()
    told = ", ".join(f"{name} {share:.2f}" for name, share in left.items())
    note = (
        f"*Share of pictures in which a judge recognises the erased class, over "
        f"{len(study.subjects)} classes ({ours['pretrained'].n} pictures a model). Ours: the "
        f"miniature, prune ratio {run.settings['ratio']:g}, K = {run.settings['keep_ratio']:g}. "
        f"The paper's: Stable Diffusion v1.5, prune ratio {paper.conceptprune.ratio:g}, "
        f"K = {paper.revive.keep_ratio:g}, the mean of its printed values for these classes. "
        "Compare the steps, not the heights.*"
    )
    if told:
        note += f"\n\n**Pruning left some classes standing**, where little can come back: {told}."
    body = "\n".join(cards)
    return f"::::{{grid}} 1 3 3 3\n:gutter: 2\n:class-container: big\n\n{body}\n::::\n\n{note}\n"


def ladder() -> str:
    """Which machine runs what."""
    lines = [dict(zip(("machine", "command", "what"), line, strict=True)) for line in LADDER]
    return markdown.table(pd.DataFrame(lines)) + "\n"


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
        raise FileNotFoundError(f"{root}/book/notebooks holds no executed page: run `make book`")
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
        "ladder.md": ladder(),
    }

