"""The ledger on a page: one line per claim, with links to the page and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.files import data_root
from rbtc.report import markdown, rules
from rbtc.report.ledger import Finding, Verdict
from rbtc.report.rules import Outcome

PARTS = {
    "Abstract and introduction": ("Abstract", "Sec. 1", "Sec. 2", "Contributions"),
    "Signs and magnitudes": ("Sec. 3",),
    "The attack": ("Sec. 4.1", "Sec. 4.2", "Sec. 4.3"),
    "Experiments": ("Sec. 5.2", "Sec. 5.3", "Sec. 5.4"),
    "The defence": ("Sec. 4.4", "Sec. 5.5", "App. F"),
    "Appendix": ("App.",),
}
"""Headings of the ledger, and the first place of the claims under each."""

ABSTRACT = ("sentence", "text", "claim", "figure")
"""Columns of `data/paper/abstract.csv`; a sentence's text stands on its first line."""


def part_of(verdict: Verdict) -> str:
    """The heading under which a claim stands, by the first place it is made at.

    Raises:
        ValueError: a place that no heading knows.
    """
    place = verdict.claim.place
    for heading, starts in PARTS.items():
        if place.startswith(starts):
            return heading
    raise ValueError(f"{verdict.claim.key}: no heading for the place {place!r}; see PARTS")


def by_part(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Claims under their headings, in the order of `PARTS`; headings without a claim left out."""
    found: dict[str, list[Verdict]] = {heading: [] for heading in PARTS}
    for verdict in verdicts:
        found[part_of(verdict)].append(verdict)
    return {heading: own for heading, own in found.items() if own}


def tally(verdicts: Sequence[Verdict]) -> dict[Outcome, int]:
    """How many claims have each outcome, those that occur."""
    found = [verdict.outcome for verdict in verdicts]
    return {name: found.count(name) for name in rules.OUTCOMES if name in found}


def tally_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Outcomes down, headings across: how many claims, and how many in all."""
    counts = {heading: tally(own) for heading, own in by_part(verdicts).items()}
    counts["all"] = tally(verdicts)
    table = pd.DataFrame(counts).reindex([name for name in rules.OUTCOMES if name in counts["all"]])
    return table.fillna(0).astype(int)


def ledger_table(
    verdicts: Sequence[Verdict], *, pages: str = "", numbers: str = "../../results/"
) -> pd.DataFrame:
    """One line per claim, as Markdown: claim, paper, ours, outcome, where to check it.

    Args:
        verdicts: the claims to show.
        pages: folder of the chapters, seen from the page that shows the table.
        numbers: folder of the results files, seen from there.
    """
    return pd.DataFrame(
        [
            {
                "claim": f"**{one.claim.key}** {one.claim.text} *{one.claim.place}*",
                "paper": one.claim.paper,
                "ours": ours(one),
                "outcome": f"**{one.outcome}**",
                "check": check(one, pages=pages, numbers=numbers),
            }
            for one in verdicts
        ]
    )


def ours(verdict: Verdict) -> str:
    """What was measured for a claim: one line per part, with its rule, in Markdown."""
    several = len({finding.outcome for finding in verdict.findings}) > 1
    return markdown.joined([_measured(finding, several) for finding in verdict.findings])


def check(verdict: Verdict, *, pages: str, numbers: str) -> str:
    """Links to the pages and files of a claim, in Markdown; a page that is not there has none."""
    parts = [finding.part for finding in verdict.findings]
    links = [page_link(part.page, pages) for part in parts]
    files = [
        markdown.link(f"{finding.part.file}.csv", f"{numbers}{finding.part.file}.csv")
        for finding in verdict.findings
        if finding.part.file and finding.outcome != "not measured yet"
    ]
    return markdown.joined([*links, *files])


def bounds_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The bounds and where they come from: rule, reason, claims."""
    found: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for finding in verdict.findings:
            if finding.part.bound is not None:
                keys = found.setdefault((finding.part.rule_text, finding.part.note), [])
                keys.append(verdict.claim.key)
    return pd.DataFrame(
        [
            {"rule": rule, "why this bound": why, "claims": ", ".join(dict.fromkeys(keys))}
            for (rule, why), keys in found.items()
        ]
    )


def records(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The ledger in long form, unrounded, one line per judged value, for a CSV."""
    lines: list[dict[str, Any]] = []
    for verdict in verdicts:
        for number, finding in enumerate(verdict.findings, 1):
            part = finding.part
            about = {
                "id": verdict.claim.key, "place": verdict.claim.place, "claim": verdict.claim.text,
                "outcome": verdict.outcome, "part": number, "page": part.page, "file": part.file,
                "measured": part.measured, "rule": part.rule, "bound": part.bound,
                "part's outcome": finding.outcome,
            }  # fmt: skip
            if not finding.values:
                lines.append(about)
            for one, outcome in zip(finding.values, finding.outcomes, strict=True):
                lines.append(
                    {
                        **about,
                        "value of": one.label,
                        "value": one.value,
                        "low": one.low,
                        "high": one.high,
                        "n": one.n or None,
                        "value's outcome": outcome,
                    }
                )
    frame = pd.DataFrame(lines)
    if "n" in frame:
        frame["n"] = frame["n"].astype("Int64")
    return frame


def abstract_table(
    verdicts: Sequence[Verdict],
    *,
    pages: str,
    numbers: str,
    path: str | Path | None = None,
) -> pd.DataFrame:
    """The abstract, sentence by sentence, as Markdown: what tests it and what came out.

    Args:
        verdicts: of all claims.
        pages: folder of the chapters, seen from the page that shows the table.
        numbers: folder of the results files, seen from there.
        path: the sentences, `data/paper/abstract.csv` by default.

    Raises:
        ValueError: other columns, or a claim that is not among the verdicts.
    """
    path = data_root() / "paper" / "abstract.csv" if path is None else Path(path)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(frame.columns) != ABSTRACT:
        raise ValueError(f"{path}: expected the columns {ABSTRACT}, got {tuple(frame.columns)}")
    known = {verdict.claim.key: verdict for verdict in verdicts}
    if strangers := sorted(set(frame["claim"]) - set(known)):
        raise ValueError(f"{path}: there are no claims {', '.join(strangers)}")
    return pd.DataFrame(
        [_sentence(line, known[line["claim"]], pages, numbers) for line in frame.to_dict("records")]
    )


def page_exists(page: str) -> bool:
    """Whether the book has the chapter."""
    return bool(page) and (data_root().parent / "notebooks" / f"{page}.py").is_file()


def page_link(page: str, folder: str = "") -> str:
    """A chapter's name, as a link where the book has it; in words, so that a narrow column wraps.

    >>> page_link("77_unwritten")
    '77 unwritten'
    """
    words = page.replace("_", " ")
    return markdown.link(words, f"{folder}{page}.ipynb") if page_exists(page) else words


def _sentence(
    line: Mapping[str, str], verdict: Verdict, pages: str, numbers: str
) -> dict[str, str]:
    page = next((one.part.page for one in verdict.findings if one.part.page), "")
    figure = line["figure"]
    if figure and page_exists(page):
        figure = markdown.link(figure, f"{pages}{page}.ipynb")
    files = check(verdict, pages=pages, numbers=numbers).split("<br>")
    command = f"`rbtc measure {page}`" if page else ""
    return {
        "the abstract says": line["text"],
        "paper": verdict.claim.paper,
        "ours": f"{verdict.claim.key}: {ours(verdict)}",
        "outcome": f"**{verdict.outcome}**",
        "check": markdown.joined([figure, *[one for one in files if ".csv" in one], command]),
    }


def _measured(finding: Finding, several: bool) -> str:
    part = finding.part
    if not finding.values:
        return f"{part.measured}: {finding.why}" if part.measured else finding.why
    outcome = f", {finding.outcome}" if several else ""
    return f"{part.measured}: {finding.text}; rule: {part.rule_text}{outcome}"
