"""How outputs are written: whole or not at all, and nothing stays of a process that is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: what a killed process left is not swept there
    fcntl: Any = None

MARK, BEFORE = "rbtc.owner", "rbtc.before"
"""In a temporary folder: a file that its process keeps locked, and what stood at the target."""


@contextlib.contextmanager
def made_whole(target: str | Path, *, over: bool = True) -> Iterator[Path]:
    """A place for a file or folder that moves to `target` when the block ends; else nothing stays.

    It lies in a temporary folder beside the target, which `sweep` removes if this process is
    killed. Folders that were made for the target go as well when the block fails.

    Args:
        target: the final place. A folder that it replaces goes when the new one is there.
        over: whether something that is there already is replaced.

    Raises:
        ValueError: something is there by now, and is not to be replaced.
        OSError: the folder cannot be written to.
    """
    target = Path(target)
    work = target.parent / f".rbtc-{uuid.uuid4().hex[:12]}.tmp"
    absent: list[Path] = []
    try:
        absent = [each for each in target.parents if not each.exists()]  # the deepest first
        work.mkdir(parents=True)
        with _owned(work, target.name):
            yield work / target.name
            _move(work, target, over)
        absent = []
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for folder in absent:
            with contextlib.suppress(OSError):  # somebody else uses it by now
                folder.rmdir()


def sweep(folder: str | Path) -> None:
    """Remove temporary folders whose process was killed; put back what it was about to replace.

    Only those with our mark that no process holds: a process keeps its own locked while it lives.
    """
    for work in Path(folder).glob(".rbtc-*.tmp") if fcntl else ():
        with contextlib.suppress(OSError), (work / MARK).open("r+b") as mark:  # else it is in use
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name = os.fsdecode(mark.read())
            if not name or name != Path(name).name or work.is_symlink():
                continue  # none of ours
            if (work / BEFORE).exists() and not os.path.lexists(work.parent / name):
                (work / BEFORE).rename(work.parent / name)
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _owned(work: Path, name: str) -> Iterator[None]:
    """Keep the mark of a temporary folder locked; on file systems without locks it is empty."""
    with (work / MARK).open("wb") as mark:
        with contextlib.suppress(OSError):
            if fcntl:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mark.write(os.fsencode(name))
                mark.flush()
        yield


def _move(work: Path, target: Path, over: bool) -> None:
    """Move what was made to its target, in one step where the system has one."""
    made, before = work / target.name, work / BEFORE
    if over and made.is_dir() and target.exists():
        try:
            target.rename(before)
            made.rename(target)
        finally:
            if before.exists() and not target.exists():
                before.rename(target)
        return
    try:
        if not over and os.path.lexists(target):
            raise FileExistsError
        try:
            if not over and made.is_file():
                return os.link(made, target)  # unlike a rename it replaces nothing
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP):  # a file system without links
                raise
        made.replace(target)  # a folder does not replace a full one
    except OSError as error:
        if over or not os.path.lexists(target):
            raise
        raise ValueError(
            f"{target} exists already, and nothing is written over: give a new place"
        ) from error
