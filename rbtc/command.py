"""The ground of every command line: one line for an error, no traceback, and a clean stop."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

STOPPED = 130
"""Status of a command that Ctrl-C stopped, as shells have it."""
LONGEST = 300
"""Characters of an error's line; of a longer one the middle is left out."""
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


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
    one line and status 2. Ctrl-C leaves with 130; a command that is terminated, or whose terminal
    goes, cleans up like an interrupted one and leaves with 143 or 129. Further signals are ignored
    meanwhile. Anything else is a fault of ours and keeps its traceback.

    Args:
        main: the command; returns its status, None for 0.
    """

    def stop(number: int, _: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # cleaning up is not to be stopped
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {each: signal.getsignal(each) for each in _SIGNALS}
    try:
        _check_streams()
        for each in _SIGNALS:
            if before[each] is not signal.SIG_IGN:  # behind nohup, say
                signal.signal(each, stop)
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except KeyboardInterrupt:
        print("stopped: what was finished is kept", file=sys.stderr)
        status = STOPPED
    except ImportError as error:
        if (error.name or "").partition(".")[0] == __name__.partition(".")[0]:
            raise  # a module of ours
        hint = "; install what is missing: pip install -e '.[book,train]'" if error.name else ""
        print(f"error: {one_line(error)}{hint}", file=sys.stderr)
        status = 2
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        status = 2
    finally:
        for each, handler in before.items():
            if signal.getsignal(each) is stop:  # else stopped: what is left is to end
                signal.signal(each, handler)
    raise SystemExit(status or 0)


EXTRAS = {
    "models": ("diffusers", "transformers", "pandas", "pydantic", "platformdirs", "tqdm"),
    "book": ("scipy", "matplotlib", "seaborn", "torchvision", "open_clip"),
}
"""What an extra brings, by the names to import; "book" brings what "models" does, too."""


def needs(extra: str) -> None:
    """Make sure that an extra is installed, before any work.

    Raises:
        ImportError: some of its packages are not; the message says how to get them.
    """
    names = EXTRAS["models"] if extra == "models" else sum(EXTRAS.values(), ())
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise ImportError(
            f"this needs {', '.join(missing)}: install rbtc[{extra}], with "
            f"pip install 'rbtc[{extra}]' or, in a clone, pip install -e '.[{extra}]'"
        )


def one_line(error: BaseException) -> str:
    """What an error says, in a line; libraries like to explain themselves over several."""
    told = " ".join((str(error) or type(error).__name__).split())
    rest = LONGEST - len("error:  ... ")
    return told if len(told) <= rest else f"{told[: rest // 2]} ... {told[-(rest // 2) :]}"


def _check_streams() -> None:
    """Give a process without stdout or stderr one that goes nowhere; no letter stops a print."""
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:
            setattr(sys, name, Path(os.devnull).open("w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
