"""Where files lie, offline mode, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

_YES = {"1", "on", "yes", "true"}  # what the hub's clients take for a yes


def data_root() -> Path:
    """Folder of profiles, models and the paper's tables: ``RBTC_DATA``, else the repository's."""
    given = os.environ.get("RBTC_DATA")
    return Path(given).expanduser() if given else Path(__file__).resolve().parents[1] / "data"


def results_root() -> Path:
    """The repository's ``results``: a folder a profile, a folder a chapter below it."""
    return Path(__file__).resolve().parents[1] / "results"


def cache_root() -> Path:
    """Folder for everything that can be computed again: ``RBTC_CACHE``, else the user's cache."""
    given = os.environ.get("RBTC_CACHE")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("rbtc", appauthor=False))


def is_offline() -> bool:
    """Whether the environment forbids the hub's clients the network."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().casefold() in _YES for name in names)


def offline_hint() -> str:
    """One sentence for an error message where offline mode is on, else nothing."""
    if not is_offline():
        return ""
    return (
        "Offline mode is on (HF_HUB_OFFLINE or one of its kind is set), so only what is in the "
        "hub's cache can be had: unset it once, or fill the cache on another machine. "
    )


def check_writable(folder: str | Path) -> Path:
    """Try to write into a folder, or where it would be made: noticed now, not after hours of work.

    Nothing stays, not even the folder.

    Returns:
        ``folder``.

    Raises:
        OSError: the folder cannot be made or written to; the message names it.
    """
    folder = Path(folder)
    try:
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        # On Linux such a file has no name: nothing stays even of a process that is killed here.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise type(error)(
            f"the folder {folder} cannot be written ({error}): give another one, or make this one "
            "writable"
        ) from error
    return folder


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
