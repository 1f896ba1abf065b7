"""Make the book: execute notebooks into pages, judge the pages, build the site.

    rbtc book run [NAMES] [--jobs N]
    rbtc book check [NAMES] [--jobs N]
    rbtc book sync | gate | build

`run` executes notebooks from the measurements in results/ and puts the pages, their tables and what
README and site include in place. `check` executes them elsewhere and says which committed page
shows another text or table. `build` judges the pages and builds the site. Nothing is drawn:
measuring is `rbtc measure`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from rbtc.book import generated
from rbtc.book.execute import REPOSITORY, Page, execute_all, publish, remove_strays, sync, texts
from rbtc.book.gate import gate
from rbtc.book.pages import Book, read_page
from rbtc.files import check_writable


def run(book: Book, names: Sequence[str] = (), *, jobs: int = 1) -> dict[str, str]:
    """Execute chapters (all by default) and put their pages in place.

    The page of a chapter that fails stays as it was. When all were executed, tables that no page
    writes any more are removed, and the texts of README and site that rest on the pages are made.

    Returns:
        Chapter -> how it failed, for those that did.

    Raises:
        ValueError: an unknown chapter, or ``jobs`` below one.
        OSError: the book cannot be written to.
    """
    chosen = choose(book, names, jobs)
    for folder in (book.page("x").parent, book.root / "results", book.root / "notebooks"):
        check_writable(folder)
    done: list[Page] = []

    def put(page: Page) -> None:
        publish(book, page)
        done.append(page)

    failed = execute_all(book, chosen, jobs, put)
    if not failed:
        remove_strays(book, done)
        generated.write(book.root)
    return failed


def check(book: Book, names: Sequence[str] = (), *, jobs: int = 1) -> dict[str, str]:
    """Execute chapters without touching the book, and compare with the committed pages.

    Texts and tables are compared; pictures are not, as fonts differ between machines.

    Returns:
        Chapter -> what differs or failed.
    """
    found: dict[str, str] = {}

    def compare(page: Page) -> None:
        place = book.page(page.name)
        if not place.is_file():
            found[page.name] = f"{page.name} was never executed"
            return
        told = []
        if part := _first_difference(texts(read_page(place)), texts(page.notebook)):
            told.append(f"{page.name} shows something else: {part}")
        for name, content in page.files.items():
            path = book.root / name
            same = path.is_file() and path.read_bytes() == content
            if not same and path.suffix in (".csv", ".md"):
                told.append(f"{page.name} writes another {name}")
        if told:
            found[page.name] = "; ".join(told)

    found |= execute_all(book, choose(book, names, jobs), jobs, compare)
    if not found and not names and (old := generated.stale(book.root)):
        found["README and site"] = f"out of date: {', '.join(old)}"
    return found


def _first_difference(before: Sequence[str], now: Sequence[str]) -> str:
    """The first place where two lists of texts part, some words of each; nothing if nowhere."""
    for first, second in zip_longest(before, now, fillvalue=""):
        if first != second:
            at = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
            around = slice(max(0, at - 30), at + 50)
            return f"{first[around]!r} is now {second[around]!r}"
    return ""


def build(book: Book) -> bool:
    """Judge the pages, then build `_build/html` with every warning an error; True on success."""
    if not gate(book):
        return False
    program = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))
    program = program or shutil.which("jupyter-book")
    if program is None:
        raise FileNotFoundError("jupyter-book is not installed: pip install -e '.[book]'")
    # --all: after a failing build the pages already written would not be looked at again.
    words = [program, "build", "-W", "-n", "--keep-going", "--all", "book"]
    return subprocess.run(words, cwd=book.root).returncode == 0


def choose(book: Book, names: Sequence[str], jobs: int) -> list[str]:
    """The chapters that names mean, all without any.

    Raises:
        ValueError: an unknown chapter, or ``jobs`` below one.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    known = book.names()
    chosen = [Path(name).stem for name in names] or known
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rbtc book", description="Make the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    cores = min(4, os.cpu_count() or 1)
    for name, what in (
        ("run", "execute notebooks into book/notebooks"),
        ("check", "execute notebooks elsewhere, and compare with the committed pages"),
    ):
        one = commands.add_parser(name, help=what)
        one.add_argument("names", nargs="*", help="chapters, like 05_defense (default: all)")
        one.add_argument("--jobs", type=int, default=cores, help=f"side by side (default {cores})")
    commands.add_parser("sync", help="make notebooks/*.ipynb anew from their sources")
    commands.add_parser("gate", help="check that every page is executed and clean")
    commands.add_parser("build", help="gate, then build _build/html")
    for command in commands.choices.values():
        command.add_argument("--root", type=Path, default=REPOSITORY, help="the repository")
    options = parser.parse_args(arguments)
    book = Book(options.root.resolve())
    if options.command == "sync":
        for name in book.names():
            sync(book, name)
        return 0
    if options.command == "gate":
        return 0 if gate(book) else 1
    if options.command == "build":
        return 0 if build(book) else 1
    work = run if options.command == "run" else check
    failed = work(book, options.names, jobs=options.jobs)
    for told in failed.values():
        print(told, file=sys.stderr)
    if failed and options.command == "check":
        print("to make the pages again: make book, then commit what changed", file=sys.stderr)
    return 1 if failed else 0
