"""Executing one chapter: papermill away from the book, then page and files put in place at once."""

import contextlib
import datetime
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rbtc.book import stamp
from rbtc.book.origin import FACTS, INJECTED, facts_digest, origin, page_outputs
from rbtc.book.pages import Book, source_hash
from rbtc.book.palette import slim
from rbtc.files import write_whole
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


def execute(book: Book, plan: Plan, *, log: IO[str] | None = None) -> Path:
    """Execute one chapter and put its page and its files in place; return the page's path.

    The kernel's working folder is the book's root. What the chapter writes is collected elsewhere
    and published together with the page, when the whole notebook has run.

    Args:
        book: the book.
        plan: what to run.
        log: where the kernel's progress bars and warnings go, and no bar is shown here: for
            chapters that run side by side. ``None``: the terminal.
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
        progress_bar: Any = {"desc": name, "dynamic_ncols": True} if log is None else False
        with environment_of(environment):
            papermill.execute_notebook(
                str(book.twin(name)),
                str(output),
                parameters=dict(plan.given),
                kernel_name="python3",
                cwd=str(book.root),
                progress_bar=progress_bar,
                stderr_file=log or sys.stderr,  # the library's own progress bars, while they move
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
        slim(notebook)
        facts = {
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
        notebook.metadata["rbtc"] = {**facts, FACTS: facts_digest(facts)}
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
    refuses a notebook that names no language. A twin that is damaged is made as if there were none.
    """
    import nbformat
    from jupytext.cli import jupytext

    source = book.source(name)
    text = source.read_text(encoding="utf-8")
    if "kernelspec:" not in text.partition("# %%")[0]:
        source.write_text(KERNEL_HEADER + text, encoding="utf-8")
    update = []
    if (twin := book.twin(name)).is_file():
        try:
            nbformat.validate(nbformat.read(twin, as_version=4))
            update = ["--update"]
        except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError):
            pass  # written over below
    jupytext(["--quiet", "--to", "ipynb", *update, str(source)])


def notebook_errors() -> tuple[type[Exception], ...]:
    """What a notebook's own failure looks like, as opposed to a fault of the runner."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillException

    return (PapermillException, DeadKernelError, CellTimeoutError, ChangedError)


def log_of(book: Book, name: str) -> Path:
    """The file for what is too long for the terminal; its folder is made."""
    path = book.root / "_build" / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def failure(error: Exception) -> str:
    """How a notebook failed, in a line: the cell, and its error's type and message."""
    from papermill.exceptions import PapermillExecutionError

    if not isinstance(error, PapermillExecutionError):
        return " ".join(str(error).split())
    told = " ".join(str(error.evalue).split())
    return f"code cell {error.exec_count} raised {error.ename}: {told}"


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
def environment_of(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for kernels, put back afterwards."""
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
