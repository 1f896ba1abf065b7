"""``python -m rbtc`` is the command ``rbtc``."""

from rbtc.cli import main

main()
