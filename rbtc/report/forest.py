"""One figure for many claims: each effect with its interval, in the colour of its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from string import ascii_lowercase
from typing import TYPE_CHECKING

from rbtc.report.claims import OUTCOMES, Finding, Outcome, Verdict
from rbtc.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: dict[Outcome, str] = {
    "holds": "#029e73",
    "holds in part": "#0173b2",
    "ceiling": "#56b4e9",
    "undecided": "#949494",
    "no effect": "#cc78bc",
    "does not hold": "#d55e00",
}
MARKS: dict[Outcome, str] = {
    "holds": "o", "holds in part": "D", "ceiling": "^", "undecided": "s", "no effect": "v",
    "does not hold": "X",
}  # fmt: skip


def changes(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, Finding]]:
    """The parts of the claims that are about changes of a share, as far as they were measured.

    A change beyond one is of something else, a distance for one, and has no place on this axis.
    """
    return [
        (verdict, finding)
        for verdict in verdicts
        for finding in verdict.findings
        if finding.values
        and all(one.change and abs(one.value) <= 1 for one in finding.values)
    ]


def forest(verdicts: Sequence[Verdict]) -> Figure:
    """Changes on one axis: a line of the figure per part of a claim, a mark per judged value.

    Colour and mark tell the value's outcome, so the figure reads without colours too. The pale bar
    behind a mark is the interval over classes.

    Raises:
        ValueError: nothing measured is a change.
    """
    import matplotlib.pyplot as plt

    found = changes(verdicts)
    if not found:
        raise ValueError("a figure needs at least one measured change, got none")
    with house_style():
        figure, ax = plt.subplots(figsize=(6.4, 0.24 * len(found) + 1.2), layout="constrained")
        plt.close(figure)
        shown: set[Outcome] = set()
        for place, (_, finding) in enumerate(found):
            many = len(finding.values)
            for number, (one, outcome) in enumerate(
                zip(finding.values, finding.outcomes, strict=True)
            ):
                y = place + (0.0 if many == 1 else 0.5 * (number / (many - 1) - 0.5))
                if one.classes:
                    ax.plot(one.classes, [y, y], color=COLOURS[outcome], linewidth=4, alpha=0.2,
                            solid_capstyle="butt")  # fmt: skip
                error = [[max(one.value - one.low, 0)], [max(one.high - one.value, 0)]]
                ax.errorbar(
                    one.value, y, xerr=error, fmt=MARKS[outcome], color=COLOURS[outcome],
                    markersize=4.5, elinewidth=1, label=None if outcome in shown else outcome,
                )  # fmt: skip
                shown.add(outcome)
        ax.axvline(0, color="#1b1b1b", linewidth=1)
        ax.set_yticks(range(len(found)), _keys([v.claim.key for v, _ in found]), fontsize=8)
        ax.set_ylim(len(found) - 0.4, -0.6)
        ax.set(xlabel="change of a share, with its 95 % interval")
        handles, labels = ax.get_legend_handles_labels()
        ordered = sorted(zip(labels, handles, strict=True), key=lambda x: OUTCOMES.index(x[0]))
        ax.legend([h for _, h in ordered], [name for name, _ in ordered],
                  loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(ordered))  # fmt: skip
    return figure


def _keys(keys: Sequence[str]) -> list[str]:
    """Keys of claims, with a letter where several parts of one claim have a line each."""
    seen: Counter[str] = Counter()
    named = []
    for key in keys:
        named.append(f"{key}{ascii_lowercase[seen[key]]}" if keys.count(key) > 1 else key)
        seen[key] += 1
    return named
