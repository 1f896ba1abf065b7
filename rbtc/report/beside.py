"""Stable Diffusion v1.5 in a chapter's table: `paper | sd15 | emoji-sd`, where it was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rbtc.report.comparisons import Row, cell, comparison

OTHER, OWN = "sd15", "emoji-sd"
"""Headings of the two models' columns."""

_WORD = re.compile(r" \([^)]*\)$")  # "golf ball (golf flag)": the miniature's own word


def beside(rows: Sequence[Row], other: Sequence[Row] | None, **options: Any) -> pd.DataFrame:
    """A comparison with a column of the paper's model, where that was measured.

    Args:
        rows: of the page's own profile.
        other: of Stable Diffusion v1.5; None without it. A line that it lacks stays empty.
        options: of `rbtc.report.comparisons.comparison`.
    """
    table = comparison(rows, **options)
    if other is None:
        return table
    texts = {(_plain(one.row), one.column): cell(one.ours) for one in other}
    columns = {}
    for column, kind in table.columns:
        if kind == "ours":
            columns[column, OTHER] = [texts.get((_plain(row), column), "") for row in table.index]
            columns[column, OWN] = list(table[column, kind])
        else:
            columns[column, kind] = list(table[column, kind])
    joined = pd.DataFrame(columns, index=table.index)
    joined.columns = pd.MultiIndex.from_tuples(list(columns))
    return joined


def _plain(row: object) -> str:
    return _WORD.sub("", str(row)).casefold()
