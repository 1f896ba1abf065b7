# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Claims of the paper, the values that bear on them, and the rules that judge.

A value is a paired change, a level or a property of the weights, with its 95 % interval; a rule
looks at the interval only. `rbtc.studies.paper_claims` lists the claims, each with expressions over
the chapters' loaded studies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol, get_args

import pandas as pd

from rbtc.intervals import Difference, Estimate, paired, paired_means
from rbtc.paper import load_table, paper_value
from rbtc.report.tables import pairs, trials

Outcome = Literal[
    "holds", "holds in part", "ceiling", "undecided", "no effect", "does not hold",
    "not testable here", "not measured yet",
]  # fmt: skip
"""Every outcome, from agreement over what cannot be told to contradiction and absence."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


# ---- values -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval over pictures.

    Attributes:
        label: What it is the value of, where a measurement has several.
        value: The number.
        low: Lower end of its interval; the number itself for a property of the weights, which no
            draw of pictures changes.
        high: Upper end.
        n: Judged pictures, or pairs of them; 0 where that means nothing.
        change: Whether it is a change.
        start: Of a change of a share, the share that it starts from.
        seen: The smallest change that so many pictures could have shown to be one, or half the
            width of the interval; None for a property of the weights.
        paper: Of a change, the paper's own.
        by_class: Class -> its own value.
        outcome: What its rule says of it; None before it was judged.
    """

    label: str
    value: float
    low: float
    high: float
    n: int = 0
    change: bool = False
    start: float | None = None
    seen: float | None = None
    paper: float | None = None
    by_class: Mapping[str, Value] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def exact(self) -> bool:
        """Whether it carries no interval."""
        return self.low == self.high

    @property
    def each(self) -> list[Value]:
        """The classes' own values, to be judged one by one."""
        return list(self.by_class.values())

    @property
    def classes(self) -> tuple[float, float] | None:
        """95 % t interval of the mean over classes, each class one observation.

        It is about classes like these, where the interval over pictures is about these. None for
        a property of the weights, for fewer than two classes, and where all are alike.
        """
        own = [one.value for one in self.each]
        if self.exact or len(own) < 2 or min(own) == max(own):
            return None
        found = paired_means([0.0] * len(own), own)
        if max(map(abs, own)) > 1:  # no share
            return found.low, found.high
        return max(found.low, -1.0 if self.change else 0.0), min(found.high, 1.0)


def exact(value: float, label: str = "", by_class: Mapping[str, float] | None = None) -> Value:
    """A property of the weights, perhaps with that of each class or layer."""
    own = {name: exact(one, name) for name, one in (by_class or {}).items()}
    return Value(label, float(value), float(value), float(value), by_class=own)


def estimated(
    found: Estimate,
    label: str = "",
    *,
    by_class: Mapping[str, Estimate] | None = None,
    paper: float | None = None,
    start: float | None = None,
) -> Value:
    """A value from an estimate of `rbtc.stats` or `rbtc.intervals`, and those of the classes."""
    differs = isinstance(found, Difference)
    # What a change of numbers that are no shares could show is told by its interval.
    seen = found.detectable if differs and start is not None else (found.high - found.low) / 2
    own = {name: estimated(one, name) for name, one in (by_class or {}).items()}
    return Value(label, found.value, found.low, found.high, found.n, differs, start, seen, paper,
                 own)  # fmt: skip


def change(
    hits: pd.DataFrame, before: str, after: str, label: str = "", *, paper: float | None = None
) -> Value:
    """Paired change of the accuracy from one model to another, over all classes and in each.

    Pairs are pictures of one prompt and seed, clustered as in `rbtc.report.tables.effect`.

    Args:
        hits: one line per picture: concept, model, asked, seed, hit, prompt where there is one.
        before: model.
        after: model.
        label: what the change is about.
        paper: the paper's own change.

    Raises:
        LookupError: one of the models is not among them, or they have no picture in common.
    """
    if missing := [one for one in (before, after) if not (hits["model"] == one).any()]:
        raise LookupError(f"no pictures of {' and '.join(missing)}")
    both = pairs(hits, before, after)
    if both.empty:
        raise LookupError(f"no picture that {before} and {after} share")

    def of(own: pd.DataFrame, label: str) -> Value:
        found = paired(own["hit_before"], own["hit_after"], trials(own).tolist())
        return estimated(found, label, paper=paper, start=float(own["hit_before"].mean()))

    classes = both.groupby("concept", sort=False)
    own = {str(name): of(one, str(name)) for name, one in classes} if len(classes) > 1 else {}
    return replace(of(both, label), by_class=own)


# ---- rules --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """How a value is judged.

    Attributes:
        text: In words.
        judge: Of a value without its classes.
        reason: Where a bound comes from; empty for a rule without one.
    """

    text: str
    judge: Callable[[Value], Outcome]
    reason: str = ""

    def outcome(self, value: Value) -> Outcome:
        """Of a value; where a class by itself clearly says the opposite, *holds in part*."""
        found = self.judge(value)
        return "holds in part" if found == "holds" and self.against(value) else found

    def against(self, value: Value) -> list[str]:
        """The classes whose own value does not hold."""
        return [n for n, one in value.by_class.items() if self.judge(one) == "does not hold"]


def _inside(value: Value, least: float, most: float) -> Outcome:
    """Whether the whole interval lies between two bounds."""
    if least < value.low and value.high < most:
        return "holds"
    outside = value.high < least or value.low > most or value.exact
    return "does not hold" if outside else "undecided"


def above(bound: float, reason: str) -> Rule:
    """The whole interval lies above a bound."""
    return Rule(f"above {bound:.3g}", partial(_inside, least=bound, most=math.inf), reason)


def below(bound: float, reason: str) -> Rule:
    """The whole interval lies below a bound."""
    return Rule(f"below {bound:.3g}", partial(_inside, least=-math.inf, most=bound), reason)


def within(margin: float, reason: str) -> Rule:
    """Equivalence: the whole interval of a change lies within plus or minus a margin.

    Not finding a change is not finding that there is none: a wide interval around zero is
    undecided.

    Raises:
        ValueError: a margin that is not positive.
    """
    if not margin > 0:
        raise ValueError(f"a margin of equivalence must be positive, got {margin}")
    return Rule(f"within ±{margin:.3g}", partial(_inside, least=-margin, most=margin), reason)


ROOM = 0.1
"""Where less than this share of the pictures is left to change, and less than could be seen, the
outcome is a ceiling, and not the fault of too few pictures."""


def _moves(value: Value, sign: int) -> Outcome:
    found = _inside(value, *((0, math.inf) if sign > 0 else (-math.inf, 0)))
    if found != "undecided":
        return found
    if value.start is not None and value.seen is not None:
        room = 1 - value.start if sign > 0 else value.start
        if room < min(value.seen, ROOM):
            return "ceiling"
    if value.paper is not None and sign * value.paper > max(sign * value.low, sign * value.high):
        return "no effect"
    return "undecided"


RISES = Rule("rises", partial(_moves, sign=1))
"""A change upwards. *Ceiling* where next to nothing is left to rise (`ROOM`), *no effect* where the
interval holds zero and lies below the paper's own change."""

FALLS = Rule("falls", partial(_moves, sign=-1))
"""A change downwards, alike."""


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of several as one.

    Where some hold and others do not, or cannot be told, all together *hold in part*; where none
    holds, the outcome is the most telling of them. What is not testable is left out. What is not
    measured yet leaves it at that, unless another one says that not all can hold.

    Raises:
        ValueError: no outcome.
    """
    found = set(outcomes)
    if not found:
        raise ValueError("expected one or more outcomes, got none")
    if "not measured yet" in found and not found & {"does not hold", "no effect", "holds in part"}:
        return "not measured yet"
    found.discard("not measured yet")
    if found & {"holds", "holds in part"}:
        return "holds" if found <= {"holds", "not testable here"} else "holds in part"
    telling: tuple[Outcome, ...] = (
        "does not hold", "no effect", "undecided", "ceiling", "not testable here",
    )  # fmt: skip
    return next(name for name in telling if name in found)


# ---- claims -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A measurement that bears on a claim, and what came of it.

    Attributes:
        claim: Key of the claim.
        chapter: That made it; empty for none.
        measured: What is measured, in words.
        rule: How each value is judged; None where there is nothing to measure.
        read: The value or values of the chapter's loaded study and the K of its profile.
        outcome: Of all its values together; where there is nothing to measure, as it is given.
        why: Why there is no value.
        values: What was judged, each with its outcome.
    """

    claim: str
    chapter: str
    measured: str
    rule: Rule | None = None
    read: Callable[[Any, float], Value | Sequence[Value]] | None = None
    outcome: Outcome = "not testable here"
    why: str = ""
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        key: C01 and so on.
        place: Where the paper makes it.
        text: The claim in our words.
        paper: The paper's numbers for it, as printed.
        parts: What tests it.
    """

    key: str
    place: str
    text: str
    paper: str
    parts: tuple[Part, ...]

    @property
    def outcome(self) -> Outcome:
        """Of all parts together."""
        return together([part.outcome for part in self.parts])


class Studies(Protocol):
    """Chapter -> its loaded study and how it was measured; LookupError where there is none."""

    def __getitem__(self, chapter: str) -> tuple[Any, Any]: ...


def judge(claim: Claim, studies: Studies) -> Claim:
    """Hold a claim against what the chapters measured.

    What a chapter did not measure leaves that part *not measured yet*, with the command that
    measures it, so that the other claims still get their verdict.
    """
    return replace(claim, parts=tuple(_judged(part, studies) for part in claim.parts))


def _judged(part: Part, studies: Studies) -> Part:
    if part.rule is None or part.read is None:
        return part
    try:
        study, run = studies[part.chapter]
        found = part.read(study, float(run.settings["keep_ratio"]))
    except LookupError as error:
        why = ": ".join([f"`rbtc measure {part.chapter}`", *map(str, error.args[:1])])
        return replace(part, outcome="not measured yet", why=why)
    found = [found] if isinstance(found, Value) else found
    values = tuple(replace(one, outcome=part.rule.outcome(one)) for one in found)
    return replace(part, values=values, outcome=together([one.outcome for one in values]))


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
