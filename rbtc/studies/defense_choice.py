# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Which defence to recommend: a rule on the measurements, tried on concepts it was not made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.report.comparisons import cell
from rbtc.studies.honest_attacker import HONEST, HonestStudy, attacked

MARGIN = 0.05
"""A defence may cost this much: erased accuracy gained, or preserved accuracy lost."""


@dataclass(frozen=True)
class Choice:
    """The outcome of the rule in `choose`.

    Attributes:
        name: The recommended defence; None where none keeps within the margin.
        tied: All defences whose revival cannot be told from the least one's, by rising AUC.
        costly: Defences that the margin excludes.
        doubtful: Those of them whose cost is not above the margin for sure: an interval of it
            reaches within.
        chosen_on: Concepts whose numbers decided.
        tried_on: The others; empty for a single concept.
    """

    name: str | None
    tied: tuple[str, ...]
    costly: tuple[str, ...]
    doubtful: tuple[str, ...]
    chosen_on: tuple[Subject, ...]
    tried_on: tuple[Subject, ...]


def choose(study: HonestStudy, *, margin: float = MARGIN) -> Choice:
    """Recommend a defence, from every other concept of the study.

    Admitted are the defences that keep the erasure and the other classes: pruned to defended, the
    erased accuracy rises by at most the margin and the preserved one falls by at most the margin.
    Of these the one that revives least under the inferring attacker is *least*; those from which
    its paired change holds zero are tied with it, and of the tied the least detectable wins, by
    AUC.

    Args:
        study: the measurements.
        margin: of accuracy, in (0, 1).

    Raises:
        ValueError: a margin outside (0, 1).
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin is an accuracy and must lie in (0, 1), not {margin}")
    chosen, rest = study.subjects[::2], study.subjects[1::2]
    admitted = [
        name
        for name in study.defences
        if study.change("pruned", name, "erased", chosen).value <= margin
        and study.change("pruned", name, "preserved", chosen).value >= -margin
    ]
    costly = tuple(name for name in study.defences if name not in admitted)
    doubtful = tuple(
        name
        for name in costly
        if study.change("pruned", name, "erased", chosen).low <= margin
        and study.change("pruned", name, "preserved", chosen).high >= -margin
    )
    if not admitted:
        return Choice(None, (), costly, doubtful, chosen, rest)
    least = min(admitted, key=lambda name: study.accuracy(attacked(name), chosen=chosen).value)
    tied = [
        name
        for name in admitted
        if name == least
        or study.change(attacked(least), attacked(name), chosen=chosen).direction == "undecided"
    ]
    tied.sort(key=lambda name: study.auc(name, HONEST, chosen))
    return Choice(tied[0], tuple(tied), costly, doubtful, chosen, rest)


def front(study: HonestStudy, chosen: Sequence[Subject] | None = None) -> pd.DataFrame:
    """One line per defence: what it costs, how visible it is, what comes back; numbers unrounded.

    Returns:
        defence, auc, auc_magnitudes, and of erased, preserved and revived accuracy the value with
        its 95 % interval and n; revived is the erased accuracy after the inferring attack.
    """
    lines = []
    for name in study.defences:
        line = {
            "defence": name,
            "auc": study.auc(name, HONEST, chosen),
            "auc_magnitudes": study.auc(name, "magnitudes", chosen),
        }
        for title, model, classes in (
            ("erased", name, "erased"),
            ("preserved", name, "preserved"),
            ("revived", attacked(name), "erased"),
        ):
            found = study.accuracy(model, classes, chosen)
            line |= {title: found.value, f"{title}_low": found.low, f"{title}_high": found.high,
                     f"{title}_n": found.n}  # fmt: skip
        lines.append(line)
    return pd.DataFrame(lines)


def front_table(study: HonestStudy) -> pd.DataFrame:
    """The front as a chapter shows it: accuracies with intervals, and the paired changes."""
    lines = {}
    for name in study.defences:
        after = attacked(name)
        lines[name] = {
            "AUC": f"{study.auc(name):.3f}",
            "erased": cell(study.accuracy(name), counts=False),
            "preserved": cell(study.accuracy(name, "preserved"), counts=False),
            "preserved, change": f"{study.change('pruned', name, 'preserved')}",
            "erased, attacked": cell(study.accuracy(after), counts=False),
            "attack's change": f"{study.change(name, after)}",
        }
    return pd.DataFrame(lines).T.rename_axis(index="defence")


def tried_table(study: HonestStudy, choice: Choice) -> pd.DataFrame:
    """The chosen defence on the concepts that had no part in the choice; empty without any."""
    if choice.name is None or not choice.tried_on:
        return pd.DataFrame()
    after, tried = attacked(choice.name), choice.tried_on
    line = {
        "tried on": ", ".join(subject.label for subject in tried),
        "AUC, columns": f"{study.auc(choice.name, HONEST, tried):.3f}",
        "erased, attacked": f"{study.accuracy(after, chosen=tried)}",
        "change from the undefended model": f"{study.change('revived', after, chosen=tried)}",
        "other classes, change": f"{study.change('pruned', choice.name, 'preserved', tried)}",
    }
    return pd.DataFrame([line], index=[choice.name])
