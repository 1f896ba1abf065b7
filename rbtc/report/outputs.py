"""Where a chapter's files go.

A reader who executes a notebook with parameters of their own must not change the book's committed
tables and pictures. So what a chapter writes goes into ``rbtc-results`` in the working folder,
unless the book's runner says where: it collects the files of a whole chapter and publishes them
together with the page, or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path

OUTPUT = "RBTC_BOOK_OUTPUT"
"""Environment variable with the folder in which the runner collects a chapter's files."""


def output_path(path: str | Path) -> Path:
    """Where to write a file that the book knows by a relative path; an absolute one stays.

    >>> output_path("results/00_overview.csv").parts[-3:]
    ('rbtc-results', 'results', '00_overview.csv')
    """
    return Path(os.environ.get(OUTPUT) or "rbtc-results") / path
