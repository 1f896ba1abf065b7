"""``rbtc audit``: what a checkpoint gives away about what was pruned from it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from rbtc.cli.show import Json, Layers, Model, print_json, print_table, say, watch

if TYPE_CHECKING:
    from rbtc.audit.release import Audit, LayerAudit
    from rbtc.audit.zeros import Scatter
    from rbtc.stats import Proportion


def audit(
    model: Model,
    share: Annotated[
        float, typer.Option(help="Share of each row's weights to hide for the estimate.")
    ] = 0.02,
    choose: Annotated[
        str,
        typer.Option(
            help="Which survivors to hide: the largest of each row, random ones, or alike: as the "
            "zeros lie in the columns. Chapter 13 of the book compares them."
        ),
    ] = "alike",
    estimate: Annotated[
        bool, typer.Option(help="Estimate how many pruned signs would come back (most of the time)")
    ] = True,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Follow the released attack step by step: several times slower."
        ),
    ] = False,
    layers: Layers = None,
    as_json: Json = False,
) -> int:
    """Tell what a checkpoint gives away: exact zeros, signed zeros, and signs that would come back.

    Every matrix is looked at, one after the other, and the rest of the release is looked through as
    `rbtc scan` does; the original is not needed. Status 1 means that something was found.
    """
    from rbtc.attack.completion import complete
    from rbtc.audit.checkpoints import open_checkpoint
    from rbtc.audit.release import audit as examine
    from rbtc.audit.scan import scan
    from rbtc.cli.scan import show as show_scan
    from rbtc.report.audits import verdict

    checkpoint = open_checkpoint(model, layers)
    release = scan(model, checkpoint)
    found = examine(
        checkpoint,
        share=share,
        choose=choose,  # type: ignore[arg-type]
        estimate=estimate,
        complete=partial(complete, fast=not exact),
        watch=watch("auditing"),
    )
    if as_json:
        whole = found.as_dict() | {"verdict": verdict(found), "release": release.as_dict()}
        whole["findings"] += [f"release: {kind}" for kind in release.kinds]
        print_json(whole)
    else:
        _show(found)
        say(verdict(found))
        show_scan(release)
    return 1 if found.kinds or release.leaks else 0


def _show(found: Audit) -> None:
    from rbtc.layers import short_name

    short = [short_name(layer.name) for layer in found.layers]
    twice = {name for name, count in Counter(short).items() if count > 1}
    names = [x.name if name in twice else name for name, x in zip(short, found.layers, strict=True)]
    rows = [_row(name, layer) for name, layer in zip(names, found.layers, strict=True)]
    some = [layer for layer in found.others if layer.pruned or layer.repeated]
    rows += [_row(layer.name, layer) for layer in some[:_SHOWN]]
    print_table(found.path, rows)
    if len(some) > _SHOWN:
        say(f"And {len(some) - _SHOWN} other matrices; --json has them all.")


_SHOWN = 20
"""Rows of the table for matrices that are not attacked."""


def _row(name: str, layer: LayerAudit) -> dict[str, str]:
    return {
        "layer": name,
        "shape": "x".join(map(str, layer.shape)),
        "dtype": layer.dtype,
        "zeros": str(layer.zeros),
        "-0.0": str(layer.negative_zeros),
        "rounded": f"{layer.expected:.0f}",
        "density": f"{layer.density:.3%}",
        "rows": _scatter(layer.rows),
        "columns": _scatter(layer.columns),
        "signs back": _signs(layer.signs),
    }


def _scatter(found: Scatter | None) -> str:
    return "-" if found is None else f"{found.kind} {found.ratio:.2f}"


def _signs(found: Proportion | None) -> str:
    return "-" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
