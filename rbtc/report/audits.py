"""What an audit found, in sentences that its counts decide."""

from __future__ import annotations

from rbtc.attack.recoverability import Choice
from rbtc.audit.release import Audit

_CHOSEN: dict[Choice, str] = {
    "largest": "the largest of their rows",
    "random": "drawn at random",
    "alike": "drawn as the zeros lie",
}


def verdict(found: Audit) -> str:
    """The answer in a few sentences: zeros, signs left in the file, signs that would come back."""
    return " ".join([_about_zeros(found), *_about_leak(found), *_about_signs(found)])


def _about_zeros(found: Audit) -> str:
    total, pruned = len(found.layers), found.pruned
    if not pruned:
        return (
            f"Nothing here looks pruned: none of {total} layers holds more exact zeros than "
            f"rounding explains ({found.zeros} in all)."
        )
    zeros = sum(layer.zeros for layer in pruned)
    share = zeros / sum(layer.weights for layer in pruned)
    even = sum(layer.rows is not None and layer.rows.kind == "even" for layer in pruned)
    lie = f"; in {even} of them they lie evenly over the rows, as a quota per row leaves them"
    empty = sum(layer.empty_rows for layer in pruned)
    rows = f"; {empty} rows are empty, and nothing can be completed there" if empty else ""
    return (
        f"{len(pruned)} of {total} layers are pruned: {share:.2%} of their weights are exactly "
        f"zero{lie if even else ''}{rows}."
    )


def _about_leak(found: Audit) -> list[str]:
    if not found.negative_zeros:
        return []
    zeros = sum(layer.zeros for layer in found.pruned if layer.leaks)
    return [
        f"{found.negative_zeros} of the {zeros} zeros are negative: multiplying by a mask left the "
        "sign of every pruned weight in the file, where it can be read without any attack. Write "
        "+0.0 instead (`rbtc revive` and `rbtc harden` never leave one)."
    ]


def _about_signs(found: Audit) -> list[str]:
    signs = found.signs
    if signs is None:
        return []
    hidden = f"Of {signs.n} surviving weights hidden for a test, {_CHOSEN[found.choose]},"
    share = f"{signs.value:.2f} [{signs.low:.2f}, {signs.high:.2f}]"
    came = f"{share} came back with the right sign"
    if signs.low <= 0.5:
        return [f"{hidden} {came}: not shown to be more than chance."]
    if found.pruned:
        return [f"{hidden} {came}: what was pruned can partly be brought back."]
    return [f"{hidden} {came}: were they pruned, an attack could expect as much."]
