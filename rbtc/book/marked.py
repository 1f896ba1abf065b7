"""A page of which one part, between two markers, is computed and the rest is written by hand."""

import argparse
from pathlib import Path


def replaced(text: str, begin: str, end: str, part: str, page: str) -> str:
    """`text` with `part`, which brings the markers with it, in place of what stands between them.

    Raises:
        ValueError: the markers are not there once each; `page` is named.
    """
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must hold {begin} and {end} once each")
    head, rest = text.split(begin)
    return head + part + rest.split(end)[1]


def parse(prog: str, description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """The options of a command that writes such a page: `check`, only look; `root`, where it is."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    return parser.parse_args(arguments)
