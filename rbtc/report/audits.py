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
    """The answer in a few sentences: what was looked at, zeros, signs left, signs to come back."""
    kind = f"{found.kind}: " if found.kind else ""
    looked = f"{kind}looked at {found.looked[0]} of {found.looked[1]} matrices."
    return " ".join(
        [
            looked[0].upper() + looked[1:],
            *_about_zeros(found),
            *_about_leak(found),
            *_about_others(found),
            *_about_signs(found),
        ]
    )


def _about_zeros(found: Audit) -> list[str]:
    pruned = [layer for layer in found.layers if layer.pruned]
    others = [layer for layer in found.others if layer.pruned]
    lines = []
    if pruned:
        zeros = sum(layer.zeros for layer in pruned)
        share = zeros / sum(layer.weights for layer in pruned)
        even = sum(layer.rows is not None and layer.rows.kind == "even" for layer in pruned)
        lie = f"; in {even} of them they lie evenly over the rows, as a quota per row leaves them"
        empty = sum(layer.empty_rows for layer in pruned)
        rows = f"; {empty} rows are empty, and nothing can be completed there" if empty else ""
        columns = sum(layer.empty_columns for layer in pruned)
        rows += f"; {columns} columns are empty" if columns else ""
        lines.append(
            f"{len(pruned)} of {len(found.layers)} layers are pruned: {share:.2%} of their weights "
            f"are exactly zero{lie if even else ''}{rows}."
        )
    if others:
        zeros = sum(layer.zeros for layer in others)
        share = zeros / sum(layer.weights for layer in others)
        lines.append(
            f"{len(others)} other matrices are pruned, {others[0].name} for one: {share:.2%} of "
            "their weights are exactly zero."
        )
    if not lines:
        constant = any(layer.repeated for layer in (*found.layers, *found.others))
        lines.append(
            f"{'None' if constant else 'Nothing here looks pruned: none'} of "
            f"{len(found.layers)} layers holds more exact zeros "
            f"than rounding explains ({found.zeros} in all), nor does any other matrix."
        )
    formats = [layer for layer in (*found.layers, *found.others) if layer.expected >= 1]
    if formats:
        expected = sum(layer.expected for layer in formats)
        lines.append(
            f"The values lie on the grid of {formats[0].format}: in {len(formats)} matrices it "
            f"explains about {expected:.0f} of {sum(layer.zeros for layer in formats)} zeros, and "
            "their signs."
        )
    return lines


def _about_leak(found: Audit) -> list[str]:
    if not found.negative_zeros:
        return []
    zeros = sum(layer.zeros for layer in found.pruned if layer.leaks)
    return [
        f"{found.negative_zeros} of the {zeros} zeros are negative: multiplying by a mask left the "
        "sign of every pruned weight in the file, where it can be read without any attack. Write "
        "+0.0 instead (`rbtc revive` and `rbtc harden` never leave one)."
    ]


def _about_others(found: Audit) -> list[str]:
    """Constants and common columns, as their findings say it."""
    said = [one for one in found.findings if one.kind in ("repeated values", "common columns")]
    return [f"{one.kind.capitalize()} ({one.key}): {one.detail}." for one in said]


def _about_signs(found: Audit) -> list[str]:
    signs = found.signs
    if signs is None:
        return []
    hidden = f"Of {signs.n} surviving weights hidden for a test, {_CHOSEN[found.choose]},"
    share = f"{signs.value:.2f} [{signs.low:.2f}, {signs.high:.2f}]"
    came = f"{share} came back with the right sign"
    if signs.low <= 0.5 <= signs.high:
        return [f"{hidden} {came}: not shown to be more than chance."]
    if signs.high < 0.5:
        return [f"{hidden} {came}: fewer than by chance, so that turning all round brings them."]
    if found.pruned:
        return [f"{hidden} {came}: what was pruned can partly be brought back."]
    return [f"{hidden} {came}: were they pruned, an attack could expect as much."]
