"""The book's figures: number, caption, alternative text, and where numbers and code of each lie.

Captions stand in ``book/figures.toml``, in the order of the pages. The code is looked up in the
cell that draws a figure, so a link leads to the line of the commit from which the site is built.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rbtc
from rbtc.book.pages import pictures

FILE = "book/figures.toml"
"""Where captions stand, below the repository."""

_KEYS = ("call", "caption", "alt", "csv")
_NOT_SHOWN = tuple(
    f"{rbtc.__name__}.{part}" for part in ("book", "lab", "report.tables", "studies.common")
)


@dataclass(frozen=True)
class Figure:
    """A figure of a chapter.

    chapter: name of its notebook. number: its place on the page, from 1. call: how the cell calls
    what draws it, "panels.class_lines". caption: what a reader sees below it. alt: alternative
    text. csv: results files with its numbers, without the ending.
    """

    chapter: str
    number: int
    call: str
    caption: str
    alt: str
    csv: tuple[str, ...]

    @property
    def label(self) -> str:
        """`Figure 8.1`, the first of chapter 08."""
        return f"Figure {int(self.chapter.partition('_')[0])}.{self.number}"


@dataclass(frozen=True)
class Code:
    """A function or class, and where it begins: a file below the repository, a line from 1."""

    name: str
    file: str
    line: int


def read_figures(root: Path) -> dict[str, list[Figure]]:
    """Chapter -> its figures, from `FILE`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, an entry lacks something, or a results file is missing.
    """
    path = root / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it holds the captions of the book's figures")
    try:
        chapters = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    return {
        chapter: [_figure(root, chapter, number, entry) for number, entry in enumerate(entries, 1)]
        for chapter, entries in chapters.items()
    }


def _figure(root: Path, chapter: str, number: int, entry: Mapping[str, Any]) -> Figure:
    where = f"{FILE}: [[{chapter}]], number {number}"
    if set(entry) != set(_KEYS):
        raise ValueError(f"{where} holds {sorted(entry)}, expected {', '.join(_KEYS)}")
    for name in entry["csv"]:
        if not (root / "results" / f"{name}.csv").is_file():
            raise ValueError(f"{where}: there is no results/{name}.csv")
    call, caption, alt = (" ".join(entry[key].split()) for key in _KEYS[:3])
    return Figure(chapter, number, call, caption, alt, tuple(entry["csv"]))


def drawn_in(page: Any) -> list[int]:
    """For each figure of an executed page, in order, the index of the cell that shows it."""
    return [index for index, _ in pictures(page)]


def paired(figures: Sequence[Figure], page: Any) -> list[tuple[Figure | None, int]]:
    """Every figure of an executed page with its description and its cell, in order.

    A page that was made elsewhere, or with other parameters, may lack a figure or have one more:
    that one has no description.
    """
    found: list[tuple[Figure | None, int]] = []
    waiting = list(figures)
    for index in drawn_in(page):
        source = page.cells[index].source
        place = next((i for i, one in enumerate(waiting) if f"{one.call}(" in source), None)
        found.append((None if place is None else waiting[place], index))
        if place is not None:
            del waiting[: place + 1]
    return found


def code_of(page: Any, index: int, call: str, root: Path) -> list[Code]:
    """The functions behind a figure: first what draws it, then what made the values it shows.

    Args:
        page: the executed notebook.
        index: of the cell that shows the figure.
        call: what draws it, as the cell calls it.
        root: the repository, to which files are relative.
    """
    before = [ast.parse(c.source) for c in page.cells[: index + 1] if c.cell_type == "code"]
    nodes = [node for tree in before for node in ast.walk(tree)]
    names = {  # in the notebook -> full name, of what comes from this package
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(rbtc.__name__)
        for alias in node.names
    }
    made: dict[str, list[str]] = {}  # variable -> what was called for it
    for node in nodes:
        if isinstance(node, ast.Assign) and (called := list(_called(node.value, names))):
            made |= {target.id: called for target in node.targets if isinstance(target, ast.Name)}
    here = before[-1]
    paths = [_full(call, names), *_called(here, names)]
    for node in ast.walk(here):
        if isinstance(node, ast.Name):
            paths += made.get(node.id, ())
    found = [_located(path, root) for path in dict.fromkeys(filter(None, paths))]
    return [code for code in found if code is not None]


def _called(tree: ast.AST, names: Mapping[str, str]) -> Iterator[str]:
    """Full names of this package's functions that are called in a piece of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (path := _full(ast.unparse(node.func), names)):
            yield path


def _full(call: str, names: Mapping[str, str]) -> str:
    first, dot, rest = call.partition(".")
    path = f"{names[first]}{dot}{rest}" if first in names else ""
    return "" if path.startswith(_NOT_SHOWN) else path


def _located(path: str, root: Path) -> Code | None:
    """Where a function is defined; None for what is no function or class of the repository."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
        file = Path(inspect.getsourcefile(found) or "").resolve()
        line = inspect.getsourcelines(found)[1]
    except (ImportError, AttributeError, TypeError, OSError):
        return None
    if not file.is_relative_to(root.resolve()):
        return None
    return Code(name, file.relative_to(root.resolve()).as_posix(), line)
