"""The commands of ``rbtc`` put together, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rbtc import command
from rbtc.cli.audit import audit
from rbtc.cli.convert import convert
from rbtc.cli.harden import harden
from rbtc.cli.measure import measure
from rbtc.cli.prune import prune
from rbtc.cli.revive import revive
from rbtc.cli.scan import scan
from rbtc.cli.verify import verify
from rbtc.files import expanded

EPILOG = (
    "Status: 0 all is well; 1 an audit or a scan found something, or a page of the book failed; "
    "2 something is wrong with what was given, said in one line; 130 or 143 stopped."
)

app = typer.Typer(
    name="rbtc",
    help="What was pruned out of a diffusion model can grow back. Audit, scan, prune, revive and "
    "harden checkpoints of diffusion models; measure the book's chapters and verify them.",
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in (audit, scan, convert, prune, revive, harden, measure, verify):
    app.command(epilog=EPILOG)(each)


@app.command(epilog=EPILOG)
def doctor(
    profile: Annotated[str, typer.Argument(help="sd15, mini, or the path of a profile.")],
    chapter: Annotated[str | None, typer.Argument(help="Like 08_objects.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Load the model and time its UNet.")
    ] = False,
    seconds_per_picture: Annotated[float | None, typer.Option(help="Measured before.")] = None,
    device: Annotated[str | None, typer.Option(help="Like cuda:0 or cpu.")] = None,
) -> int:
    """Say what a profile's chapters need and lack here, and how long they take.

    Nothing is fetched. Status 1 if something is missing.
    """
    command.needs("book")

    from rbtc.cli.doctor import report

    return report(profile, chapter, measure, seconds_per_picture=seconds_per_picture, device=device)


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of a command whose words belong to another command line."""


@app.command(context_settings=PASSED_ON)
def book(context: typer.Context) -> int:
    """Make the book: `rbtc book run`, `check`, `sync`, `gate`, `build`."""
    command.needs("book")

    from rbtc.book.runner import main as make

    return make(context.args)


def _at_home(word: str) -> str:
    """A word with the home folder in place of ``~``, which shells leave in ``--out=~/x``."""
    option, _, path = word.rpartition("=") if word.startswith("--") else ("", "", word)
    if not path.startswith("~"):
        return word
    return f"{option}={expanded(path)}" if option else str(expanded(path))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, None for the process's own, and leave the process with its status."""
    command.run(lambda: run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its status.

    Raises:
        ValueError: a command line that is no good, like any other mistake of the user's.
        OSError: something could not be read or written.
    """
    words = [_at_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        status = app(args=words, prog_name="rbtc", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except Exception as error:
        # typer brings its own copy of click or uses the installed one, depending on its version.
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        raise ValueError(f"{told().rstrip('.')}: see rbtc --help") from error
    return status or 0
