"""Executing chapters: papermill away from the book, then page and files put in place at once.

A page is a program that reads measurements (`rbtc.results`), so executing it takes seconds and
gives the same bytes every time. Nothing is drawn.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbtc.book.pages import Book, cells, pictures, read_page, read_source, write_changed
from rbtc.files import read_text, write_whole
from rbtc.report import outputs
from rbtc.writing import made_whole

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDED = "hide-input"
"""Tag of a cell whose code the site folds."""
HIDDEN = "remove-cell"
"""Tag of a cell that the site leaves out: parameters, which the measurement's record holds."""
INJECTED = "injected-parameters"
"""Papermill's tag of the cell that holds the parameters of a run."""

HEAVY = 500_000
"""Bytes from which on a picture gets a palette; charts stay far below."""

COLOURS = 256
"""What a PNG's palette holds at most."""

KERNEL = """\
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
"""
_FIRST = re.compile(r"\A(#!.*\n)?(#.*coding[:=].*\n)?")
_HEADER = re.compile(rf"{_FIRST.pattern}#\s?---[ ]*\n(?P<lines>(#.*\n)*?)(?=#\s?---[ ]*\n)")
"""A source's front matter as jupytext reads it, up to the line that ends it."""


class NotebookError(ValueError):
    """A chapter's own failure, in a line."""


@dataclass(frozen=True)
class Page:
    """An executed chapter.

    Attributes:
        name: The chapter.
        notebook: Executed, without what differs from run to run.
        files: Path below the repository -> bytes of the files that it wrote.
    """

    name: str
    notebook: Any
    files: Mapping[str, bytes]


def execute(book: Book, name: str) -> Page:
    """Execute one chapter; nothing of the book is changed but the paired notebook.

    Sets environment variables of this process, for the kernel.

    Raises:
        NotebookError: the notebook failed; all of what it said is in a log.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillException

    _check_kernel()
    sync(book, name)
    log = book.root / "_build" / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rbtc-book-") as folder, log.open("w") as told:
        output, files = Path(folder) / f"{name}.ipynb", Path(folder) / "files"
        os.environ[outputs.OUTPUT] = str(files)
        # Figures appear on the page whatever backend this process was told to use.
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        # The kernel imports the same rbtc as this process, installed or not.
        known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = dict.fromkeys([str(REPOSITORY), *filter(None, known)])
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        try:
            papermill.execute_notebook(
                str(book.twin(name)), str(output), kernel_name="python3", cwd=str(book.root),
                progress_bar=False, stderr_file=told,
            )  # fmt: skip
        except DeadKernelError:
            why = (
                f"its kernel was killed in code cell {_reached(output)}: most often memory ran out"
            )
            told.write(f"\n{why}\n")
            raise NotebookError(f"{name} failed: {why}; try --jobs 1; all of it: {log}") from None
        except (PapermillException, CellTimeoutError) as error:
            told.write(f"\n{error}\n")
            raise NotebookError(f"{name} failed: {failure(error)}; all of it: {log}") from None
        notebook = nbformat.read(output, as_version=4)
        tidy(notebook)
        slim(notebook)
        written = {
            path.relative_to(files).as_posix(): path.read_bytes()
            for path in sorted(files.rglob("*"))
            if path.is_file()
        }
    log.unlink()
    return Page(name, notebook, written)


def publish(book: Book, page: Page) -> Path:
    """Put a page and its files in place, each whole; return the page's path."""
    import nbformat

    for name, content in page.files.items():
        write_changed(book.root / name, content)
    return write_changed(book.page(page.name), f"{nbformat.writes(page.notebook)}\n".encode())


def execute_all(
    book: Book, names: Sequence[str], jobs: int, then: Callable[[Page], Any]
) -> dict[str, str]:
    """Execute chapters, ``jobs`` side by side; none reads what another page writes.

    ``then`` is called with every page that was executed, in this process.

    Returns:
        Chapter -> how it failed, in a line, for those that did.
    """
    from tqdm.auto import tqdm

    failed: dict[str, str] = {}
    terminal = sys.stderr.isatty()
    log = book.root / "_build" / "logs" / "kernels.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        ProcessPoolExecutor(jobs, initializer=_begin, initargs=(os.getpid(), log)) as pool,
        tqdm(total=len(names), unit="chapter", disable=not terminal) as bar,
    ):
        waiting = {pool.submit(execute, book, name): name for name in names}
        for done in as_completed(waiting):
            name = waiting[done]
            try:
                then(done.result())
            except NotebookError as error:
                failed[name] = str(error)
            bar.update()
            if not terminal:
                print(f"{'FAIL' if name in failed else 'ok  '}  {name}", flush=True)
    if not failed:
        log.unlink(missing_ok=True)
    return failed


def _begin(parent: int, log: Path) -> None:
    """Let this process end when its parent is gone, however that ended.

    What kernels and their connections say, warnings or tracebacks of an interruption, is logged.
    """
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 2)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def sync(book: Book, name: str) -> None:
    """Make the paired notebook from the source; never the other way.

    Cells that did not change keep their ids. A source without a kernel gets one first: papermill
    refuses a notebook that names no language. A twin that is damaged is made as if there were none.

    Raises:
        NotebookError: the twin is newer than the source and differs: somebody edited it.
    """
    from jupytext.cli import jupytext

    source, twin = book.source(name), book.twin(name)
    text, own, edited, update = read_text(source), read_source(source), False, []
    if twin.is_file():
        with contextlib.suppress(ValueError):  # a damaged one is written over below
            before = cells(read_page(twin), tags=True)
            update = ["--update"]
            edited = before != cells(own, tags=True)
    if edited and twin.stat().st_mtime_ns > source.stat().st_mtime_ns:
        raise NotebookError(
            f"{twin} is newer than {source} and differs: move the change to the source, then touch "
            "it (or delete the .ipynb, which is made from it)"
        )
    if (told := with_kernel(text)) != text:
        write_whole(source, lambda place: place.write_text(told, encoding="utf-8"))
    with made_whole(twin) as made:
        if update:
            shutil.copyfile(twin, made)
        jupytext(["--quiet", "--to", "ipynb", *update, "--output", str(made), str(source)])


def with_kernel(text: str) -> str:
    """A source whose front matter names a kernel; what else stands there stays."""
    header = _HEADER.match(text)
    if not header:
        start = _FIRST.match(text).end()  # pyright: ignore  # it always matches
        return f"{text[:start]}# ---\n# jupyter:\n{KERNEL}# ---\n\n{text[start:]}"
    lines = header["lines"]
    if re.search(r"^#\s+kernelspec:", lines, re.MULTILINE):
        return text
    if found := re.search(r"^# ?jupyter:[ ]*\n", lines, re.MULTILINE):
        at = header.start("lines") + found.end()
        return text[:at] + KERNEL + text[at:]
    at = header.end()
    return f"{text[:at]}# jupyter:\n{KERNEL}{text[at:]}"


def _check_kernel() -> None:
    """Refuse a kernel of Jupyter's that starts a Python which is gone.

    Raises:
        ValueError: naming the kernel's file.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    kernel = KernelSpecManager().get_kernel_spec("python3")
    if kernel.argv and shutil.which(kernel.argv[0]) is None:
        file = Path(kernel.resource_dir) / "kernel.json"
        raise ValueError(
            f"Jupyter's kernel python3 starts {kernel.argv[0]}, which is not there: mend or delete "
            f"{file}"
        )


def _reached(output: Path) -> int:
    """The number of the code cell at which a notebook stopped; papermill writes after every one."""
    import nbformat

    cells = nbformat.read(output, as_version=4).cells if output.exists() else []
    code = [
        c for c in cells if c.cell_type == "code" and INJECTED not in c.metadata.get("tags", [])
    ]
    done = [c for c in code if c.metadata.get("papermill", {}).get("start_time")]
    return max(1, len(done))


def failure(error: Exception) -> str:
    """How a notebook failed, in a line: the cell, and its error's type and message."""
    from papermill.exceptions import PapermillExecutionError

    if not isinstance(error, PapermillExecutionError):
        return " ".join(str(error).split())
    told = " ".join(str(error.evalue).split())
    return f"code cell {error.exec_count} raised {error.ename}: {told}"


def tidy(notebook: Any) -> None:
    """Drop what says nothing about the results: paths, times, progress bars.

    The site folds the code of every cell; one click opens it. Cells with parameters are left out.
    """
    notebook.metadata.pop("papermill", None)
    notebook.cells = [c for c in notebook.cells if INJECTED not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.setdefault("tags", [])
        wanted = [FOLDED, HIDDEN] if "parameters" in tags else [FOLDED]
        tags.extend(tag for tag in wanted if tag not in tags)
        # Progress bars and warnings carry this machine's paths.
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def slim(notebook: Any) -> None:
    """Give every heavy PNG among a page's outputs a palette of its own, where that is lighter.

    What the pictures show was counted and saved before; this is about how they are displayed.
    """
    for _, data in pictures(notebook):
        light = lighter(base64.b64decode(data["image/png"]))
        data["image/png"] = base64.b64encode(light).decode("ascii")


def lighter(png: bytes) -> bytes:
    """A PNG with the 256 colours that fit it best, dithered; as it was if that is not lighter.

    Pictures below `HEAVY` bytes and those that let the page shine through stay as they are.
    """
    from PIL import Image

    if len(png) < HEAVY:
        return png
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGBA")
    if picture.getchannel("A").getextrema() != (255, 255):
        return png
    made = io.BytesIO()
    few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    few.save(made, "PNG", optimize=True)
    return min(made.getvalue(), png, key=len)


def texts(notebook: Any) -> list[str]:
    """What a page says: every cell's text, and its outputs without the pictures."""
    found = []
    for cell in notebook.cells:
        found.append(cell.source)
        for output in cell.get("outputs", ()):
            data = dict(output.get("data", {}))
            if any(kind.startswith("image/") for kind in data):
                data.pop("text/plain", None)  # <Figure size 800x600 with 4 Axes>
            told = [str(data[kind]) for kind in sorted(data) if not kind.startswith("image/")]
            found.append("\n".join([*told, str(output.get("text", ""))]))
    return found


def remove_strays(book: Book, pages: Sequence[Page]) -> None:
    """Remove tables of a chapter that its page does not write any more."""
    for page in pages:
        number = page.name.partition("_")[0]
        for path in (book.root / "results").glob(f"{number}_*.csv"):
            if f"results/{path.name}" not in page.files:
                path.unlink()
