"""Prompt files: which pictures a class or a painter is judged on, line by line.

A file is a CSV with the columns asked, prompt and seed. The profile names one for objects and one
for styles; a profile without them asks in one sentence with consecutive seeds. Ours are written
from the published protocol's rules and hold nobody else's text: five hundred seeds a class, drawn
without repetition (the authors' lists repeat some; a test repeats the draw), and fifty titles of
works a painter, each with seed 0 as in the published evaluation.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rbtc.files import data_root
from rbtc.models.profiles import MINORS, Profile
from rbtc.models.subjects import Subject

COLUMNS = ("asked", "prompt", "seed")

_PROMPT_COLUMNS = ("prompt", "adv_prompt")

SEEDS = 500
"""Pictures a class (METHOD 7.1)."""


@dataclass(frozen=True)
class Row:
    """One picture to draw."""

    asked: str
    prompt: str
    seed: int


def rows_of(profile: Profile, subject: Subject) -> list[Row] | None:
    """The rows of a concept in the profile's file; None where the profile names no file.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is damaged, speaks of minors, or has no row for the concept.
    """
    files = {"object": profile.evaluation.objects, "style": profile.evaluation.styles}
    name = files.get(subject.kind, "")
    if not name:
        return None
    path = data_root() / name
    if not path.is_file():
        raise FileNotFoundError(
            f"the prompt file {path} of profile {profile.name!r} is not there: restore it, or take "
            "its line out of the profile's [evaluation]"
        )
    table = _read(path, path.stat().st_mtime_ns)
    if subject.word.casefold() not in table:
        raise ValueError(f"{path} has no row for {subject.word!r}: it knows {sorted(table)}")
    return table[subject.word.casefold()]


def asked_rows(profile: Profile, subject: Subject, count: int, first: int = 0) -> list[Row] | None:
    """``count`` rows of a concept from row ``first`` on; None where the profile names no file.

    Raises:
        ValueError: the file has fewer.
    """
    rows = rows_of(profile, subject)
    if rows is None:
        return None
    if not 0 <= first <= len(rows) - count:
        raise ValueError(
            f"profile {profile.name!r} has {len(rows)} rows for {subject.word!r}, so pictures "
            f"{first} to {first + count - 1} cannot be asked for: ask for fewer"
        )
    return rows[first : first + count]


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> dict[str, list[Row]]:
    del changed  # part of the cache's key
    try:
        header, *records = _records(path)
        if tuple(header) != COLUMNS:
            raise ValueError(f"its columns are {header}, expected {list(COLUMNS)}")
        rows = [Row(asked, prompt, int(seed)) for asked, prompt, seed in records]
    except ValueError as error:
        raise ValueError(f"the prompt file {path} is damaged: {error}") from error
    table: dict[str, list[Row]] = {}
    for row in rows:
        if MINORS.search(row.prompt.replace("school bus", "bus")):  # a class, and nobody's age
            raise ValueError(f"the prompt file {path} may speak of adults only, not {row.prompt!r}")
        table.setdefault(row.asked.casefold(), []).append(row)
    return table


def _records(path: Path) -> list[list[str]]:
    """The records of a CSV file that are not empty."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [record for record in csv.reader(stream) if record]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error


def read_prompts(path: str | Path) -> list[str]:
    """Prompts of a CSV file: the column "prompt" or "adv_prompt", or the first one.

    A file without a header is taken whole. Quoted prompts may span lines, so records are counted,
    not lines.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no prompt in it, or no text file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no prompt file {path}: give the path of a CSV file")
    records = _records(path)
    header = [name.strip().casefold() for name in records[0]] if records else []
    column = next((header.index(name) for name in _PROMPT_COLUMNS if name in header), None)
    body = records if column is None else records[1:]
    prompts = [record[column or 0].strip() for record in body if len(record) > (column or 0)]
    prompts = [prompt for prompt in prompts if prompt]
    if not prompts:
        raise ValueError(f"{path} holds no prompts: expected one in each record's first column")
    return prompts
