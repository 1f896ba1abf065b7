# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The claims ledger: each claim of the paper held against the chapters' committed results.

`rbtc.report.claim_list` says which lines of which results file bear on a claim and by which rule
(`rbtc.report.rules`). The numbers come from the files that the chapters write into ``results/``;
nothing is drawn or trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from rbtc.files import data_root
from rbtc.report import rules
from rbtc.report.claim_list import SEVERAL, SINGLE, WITHOUT_NUMBERS, Claim, Part
from rbtc.report.rules import Outcome, Value, difference
from rbtc.report.selection import lines, value, values


@dataclass(frozen=True)
class Finding:
    """A part and what came of it.

    Attributes:
        part: The measurement.
        outcome: Of all its values together.
        values: What was judged.
        outcomes: Of each value.
        spread: Smallest and largest change over the classes, where classes were pooled.
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
            notes = [f"n = {one.n}" if one.n else "", self.spread]
            about = "; ".join(note for note in notes if note)
            return f"{shown} ({about})" if about else shown
        numbers = [one.value for one in self.values]
        counted = {name: self.outcomes.count(name) for name in rules.OUTCOMES}
        tally = ", ".join(f"{count} {name}" for name, count in counted.items() if count)
        every = f"all {len(numbers)}" if len(set(self.outcomes)) == 1 else tally
        return f"{min(numbers):{sign}.2f} to {max(numbers):{sign}.2f} ({every})"


@dataclass(frozen=True)
class Verdict:
    """A claim with the findings of its parts."""

    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """Of all parts together."""
        return rules.together([finding.outcome for finding in self.findings])


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
        return Finding(part, "not measured yet", why=f"`rbtc measure {part.page}`")
    try:
        return measure(part, pd.read_csv(path))
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
        return _with_spread(part, frame, _judged(part, _values(part, frame)))
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


def _judged(part: Part, found: Sequence[Value]) -> Finding:
    if part.rule in SEVERAL:
        try:
            outcome = SEVERAL[part.rule](found)
        except ValueError as error:
            raise LookupError(f"holds too little: {error}") from error
        shown = difference(found[0], found[-1]) if part.rule == "order" else _best(found)
        return Finding(part, outcome, (shown,), (outcome,))
    bound = () if part.bound is None else (part.bound,)
    outcomes = tuple(SINGLE[part.rule](one, *bound) for one in found)
    return Finding(part, rules.together(outcomes), tuple(found), outcomes)


def _best(found: Sequence[Value]) -> Value:
    return max(found, key=lambda one: one.value)


def _with_spread(part: Part, frame: pd.DataFrame, pooled: Finding) -> Finding:
    """What the classes behind a pooled change say, each by itself.

    A mean can hide a class that goes the other way. Where one does, beyond its interval, a claim
    that holds for all together *holds in part*.
    """
    if "concept" not in frame or "->" not in part.lines or frame["concept"].nunique() < 2:
        return pooled
    own = []
    for _, one in frame.groupby("concept", sort=False):
        try:
            own.append(_judged(part, _values(part, one)))
        except LookupError:
            continue
    numbers = [one.values[0].value for one in own]
    if len(numbers) < 2:
        return pooled
    against = sum(one.outcome == "does not hold" for one in own)
    spread = f"{min(numbers):+.2f} to {max(numbers):+.2f}, {len(numbers)} classes"
    if against:
        spread += f", {against} of them against the claim"
    outcome = "holds in part" if against and pooled.outcome == "holds" else pooled.outcome
    return replace(pooled, outcome=outcome, spread=spread)
