"""The book's files: notebook sources, their parameters, and the gate that judges executed pages.

A chapter is three files: `notebooks/NAME.py` (the source), `notebooks/NAME.ipynb` (its un-executed
twin, which papermill reads) and `book/notebooks/NAME.ipynb` (the executed page that is published).
"""

import ast
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbtc.stamp import duration

SIZE_LIMIT = 2_000_000  # bytes a page; larger ones are slow to open and heavy to clone
MODES = ("quick", "full")


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

    def settings(self, name: str, mode: str) -> dict[str, Any]:
        """Parameters of `name` in `data/book.toml`, table `[NAME.quick]` or `[NAME.full]`."""
        path = self.root / "data" / "book.toml"
        tables = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        chapter = tables.get(name, {})
        if unknown := set(chapter) - set(MODES):
            raise ValueError(f"{path}: [{name}] holds {sorted(unknown)}, expected only {MODES}")
        return dict(chapter.get(mode, {}))


def source_hash(path: Path) -> str:
    """Sha-256 of a source, independent of the platform's line ends."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def parameter_defaults(path: Path) -> dict[str, Any]:
    """Names and default values of the cell tagged "parameters" of a notebook source.

    A notebook without such a cell takes no parameters. Raises ValueError for a default that is not
    a plain literal: the page could not say what it was made with.
    """
    import jupytext

    defaults: dict[str, Any] = {}
    for cell in jupytext.read(path).cells:
        if cell.cell_type != "code" or "parameters" not in cell.metadata.get("tags", []):
            continue
        for statement in ast.parse(cell.source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    pass
                case _:
                    raise ValueError(
                        f"{path}: the parameters cell may hold only lines like name = value, "
                        f"got {ast.unparse(statement)!r}"
                    )
            try:
                defaults[name] = ast.literal_eval(value)
            except ValueError:
                raise ValueError(
                    f"{path}: the default of parameter {name!r} must be a plain value, "
                    f"got {ast.unparse(value)!r}"
                ) from None
    return defaults


def fit_parameters(given: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> dict:
    """The `given` parameters, checked against the defaults' names and types.

    Strings (from the command line) are read as the default's type: a list may be written
    `church,star`. Raises ValueError for a name that the notebook does not have and for a value of
    another type.
    """
    if unknown := sorted(set(given) - set(defaults)):
        raise ValueError(
            f"notebook {name} has no parameter {', '.join(unknown)}; "
            f"it takes {', '.join(defaults) or 'none'}"
        )
    return {key: _fit(value, defaults[key], f"{name}: {key}") for key, value in given.items()}


def _fit(value: Any, default: Any, what: str) -> Any:
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            names = {"true": True, "false": False, "none": None, "null": None}
            value = names.get(value.lower(), value)
        if isinstance(default, list) and not isinstance(value, list):
            value = list(value) if isinstance(value, tuple) else str(value).split(",")
            value = [item.strip() if isinstance(item, str) else item for item in value]
    if default is None or value is None:
        return value
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
        raise ValueError(
            f"{what} = {value!r} is a {type(value).__name__}, "
            f"expected a {type(default).__name__} like {default!r}"
        )
    return value


def problems(book: Book, name: str) -> list[str]:
    """Everything that keeps the page of chapter `name` from being published; empty if nothing."""
    import nbformat

    source, page = book.source(name), book.page(name)
    if not source.is_file():
        return ["has no source: delete the page, or bring back its notebooks/*.py"]
    if not page.is_file():
        return ["was never executed"]
    found = []
    if (size := page.stat().st_size) > SIZE_LIMIT:
        found.append(f"is {size / 1e6:.1f} MB, the limit is {SIZE_LIMIT / 1e6:.0f} MB")
    try:
        notebook = nbformat.read(page, as_version=4)
    except (ValueError, nbformat.validator.NotebookValidationError) as error:
        return [*found, f"cannot be read: {error}"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if waiting := sum(cell.execution_count is None for cell in code):
        found.append(f"{waiting} of {len(code)} code cells were not executed")
    errors = [out for cell in code for out in cell.outputs if out.output_type == "error"]
    found += [f"a cell failed with {out.ename}: {out.evalue}" for out in errors]
    if notebook.metadata.get("papermill", {}).get("exception"):
        found.append("papermill recorded an exception")
    if not code or "stamp.show(" not in code[-1].source:
        found.append("its last cell does not call rbtc.stamp.show(...)")
    made_from = notebook.metadata.get("rbtc", {}).get("source_sha256")
    if made_from is None:
        found.append("was not made by python -m rbtc.book run")
    elif made_from != source_hash(source):
        found.append("is older than its source")
    if not _twins_agree(book, name):
        found.append("notebooks/*.py and *.ipynb differ: jupytext --sync them")
    toc = book.root / "_toc.yml"
    if toc.is_file() and f"notebooks/{name}" not in toc.read_text(encoding="utf-8").split():
        found.append("is not listed in _toc.yml")
    return found


def _twins_agree(book: Book, name: str) -> bool:
    """Whether the source and its paired notebook hold the same cells and name a kernel."""
    import jupytext

    if not book.twin(name).is_file():
        return False
    pair = [jupytext.read(path) for path in (book.source(name), book.twin(name))]
    cells = [[(cell.cell_type, cell.source.strip()) for cell in half.cells] for half in pair]
    return cells[0] == cells[1] and "kernelspec" in pair[1].metadata


def gate(book: Book) -> bool:
    """Judge every page, print one line for each, and tell whether all may be published."""
    import nbformat

    made = {path.stem for path in (book.root / "book" / "notebooks").glob("*.ipynb")}
    good = True
    for name in sorted({*book.names(), *made}):
        found = problems(book, name)
        good = good and not found
        if found:
            print(f"FAIL  {name}  {'; '.join(found)}")
            continue
        facts = nbformat.read(book.page(name), as_version=4).metadata["rbtc"]
        size = f"{book.page(name).stat().st_size / 1000:.0f} kB"
        when = f"{facts['date']}, {facts['mode']}, {duration(facts['wall_seconds'])}"
        print(f"ok    {name}  {size}  {when}, commit {facts['commit']}")
    if not good:
        print("remake a page with: python -m rbtc.book run NAME")
    return good
