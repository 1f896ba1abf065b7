"""The book's files: notebook sources, their parameters, and the executed pages.

A chapter is three files: `notebooks/NAME.py` (the source), `notebooks/NAME.ipynb` (its un-executed
twin, which papermill reads) and `book/notebooks/NAME.ipynb` (the executed page that is published).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbtc.files import read_text, write_whole


@dataclass(frozen=True)
class Book:
    """Where the book's files lie, below `root`."""

    root: Path

    def source(self, name: str) -> Path:
        """The py:percent source of chapter `name`."""
        return self.root / "notebooks" / f"{name}.py"

    def twin(self, name: str) -> Path:
        """The un-executed notebook paired with the source."""
        return self.source(name).with_suffix(".ipynb")

    def page(self, name: str) -> Path:
        """The executed notebook."""
        return self.root / "book" / "notebooks" / f"{name}.ipynb"

    def names(self) -> list[str]:
        """Names of all chapters with a source, sorted. FileNotFoundError if there is none."""
        names = sorted(path.stem for path in (self.root / "notebooks").glob("*.py"))
        if not names:
            raise FileNotFoundError(
                f"no notebooks/*.py in {self.root}: run in a clone of the repository, "
                "or name one with --root"
            )
        return names


def read_page(path: Path) -> Any:
    """An executed page.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no notebook; the message names it.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        return notebook
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError,
            nbformat.ValidationError) as error:  # fmt: skip
        why = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the page {path} is damaged ({why}): make it again with rbtc book run "
            f"{path.stem}, or bring it back from git"
        ) from error


def read_source(path: Path) -> Any:
    """A chapter's source as a notebook.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is none; the message names it.
    """
    import jupytext

    text = read_text(path)
    try:
        return jupytext.reads(text, "py:percent")
    except Exception as error:  # whatever YAML and nbformat make of its front matter
        raise ValueError(f"{path} is no notebook's source: {error}") from error


def cells(notebook: Any, *, tags: bool = False) -> list[tuple[str, ...]]:
    """Kind and text of every cell; its tags too, if asked."""
    return [
        (cell.cell_type, cell.source.strip(), *(cell.metadata.get("tags", []) if tags else ()))
        for cell in notebook.cells
    ]


def pictures(page: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every PNG that a page shows: the index of its cell, and the output's data by MIME type."""
    for index, cell in enumerate(page.cells):
        for output in cell.get("outputs", ()):
            if "image/png" in (data := output.get("data", {})):
                yield index, data


def write_changed(path: Path, content: bytes) -> Path:
    """Write a file whole, unless it holds this already; returns ``path``."""
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, lambda place: place.write_bytes(content))
    return path


def replaced(text: str, begin: str, end: str, part: str, page: str) -> str:
    """`text` with `part`, which brings the markers with it, in place of what stands between them.

    Raises:
        ValueError: the markers are not there once each; `page` is named.
    """
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must hold {begin} and {end} once each")
    head, rest = text.split(begin)
    return head + part + rest.split(end)[1]
