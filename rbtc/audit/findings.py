"""What an audit or a scan can find: one table of kinds, and the record of a finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

KINDS = {
    "original": "A published matrix lies in the release once more, with other values: in another "
    "file, as EMA weights, or before its mask. Nothing has to be attacked. Delete it, also from "
    "the history of the repository.",
    "mask": "The release says which weights were pruned. An attacker need not look for them, even "
    "after hardening. Keep masks to yourself.",
    "signed zeros": "More zeros are -0.0 than rounding leaves: a product with a mask kept the sign "
    "of what it pruned, which can be read without any attack. Write +0.0, or harden.",
    "repeated values": "One magnitude is far more frequent than any other: a constant stands where "
    "weights were pruned, and tells where; with both signs, it tells the signs too.",
    "recoverable": "Completion from the surviving weights finds signs more often than chance, or "
    "less often, which is as good: then all are turned round. Harden.",
    "common columns": "The zeros of matrices of one kind lie in the same columns, as pruning by "
    "the prompt's embedding leaves them: the place and the method are given away.",
    "unreadable": "A file or a tensor of a format that is not looked into. It may hold the "
    "original: convert it (`rbtc convert`) and scan again, or leave it out.",
    "header": "The header names a parent by a hash or a merge recipe, and the difference from it "
    "is what was pruned. Copies that rbtc writes have no such entry.",
    "copy": "The published values once more, bit for bit. Nothing is given away; it becomes an "
    "original as soon as one of the two is changed.",
    "rounded zeros": "Zeros that the stored format explains: small weights that it rounds to zero. "
    "Nobody pruned them, and their signs tell nothing about what was pruned.",
}
"""Kinds of findings, worst first, and what each means; the last two give nothing away."""

HARMLESS = ("copy", "rounded zeros")


@dataclass(frozen=True)
class Finding:
    """One thing that gives the original away, or looks as if it did.

    Attributes:
        kind: One of `KINDS`.
        file: Path below the release; "" where it concerns the published matrices as such.
        key: Name of the tensor, the matrices or the header's entry, "" for the file as a whole.
        detail: What was found, with counts.
        differs: At how many places it differs from the published matrix; None where not compared.
    """

    kind: str
    file: str
    key: str
    detail: str
    differs: int | None = None


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, in their own order within a kind."""
    return tuple(sorted(findings, key=lambda one: list(KINDS).index(one.kind)))


def leaks(findings: Iterable[Finding]) -> list[str]:
    """The kinds of what gives something away, worst first."""
    return list(dict.fromkeys(x.kind for x in ranked(findings) if x.kind not in HARMLESS))
