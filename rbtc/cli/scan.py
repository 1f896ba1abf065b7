"""``rbtc scan``: what a release still holds of the original, or leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    if found.findings:
        print_table(
            "in the release",
            (
                {"what": one.kind, "file": one.file, "tensor": one.key, "found": one.detail}
                for one in found.findings
            ),
            left="file",
        )
    leaks = sum(one.kind != "copy" for one in found.findings)
    say(f"{found.files} files looked at: {leaks} findings that hold the original or lead to it.")
