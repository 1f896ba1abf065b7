"""``rbtc convert``: a pickle's tensors as safetensors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rbtc.cli.show import Json, print_json, say


def convert(
    file: Annotated[Path, typer.Argument(help="A .pt, .pth, .bin or .ckpt file of torch's.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write; a new one.")],
    memory: Annotated[
        float | None, typer.Option(help="Limit in GB; thrice the file and a GB without it.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write the tensors of a pickle as safetensors, without running anything that is in it.

    It is loaded with weights_only=True, in a process of its own. What holds other classes than
    tensors and plain containers is refused, by name.
    """
    from rbtc.audit.convert import convert_pickle

    found = convert_pickle(file, out, memory)
    if as_json:
        print_json({"out": str(out), **asdict(found)})
        return 0
    say(f"Written: {out}, {found.tensors} tensors: {found.layout}.")
    if found.dropped:
        more = f" and {len(found.dropped) - 5} more" if len(found.dropped) > 5 else ""
        say(f"Dropped, being no plain tensors: {', '.join(found.dropped[:5])}{more}")
    return 0
