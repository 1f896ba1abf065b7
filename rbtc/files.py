"""Where files lie, how texts, JSON and tables are read, and places that can be written."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 100_000_000
"""Bytes above which a text is none that we read."""

_YES = {"1", "on", "yes", "true"}  # what the hub's clients take for a yes

_PACKAGED = Path(__file__).resolve().with_name("data")  # in a wheel; a clone has no such folder


def data_root() -> Path:
    """Folder of profiles, prompts, models and the paper's tables: ``RBTC_DATA``, else our own.

    That is the repository's, or in an installed wheel the package's, which has profiles and prompts
    alone.
    """
    given = os.environ.get("RBTC_DATA")
    if given:
        return expanded(given)
    return _PACKAGED if _PACKAGED.is_dir() else results_root().with_name("data")


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


def write_json(path: str | Path, content: Any) -> Path:
    """Write a JSON file, whole; returns ``path``."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))


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


def read_frame(
    path: str | Path, columns: Iterable[str] = (), command: str = "", **options: Any
) -> pd.DataFrame:
    """A CSV file as pandas reads it, once `read_table` has found nothing wrong with it.

    Args:
        path: the file.
        columns: some that it must have.
        command: what writes it, for messages.
        options: of ``pandas.read_csv``.

    Raises:
        FileNotFoundError, ValueError: as `read_table`, a column that is not there, or a value that
            ``options`` do not expect.
    """
    import pandas as pd

    if command and not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: run `{command}` in the repository's folder")
    read_table(path)
    anew = f"make it anew with `{command}`" if command else "bring it back from git"
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}: {anew}") from error
    if missing := sorted({*columns} - {*frame}):
        raise ValueError(f"{path} lacks the columns {missing}: {anew}")
    return frame


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
    from rbtc.writing import sweep

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
    from rbtc.writing import made_whole

    with made_whole(path) as place:
        write(place)
    return Path(path)
