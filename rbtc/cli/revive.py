"""``rbtc revive``: the paper's attack on a pruned checkpoint."""

from __future__ import annotations

from typing import Annotated

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
    shown,
    write,
)


def revive(
    model: Model,
    out: Out,
    keep_ratio: Annotated[
        float, typer.Option(help="K of Top-K Sign Retention: share of recovered signs to keep.")
    ] = 0.6,
    strategy: Annotated[
        str, typer.Option(help="Where the magnitudes come from; neuron_max is the paper's.")
    ] = "neuron_max",
    fast: Annotated[
        bool, typer.Option("--fast", help="Go to the completion's limit in a few steps.")
    ] = False,
    layers: Layers = None,
    as_json: Json = False,
) -> int:
    """Attack a pruned checkpoint: complete its exact zeros and write a revived copy.

    Needs neither the original weights nor a prompt. Rows that are zero as a whole stay as they are:
    nothing is left to complete them from.
    """
    from rbtc.attack.revive import revive as attack
    from rbtc.audit.checkpoints import open_checkpoint
    from rbtc.audit.copies import check_target
    from rbtc.defense.detection import spare_whole_rows
    from rbtc.layers import short_name, zero_masks

    checkpoint = open_checkpoint(model, layers)
    check_target(checkpoint.path, out)
    weights = checkpoint.weights()
    missing = spare_whole_rows(zero_masks(weights))
    found = attack(
        weights, keep_ratio=keep_ratio, strategy=strategy, missing=missing,  # type: ignore[arg-type]
        fast=fast, progress=shown(),
    )  # fmt: skip
    missed = write(checkpoint, out, found.weights)
    counts = {
        name: {"missing": int(missing[name].sum()), "revived": int((signs != 0).sum())}
        for name, signs in found.signs.items()
    }
    total = {key: sum(each[key] for each in counts.values()) for key in ("missing", "revived")}
    if as_json:
        print_json(
            {
                "out": str(out),
                "left_out": missed,
                **total,
                "keep_ratio": keep_ratio,
                "layers": counts,
            }
        )
    else:
        print_table(
            "revived",
            (
                {"layer": short_name(n), "zeros": str(c["missing"]), "revived": str(c["revived"])}
                for n, c in counts.items()
            ),
        )
        say(f"{total['revived']} of {total['missing']} zeros have a weight again.")
        say_written(out, missed)
    return 0
