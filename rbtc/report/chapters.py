"""Numbers that other chapters committed, for a page that shows them beside its own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rbtc.paths import results_root
from rbtc.report.sprites import Fact, Facts


class Chapters:
    """The numbers that other chapters committed.

    Args:
        folder: of the results files, the repository's by default.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = results_root() if folder is None else Path(folder)
        self._frames: dict[str, pd.DataFrame | None] = {}

    def frame(self, name: str) -> pd.DataFrame | None:
        """A results file; None where there is none."""
        if name not in self._frames:
            path = self.folder / f"{name}.csv"
            self._frames[name] = pd.read_csv(path) if path.is_file() else None
        return self._frames[name]

    def share(self, label: str, name: str, conditions: str, quantity: str = "hits of n") -> Facts:
        """A share out of a results file, see `rbtc.report.selection`; empty where it has none."""
        from rbtc.report.selection import value

        frame = self.frame(name)
        if frame is None:
            return ()
        try:
            found = value(frame.rename(columns={"Unnamed: 0": "concept"}), conditions, quantity)
        except LookupError:
            return ()
        count = f" (n={found.n})" if found.n else ""
        return (Fact(label, found.value, f"{found.value:.2f}{count}"),)
