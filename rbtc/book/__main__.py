"""Command line of the book: ``python -m rbtc.book``."""

from rbtc import command
from rbtc.book.runner import main

command.run(main)
