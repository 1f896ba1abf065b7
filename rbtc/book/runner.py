"""Make the book: execute notebooks into pages, judge the pages, build the site.

    python -m rbtc.book run [NAMES] [--full] [--cold] [-p NAME VALUE]
    python -m rbtc.book sync
    python -m rbtc.book gate
    python -m rbtc.book build

A page appears in book/notebooks only when its whole notebook ran without an error. Parameters come
from data/book.toml (`quick`, or `full` with --full), then from -p; one that a notebook does not
have stops the run before any work is done. With --cold the run begins with an empty store of its
own: slower, and its minutes are those of a first run.
"""

import argparse
import contextlib
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbtc.book import stamp
from rbtc.book.gate import gate
from rbtc.book.origin import INJECTED, origin, page_outputs
from rbtc.book.pages import Book, fit_parameters, parameter_defaults, source_hash
from rbtc.files import check_writable, write_whole
from rbtc.report import outputs

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDED = "hide-input"
"""Tag of a cell whose code the site folds."""

HIDDEN = "remove-cell"
"""Tag of a cell that the site leaves out: parameters, which the stamp at the foot shows."""


KERNEL_HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""


class ChangedError(ValueError):
    """A notebook's source changed while it ran."""


@dataclass(frozen=True)
class Plan:
    """One chapter to run.

    Attributes:
        name: The chapter.
        mode: "quick" or "full".
        given: Parameters to inject: the mode's settings and the command line's.
        overrides: Those of the command line.
        defaults: All parameters of the notebook, with their defaults.
        cold: Whether the run began with an empty store.
    """

    name: str
    mode: str
    given: Mapping[str, Any]
    overrides: Mapping[str, Any]
    defaults: Mapping[str, Any]
    cold: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the run."""
        return {**self.defaults, **self.given}

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        return stamp.command_line(
            self.name,
            full=self.mode == "full",
            overrides=dict(self.overrides),
            cold=self.cold,
        )


def run(
    book: Book,
    names: Sequence[str] = (),
    *,
    full: bool = False,
    cold: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    """Execute chapters (all by default) one after the other; return the names that failed.

    The page of a chapter that fails stays as it was. With ``cold`` all chapters share one store
    that is empty at first and removed at the end. Raises ValueError, before any notebook is
    started, for an unknown chapter, an unknown parameter or a value of the wrong type, and OSError
    for a book that cannot be written to.
    """
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
    failed = []
    with _empty_store() if cold else contextlib.nullcontext():
        for plan in plans:
            name = plan.name
            try:
                execute(book, plan)
            except _notebook_errors() as error:
                print(f"{name} failed: {error}", file=sys.stderr)
                failed.append(name)
    return failed


def execute(book: Book, plan: Plan) -> Path:
    """Execute one chapter and put its page and its files in place; return the page's path.

    The kernel's working folder is the book's root. What the chapter writes is collected elsewhere
    and published together with the page, when the whole notebook has run.
    """
    import nbformat
    import papermill

    name = plan.name
    sync(book, name)
    source = book.source(name)
    made_from = source_hash(source)
    started = time.time()
    # Papermill writes its output even when it fails, and a killed run leaves it half done: away
    # from the book until it is whole.
    with tempfile.TemporaryDirectory(prefix="rbtc-book-") as folder:
        output, files = Path(folder) / f"{name}.ipynb", Path(folder) / "files"
        environment = {
            stamp.STARTED: str(started),
            stamp.COMMAND: plan.command,
            stamp.PARAMETERS: json.dumps(plan.parameters),
            stamp.COLD: "1" if plan.cold else "0",
            outputs.OUTPUT: str(files),
            # Figures appear on the page whatever backend this process was told to use.
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            # The kernel imports the same rbtc as this process, installed or not.
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
            ),
        }
        progress_bar: Any = {"desc": name, "dynamic_ncols": True}
        with _environment(environment):
            papermill.execute_notebook(
                str(book.twin(name)),
                str(output),
                parameters=dict(plan.given),
                kernel_name="python3",
                cwd=str(book.root),
                progress_bar=progress_bar,
                stderr_file=sys.stderr,  # the library's own progress bars, while they move
            )
        notebook = nbformat.read(output, as_version=4)
        if source_hash(source) != made_from:
            raise ChangedError(f"{source} was changed while it ran: run it again")
        written = {
            path.relative_to(files).as_posix(): path
            for path in sorted(files.rglob("*"))
            if path.is_file()
        }
        told = _told(notebook)
        _tidy(notebook, name)
        notebook.metadata["rbtc"] = {
            "name": name,
            **origin(source, told.get("rbtc_origin", {})),
            "files": {key: outputs.file_digest(path) for key, path in written.items()},
            "outputs_sha256": page_outputs(notebook),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "mode": plan.mode,
            "cold": plan.cold,
            "overrides": dict(plan.overrides),
            "parameters": plan.parameters,
            "device": told.get("rbtc_device", ""),
            "wall_seconds": round(time.time() - started, 1),
            "commit": stamp.commit(book.root),
            "versions": stamp.versions(),
            "command": plan.command,
        }
        return _publish(book, name, notebook, written)


def _publish(book: Book, name: str, notebook: Any, written: Mapping[str, Path]) -> Path:
    """Put a page and its files in place, and remove files that only its last edition had."""
    import nbformat

    page = book.page(name)
    before: dict[str, str] = {}
    if page.is_file():
        with contextlib.suppress(ValueError, AttributeError):
            before = nbformat.read(page, as_version=4).metadata.get("rbtc", {}).get("files", {})
    for key, path in written.items():
        write_whole(book.root / key, lambda target, path=path: shutil.copyfile(path, target))
    write_whole(page, lambda target: nbformat.write(notebook, target))
    for key in before.keys() - written.keys():
        (book.root / key).unlink(missing_ok=True)
    return page


def sync(book: Book, name: str) -> None:
    """Make the paired notebook from the source; never the other way, whichever file is newer.

    Cells that did not change keep their ids. A source without a kernel gets one first: papermill
    refuses a notebook that names no language.
    """
    from jupytext.cli import jupytext

    source = book.source(name)
    text = source.read_text(encoding="utf-8")
    if "kernelspec:" not in text.partition("# %%")[0]:
        source.write_text(KERNEL_HEADER + text, encoding="utf-8")
    update = ["--update"] if book.twin(name).is_file() else []
    jupytext(["--quiet", "--to", "ipynb", *update, str(source)])


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


def _notebook_errors() -> tuple[type[Exception], ...]:
    """What a notebook's own failure looks like, as opposed to a fault of the runner."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillException

    return (PapermillException, DeadKernelError, CellTimeoutError, ChangedError)


def _told(notebook: Any) -> dict[str, Any]:
    """What the page's stamp told beside what it shows; empty for a notebook without a stamp."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "rbtc_origin" in (found := output.get("metadata", {})):
                told = dict(found)
                output["metadata"] = {}
                return told
    return {}


def _tidy(notebook: Any, name: str) -> None:
    """Drop what says nothing about the results: paths, per-cell times, finished progress bars.

    The site folds the code of every cell; one click opens it. Parameters are shown once, in the
    stamp: their cells, the defaults and those of the run, are left out of the site.
    """
    papermill = notebook.metadata.get("papermill", {})
    papermill["input_path"] = f"notebooks/{name}.ipynb"
    papermill["output_path"] = f"book/notebooks/{name}.ipynb"
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.setdefault("tags", [])
        wanted = [FOLDED, HIDDEN] if {INJECTED, "parameters"} & set(tags) else [FOLDED]
        tags.extend(tag for tag in wanted if tag not in tags)
        # Progress bars and warnings were shown in the terminal; they carry this machine's paths.
        kept = [
            output
            for output in cell.outputs
            if not (output.output_type == "stream" and output.name == "stderr")
        ]
        cell.outputs = kept


@contextlib.contextmanager
def _empty_store() -> Iterator[None]:
    """A cache that is empty at first, for the kernels of one run; the user's own is left alone."""
    with (
        tempfile.TemporaryDirectory(prefix="rbtc-cold-") as folder,
        _environment({"RBTC_CACHE": folder}),
    ):
        yield


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the kernel, put back afterwards."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


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
        failed = run(book, options.names, full=options.full, cold=options.cold, overrides=overrides)
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
