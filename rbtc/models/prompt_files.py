"""Prompt files: which pictures a class or a painter is judged on, line by line.

A file is a CSV with the columns asked, prompt and seed. The profile names one for objects and one
for styles; a profile without them asks in one sentence with consecutive seeds. Ours are written
from the published protocol's rules and hold nobody else's text: five hundred seeds a class, drawn
without repetition (the authors' lists repeat some; a test repeats the draw), and fifty titles of
works a painter, each with seed 0 as in the published evaluation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rbtc.files import data_root, expanded, read_records, read_table
from rbtc.models.profiles import Profile, names_minors
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
    table: dict[str, list[Row]] = {}
    for number, cells in enumerate(read_table(path, COLUMNS), 1):
        what, asked = f"the prompt file {path}, row {number}", cells["asked"].casefold()
        if not (asked.strip() and cells["prompt"].strip()):
            raise ValueError(f"{what}: asked or prompt is empty: fill it, or take the row out")
        if not re.fullmatch("[0-9]{1,18}", cells["seed"]):
            raise ValueError(
                f"{what}: the seed {cells['seed']!r} is no whole number from 0 to 10^18"
            )
        if names_minors(cells["prompt"]):
            raise ValueError(f"{what} may speak of adults only, not {cells['prompt']!r}")
        row = Row(cells["asked"], cells["prompt"], int(cells["seed"]))
        if row in table.setdefault(asked, []):
            raise ValueError(f"{what} stands there twice: take one out")
        table[asked].append(row)
    return table


def read_prompts(path: str | Path) -> list[str]:
    """Prompts of a CSV file: the column "prompt" or "adv_prompt", or the first one.

    A file without a header is taken whole. Quoted prompts may span lines, so records are counted,
    not lines.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no prompt in it, no CSV file in UTF-8, or a record that is empty, twice there or
            of another length than the first; its line is named.
    """
    path = expanded(path)
    records = read_records(path)
    header = [name.strip().casefold() for name in records[0][1]] if records else []
    known = [header.index(name) for name in _PROMPT_COLUMNS if name in header]
    split = {*re.split("[;\t|]", header[0])} if len(header) == 1 else {*()}
    if len({*header}) < len(header) * bool(known) or (not known and split & {*_PROMPT_COLUMNS}):
        raise ValueError(
            f"{path}, line 1: its columns are {header}: give each one name, with commas between"
        )
    column, seen = known[0] if known else 0, set()
    for line, cells in records[1:] if known else records:
        what = f"{path}, line {line}"
        if len(cells) != len(header):
            raise ValueError(f"{what}: {len(cells)} cells, expected {len(header)}: quote commas")
        if not cells[column].strip():
            raise ValueError(f"{what}: the prompt is empty: fill it, or take the record out")
        if tuple(cells) in seen:
            raise ValueError(f"{what}: the record stands there twice: take one out")
        seen.add(tuple(cells))
    prompts = [cells[column].strip() for _, cells in (records[1:] if known else records)]
    if not prompts:
        raise ValueError(f"{path} holds no prompts: expected one in each record's first column")
    return prompts
