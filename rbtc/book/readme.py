"""The measured parts of README.md and the opening page: ``python -m rbtc.book.readme``."""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import json
from pathlib import Path

from rbtc import command
from rbtc.book import marked, opening
from rbtc.book.pages import Book
from rbtc.book.record import page_seconds, run_sentence
from rbtc.book.status import page_facts
from rbtc.emoji.report import standing

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def minutes_table(root: Path) -> str:
    """Markdown table of the pages: minutes in the last run of the whole book and as committed.

    Of the committed page also mode, store, picture count and device.
    """
    whole = page_seconds(Book(root))
    lines = [
        "| page | minutes in that run | committed page | mode | store | pictures a class | on |",
        "|---|---|---|---|---|---|---|",
    ]
    total = 0.0
    for name, facts in page_facts(root).items():
        seconds = float(facts["wall_seconds"])
        total += seconds
        then = f"{whole[name] / 60:.1f}" if name in whole else "-"
        images = facts.get("parameters", {}).get("images", "-")
        where = facts.get("device") or "not recorded"
        store = "cold" if facts.get("cold") else "warm"
        made = f"{seconds / 60:.1f} | {facts.get('mode', '-')} | {store} | {images} | {where}"
        lines.append(f"| {name} | {then} | {made} |")
    lines.append(f"| sum | {sum(whole.values()) / 60:.1f} | {total / 60:.1f} | | | | |")
    return "\n".join(lines)


def temperature(root: Path) -> str:
    """What the minutes of the committed pages are worth: of a first run, or of one that reads."""
    cold = [bool(facts.get("cold")) for facts in page_facts(root).values()]
    if all(cold):
        return (
            "The committed pages took the minutes below, in a run that began with an empty store "
            "(`python -m rbtc.book run --cold`): a first run takes about as long on such a "
            "machine. Pages that were made side by side had a core each."
        )
    which = "The pages marked warm" if any(cold) else "The committed pages"
    return (
        "Below are the minutes of that run and those of the committed pages. "
        f"{which} may have read results computed before from the store, and a first run can take "
        "many times as long, above all in the full form; each page's stamp says how much was "
        "read. `python -m rbtc.book run --cold` measures a first run."
    )


def measured(root: Path) -> str:
    """The text between the markers.

    Raises:
        FileNotFoundError: the model's report or the pages are missing.
    """
    report = root / "results" / "emoji_report.json"
    if not report.exists():
        raise FileNotFoundError(f"{report} is missing: run `python -m rbtc.emoji.report`")
    found = json.loads(report.read_text(encoding="utf-8"))
    return "\n".join(
        [
            BEGIN,
            standing(found),
            "",
            " ".join(filter(None, [run_sentence(Book(root)), temperature(root)])),
            "",
            minutes_table(root),
            END,
        ]
    )


def render(text: str, root: Path) -> str:
    """``text`` with the part between the markers made anew."""
    return marked.replaced(text, BEGIN, END, measured(root), "README.md")


def main(arguments: list[str] | None = None) -> int:
    """Write README.md; with ``--check`` only say whether it is up to date (status 1: it is not)."""
    options = marked.parse("python -m rbtc.book.readme", __doc__, arguments)
    path = options.root / "README.md"
    text = path.read_text(encoding="utf-8")
    fresh = render(text, options.root)
    if options.check:
        if fresh != text:
            print("README.md is out of date: run `python -m rbtc.book.readme`")
            return 1
        if old := opening.stale(options.root):
            print(f"out of date: {', '.join(old)}: run `python -m rbtc.book.readme`")
            return 1
        return 0
    path.write_text(fresh, encoding="utf-8")
    generated = options.root / "book" / "_generated"
    generated.mkdir(exist_ok=True)
    report = json.loads((options.root / "results" / "emoji_report.json").read_text("utf-8"))
    (generated / "standing.md").write_text(standing(report) + "\n", encoding="utf-8")
    opening.write(options.root)
    return 0


if __name__ == "__main__":
    command.run(main)
