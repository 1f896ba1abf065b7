"""What tests of bad input and faults share: a command run in this process, and folders compared."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from rbtc.cli import main


@dataclass
class Done:
    status: int
    out: str
    err: str


def run(*words):
    """Run a command line in this process: its status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as left:
            return Done(int(left.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command leaves with a status")


def tree(folder):
    """Everything below a folder: path -> digest of a file, target of a link, kind of the rest."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and path.stat().st_size > 10**9:
            found[name] = f"{path.stat()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found


def check_refused(done, *names):
    """One line of bounded length that names what it has to, status 2, and nothing else."""
    assert done.status == 2, (done.out, done.err)
    assert done.out == ""
    assert done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
    assert len(done.err) <= 302 and "Traceback" not in done.err
    for name in names:
        assert name in done.err, done.err


@contextlib.contextmanager
def fault(folder, number, error):
    """Raise an error at the ``number``-th step that makes, opens for writing or moves something.

    Yields a list that says at the end which steps there were: (kind, path).
    """
    steps = []
    _ACTIVE.append((str(folder), number, error, steps))
    try:
        yield steps
    finally:
        _ACTIVE.pop()


_ACTIVE = []
_MAKING = {"os.mkdir", "os.rename", "os.link", "open"}


def _hook(event, given):
    if not _ACTIVE or event not in _MAKING:
        return
    folder, number, error, steps = _ACTIVE[-1]
    path = str(given[1] if event in ("os.rename", "os.link") else given[0])
    writes = event != "open" or (isinstance(given[1], str) and set(given[1]) & set("wxa+"))
    # What opens or makes a folder that is there looks for a place, and has another way.
    if path.startswith(folder) and writes and not Path(path).is_dir():
        steps.append((event, path))
        if len(steps) == number:
            raise error


sys.addaudithook(_hook)  # cannot be taken away again; it does nothing outside `fault`
