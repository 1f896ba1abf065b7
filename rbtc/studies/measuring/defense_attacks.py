# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.defense` is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rbtc.models.subjects import Subject
from rbtc.studies.defense import Attacker

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant
    from rbtc.layers import Masks

MOST_NAMED = 0.5
"""An attacker that names more than this share of all weights has found nothing to revive."""


def attack(
    lab: Lab, subject: Subject, variant: Variant, attacker: Attacker, share: float, threshold: float
) -> tuple[dict[str, Any], Variant | None]:
    """One attack on a defended model: what it found, and the model it made, if any.

    Args:
        lab: the attacker; the owner's masks only score the guess.
        subject: what was erased.
        variant: the defended model.
        attacker: who attacks.
        share: budget of the budget attacker; the density attacker's is what was pruned.
        threshold: magnitude below which the threshold attacker names a weight.

    Returns:
        named (share of all weights), precision, recall, possible; and None for the model where the
        attacker named more than `MOST_NAMED`, or nothing but whole rows.
    """
    if attacker == "density":
        attacker, share = "budget", lab.density(subject)
    guess = lab.attacker.guess(variant, attacker=attacker, share=share, threshold=threshold)
    return attack_places(lab, subject, variant, guess)


def attack_places(
    lab: Lab, subject: Subject, variant: Variant, guess: Masks
) -> tuple[dict[str, Any], Variant | None]:
    """The attack on guessed places; returns what `attack` does."""
    from rbtc.defense.detection import detection, spare_whole_rows

    masks = lab.owner.masks(subject)
    found = detection(guess, masks)
    named = found.flagged / sum(mask.numel() for mask in masks.values())
    usable = any(bool(mask.any()) for mask in spare_whole_rows(guess).values())
    possible = named <= MOST_NAMED and usable
    after = lab.attacker.attack_guessed(variant, guess) if possible else None
    line = {"named": named, "precision": found.precision, "recall": found.recall}
    return {**line, "possible": possible}, after
