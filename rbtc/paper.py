"""The paper's printed tables, as data.

Every number of the paper that a chapter compares with comes from `data/paper/table_NN.csv` through
this module; none is typed into a notebook.
"""

import difflib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from rbtc.files import data_root, read_frame, read_table

COLUMNS = ("table", "row", "column", "value", "note")


def load_table(table: int, *, folder: str | Path | None = None) -> pd.DataFrame:
    """Table `table` of the paper in long form, one printed value per line.

    Columns: `table` (int), `row`, `column`, `value` (float, NaN where the paper prints nothing),
    `printed` (the characters as printed) and `note` (a known contradiction, or empty). Lines keep
    the order of the printed table.

    `folder` defaults to `paper/` in the data folder. Raises ValueError for a table that the paper
    does not have and FileNotFoundError if the folder is missing.
    """
    if folder is None:
        folder = data_root() / "paper"
    folder = Path(folder)
    return _read(folder, int(table)).copy()


@lru_cache(maxsize=32)
def _read(folder: Path, table: int) -> pd.DataFrame:
    path = folder / f"table_{table:02d}.csv"
    if not path.is_file():
        known = sorted(int(file.stem.removeprefix("table_")) for file in folder.glob("table_*.csv"))
        if not known:
            raise FileNotFoundError(
                f"no table_NN.csv in {folder}: work in a clone of the repository, or set RBTC_DATA "
                "to its data folder"
            )
        raise ValueError(f"the paper has no table {table}; known tables: {known}")
    frame = pd.DataFrame(read_table(path, COLUMNS), columns=list(COLUMNS))
    frame["printed"] = frame["value"]
    try:
        frame["table"] = frame["table"].astype(int)
        frame["value"] = pd.to_numeric(frame["value"].replace("", None))
    except ValueError as error:
        raise ValueError(f"{path}: {error}: bring it back from git") from error
    return frame.loc[:, ["table", "row", "column", "value", "printed", "note"]]


def paper_value(table: int, row: str, column: str) -> float:
    """One printed number, for example `paper_value(1, "Church", "erased: NMS")`.

    Upper and lower case do not matter. Raises ValueError for an unknown row or column, naming the
    nearest ones, and for a place where the paper prints nothing.
    """
    frame = load_table(table)
    row = _match(row, frame["row"], f"row of the paper's table {table}")
    column = _match(column, frame["column"], f"column of the paper's table {table}")
    found = frame.loc[(frame["row"] == row) & (frame["column"] == column), ["value", "note"]]
    if found.empty or pd.isna(found["value"].iloc[0]):
        note = f" ({found['note'].iloc[0]})" if len(found) and found["note"].iloc[0] else ""
        raise ValueError(f"the paper prints no value in table {table}, {row!r}, {column!r}{note}")
    return float(found["value"].iloc[0])


def wide_table(table: int) -> pd.DataFrame:
    """Table `table` as printed: one line per row, one column per column, floats."""
    frame = load_table(table)
    wide = frame.pivot(index="row", columns="column", values="value")
    wide = wide.loc[list(dict.fromkeys(frame["row"])), list(dict.fromkeys(frame["column"]))]
    return wide.rename_axis(index=None, columns=None)


def averages(table: int) -> pd.DataFrame:
    """Both averages of a table's columns: "printed average" and "mean of printed values".

    They are kept side by side in `data/paper/averages.csv` because they are not always equal.

    Raises:
        ValueError: a table that prints no averages.
    """
    frame = _averages(data_root())
    own = frame.loc[frame["table"] == table].drop(columns="table").set_index("column")
    if own.empty:
        known = sorted(set(frame["table"]))
        raise ValueError(f"table {table} prints no averages; those that do: {known}")
    return own


@lru_cache(maxsize=4)
def _averages(root: Path) -> pd.DataFrame:
    return read_frame(root / "paper" / "averages.csv")


def _match(name: str, known: Iterable[str], what: str) -> str:
    """The known name equal to `name` up to case; ValueError with close matches otherwise."""
    names = list(dict.fromkeys(known))
    by_folded = {candidate.casefold(): candidate for candidate in names}
    folded = " ".join(str(name).split()).casefold()
    if folded in by_folded:
        return by_folded[folded]
    close = [by_folded[key] for key in difflib.get_close_matches(folded, by_folded, n=4)]
    hint = f"did you mean {close}?" if close else f"known: {names}"
    raise ValueError(f"unknown {what}: {name!r}; {hint}")


def printed(table: int, row: str | None, column: str) -> float | None:
    """A number of the paper; None for a row that the table does not have."""
    if row is None:
        return None
    return _values(table, data_root()).get((row.casefold(), column))


@lru_cache(maxsize=32)
def _values(table: int, root: Path) -> dict[tuple[str, str], float]:
    """(row in lower case, column) -> the first number that stands there."""
    frame = load_table(table, folder=root / "paper").dropna(subset="value").iloc[::-1]
    keys = zip(frame["row"].str.casefold(), frame["column"], strict=True)
    return dict(zip(keys, frame["value"].astype(float), strict=True))


def paper_list(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """A list beside the tables, `claims.csv` for one, as text; a whole path is taken as it is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: other columns.
    """
    path = data_root() / "paper" / path
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: work in a clone of the repository, or set RBTC_DATA to its data "
            "folder"
        )
    return pd.DataFrame(read_table(path, columns), columns=list(columns))
