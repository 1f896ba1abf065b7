"""Where files lie, and how they are written: whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


def data_root() -> Path:
    """Folder of profiles, models and the paper's tables: ``RBTC_DATA``, else the repository's."""
    given = os.environ.get("RBTC_DATA")
    return Path(given).expanduser() if given else Path(__file__).resolve().parents[1] / "data"


def results_root() -> Path:
    """The repository's ``results``: a folder a profile, a folder a chapter below it."""
    return Path(__file__).resolve().parents[1] / "results"


def file_digest(path: str | Path) -> str:
    """Sha256 of a file's bytes, as hex digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Write beside the final place, then move there in one step: a reader never sees a half.

    Args:
        path: the final place; its folder is made.
        write: writes the file it is given.

    Returns:
        ``path``.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique also across containers that share a folder and start counting processes anew.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        write(temporary)
        temporary.replace(path)  # os.replace: atomic within a folder
    finally:
        temporary.unlink(missing_ok=True)
    return path
