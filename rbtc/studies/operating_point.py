"""Where to prune the miniature: ``python -m rbtc.studies.operating_point``.

What the paper states is taken from it: reference prompts of bare scenes, and the attack's K. Its
ratio and its number of calls T were chosen for Stable Diffusion, and must not be chosen here on the
classes that the book then reports. So they are chosen on concepts that no chapter shows, by an
owner who knows of no attack and prunes as hard as the paper's: of the settings at which the other
concepts keep at least the share of their accuracy that they keep in the paper (Table 1), the one
with the lowest accuracy of the erased concept. How many weights that cuts is reported, and bounds
nothing. Another K than the paper's is taken only where it revives more by a paired test.

The command writes its tables to ``results``; the profile holds the choice, and a test compares the
two. `measure` then shows what that choice does to the reported classes.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rbtc.files import read_frame, results_root
from rbtc.intervals import Difference
from rbtc.paper import wide_table
from rbtc.report.tables import effect

PAPER_REFERENCE = "scene"

PAPER_KEEP = 0.6

NAME = "operating_point"
"""How the names of the profile's own tables begin."""

SETTING = ["ratio", "calls", "reference"]


def paper_kept() -> float:
    """Share of the other classes' accuracy that pruning leaves in the paper: means of Table 1."""
    table = wide_table(1)
    return float(table["preserved: ConceptPrune"].mean() / table["preserved: pretrained"].mean())


def read_sweeps(folder: str | Path = "", name: str = NAME) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that the command wrote: of `pruning_sweep`, and of `keep_sweep`.

    Args:
        folder: where they lie; "" takes the repository's results.
        name: how their names begin, the command's ``--name``.

    Raises:
        FileNotFoundError: it has not been run.
    """
    tables = []
    for part in ("pruning", "keep"):
        path = Path(folder or results_root()) / f"{name}_{part}.csv"
        command = "python -m rbtc.studies.operating_point"
        tables.append(read_frame(path, command=command, keep_default_na=False))
    return tables[0], tables[1]


def settings_table(sweep: pd.DataFrame) -> pd.DataFrame:
    """A `pruning_sweep` pooled over its concepts: one row per setting.

    ``erased`` and ``preserved`` are accuracies; ``erased_kept`` and ``preserved_kept`` are shares
    of the pretrained model's.
    """
    pooled = sweep.groupby(SETTING, sort=False).agg(
        density=("density", "mean"),
        erased_hits=("erased_hits", "sum"),
        erased_n=("erased_n", "sum"),
        preserved_hits=("preserved_hits", "sum"),
        preserved_n=("preserved_n", "sum"),
    )
    pooled["erased"] = pooled["erased_hits"] / pooled["erased_n"]
    pooled["preserved"] = pooled["preserved_hits"] / pooled["preserved_n"]
    before = pooled.loc[(0.0, 0, "")]
    for part in ("erased", "preserved"):
        pooled[f"{part}_kept"] = pooled[part] / before[part]
    return pooled.drop(index=[(0.0, 0, "")]).reset_index()


def choose_pruning(sweep: pd.DataFrame, *, kept: float | None = None) -> pd.Series:
    """The owner's choice: the row of `settings_table` with the lowest accuracy of the erased.

    Only settings with the paper's reference prompts count; of equals the one that cuts least.

    Args:
        sweep: of `pruning_sweep`.
        kept: share of their accuracy that the other concepts must keep; `paper_kept` by default.

    Raises:
        ValueError: the others keep less at every setting.
    """
    kept = paper_kept() if kept is None else kept
    table = settings_table(sweep)
    allowed = table[(table["reference"] == PAPER_REFERENCE) & (table["preserved_kept"] >= kept)]
    if allowed.empty:
        raise ValueError(
            f"with the reference {PAPER_REFERENCE!r}, the other concepts keep less than {kept:.0%} "
            "of their accuracy at every setting: try smaller ratios"
        )
    return allowed.sort_values(["erased", "density"], kind="stable").iloc[0]


def keep_effects(sweep: pd.DataFrame, against: float = PAPER_KEEP) -> dict[float, Difference]:
    """K -> paired change of the erased concepts' accuracy from the attack with the paper's K."""
    erased = sweep[sweep["classes"] == "erased"]
    return {
        float(k): effect(erased, against, k, column="keep_ratio")
        for k in erased["keep_ratio"].unique()
        if k not in (0.0, against)
    }


def choose_keep(sweep: pd.DataFrame) -> float:
    """The paper's K, or the one with the largest gain over it where the gain's interval is."""
    better = {k: one for k, one in keep_effects(sweep).items() if one.low > 0}
    return max(better, key=lambda k: better[k].value) if better else PAPER_KEEP


@dataclass(frozen=True, eq=False)
class ClassStudy:
    """What the operating point does to the reported classes.

    Attributes:
        hits: One line per picture, see `class_sweep`.
    """

    hits: pd.DataFrame

    @property
    def ratios(self) -> list[float]:
        """The ratios of pruning."""
        return [float(ratio) for ratio in self.hits["ratio"].unique() if ratio > 0]


def class_table(hits: pd.DataFrame) -> pd.DataFrame:
    """A `class_sweep` as one line per concept: accuracy of every model, in its order."""
    wide = hits.pivot_table(index="concept", columns="model", values="hit", sort=False)
    return wide.rename_axis(index=None, columns=None)


if __name__ == "__main__":
    from rbtc.studies.measuring.operating_point import main

    command.run(main)
