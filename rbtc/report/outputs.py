"""Where a chapter's files go, and which files it read.

A reader who executes a notebook with parameters of their own must not change the book's committed
tables and pictures. So what a chapter writes goes into ``rbtc-results`` in the working folder,
unless the book's runner says where: it collects the files of a whole chapter and publishes them
together with the page, or not at all.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

OUTPUT = "RBTC_BOOK_OUTPUT"
"""Environment variable with the folder in which the runner collects a chapter's files."""

_used: dict[str, str] = {}


def output_path(path: str | Path) -> Path:
    """Where to write a file that the book knows by a relative path; an absolute one stays.

    >>> output_path("results/00_overview.csv").parts[-3:]
    ('rbtc-results', 'results', '00_overview.csv')
    """
    return Path(os.environ.get(OUTPUT) or "rbtc-results") / path


def used(path: str | Path) -> Path:
    """Remember that this page was made from a file, and return the file's path."""
    path = Path(path)
    inside = path.resolve()
    here = Path.cwd().resolve()
    name = inside.relative_to(here).as_posix() if inside.is_relative_to(here) else path.as_posix()
    _used[name] = file_digest(path)
    return path


def files_used() -> dict[str, str]:
    """Path -> sha256 of every file that was `used`, relative to the working folder inside it."""
    return dict(sorted(_used.items()))


def file_digest(path: str | Path) -> str:
    """Sha256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
