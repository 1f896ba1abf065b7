# pyright: reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""When, where and how every page was made, and what came of it: ``python -m rbtc.book.status``.

The runner recorded the facts in each page, the claims ledger wrote the verdicts; here they become
the table of the status page. Nothing is executed.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc import command
from rbtc.book import marked
from rbtc.book.pages import read_page
from rbtc.book.stamp import duration
from rbtc.files import write_whole
from rbtc.report import markdown
from rbtc.report.rules import OUTCOMES

PAGE, SNIPPET = "book/status.md", "book/_generated/status.md"
"""The page, and the part of it that is made here."""

LEDGER = "results/10_claims.csv"

COUNTS = {
    "images": "",
    "other_images": " of each other class",
    "preserved": " of each other class",
    "word_images": " of each word",
}
"""Parameters that say how many pictures of a class a page counts, and how they are told."""


def page_facts(root: Path) -> dict[str, dict[str, Any]]:
    """What the runner recorded in each committed page, by name.

    Raises:
        FileNotFoundError: there is no page.
        ValueError: one is damaged.
    """
    pages = sorted((root / "book" / "notebooks").glob("[0-9]*.ipynb"))
    if not pages:
        raise FileNotFoundError(f"{root}/book/notebooks holds no executed page: run `make run`")
    return {path.stem: dict(read_page(path).metadata.get("rbtc", {})) for path in pages}


def verdicts(root: Path) -> dict[str, dict[str, int]]:
    """`{page: {outcome: how many measurements have it}}`, from the ledger's file.

    A claim may be tested by several measurements, on several pages; each has its own outcome. Empty
    where the ledger was not made yet.

    Raises:
        ValueError: a file that is no ledger.
    """
    path = root / LEDGER
    if not path.is_file():
        return {}
    columns = ["id", "part", "page", "part's outcome"]
    frame = pd.read_csv(path)
    if missing := set(columns) - set(frame):
        raise ValueError(f"{path} lacks the columns {sorted(missing)}: remake 10_claims")
    found: dict[str, dict[str, int]] = {}
    parts = frame[columns].drop_duplicates(["id", "part"]).dropna(subset=["page"])
    for page, outcome in zip(parts["page"], parts["part's outcome"], strict=True):
        own = found.setdefault(str(page), {})
        own[str(outcome)] = own.get(str(outcome), 0) + 1
    return found


def status_table(root: Path) -> pd.DataFrame:
    """One line per page, as Markdown: when, where, how long, how, on how much, with what verdicts.

    A page that the runner did not make says so. Raises as for `page_facts` and `verdicts`.
    """
    judged = verdicts(root)
    return pd.DataFrame(
        [
            {
                "page": markdown.link("", f"notebooks/{name}.ipynb"),
                "executed": _executed(facts),
                "on": facts.get("device") or "not recorded",
                "took": _took(facts),
                "profile": facts.get("parameters", {}).get("profile", ""),
                "mode": _mode(facts),
                "pictures a class": _counts(facts.get("parameters", {})),
                "verdicts": _told(judged.get(name, {})),
            }
            for name, facts in page_facts(root).items()
        ]
    )


def _executed(facts: Mapping[str, Any]) -> str:
    date, made_from = facts.get("date", "not recorded"), facts.get("commit")
    return f"{date}, commit {made_from}" if made_from else str(date)


def _took(facts: Mapping[str, Any]) -> str:
    if "wall_seconds" not in facts:
        return "not recorded"
    store = "cold" if facts.get("cold") else "warm"
    return f"{duration(float(facts['wall_seconds']))}, {store}"


def _mode(facts: Mapping[str, Any]) -> str:
    mode = str(facts.get("mode", "not recorded"))
    return f"{mode}, changed by hand" if facts.get("overrides") else mode


def _counts(parameters: Mapping[str, Any]) -> str:
    told = [f"{parameters[name]}{what}" for name, what in COUNTS.items() if name in parameters]
    if "images" in parameters:  # every study counts its seeds from the page's first one
        first = int(parameters.get("seed", 0))
        told.append(f"seeds {first} to {first + int(parameters['images']) - 1}")
    return ", ".join(told) or "-"


def _told(outcomes: Mapping[str, int]) -> str:
    told = [f"{outcomes[name]} {name}" for name in OUTCOMES if outcomes.get(name)]
    return markdown.joined(told) or "-"


def summary(root: Path) -> str:
    """How many pages, how long they took together, and how they were made."""
    facts = page_facts(root).values()
    total = duration(sum(float(one.get("wall_seconds", 0)) for one in facts))
    modes = [str(one.get("mode", "not recorded")) for one in facts]
    stores = ["cold" if one.get("cold") else "warm" for one in facts]
    told = [
        f"{words.count(word)} {word}"
        for words in (modes, stores)
        for word in sorted(set(words))
    ]  # fmt: skip
    return f"{len(modes)} pages, {total} together: {', '.join(told)}."


def measured(root: Path) -> str:
    """The snippet that the status page includes, in Markdown."""
    return f"{summary(root)}\n\n{markdown.table(status_table(root))}\n"


def outdated(root: Path) -> bool:
    """Whether there is a status page whose table is not what the pages and the ledger say today."""
    snippet = root / SNIPPET
    if not (root / PAGE).is_file():
        return False
    return not snippet.is_file() or snippet.read_text(encoding="utf-8") != measured(root)


def renew(root: Path) -> None:
    """Write the snippet anew, whole or not at all; nothing for a book without a status page.

    Nor for one without an executed page, as a first run leaves it when its notebook failed.
    """
    if (root / PAGE).is_file() and any((root / "book" / "notebooks").glob("[0-9]*.ipynb")):
        text = measured(root)
        write_whole(root / SNIPPET, lambda target: target.write_text(text, encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    """Write the table; with ``--check`` only say whether it is up to date (status 1: it is not)."""
    options = marked.parse("python -m rbtc.book.status", __doc__, arguments)
    if not options.check:
        renew(options.root)
    elif outdated(options.root):
        print("the status page is out of date: run `python -m rbtc.book.status`")
        return 1
    return 0


if __name__ == "__main__":
    command.run(main)
