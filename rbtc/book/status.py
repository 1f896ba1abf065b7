"""When, where and on how much every chapter was measured, and what came of it.

The records of the measurements (`rbtc.results.Run`) and the claims ledger, as tables for README and
the status page. Nothing is executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.report import markdown
from rbtc.report.claims import OUTCOMES, Claim
from rbtc.results import Run, read_run
from rbtc.studies.chapters import Measured
from rbtc.studies.paper_claims import verdicts

PAGE = "book/status.md"

COUNTS = {
    "images": "",
    "other_images": " of each other class",
    "preserved": " of each other class",
    "word_images": " of each word",
}
"""Parameters that say how many pictures of a class are counted, and how they are told."""


def runs(root: Path, profile: str = "mini") -> dict[str, Run]:
    """The records of a profile's measurements, by chapter.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one is damaged.
    """
    folders = sorted(path.parent for path in (root / "results" / profile).glob("*/run.json"))
    if not folders:
        raise FileNotFoundError(
            f"{root}/results/{profile} holds no measurement: rbtc measure --all makes them"
        )
    return {folder.name: read_run(folder) for folder in folders}


def by_page(claims: Sequence[Claim]) -> dict[str, dict[str, int]]:
    """`{page: {outcome: how many measurements have it}}`.

    A claim may be tested by several measurements, on several pages; each has its own outcome.
    """
    found: dict[str, dict[str, int]] = {}
    for part in (one for claim in claims for one in claim.parts):
        own = found.setdefault(part.chapter, {})
        own[part.outcome] = own.get(part.outcome, 0) + 1
    return found


def status_table(root: Path, claims: Sequence[Claim] = ()) -> pd.DataFrame:
    """One line per measured chapter, as Markdown: when, where, how long, on how much, verdicts."""
    told = by_page(claims)
    return pd.DataFrame(
        [
            {
                "page": markdown.link("", f"notebooks/{name}.ipynb"),
                "measured": f"{run.date}, commit {run.commit}{' with changes' * run.dirty}",
                "on": run.device,
                "minutes": f"{run.seconds / 60:.1f}",
                "judged pictures": f"{run.pictures:,}",
                "pictures a class": counts(run.parameters),
                "verified": run.verified or "not yet",
                "verdicts": _told(told.get(name, {})),
            }
            for name, run in runs(root).items()
        ]
    )


def counts(parameters: Mapping[str, Any]) -> str:
    """How many pictures of a class, and from which seeds."""
    told = [f"{parameters[name]}{what}" for name, what in COUNTS.items() if name in parameters]
    if "images" in parameters:  # every study counts its seeds from the first one
        first = int(parameters.get("seed", 0))
        told.append(f"seeds {first} to {first + int(parameters['images']) - 1}")
    return ", ".join(told) or "-"


def _told(outcomes: Mapping[str, int]) -> str:
    told = [f"{outcomes[name]} {name}" for name in OUTCOMES if outcomes.get(name)]
    return markdown.joined(told) or "-"


def summary(root: Path) -> str:
    """How many chapters were measured, on how many pictures, where, and how long it took."""
    found = list(runs(root).values())
    pictures, drawn = (sum(getattr(run, key) for run in found) for key in ("pictures", "drawn"))
    devices = markdown.joined(list(dict.fromkeys(run.device for run in found)))
    minutes = sum(run.seconds for run in found) / 60
    return (
        f"{len(found)} chapters were measured on {devices}: {pictures:,} judged pictures, of which "
        f"{drawn:,} were drawn for them and the others were on file already, in {minutes:.0f} "
        "minutes, counted chapter by chapter."
    )


def minutes_table(root: Path) -> str:
    """Markdown table of the measurements: minutes, pictures, device."""
    lines = ["| chapter | minutes | judged pictures | drawn | on |", "|---|---|---|---|---|"]
    for name, run in runs(root).items():
        lines.append(
            f"| {name} | {run.seconds / 60:.1f} | {run.pictures:,} | {run.drawn:,} | {run.device} |"
        )
    return "\n".join(lines)


def measured(root: Path) -> str:
    """The snippet that the status page includes, in Markdown."""
    table = status_table(root, verdicts(Measured(results=root / "results")))
    return f"{summary(root)}\n\n{markdown.table(table)}\n"
