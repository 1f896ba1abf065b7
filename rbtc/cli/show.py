"""What the commands share: options, progress, tables, and JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from rbtc.audit.checkpoints import Checkpoint
    from rbtc.layers import Weights

T = TypeVar("T")


Model = Annotated[
    Path,
    typer.Argument(help="A model folder of diffusers, its unet folder, or one .safetensors file."),
]
Folder = Annotated[Path, typer.Argument(help="A model folder of diffusers.")]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Where to write the copy; nothing may be there yet.")
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Regular expression of the names of the two-dimensional matrices to attack, such as "
        "'attn2.to_v'; the feed-forward output matrices without it."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def watch(what: str) -> Callable[[Sequence[T]], Iterable[T]]:
    """A progress bar on stderr around a sequence; none where nobody looks."""
    console = Console(stderr=True)

    def bar(items: Sequence[T]) -> Iterable[T]:
        return track(items, description=what, console=console, transient=True, disable=not shown())

    return bar


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A sign of life on stderr during work that does not say how far it is."""
    if not shown():
        yield
        return
    with Console(stderr=True).status(what):
        yield


def shown() -> bool:
    """Whether somebody looks at stderr."""
    return sys.stderr.isatty()


def silence_libraries() -> None:
    """Keep the libraries' notices and progress bars off stderr, where our one line belongs."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    for library in (of_diffusers, of_transformers):
        library.set_verbosity_error()
        library.disable_progress_bar()


def write(checkpoint: Checkpoint, out: Path, weights: Weights) -> list[str]:
    """Write the changed copy; returns what it does not have of the source."""
    from rbtc.audit.copies import left_out, write_copy

    write_copy(checkpoint, out, weights)
    return left_out(checkpoint)


def say_written(out: Path, missing: Sequence[str]) -> None:
    """Where the copy is, and what of the model is not in it."""
    say(f"Written: {out}")
    if missing:
        say(f"Not copied, as it may hold the UNet as it was: {', '.join(missing)}")


def print_json(found: Mapping[str, Any]) -> None:
    """One JSON object on stdout; NaN is a mistake of ours."""
    print(json.dumps(found, allow_nan=False, indent=2))


def print_table(title: str, rows: Iterable[Mapping[str, str]], *, left: str = "layer") -> None:
    """A table on stdout, a row a mapping from heading to text; only the column ``left`` is left."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, row in enumerate(rows):
        for heading in row if not number else ():
            table.add_column(heading, justify="left" if heading == left else "right")
        table.add_row(*row.values())
    console().print(table)


def say(text: str) -> None:
    """A sentence on stdout; what stands in brackets stays."""
    console().print(text, markup=False, soft_wrap=not sys.stdout.isatty())


def console() -> Console:
    """Stdout; wide enough for a table where it goes into a file."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=110)
