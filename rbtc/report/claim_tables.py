# pyright: reportArgumentType=false, reportReturnType=false
# (pandas cannot say whether a selection is a frame or a series)
"""The ledger on a page: one line per claim, with a link to the page that measured it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rbtc.paper import paper_list
from rbtc.report import markdown
from rbtc.report.claims import OUTCOMES, Claim, Part, Value

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


def by_part(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Claims under their headings, in the order of `PARTS`; headings without a claim left out.

    Raises:
        ValueError: a place that no heading knows.
    """
    found: dict[str, list[Claim]] = {heading: [] for heading in PARTS}
    for claim in claims:
        fits = [name for name, starts in PARTS.items() if claim.place.startswith(starts)]
        if not fits:
            raise ValueError(f"{claim.key}: no heading for the place {claim.place!r}; see PARTS")
        found[fits[0]].append(claim)
    return {heading: own for heading, own in found.items() if own}


def tally_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Outcomes down, headings across: how many claims, and how many in all."""
    columns = {**by_part(claims), "all": claims}
    table = pd.DataFrame(
        {
            heading: pd.Series([one.outcome for one in own]).value_counts()
            for heading, own in columns.items()
        }
    )
    return table.reindex([one for one in OUTCOMES if one in table.index]).fillna(0).astype(int)


def ledger_table(claims: Sequence[Claim], *, pages: str = "") -> pd.DataFrame:
    """One line per claim, as Markdown: claim, paper, ours, outcome, where to check it.

    Args:
        claims: those to show, judged.
        pages: folder of the chapters, seen from the page that shows the table.
    """
    return pd.DataFrame(
        [
            {
                "claim": f"**{one.key}** {one.text} *{one.place}*",
                "paper": one.paper,
                "ours": ours(one),
                "outcome": f"**{one.outcome}**",
                "check": markdown.joined([markdown.chapter(p.chapter, pages) for p in one.parts]),
            }
            for one in claims
        ]
    )


def ours(claim: Claim) -> str:
    """What was measured for a claim: one line per part, with its rule, in Markdown."""
    several = len({part.outcome for part in claim.parts}) > 1
    lines = []
    for part in claim.parts:
        line = f"{part.measured}: {text(part)}" if part.measured else text(part)
        if part.rule and part.values:
            line += f"; rule: {part.rule.text}{f', {part.outcome}' if several else ''}"
        lines.append(line)
    return markdown.joined(lines)


def text(part: Part) -> str:
    """The numbers of a part in one line.

    One value comes with its interval over pictures, that over classes, what the classes span, and
    those against the claim. Of several values the span is told, and which of them came out how.
    """
    if not part.values:
        return part.why
    if len(part.values) == 1:
        return _value(part, part.values[0])
    values = sorted(part.values, key=lambda one: one.value)
    named = {
        outcome: [one.label for one in part.values if one.outcome == outcome]
        for outcome in OUTCOMES
    }
    told = [
        f"{len(labels)} {outcome}"
        + (f": {' / '.join(labels)}" if len(labels) <= 4 and all(labels) else "")
        for outcome, labels in named.items()
        if labels
    ]
    notes = told if len(told) > 1 else [f"all {len(values)}"]
    seen = [one.seen for one in values if one.seen is not None]
    if seen and named["undecided"]:
        ends = dict.fromkeys(f"{one:.2f}" for one in (min(seen), max(seen)))
        notes.append(f"could have seen {' to '.join(ends)}")
    show = _format(part.values[0])
    return f"{show(values[0].value)} to {show(values[-1].value)} ({'; '.join(notes)})"


def _format(value: Value) -> Any:
    """How its numbers are written: changes with their sign."""
    return ("{:+.2f}" if value.change else "{:.2f}").format


def _value(part: Part, one: Value) -> str:
    show = _format(one)
    shown = f"{one.label}: {show(one.value)}" if one.label else show(one.value)
    notes = []
    if not one.exact:
        shown += f" [{show(one.low)}, {show(one.high)}]"
        if one.n:
            notes.append(f"n = {one.n:,}")
    if one.classes:
        notes.append("over classes [{}, {}]".format(*map(show, one.classes)))
    own = [value.value for value in one.each]
    if len(own) > 1:
        notes.append(f"{len(own)} classes, {show(min(own))} to {show(max(own))}")
    if one.outcome == "holds in part" and part.rule:
        notes.append(f"against it: {', '.join(part.rule.against(one))}")
    if one.outcome == "no effect" and one.paper is not None:
        notes.append(f"the paper's {show(one.paper)}")
    if one.outcome == "undecided" and one.seen is not None:
        notes.append(f"could have seen {one.seen:.2f}")
    return f"{shown} ({'; '.join(notes)})" if notes else shown


def bounds_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """The bounds and where they come from: rule, reason, claims."""
    lines = [
        (part.rule.text, part.rule.reason, claim.key)
        for claim in claims
        for part in claim.parts
        if part.rule and part.rule.reason
    ]
    frame = pd.DataFrame(lines, columns=["rule", "why this bound", "claims"]).drop_duplicates()
    by = ["rule", "why this bound"]
    return frame.groupby(by, sort=False, as_index=False).agg({"claims": ", ".join})


def judged_values(claims: Sequence[Claim]) -> int:
    """How many values with an interval were judged, those of single classes left out."""
    return sum(not one.exact for c in claims for part in c.parts for one in part.values)


def records(claims: Sequence[Claim]) -> pd.DataFrame:
    """The ledger in long form, unrounded, one line per judged value, for a CSV."""
    lines: list[dict[str, Any]] = []
    for claim in claims:
        for number, part in enumerate(claim.parts, 1):
            about = {
                "id": claim.key, "place": claim.place, "claim": claim.text,
                "outcome": claim.outcome, "part": number, "page": part.chapter,
                "measured": part.measured, "rule": part.rule.text if part.rule else part.outcome,
                "part's outcome": part.outcome,
            }  # fmt: skip
            if not part.values:
                lines.append(about)
            for one in part.values:
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
                        "could have seen": one.seen,
                        "value's outcome": one.outcome,
                    }
                )
    frame = pd.DataFrame(lines)
    return frame.astype({name: "Int64" for name in ("n", "classes") if name in frame})


def abstract_table(claims: Sequence[Claim], *, pages: str) -> pd.DataFrame:
    """The abstract, sentence by sentence, as Markdown: what tests it and what came out.

    Args:
        claims: all of them, judged.
        pages: folder of the chapters, seen from the page that shows the table.

    Raises:
        ValueError: a claim that is not among those given.
    """
    frame = paper_list("abstract.csv", ABSTRACT)
    known = {claim.key: claim for claim in claims}
    if strangers := sorted({*frame["claim"]} - {*known}):
        raise ValueError(f"abstract.csv: there are no claims {', '.join(strangers)}")
    lines = []
    for _, sentence, key, figure in frame.itertuples(index=False):
        claim = known[key]
        page = next((part.chapter for part in claim.parts if part.rule), "")
        measure = f"`rbtc measure {page}`" if page else ""
        lines.append(
            {
                "the abstract says": sentence,
                "paper": claim.paper,
                "ours": f"{key}: {ours(claim)}",
                "outcome": f"**{claim.outcome}**",
                "check": markdown.joined([markdown.chapter(page, pages, figure), measure]),
            }
        )
    return pd.DataFrame(lines)
