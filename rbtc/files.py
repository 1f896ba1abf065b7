"""The doors of files: where they lie, how JSON and tables are read, how places are written."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import fcntl
except ImportError:  # Windows: what a killed process left is not swept there
    fcntl = None

if TYPE_CHECKING:
    import pandas as pd

MARK, BEFORE = "rbtc.owner", "rbtc.before"
"""In a temporary folder: a file that its process keeps locked, and what stood at the target."""
LARGEST = 100_000_000
"""Bytes above which a text is none that we read."""

_YES = {"1", "on", "yes", "true"}  # what the hub's clients take for a yes


def data_root() -> Path:
    """Folder of profiles, models and the paper's tables: ``RBTC_DATA``, else the repository's."""
    given = os.environ.get("RBTC_DATA")
    return expanded(given) if given else Path(__file__).resolve().parents[1] / "data"


def results_root() -> Path:
    """The repository's ``results``: a folder a profile, a folder a chapter below it."""
    return Path(__file__).resolve().parents[1] / "results"


def cache_root() -> Path:
    """Folder for everything that can be computed again: ``RBTC_CACHE``, else the user's cache."""
    given = os.environ.get("RBTC_CACHE")
    if given:
        return expanded(given)
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


def expanded(path: str | Path) -> Path:
    """A path with the home folder in place of ``~``.

    Raises:
        ValueError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path} names a home folder that there is not: give a path") from error


def file_digest(path: str | Path) -> str:
    """Sha256 of a file's bytes, as hex digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_text(path: str | Path) -> str:
    """The text of a regular file in UTF-8; a mark of the byte order at its beginning is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, pipe or device, too large, or not UTF-8; the line is named.
    """
    path = expanded(path)
    if not path.is_file():
        if os.path.lexists(path):
            raise ValueError(f"{path} is not a regular file: give one")
        raise FileNotFoundError(f"there is no file {path}: give the path of one")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST:,} bytes: it is no text of this kind")
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not UTF-8 ({error.reason}): save it in that encoding"
        ) from error


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError, ValueError: as `read_text`, or damaged; the file is named.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): fetch, copy or write it again") from error


def read_records(path: str | Path) -> list[tuple[int, list[str]]]:
    """Records of a CSV file, (line, cells), without empty lines: commas, quotes as in RFC 4180.

    Letters are composed (NFC), so that equal words are equal texts.

    Raises:
        FileNotFoundError, ValueError: as `read_text`; quotes that do not close, or control
            characters; the line is named.
    """
    path = Path(path)
    text = unicodedata.normalize("NFC", read_text(path))
    if found := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"{path}, line {line}: the control character {found[0]!r}: take it out")
    reader, records, line = csv.reader(io.StringIO(text, newline=""), strict=True), [], 1
    try:
        for cells in reader:
            if cells:
                records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {line}: {error}: close every quote, and double those within a cell"
        ) from error
    return records


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Lines of a CSV file with a heading, every one of them as long as it: column -> text.

    Args:
        path: the file.
        columns: what the heading must be; None takes any.

    Raises:
        FileNotFoundError, ValueError: as `read_records`; another heading, or a line of another
            length, which is named.
    """
    records = read_records(path)
    heading = records[0][1] if records else []
    if len(set(heading)) < len(heading) or heading != list(columns or heading) or not heading:
        told = f"expected {list(columns)}" if columns else "expected different names"
        raise ValueError(f"{path}, line 1: its columns are {heading}, {told}, with commas between")
    for line, cells in records:
        if len(cells) != len(heading):
            raise ValueError(f"{path}, line {line}: {len(cells)} cells, expected {len(heading)}")
    return [dict(zip(heading, cells, strict=True)) for _, cells in records[1:]]


def read_frame(path: str | Path, **options: Any) -> pd.DataFrame:
    """A CSV file as pandas reads it, once `read_table` has found nothing wrong with it.

    Raises:
        FileNotFoundError, ValueError: as `read_table`, or a value that ``options`` do not expect.
    """
    import pandas as pd

    read_table(path)
    try:
        return pd.read_csv(path, encoding="utf-8-sig", **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}: bring it back from git, or make it anew") from error


def check_new(target: str | Path) -> Path:
    """Make sure that nothing is at a place yet, not even a link, and that it can be written.

    Raises:
        ValueError: something is there.
        OSError: the place cannot be written to.
    """
    target = Path(target)
    if os.path.lexists(target):
        raise ValueError(f"{target} exists already, and nothing is written over: give a new place")
    check_writable(target.parent)
    return target


def check_writable(folder: str | Path) -> Path:
    """Try to write into a folder, or where it would be made: noticed now, not after hours of work.

    Nothing stays, not even the folder; what killed processes left there is swept.

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
        sweep(folder)
    except OSError as error:
        raise type(error)(
            f"the folder {folder} cannot be written ({error}): give another one, or make this one "
            "writable"
        ) from error
    return folder


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
    with made_whole(path) as place:
        write(place)
    return Path(path)


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
