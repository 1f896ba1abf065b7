"""What README, site and status page show of the measurements: made with the pages.

`rbtc book run` writes it when all chapters were executed, `rbtc book check` compares it. Everything
is read from ``results`` and from the executed pages.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rbtc.audit.findings import KINDS
from rbtc.book import guide, opening, status
from rbtc.book.pages import replaced, write_changed
from rbtc.files import read_json
from rbtc.report import markdown

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def texts(root: Path) -> dict[str, str]:
    """Path below the repository -> what the file has to hold today.

    Raises:
        FileNotFoundError: the model's report, a page or a measurement is missing.
    """
    from rbtc.emoji.report import standing

    report = root / "results" / "emoji_report.json"
    if not report.exists():
        raise FileNotFoundError(f"{report} is missing: run `python -m rbtc.emoji.report`")
    told = standing(read_json(report))
    readme = (root / "README.md").read_text(encoding="utf-8")
    part = "\n".join([BEGIN, told, "", status.summary(root), "", status.minutes_table(root), END])
    sd15 = (root / guide.PAGE).read_text(encoding="utf-8")
    return {
        "README.md": replaced(readme, BEGIN, END, part, "README.md"),
        "book/_generated/standing.md": f"{told}\n",
        "book/_generated/status.md": status.measured(root),
        "book/_generated/findings.md": f"{markdown.table(_findings())}\n",
        **{f"book/_generated/{name}": text for name, text in opening.texts(root).items()},
        str(guide.PAGE): guide.render(sd15, root),
    }


def _findings() -> pd.DataFrame:
    """The kinds of findings of `rbtc audit` and `rbtc scan`, for the page "Audit a release"."""
    return pd.DataFrame({"finding": list(KINDS), "what it means": list(KINDS.values())})


def is_book(root: Path) -> bool:
    """Whether the repository has the pages that these texts are for."""
    return (root / status.PAGE).is_file()


def stale(root: Path) -> list[str]:
    """The files that do not hold what they should."""
    if not is_book(root):
        return []
    return [
        name
        for name, text in texts(root).items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text
    ]


def write(root: Path) -> None:
    """Write what changed, each file whole or not at all."""
    if not is_book(root):
        return
    for name, text in texts(root).items():
        write_changed(root / name, text.encode())
    for name, picture in opening.thumbnails(root).items():
        write_changed(root / "book" / "_static" / "cards" / f"{name}.webp", picture)
