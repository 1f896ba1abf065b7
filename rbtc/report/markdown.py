"""Tables as Markdown, whose links the book resolves and whose long cells wrap.

A link to a page or to a file of numbers is written relative to the page that shows it; the book
turns one into the other page's address and the other into a download.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rbtc.files import write_whole
from rbtc.report.outputs import output_path


def table(frame: pd.DataFrame, *, index: str | None = None) -> str:
    """A pipe table. Cells are Markdown; a line break within one becomes a space.

    Args:
        frame: values are shown as `str` gives them, missing ones as nothing.
        index: heading of the index column; None leaves the index out.
    """
    shown = frame.reset_index(names=index) if index is not None else frame
    heads = [str(name) for name in shown.columns]
    body = [[_cell(value) for value in line] for line in shown.itertuples(index=False, name=None)]
    rows = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def link(text: str, target: str) -> str:
    """A link; an empty text shows the title of the page it leads to."""
    return f"[{text}]({target})"


def joined(parts: Sequence[str], between: str = "<br>") -> str:
    """Parts in one cell, each once, in order of appearance; empty ones are left out."""
    return between.join(dict.fromkeys(part for part in parts if part))


def save(text: str, path: str | Path) -> Path:
    """Write Markdown for another page to include; return the path.

    A relative path is taken as in `rbtc.report.outputs`. The file appears whole or not at all.
    """
    content = f"{text.strip()}\n"
    return write_whole(
        output_path(path), lambda target: target.write_text(content, encoding="utf-8")
    )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return " ".join(str(value).replace("|", "\\|").split())
