# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The claims ledger: each claim of the paper, the measurement that tests it, and the outcome.

`data/paper/claims.csv` says, line by line, which lines of which results file are held against a
claim and by which rule (`rbtc.report.rules`); a claim with several lines has several parts. The
numbers come from the files that the chapters write into ``results/``. Nothing is drawn or trained
here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.files import data_root
from rbtc.report import rules
from rbtc.report.outputs import used
from rbtc.report.paper import load_table, paper_value
from rbtc.report.rules import Outcome, Value, difference
from rbtc.report.selection import lines, value, values

COLUMNS = (
    "id", "place", "claim", "paper", "page", "file", "measured", "quantity", "lines", "each",
    "rule", "bound", "note",
)  # fmt: skip

SINGLE: dict[str, Callable[..., Outcome]] = {
    "rises": rules.rises,
    "falls": rules.falls,
    "above": rules.above,
    "below": rules.below,
    "within": rules.within,
}
"""Rules about one value, or one change. The last three have a bound."""

SEVERAL: dict[str, Callable[[Sequence[Value]], Outcome]] = {
    "order": rules.order,
    "peak": rules.peak,
}
"""Rules about a row of values."""

BOUNDED = ("above", "below", "within")
WITHOUT_NUMBERS: dict[str, Outcome] = {
    "by construction": "holds",
    "not testable": "not testable here",
}
"""Rules that read no file; the note says why."""


@dataclass(frozen=True)
class Part:
    """One line of `claims.csv`: a measurement and its rule.

    Attributes:
        page: The chapter, ``NN_name``.
        file: Results file without ending, empty for a rule without numbers.
        measured: What is measured, in words.
        quantity: See `rbtc.report.selection`.
        lines: One selection of lines; or two joined by ``->``, for the change from the first to the
            second; or several joined by ``<``, for their order.
        each: Columns whose every value is judged by itself; empty pools, or judges every line.
        rule: Name of the rule.
        bound: Of the rule, None where it has none.
        note: Where the bound comes from, or why there is no measurement.
    """

    page: str
    file: str
    measured: str
    quantity: str
    lines: str
    each: tuple[str, ...]
    rule: str
    bound: float | None
    note: str

    @property
    def rule_text(self) -> str:
        """The rule with its bound."""
        if self.bound is None:
            return self.rule
        return f"{self.rule} {'±' if self.rule == 'within' else ''}{self.bound:g}"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        key: C01 and so on, in the order of the paper.
        place: Where the paper makes it.
        text: The claim in our words.
        paper: The paper's numbers for it, filled in from its tables.
        parts: What tests it.
    """

    key: str
    place: str
    text: str
    paper: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Finding:
    """A part and what came of it.

    Attributes:
        part: The measurement.
        outcome: Of all its values together.
        values: What was judged.
        outcomes: Of each value.
        spread: Smallest and largest value over the classes, where classes were pooled.
        why: Why it was not measured, empty otherwise.
    """

    part: Part
    outcome: Outcome
    values: tuple[Value, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    spread: str = ""
    why: str = ""

    @property
    def text(self) -> str:
        """The numbers in one line."""
        if not self.values:
            return self.why
        changes = self.part.quantity == "change" or "->" in self.part.lines
        sign = "+" if changes else ""
        if len(self.values) == 1:
            one = self.values[0]
            shown = f"{one.value:{sign}.2f}"
            if not one.exact:
                shown += f" [{one.low:{sign}.2f}, {one.high:{sign}.2f}]"
            return shown + (f", classes {self.spread}" if self.spread else "")
        numbers = [one.value for one in self.values]
        counted = {name: self.outcomes.count(name) for name in rules.OUTCOMES}
        tally = ", ".join(f"{count} {name}" for name, count in counted.items() if count)
        return (
            f"{min(numbers):{sign}.2f} to {max(numbers):{sign}.2f} ({tally} of {len(numbers)})"
            if len(set(self.outcomes)) > 1
            else f"{min(numbers):{sign}.2f} to {max(numbers):{sign}.2f} (all {len(numbers)})"
        )


@dataclass(frozen=True)
class Verdict:
    """A claim with the findings of its parts."""

    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """Of all parts together."""
        return rules.together([finding.outcome for finding in self.findings])


# ---- the list -----------------------------------------------------------------------------------


def load_claims(path: str | Path | None = None) -> list[Claim]:
    """Read the list of claims, `data/paper/claims.csv` by default.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: other columns, an unknown rule, a bound that a rule needs or does not take, or
            a claim whose lines do not stand together.
    """
    path = data_root() / "paper" / "claims.csv" if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no claims in {path}: work in a clone of the repository")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise ValueError(f"{path}: expected the columns {COLUMNS}, got {tuple(frame.columns)}")
    claims: list[Claim] = []
    for line in frame.to_dict("records"):
        part = _part(line, f"{path}, {line['id']}")
        if claims and claims[-1].key == line["id"]:
            last = claims.pop()
            claims.append(Claim(last.key, last.place, last.text, last.paper, (*last.parts, part)))
            continue
        if line["id"] in {claim.key for claim in claims} or not line["claim"]:
            raise ValueError(
                f"{path}: the lines of {line['id']} must stand together, the first with the claim"
            )
        claims.append(
            Claim(line["id"], line["place"], line["claim"], filled(line["paper"]), (part,))
        )
    return claims


def filled(text: str) -> str:
    """A text with the paper's numbers put in: ``{1/Average/erased: NMS}`` becomes the printed one.

    Raises:
        ValueError: the paper has no such number.
    """

    def number(place: re.Match[str]) -> str:
        table, row, column = place[1].split("/")
        paper_value(int(table), row, column)  # says what is wrong with an unknown place
        frame = load_table(int(table))
        return frame.loc[(frame["row"] == row) & (frame["column"] == column), "printed"].iloc[0]

    return re.sub(r"\{([^}]*)\}", number, text)


def _part(line: dict[str, str], where: str) -> Part:
    rule, bound = line["rule"], line["bound"]
    if rule not in {*SINGLE, *SEVERAL, *WITHOUT_NUMBERS}:
        known = ", ".join([*SINGLE, *SEVERAL, *WITHOUT_NUMBERS])
        raise ValueError(f"{where}: unknown rule {rule!r}, expected one of {known}")
    if (rule in BOUNDED) != bool(bound):
        raise ValueError(f"{where}: the rule {rule!r} {'needs a' if not bound else 'takes no'} bound")
    if (rule in WITHOUT_NUMBERS) == bool(line["file"]):
        raise ValueError(f"{where}: {rule!r} with the results file {line['file']!r}")
    if rule in WITHOUT_NUMBERS and not line["note"]:
        raise ValueError(f"{where}: {rule!r} needs a note that says why")
    return Part(
        page=line["page"],
        file=line["file"],
        measured=line["measured"],
        quantity=line["quantity"],
        lines=line["lines"],
        each=tuple(name.strip() for name in line["each"].split(",") if name.strip()),
        rule=rule,
        bound=float(bound) if bound else None,
        note=line["note"],
    )


# ---- judging ------------------------------------------------------------------------------------


def results_folder() -> Path:
    """Where the chapters' results are committed: ``results`` beside the data folder."""
    return data_root().parent / "results"


def judge(claim: Claim, folder: str | Path | None = None) -> Verdict:
    """Hold a claim against the results files in a folder, `results_folder` by default."""
    folder = results_folder() if folder is None else Path(folder)
    return Verdict(claim, tuple(_finding(part, folder) for part in claim.parts))


def _finding(part: Part, folder: Path) -> Finding:
    if part.rule in WITHOUT_NUMBERS:
        return Finding(part, WITHOUT_NUMBERS[part.rule], why=part.note)
    path = folder / f"{part.file}.csv"
    if not path.is_file():
        return Finding(part, "not measured yet", why=f"`python -m rbtc.book run {part.page}`")
    try:
        return measure(part, pd.read_csv(used(path)))
    except LookupError as error:
        # A chapter with fewer concepts, or one that names its lines otherwise: said, not raised,
        # so that the other claims still get their verdict.
        return Finding(part, "not measured yet", why=f"{path.name} {error.args[0]}")


def measure(part: Part, frame: pd.DataFrame) -> Finding:
    """Judge one part by a results file.

    Raises:
        LookupError: the file does not hold what the part asks for.
    """
    if not part.each:
        found = _values(part, frame)
        spread = _spread(part, frame) if len(found) == 1 else ""
        return _judged(part, found, spread)
    groups, missing = [], None
    for _, own in frame.groupby(list(part.each), sort=False):
        try:
            groups.append(_judged(part, _values(part, own)))
        except LookupError as error:
            missing = error
    if not groups:
        raise missing or LookupError(f"has no values in {part.each}")
    shown = tuple(one for group in groups for one in group.values)
    outcomes = tuple(one for group in groups for one in group.outcomes)
    return Finding(part, rules.together(outcomes), shown, outcomes)


def _values(part: Part, frame: pd.DataFrame) -> list[Value]:
    """The values that a rule is about, from the selections of a part."""
    if "->" in part.lines:
        before, after = (
            value(frame, chosen.strip(), part.quantity) for chosen in part.lines.split("->")
        )
        return [difference(before, after)]
    if " < " in part.lines:
        return [value(frame, chosen, part.quantity) for chosen in part.lines.split(" < ")]
    return values(lines(frame, part.lines), part.quantity)


def _judged(part: Part, found: Sequence[Value], spread: str = "") -> Finding:
    if part.rule in SEVERAL:
        try:
            outcome = SEVERAL[part.rule](found)
        except ValueError as error:
            raise LookupError(f"holds too little: {error}") from error
        shown = difference(found[0], found[-1]) if part.rule == "order" else _best(found)
        return Finding(part, outcome, (shown,), (outcome,), spread)
    bound = () if part.bound is None else (part.bound,)
    outcomes = tuple(SINGLE[part.rule](one, *bound) for one in found)
    return Finding(part, rules.together(outcomes), tuple(found), outcomes, spread)


def _best(found: Sequence[Value]) -> Value:
    return max(found, key=lambda one: one.value)


def _spread(part: Part, frame: pd.DataFrame) -> str:
    """Smallest and largest change over the classes behind a pooled one."""
    if "concept" not in frame or "->" not in part.lines:
        return ""
    own = []
    for _, one in frame.groupby("concept", sort=False):
        try:
            own.append(_values(part, one)[0].value)
        except LookupError:
            continue
    return f"{min(own):+.2f} to {max(own):+.2f}" if len(own) > 1 else ""


# ---- tables -------------------------------------------------------------------------------------


def page_exists(page: str) -> bool:
    """Whether the book has the chapter."""
    return bool(page) and (data_root().parent / "notebooks" / f"{page}.py").is_file()


def records(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The ledger in long form, unrounded, one line per judged value, for a CSV."""
    rows: list[dict[str, Any]] = []
    for verdict in verdicts:
        for number, finding in enumerate(verdict.findings, 1):
            part = finding.part
            for one, outcome in zip(finding.values or (None,), finding.outcomes or (None,),
                                    strict=False):  # fmt: skip
                rows.append({
                    "id": verdict.claim.key, "part": number, "outcome": verdict.outcome,
                    "page": part.page, "file": part.file, "rule": part.rule, "bound": part.bound,
                    "measured": part.measured, "value of": one.label if one else "",
                    "value": one.value if one else None, "low": one.low if one else None,
                    "high": one.high if one else None, "value's outcome": outcome or finding.outcome,
                })  # fmt: skip
    return pd.DataFrame(rows)


def tally(verdicts: Sequence[Verdict]) -> dict[Outcome, int]:
    """How many claims have each outcome, those that occur."""
    found = [verdict.outcome for verdict in verdicts]
    return {name: found.count(name) for name in rules.OUTCOMES if name in found}
