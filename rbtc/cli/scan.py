"""``rbtc scan``: what a release still holds of the original, or leads to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rbtc.audit.findings import HARMLESS
from rbtc.cli.show import Json, Model, print_json, print_table, say

if TYPE_CHECKING:
    from rbtc.audit.scan import Scan


def scan(model: Model, as_json: Json = False) -> int:
    """Look through a whole release for its original: other files, EMA weights, masks, headers.

    Headers are read first, and matrices only where a shape agrees. Status 1 means that something
    was found; values that equal the published ones are shown, and are no finding.
    """
    from rbtc.audit.scan import scan as look

    found = look(model)
    if as_json:
        print_json(found.as_dict())
    else:
        show(found)
    return 1 if found.leaks else 0


def show(found: Scan) -> None:
    """The findings as a table, worst first, and how many files were looked at."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    counts = Counter((one.kind, one.file) for one in found.findings)
    for one in found.findings:
        more = counts[one.kind, one.file] - 1
        key = f"{one.key} and {more} more" if more else one.key
        row = {"what": one.kind, "file": one.file, "tensor": key, "found": one.detail}
        rows.setdefault((one.kind, one.file), row)
    if rows:
        print_table("in the release", rows.values(), left="file")
    leaks = sum(one.kind not in HARMLESS for one in found.findings)
    say(f"{found.files} files looked at: {leaks} findings that hold the original or lead to it.")
