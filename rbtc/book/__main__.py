"""Command line of the book: ``python -m rbtc.book``."""

import signal
import sys

from rbtc.book.runner import main

# A terminated run cleans up like an interrupted one.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sys.exit(main())
