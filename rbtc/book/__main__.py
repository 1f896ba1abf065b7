"""Command line of the book: ``python -m rbtc.book``."""

from rbtc import command

command.loading()

from rbtc.book.runner import main  # noqa: E402

command.run(main)
