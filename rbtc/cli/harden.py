"""``rbtc harden``: hide the pruned places of a checkpoint under noise."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from rbtc.cli.show import (
    Json,
    Layers,
    Model,
    Out,
    print_json,
    print_table,
    say,
    say_written,
    watch,
    write,
)

if TYPE_CHECKING:
    from rbtc.defense.hardening import Hardening


def harden(
    model: Model,
    out: Out,
    sigma: Annotated[
        float | None,
        typer.Option(help="Standard deviation of the noise, instead of the one hardest to find."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**64 - 1,
            help="Of the noise, for tests only: whoever knows it finds every place. Left out, it "
            "is drawn anew and forgotten.",
        ),
    ] = None,
    layers: Layers = None,
    as_json: Json = False,
) -> int:
    """Fill the exact zeros of a pruned checkpoint with Gaussian noise, and write a copy.

    Its standard deviation is the one at which the strongest attacker finds the fewest of the filled
    places; the table shows what the others would give away.
    """
    from rbtc.audit.checkpoints import open_checkpoint
    from rbtc.audit.copies import check_target
    from rbtc.defense.hardening import harden as hide

    checkpoint = open_checkpoint(model, layers)
    check_target(checkpoint.path, out)
    found = hide(
        checkpoint.weights(),
        sigma=sigma,
        seed=secrets.randbits(63) if seed is None else seed,
        watch=watch("trying sigmas"),
    )
    missed = write(checkpoint, out, found.weights)
    if as_json:
        print_json(
            {
                "out": str(out),
                "left_out": missed,
                "chosen": found.chosen.as_dict(),
                "sigma_unmodified": found.sigma_unmodified,
                "trials": [each.as_dict() for each in found.trials],
            }
        )
    else:
        _show(found)
        say(
            f"sigma = {found.chosen.sigma:.4g}, {found.chosen.relative:.2f} of the surviving "
            f"weights' standard deviation: the strongest attacker, {found.chosen.attacker!r}, "
            f"finds {found.chosen.recall:.1%} of the filled places, and "
            f"{found.chosen.precision:.1%} of what it names is one."
        )
        say_written(out, missed)
    return 0


def _show(found: Hardening) -> None:
    print_table(
        "how well the strongest attacker finds the filled places",
        (
            {
                "sigma": f"{each.sigma:.4g}{' *' if each is found.chosen else '  '}",
                "attacker": each.attacker,
                "sigma / sigma_U": f"{each.relative:.2f}",
                "advantage": f"{each.advantage:.3f}",
                "recall": f"{each.recall:.3f}",
                "precision": f"{each.precision:.3f}",
                "AUC of -|w|": f"{each.auc:.3f}",
                "disturbance": f"{each.disturbance:.3f}",
            }
            for each in found.trials
        ),
        left="attacker",
    )
