"""Results of another model in a chapter's table: `paper | sd15 | emoji-sd`, where there are any.

Who ran a chapter on Stable Diffusion v1.5 puts its CSV files into ``results/sd15``. A table whose
file is there gains a column; without it the table stays as it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.report.outputs import used

FOLDER = Path(__file__).resolve().parents[2] / "results" / "sd15"
"""Where results of the profile sd15 lie."""

OTHER, OWN = "sd15", "emoji-sd"
"""Headings of the two models' columns."""

_WORD = re.compile(r" \([^)]*\)$")  # "golf ball (golf flag)": the miniature's own word
_NEEDED = {"row", "column", "ours", "low", "high", "n"}


def beside(
    table: pd.DataFrame, name: str, *, profile: str = "mini", folder: str | Path | None = None
) -> pd.DataFrame:
    """A comparison with the column of the paper's model, if its results are there.

    Args:
        table: from `rbtc.report.tables.comparison`.
        name: of the CSV with its records, without the ending.
        profile: whose numbers are "ours"; those of another profile are left alone.
        folder: where to look; None takes `FOLDER`.

    Raises:
        ValueError: the file is no table of records.
    """
    path = (FOLDER if folder is None else Path(folder)) / f"{name}.csv"
    if profile != "mini" or not path.is_file():
        return table
    found = pd.read_csv(used(path), dtype={"row": str, "column": str})
    if lacking := _NEEDED - set(found.columns):
        raise ValueError(f"{path} has no column {sorted(lacking)}: expected a chapter's own CSV")
    texts = {
        (_plain(line["row"]), line["column"]): _text(line) for line in found.to_dict("records")
    }
    columns = {}
    for column, kind in table.columns:
        if kind == "ours":
            values = [texts.get((_plain(row), column), "") for row in table.index]
            columns[column, OTHER] = values
            columns[column, OWN] = list(table[column, kind])
        else:
            columns[column, kind] = list(table[column, kind])
    joined = pd.DataFrame(columns, index=table.index)
    joined.columns = pd.MultiIndex.from_tuples(list(columns))
    return joined


def _plain(row: object) -> str:
    return _WORD.sub("", str(row)).casefold()


def _text(line: dict[Any, Any]) -> str:
    """Value, interval and n, as the chapters write their own."""
    value, low, high, n = (line[key] for key in ("ours", "low", "high", "n"))
    if pd.isna(value):
        return ""
    if pd.isna(low) or low == high == value:
        return f"{value:.2f}"
    text = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    return text if pd.isna(n) else f"{text} (n={n:.0f})"
