"""The gate: judge every executed page before the site is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbtc.book.pages import Book, cells, read_page, read_source

SIZE_LIMIT = 2_000_000  # bytes a page; larger ones are slow to open and heavy to clone


def problems(book: Book, name: str) -> list[str]:
    """Everything that keeps the page of chapter `name` from being published; empty if nothing."""
    source, page = book.source(name), book.page(name)
    if not source.is_file():
        return ["has no source: delete the page, or bring back its notebooks/*.py"]
    if not page.is_file():
        return ["was never executed"]
    found = []
    if (size := page.stat().st_size) > SIZE_LIMIT:
        found.append(f"is {size / 1e6:.1f} MB, the limit is {SIZE_LIMIT / 1e6:.0f} MB")
    try:
        notebook, made_from = read_page(page), read_source(source)
    except ValueError as error:
        return [*found, f"cannot be read: {error}"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if waiting := sum(cell.execution_count is None for cell in code):
        found.append(f"{waiting} of {len(code)} code cells were not executed")
    errors = [out for cell in code for out in cell.outputs if out.output_type == "error"]
    found += [f"a cell failed with {out.ename}: {out.evalue}" for out in errors]
    if cells(made_from) != cells(notebook):
        found.append("does not hold the cells of its source")
    if not _is_twin(book.twin(name), made_from):
        found.append("notebooks/*.py and *.ipynb differ: rbtc book sync")
    toc = book.root / "_toc.yml"
    if toc.is_file() and f"notebooks/{name}" not in toc.read_text(encoding="utf-8").split():
        found.append("is not listed in _toc.yml")
    return found


def _is_twin(path: Path, source: Any) -> bool:
    """Whether a notebook holds the cells and tags of a source and names a kernel."""
    try:
        twin = read_page(path)
    except (OSError, ValueError):  # missing, or damaged
        return False
    return cells(twin, tags=True) == cells(source, tags=True) and "kernelspec" in twin.metadata


def gate(book: Book) -> bool:
    """Judge every page, print one line for each, and tell whether all may be published."""
    made = {path.stem for path in (book.root / "book" / "notebooks").glob("*.ipynb")}
    good = True
    for name in sorted({*book.names(), *made}):
        found = problems(book, name)
        good = good and not found
        if found:
            print(f"FAIL  {name}  {'; '.join(found)}")
        else:
            print(f"ok    {name}  {book.page(name).stat().st_size / 1000:.0f} kB")
    if not good:
        print("make a page again with: rbtc book run NAME")
    return good
