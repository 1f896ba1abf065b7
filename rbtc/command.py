"""The ground of every command line: one line for an error, no traceback, and a clean stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

STOPPED = 130
"""Status of a command that Ctrl-C stopped, as shells have it."""


def loading() -> None:
    """While a command's modules load, Ctrl-C ends the process at once, with status 130.

    Loading torch takes seconds, and libraries answer an interrupt in the middle of an import with
    tracebacks, or swallow it. Nothing is begun yet that would have to be cleaned up. A command's
    module calls this before its other imports; `run` puts the usual handler back.
    """
    # Not where Ctrl-C is ignored on purpose: behind nohup, say.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))


def run(main: Callable[[], int | None]) -> None:
    """Run a command and leave the process with its status.

    A user's error (ValueError, OSError, a package that is not installed, too little memory) becomes
    one line and status 2. Ctrl-C leaves with 130; a terminated command cleans up like an
    interrupted one and leaves with 143. Anything else is a fault of ours and keeps its traceback.

    Args:
        main: the command; returns its status, None for 0.
    """

    def terminated(*_: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, terminated)
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = main()
    except KeyboardInterrupt:
        print("stopped: what was finished is kept", file=sys.stderr)
        status = STOPPED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__.partition(".")[0]:
            raise  # a module of ours
        print(f"error: {error}; install what is missing: pip install -e '.[book,train]'",
              file=sys.stderr)  # fmt: skip
        status = 2
    except (ValueError, OSError, MemoryError) as error:
        # Libraries like to explain themselves over several lines.
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    raise SystemExit(status or 0)


def check_device(name: str) -> str:
    """Try a device with one number, before any work; returns ``name``.

    Raises:
        ValueError: torch does not know the device, or cannot compute on it here.
    """
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:  # Assertion: a torch that was built without it
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"the device {name!r} cannot be used here ({why}): give another one, such as cpu"
        ) from error
    return name
