"""The ledger on a page: one line per claim, with a link to the page that measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.files import data_root, read_table
from rbtc.report import markdown
from rbtc.report.claims import OUTCOMES, Finding, Outcome, Value, Verdict, smallest_seen

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
    return {name: found.count(name) for name in OUTCOMES if name in found}


def tally_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Outcomes down, headings across: how many claims, and how many in all."""
    counts = {heading: tally(own) for heading, own in by_part(verdicts).items()}
    counts["all"] = tally(verdicts)
    table = pd.DataFrame(counts).reindex([name for name in OUTCOMES if name in counts["all"]])
    return table.fillna(0).astype(int)


def ledger_table(verdicts: Sequence[Verdict], *, pages: str = "") -> pd.DataFrame:
    """One line per claim, as Markdown: claim, paper, ours, outcome, where to check it.

    Args:
        verdicts: the claims to show.
        pages: folder of the chapters, seen from the page that shows the table.
    """
    return pd.DataFrame(
        [
            {
                "claim": f"**{one.claim.key}** {one.claim.text} *{one.claim.place}*",
                "paper": one.claim.paper,
                "ours": ours(one),
                "outcome": f"**{one.outcome}**",
                "check": markdown.joined([page_link(f.part.chapter, pages) for f in one.findings]),
            }
            for one in verdicts
        ]
    )


def ours(verdict: Verdict) -> str:
    """What was measured for a claim: one line per part, with its rule, in Markdown."""
    several = len({finding.outcome for finding in verdict.findings}) > 1
    return markdown.joined([_measured(finding, several) for finding in verdict.findings])


def text(finding: Finding) -> str:
    """The numbers of a finding in one line.

    One value comes with its interval over pictures, that over classes, what the classes span, and
    those against the claim. Of several values the span is told, and which of them came out how.
    """
    if not finding.values:
        return finding.why
    if len(finding.values) == 1:
        return _value(finding, finding.values[0])
    numbers = [one.value for one in finding.values]
    sign = _sign(finding.values[0])
    named: dict[Outcome, list[str]] = {}
    for one, outcome in zip(finding.values, finding.outcomes, strict=True):
        named.setdefault(outcome, []).append(one.label)
    told = [f"all {len(numbers)}"] if len(named) == 1 else [
        f"{len(named[name])} {name}{_some(named[name])}" for name in OUTCOMES if name in named
    ]  # fmt: skip
    seen = [s for s in map(smallest_seen, finding.values) if s is not None]
    if seen and {"undecided"} & {*finding.outcomes}:
        ends = dict.fromkeys(f"{one:.2f}" for one in (min(seen), max(seen)))
        told.append(f"could have seen {' to '.join(ends)}")
    return f"{min(numbers):{sign}.2f} to {max(numbers):{sign}.2f} ({'; '.join(told)})"


def _some(labels: Sequence[str], most: int = 4) -> str:
    """Labels in words where they are few."""
    return f": {' / '.join(labels)}" if len(labels) <= most and all(labels) else ""


def _sign(value: Value) -> str:
    return "+" if value.change else ""


def _value(finding: Finding, one: Value) -> str:
    sign = _sign(one)
    shown = f"{one.label}: " if one.label else ""
    shown += f"{one.value:{sign}.2f}"
    notes = []
    if not one.exact:
        shown += f" [{one.low:{sign}.2f}, {one.high:{sign}.2f}]"
        if one.n:
            notes.append(f"n = {one.n:,}")
    if one.classes:
        low, high = one.classes
        notes.append(f"over classes [{low:{sign}.2f}, {high:{sign}.2f}]")
    own = [value.value for value in one.by_class.values()]
    if len(own) > 1:
        notes.append(f"{len(own)} classes, {min(own):{sign}.2f} to {max(own):{sign}.2f}")
    against = finding.part.rule.against(one) if finding.part.rule else []
    if against and finding.outcome == "holds in part":
        notes.append(f"against it: {', '.join(against)}")
    if finding.outcome == "no effect" and one.paper is not None:
        notes.append(f"the paper's {one.paper:{sign}.2f}")
    seen = smallest_seen(one)
    if finding.outcome == "undecided" and seen is not None:
        notes.append(f"could have seen {seen:.2f}")
    return f"{shown} ({'; '.join(notes)})" if notes else shown


def bounds_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The bounds and where they come from: rule, reason, claims."""
    found: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for part in verdict.claim.parts:
            if part.rule is not None and part.rule.reason:
                keys = found.setdefault((part.rule.text, part.rule.reason), [])
                keys.append(verdict.claim.key)
    return pd.DataFrame(
        [
            {"rule": rule, "why this bound": why, "claims": ", ".join(dict.fromkeys(keys))}
            for (rule, why), keys in found.items()
        ]
    )


def judged_values(verdicts: Sequence[Verdict]) -> int:
    """How many values with an interval were judged, those of single classes left out."""
    return sum(not one.exact for v in verdicts for f in v.findings for one in f.values)


def records(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The ledger in long form, unrounded, one line per judged value, for a CSV."""
    lines: list[dict[str, Any]] = []
    for verdict in verdicts:
        for number, finding in enumerate(verdict.findings, 1):
            part = finding.part
            about = {
                "id": verdict.claim.key, "place": verdict.claim.place, "claim": verdict.claim.text,
                "outcome": verdict.outcome, "part": number, "page": part.chapter,
                "measured": part.measured, "rule": part.rule.text if part.rule else part.fixed,
                "part's outcome": finding.outcome,
            }  # fmt: skip
            if not finding.values:
                lines.append(about)
            for one, outcome in zip(finding.values, finding.outcomes, strict=True):
                low, high = one.classes or (None, None)
                lines.append(
                    {
                        **about,
                        "value of": one.label,
                        "value": one.value,
                        "low": one.low,
                        "high": one.high,
                        "n": one.n or None,
                        "low over classes": low,
                        "high over classes": high,
                        "classes": len(one.by_class) or None,
                        "against": "; ".join(part.rule.against(one)) if part.rule else "",
                        "paper's change": one.paper,
                        "could have seen": smallest_seen(one),
                        "value's outcome": outcome,
                    }
                )
    frame = pd.DataFrame(lines)
    whole = [name for name in ("n", "classes") if name in frame]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def abstract_table(
    verdicts: Sequence[Verdict], *, pages: str, path: str | Path | None = None
) -> pd.DataFrame:
    """The abstract, sentence by sentence, as Markdown: what tests it and what came out.

    Args:
        verdicts: of all claims.
        pages: folder of the chapters, seen from the page that shows the table.
        path: the sentences, `data/paper/abstract.csv` by default.

    Raises:
        ValueError: other columns, or a claim that is not among the verdicts.
    """
    path = data_root() / "paper" / "abstract.csv" if path is None else Path(path)
    frame = pd.DataFrame(read_table(path, ABSTRACT), columns=list(ABSTRACT))
    known = {verdict.claim.key: verdict for verdict in verdicts}
    if strangers := sorted(set(frame["claim"]) - set(known)):
        raise ValueError(f"{path}: there are no claims {', '.join(strangers)}")
    return pd.DataFrame(
        [_sentence(line, known[line["claim"]], pages) for line in frame.to_dict("records")]
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


def _sentence(line: Mapping[str, str], verdict: Verdict, pages: str) -> dict[str, str]:
    page = next((one.part.chapter for one in verdict.findings if one.part.rule), "")
    figure = line["figure"]
    if figure and page_exists(page):
        figure = markdown.link(figure, f"{pages}{page}.ipynb")
    return {
        "the abstract says": line["text"],
        "paper": verdict.claim.paper,
        "ours": f"{verdict.claim.key}: {ours(verdict)}",
        "outcome": f"**{verdict.outcome}**",
        "check": markdown.joined([figure, f"`rbtc measure {page}`" if page else ""]),
    }


def _measured(finding: Finding, several: bool) -> str:
    part = finding.part
    if not finding.values:
        return f"{part.measured}: {finding.why}" if part.measured else finding.why
    outcome = f", {finding.outcome}" if several else ""
    rule = part.rule.text if part.rule else ""
    return f"{part.measured}: {text(finding)}; rule: {rule}{outcome}"
