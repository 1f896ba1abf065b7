# pyright: reportAttributeAccessIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""The list of the paper's claims, `data/paper/claims.csv`, and what may stand in it.

A line is a measurement and the rule by which it is held against a claim; lines of one claim stand
together, and the first of them says what the claim is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rbtc.files import data_root
from rbtc.report import rules
from rbtc.report.paper import load_table, paper_value
from rbtc.report.rules import Outcome, Value

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
        raise ValueError(
            f"{where}: the rule {rule!r} {'needs a' if not bound else 'takes no'} bound"
        )
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
