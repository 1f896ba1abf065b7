"""The measured parts of the opening page: three numbers, and a card per chapter.

Everything is read from the committed pages and measurements; `rbtc.book.generated` writes it into
``book/_generated`` and ``book/_static/cards``, from where ``book/intro.md`` includes it.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

from rbtc.book.pages import pictures, read_page
from rbtc.models.profiles import load_profile
from rbtc.studies.chapters import study as study_of

MODELS = {"pretrained": "pretrained", "pruned": "pruned", "NMS": "revived"}
"""Models of chapter 08, and what the three numbers are called."""

CARD = (480, 320)
"""Pixels of a card's picture."""

NUMBERS = """\
::::{{grid}} 1 3 3 3
:gutter: 2
:class-container: big

{cards}
::::

*Share of pictures in which a judge recognises the erased class, over {classes} classes \
({pictures} pictures a model). Ours: the miniature, prune ratio {ours[ratio]:g}, \
K = {ours[keep_ratio]:g}. The paper's: Stable Diffusion v1.5, prune ratio {ratio:g}, \
K = {keep_ratio:g}, the mean of its printed values for these classes. Compare the steps, not the \
heights.*{standing}
"""
NUMBER = """\
:::{{grid-item-card}} {name}
**{ours.value:.2f}** ours, 95 % interval {ours.low:.2f} to {ours.high:.2f} over pictures; the \
classes from {least:.2f} to {most:.2f}{printed}
:::"""
PRINTED = "<br>**{:.2f}** the paper's average"
STANDING = """

**Pruning left some classes standing**, where little can come back: {}."""
CHAPTERS = "::::{{grid}} 1 2 3 3\n:gutter: 3\n\n{}\n::::\n"
CHAPTER = """\
:::{{grid-item-card}} {title}
:link: notebooks/{name}
:link-type: doc
{picture}
{question}
:::"""
PICTURE = """\
:img-top: _static/cards/{name}.webp
:img-alt: First figure of {title}
"""


def numbers(root: Path) -> str:
    """Three cards: the erased class before, after pruning and after the attack, beside the paper.

    Raises:
        FileNotFoundError: chapter 08 was not measured.
        KeyError: it lacks one of the three models.
    """
    study, run = study_of("08_objects", "mini", results=root / "results")
    ours, theirs = study.means("erased"), study.paper_means("erased")
    erased = study.hits[study.hits["classes"] == "erased"]
    cards = []
    for model, name in MODELS.items():
        own = erased[erased["model"] == model].groupby("concept")["hit"].mean()
        printed = PRINTED.format(theirs[model]) if model in theirs else ""
        cards.append(
            NUMBER.format(
                name=name, ours=ours[model], least=own.min(), most=own.max(), printed=printed
            )
        )
    standing = erased[~erased["concept"].isin(study.really_erased())]
    left = standing[standing["model"] == "pruned"].groupby("concept", sort=False)["hit"].mean()
    told = ", ".join(f"{name} {fraction:.2f}" for name, fraction in left.items())
    paper = load_profile("sd15")
    return NUMBERS.format(
        cards="\n".join(cards),
        classes=len(study.subjects),
        pictures=ours["pretrained"].n,
        ours=run.settings,
        ratio=paper.conceptprune.ratio,
        keep_ratio=paper.revive.keep_ratio,
        standing=STANDING.format(told) if told else "",
    )


def chapters(root: Path) -> str:
    """A card per chapter, in the order of the table of contents: picture, title and question."""
    cards = []
    for name, page in pages(root).items():
        title, question = _heading(page)
        picture = PICTURE.format(name=name, title=title) if _first_picture(page) else ""
        cards.append(CHAPTER.format(title=title, name=name, picture=picture, question=question))
    return CHAPTERS.format("\n".join(cards))


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
    _, data = next(pictures(page), (0, None))
    return data and base64.b64decode(data["image/png"])


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
    return {"numbers.md": numbers(root), "chapters.md": chapters(root)}
