# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Claims of the paper, the values that bear on them, and the rules that judge.

A value is a paired change, a level or a property of the weights, with its 95 % interval; a rule
looks at the interval only. `rbtc.studies.paper_claims` lists the claims, each with functions that
take a chapter's loaded study and return values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import pandas as pd

from rbtc.intervals import Difference, Estimate, paired, paired_means
from rbtc.paper import load_table, paper_value
from rbtc.report.tables import accuracies, trials

Outcome = Literal[
    "holds", "holds in part", "no effect", "ceiling", "undecided", "does not hold",
    "not testable here", "not measured yet",
]  # fmt: skip

OUTCOMES: tuple[Outcome, ...] = (
    "holds", "holds in part", "ceiling", "undecided", "no effect", "does not hold",
    "not testable here", "not measured yet",
)  # fmt: skip
"""Every outcome, from agreement over what cannot be told to contradiction and absence."""


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
        seen: Of a change, the smallest that so many pictures could have shown to be one.
        paper: Of a change, the paper's own.
        by_class: Class -> its own value.
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

    @property
    def exact(self) -> bool:
        """Whether it carries no interval."""
        return self.low == self.high

    @property
    def classes(self) -> tuple[float, float] | None:
        """95 % t interval of the mean over classes, each class one observation.

        It is about classes like these, where the interval over pictures is about these. None for
        a property of the weights, for fewer than two classes, and where all are alike.
        """
        own = [one.value for one in self.by_class.values()]
        if self.exact or len(own) < 2 or min(own) == max(own):
            return None
        found = paired_means([0.0] * len(own), own)
        least = -1.0 if self.change else 0.0
        if max(map(abs, own)) > 1:  # no share
            return found.low, found.high
        return max(found.low, least), min(found.high, 1.0)


def exact(value: float, label: str = "", by_class: Mapping[str, float] | None = None) -> Value:
    """A property of the weights, perhaps with that of each class or layer."""
    own = {name: Value(name, one, one, one) for name, one in (by_class or {}).items()}
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
    return Value(label, found.value, found.low, found.high, found.n, differs, start,
                 seen if differs else None, paper, own)  # fmt: skip


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
    keys = [one for one in ("concept", "asked", "prompt", "seed", "repeat") if one in hits]
    if missing := [one for one in (before, after) if not (hits["model"] == one).any()]:
        raise LookupError(f"no pictures of {' and '.join(missing)}")
    halves = [hits.loc[hits["model"] == name, [*keys, "hit"]] for name in (before, after)]
    pairs = halves[0].merge(halves[1], on=keys, suffixes=("_before", "_after"), validate="1:1")
    if pairs.empty:
        raise LookupError(f"no picture that {before} and {after} share")

    def of(own: pd.DataFrame, label: str) -> Value:
        found = paired(own["hit_before"], own["hit_after"], trials(own).tolist())
        return estimated(found, label, paper=paper, start=float(own["hit_before"].mean()))

    return replace(of(pairs, label), by_class={str(n): of(x, str(n)) for n, x in _by_class(pairs)})


def level(hits: pd.DataFrame, model: str, label: str = "") -> Value:
    """Accuracy of a model, over all classes and in each.

    Raises:
        LookupError: no picture of that model.
    """
    own = hits[hits["model"] == model]
    if own.empty:
        raise LookupError(f"no pictures of {model}")
    by_class = {str(name): one for name, one in accuracies(own, ["concept"]).items()}
    return estimated(accuracies(own, ["model"])[model], label, by_class=by_class)


def each_class(value: Value) -> list[Value]:
    """The classes' own values, to be judged one by one."""
    return list(value.by_class.values())


def peak(
    hits: pd.DataFrame, models: Sequence[str], label: str = "", *, paper: float | None = None
) -> Value:
    """Change from the better of both ends of a row of models to the best one between them.

    Above zero where the accuracy first rises and then falls. Each class has a best one of its own.

    Raises:
        LookupError: fewer than three models, or one without pictures.
    """
    if len(models) < 3:
        raise LookupError(f"three or more models, only {list(models)}")

    between = [
        [change(hits, end, one, label, paper=paper) for end in (models[0], models[-1])]
        for one in models[1:-1]
    ]

    def best(of: Callable[[Value], Value]) -> Value:
        return max((min(map(of, two), key=_number) for two in between), key=_number)

    own = {name: best(lambda one, name=name: one.by_class[name]) for name in between[0][0].by_class}
    return replace(best(lambda one: one), by_class=own)


def _number(value: Value) -> float:
    return value.value


def _by_class(pairs: pd.DataFrame) -> Iterable[tuple[Any, pd.DataFrame]]:
    if "concept" not in pairs or pairs["concept"].nunique() < 2:
        return ()
    return pairs.groupby("concept", sort=False)


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


def above(bound: float, reason: str) -> Rule:
    """The whole interval lies above a bound."""

    def judge(value: Value) -> Outcome:
        if value.low > bound:
            return "holds"
        return "does not hold" if value.high < bound or value.exact else "undecided"

    return Rule(f"above {bound:.3g}", judge, reason)


def below(bound: float, reason: str) -> Rule:
    """The whole interval lies below a bound."""

    def judge(value: Value) -> Outcome:
        if value.high < bound:
            return "holds"
        return "does not hold" if value.low > bound or value.exact else "undecided"

    return Rule(f"below {bound:.3g}", judge, reason)


def within(margin: float, reason: str) -> Rule:
    """Equivalence: the whole interval of a change lies within plus or minus a margin.

    Not finding a change is not finding that there is none: a wide interval around zero is
    undecided.

    Raises:
        ValueError: a margin that is not positive.
    """
    if not margin > 0:
        raise ValueError(f"a margin of equivalence must be positive, got {margin}")

    def judge(value: Value) -> Outcome:
        if -margin <= value.low and value.high <= margin:
            return "holds"
        outside = value.low > margin or value.high < -margin or value.exact
        return "does not hold" if outside else "undecided"

    return Rule(f"within ±{margin:.3g}", judge, reason)


ROOM = 0.1
"""Where less than this share of the pictures is left to change, and less than could be seen, the
outcome is a ceiling, and not the fault of too few pictures."""


def _moves(value: Value, sign: int) -> Outcome:
    low, high = sorted((sign * value.low, sign * value.high))
    if low > 0:
        return "holds"
    if high < 0 or value.exact:
        return "does not hold"
    if value.start is not None and value.seen is not None:
        room = 1 - value.start if sign > 0 else value.start
        if room < min(value.seen, ROOM):
            return "ceiling"
    if value.paper is not None and sign * value.paper > high:
        return "no effect"
    return "undecided"


RISES = Rule("rises", lambda value: _moves(value, 1))
"""A change upwards. *Ceiling* where next to nothing is left to rise (`ROOM`), *no effect* where the
interval holds zero and lies below the paper's own change."""

FALLS = Rule("falls", lambda value: _moves(value, -1))
"""A change downwards, alike."""


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of several as one.

    Where some hold and others do not, or cannot be told, all together *hold in part*; where none
    holds, the outcome is the most telling of them. What is not testable is left out. What is not
    measured yet leaves it at that, unless another one says that not all can hold.

    Raises:
        ValueError: nothing.
    """
    found = set(outcomes)
    if not found:
        raise ValueError("expected one or more outcomes, got none")
    if "not measured yet" in found and not found & {"does not hold", "no effect", "holds in part"}:
        return "not measured yet"
    found.discard("not measured yet")
    if len(found) > 1:
        found.discard("not testable here")
    if found & {"holds", "holds in part"}:
        return "holds" if found == {"holds"} else "holds in part"
    telling: tuple[Outcome, ...] = (
        "does not hold", "no effect", "undecided", "ceiling", "not testable here",
    )  # fmt: skip
    return next(name for name in telling if name in found)


# ---- claims -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A measurement that bears on a claim.

    Attributes:
        chapter: That made it; empty for none.
        measured: What is measured, in words.
        rule: How each value is judged; None where there is nothing to measure.
        values: Of the chapter's loaded study, the K of its profile and ``of``: one or several.
        of: What the values are about.
        fixed: The outcome where there is nothing to measure.
        why: Its reason, or a remark on the measurement.
    """

    chapter: str
    measured: str
    rule: Rule | None = None
    values: Callable[..., Value | Sequence[Value]] | None = None
    of: tuple[Any, ...] = ()
    fixed: Outcome = "not testable here"
    why: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        key: C01 and so on.
        place: Where the paper makes it.
        text: The claim in our words.
        printed: The paper's numbers for it; a place in braces is filled in, see `filled`.
        parts: What tests it.
    """

    key: str
    place: str
    text: str
    printed: str
    parts: tuple[Part, ...]

    @property
    def paper(self) -> str:
        """The paper's numbers as it prints them."""
        return filled(self.printed)


@dataclass(frozen=True)
class Finding:
    """A part and what came of it.

    Attributes:
        part: The measurement.
        outcome: Of all its values together.
        values: What was judged.
        outcomes: Of each value.
        why: Why there is none.
    """

    part: Part
    outcome: Outcome
    values: tuple[Value, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """A claim with the findings of its parts."""

    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """Of all parts together."""
        return together([finding.outcome for finding in self.findings])


class Studies(Protocol):
    """Chapter -> its loaded study and how it was measured; LookupError where there is none."""

    def __getitem__(self, chapter: str) -> tuple[Any, Any]: ...


def judge(claim: Claim, studies: Studies) -> Verdict:
    """Hold a claim against what the chapters measured.

    What a chapter did not measure leaves that part *not measured yet*, with the command that
    measures it, so that the other claims still get their verdict.
    """
    return Verdict(claim, tuple(_finding(part, studies) for part in claim.parts))


def _finding(part: Part, studies: Studies) -> Finding:
    if part.rule is None or part.values is None:
        return Finding(part, part.fixed, why=part.why)
    try:
        study, run = studies[part.chapter]
        made = part.values(study, float(run.settings["keep_ratio"]), *part.of)
    except LookupError as error:
        told = str(error.args[0]) if error.args else ""
        why = f"`rbtc measure {part.chapter}`{f': {told}' if told else ''}"
        return Finding(part, "not measured yet", why=why)
    found = (made,) if isinstance(made, Value) else tuple(made)
    outcomes = tuple(part.rule.outcome(one) for one in found)
    return Finding(part, together(outcomes), found, outcomes)


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


def smallest_seen(value: Value) -> float | None:
    """What a value could have shown: of pictures, or half the width of its interval."""
    if value.exact:
        return None
    return value.seen if value.seen is not None else (value.high - value.low) / 2
