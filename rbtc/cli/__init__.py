"""The command line ``rbtc``: check, prune, revive and harden a checkpoint of one's own."""

from rbtc.cli.app import main

__all__ = ["main"]
