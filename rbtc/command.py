"""The ground of every command line: one line for an error, no traceback, and a clean stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable


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
        status = main()
    except KeyboardInterrupt:
        print("stopped: what was finished is kept", file=sys.stderr)
        status = 130
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
