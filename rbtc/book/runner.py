"""Make the book: execute notebooks into pages, judge the pages, build the site.

    python -m rbtc.book run [NAMES] [--full] [--cold] [--jobs N] [-p NAME VALUE]
    python -m rbtc.book sync
    python -m rbtc.book gate
    python -m rbtc.book build

A page appears in book/notebooks only when its whole notebook ran without an error. Parameters come
from data/book.toml (`quick`, or `full` with --full), then from -p; one that a notebook does not
have stops the run before any work is done. With --cold the run begins with an empty store of its
own: slower, and its minutes are those of a first run. Chapters run side by side, one a core.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rbtc.book import status
from rbtc.book.execute import (
    REPOSITORY,
    Plan,
    environment_of,
    execute,
    failure,
    log_of,
    notebook_errors,
    sync,
)
from rbtc.book.gate import gate
from rbtc.book.pages import Book, fit_parameters, parameter_defaults
from rbtc.book.record import write_run
from rbtc.book.schedule import Queue, default_jobs, minutes, run_one_by_one, run_side_by_side
from rbtc.files import check_writable


def run(
    book: Book,
    names: Sequence[str] = (),
    *,
    full: bool = False,
    cold: bool = False,
    jobs: int = 1,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    """Execute chapters (all by default); return the names that failed.

    The page of a chapter that fails stays as it was, and a chapter that reads what it would have
    written (`after` in data/book.toml) is not run and counts as failed. The status page is made
    anew at the end.

    Args:
        book: the book.
        names: chapters; all by default.
        full: with the parameters of the full book.
        cold: all chapters share one store that is empty at first and removed at the end.
        jobs: chapters to run side by side, each in a process of its own.
        overrides: parameters that go over the book's, for every chapter.

    Raises:
        ValueError: before any notebook is started: an unknown chapter, an unknown parameter, a
            value of the wrong type, ``jobs`` below one.
        OSError: the book cannot be written to.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    overrides = dict(overrides or {})
    chosen = _choose(book, names)
    mode = "full" if full else "quick"
    plans = []
    for name in chosen:
        defaults = parameter_defaults(book.source(name))
        given = fit_parameters({**book.settings(name, mode), **overrides}, defaults, name)
        own = {key: given[key] for key in overrides}
        plans.append(Plan(name, mode, given, own, defaults, cold))
    # A page that cannot be put in place must not cost its run first.
    for folder in (book.page("x").parent, book.root / "results", book.root / "notebooks"):
        check_writable(folder)
    queue = Queue(plans, {name: book.after(name) for name in chosen}, minutes(book, chosen))
    began = time.monotonic()
    with _empty_store() if cold else contextlib.nullcontext():
        if jobs == 1 or len(plans) == 1:
            failed = run_one_by_one(queue, lambda plan: attempt(book, plan))
        else:
            failed = run_side_by_side(queue, book, jobs)
    if not failed and chosen == book.names() and not overrides:
        seconds = round(time.monotonic() - began, 1)
        write_run(book, mode=mode, cold=cold, jobs=jobs, seconds=seconds)
    status.renew(book.root)
    return failed


def attempt(book: Book, plan: Plan) -> bool:
    """Execute one chapter here; say how it failed, if it does: in a line, and whole in a log."""
    try:
        execute(book, plan)
    except notebook_errors() as error:
        log = log_of(book, plan.name)
        log.write_text(f"{error}\n", encoding="utf-8")
        print(f"{plan.name} failed: {failure(error)}; all of it: {log}", file=sys.stderr)
        return False
    return True


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


def _choose(book: Book, names: Sequence[str]) -> list[str]:
    known = book.names()
    chosen = [Path(name).stem for name in names] or known
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


@contextlib.contextmanager
def _empty_store() -> Iterator[None]:
    """A cache that is empty at first, for the kernels of one run; the user's own is left alone."""
    with (
        tempfile.TemporaryDirectory(prefix="rbtc-cold-") as folder,
        environment_of({"RBTC_CACHE": folder}),
    ):
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rbtc.book", description="Make the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute notebooks into book/notebooks")
    runner.add_argument("names", nargs="*", help="chapters, like 05_defense (default: all)")
    runner.add_argument("--full", action="store_true", help="the paper's sizes instead of quick")
    runner.add_argument(
        "--cold", action="store_true", help="begin with an empty store, to measure a first run"
    )
    runner.add_argument(
        "--jobs",
        type=int,
        help="chapters to run side by side (default: as many as there are cores, four at most; "
        "one where there is a GPU)",
    )
    runner.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )
    commands.add_parser("sync", help="make notebooks/*.ipynb anew from their sources")
    commands.add_parser("gate", help="check that every page is executed, clean and up to date")
    commands.add_parser("build", help="gate, then build _build/html")
    for command in commands.choices.values():
        command.add_argument("--root", type=Path, default=REPOSITORY, help="the repository")
    options = parser.parse_args(arguments)
    book = Book(options.root.resolve())
    try:
        if options.command == "sync":
            for name in book.names():
                sync(book, name)
            return 0
        if options.command == "gate":
            return 0 if gate(book) else 1
        if options.command == "build":
            return 0 if build(book) else 1
        overrides = dict(options.parameters)
        jobs = default_jobs() if options.jobs is None else options.jobs
        failed = run(
            book,
            options.names,
            full=options.full,
            cold=options.cold,
            jobs=jobs,
            overrides=overrides,
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the chapters that were done are kept", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error}; install the book's tools: pip install -e '.[book]'", file=sys.stderr
        )
        return 2
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
