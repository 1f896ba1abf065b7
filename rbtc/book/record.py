"""How long the whole book took when it was last made: ``results/book_run.json``."""

from __future__ import annotations

import datetime
import json
from typing import Any

from rbtc.book import stamp
from rbtc.book.pages import Book, read_page
from rbtc.files import write_whole

FILE = "results/book_run.json"


def write_run(book: Book, **facts: Any) -> None:
    """Keep what a run of all chapters took.

    Args:
        book: the book.
        facts: mode, cold, jobs (chapters side by side) and seconds.
    """
    made = {name: book.page(name) for name in book.names() if book.page(name).is_file()}
    record = {
        "chapters": len(book.names()),
        **facts,
        "pages": {n: read_page(p).metadata["rbtc"]["wall_seconds"] for n, p in made.items()},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": stamp.describe_device(),
        "commit": stamp.commit(book.root),
    }
    text = json.dumps(record, indent=1) + "\n"
    write_whole(book.root / FILE, lambda path: path.write_text(text, encoding="utf-8"))


def page_seconds(book: Book) -> dict[str, float]:
    """Seconds of every chapter in the last run of the whole book; empty if there was none."""
    path = book.root / FILE
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get("pages", {})


def run_sentence(book: Book) -> str:
    """What the last run of the whole book took, in a sentence; empty if there was none."""
    path = book.root / FILE
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    beside = f"{found['jobs']} side by side" if found["jobs"] > 1 else "one after the other"
    store = "an empty store" if found["cold"] else "a store that held earlier results"
    return (
        f"All {found['chapters']} chapters in their {found['mode']} form, {beside} and from "
        f"{store}, took {found['seconds'] / 60:.0f} minutes on {found['device']} "
        f"({found['date']})."
    )
