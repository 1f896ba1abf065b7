"""Caches, offline mode, and folders that cannot be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rbtc.paths import data_root as data_root
from rbtc.paths import file_digest as file_digest
from rbtc.paths import write_whole as write_whole

_YES = {"1", "on", "yes", "true"}  # what the hub's clients take for a yes


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
