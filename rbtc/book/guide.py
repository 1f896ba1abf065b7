"""The computed part of the page "Run it on SD v1.5", written by `rbtc.book.generated`.

Its costs follow from the paper's tables and the profile (`rbtc.budget`); the minutes and the memory
of the proof at full size are those of the committed run, if there is one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rbtc.book.pages import replaced
from rbtc.budget import cost_table, costs
from rbtc.models.profiles import load_profile
from rbtc.models.sd15 import FULL

BEGIN, END = "<!-- computed: begin -->", "<!-- computed: end -->"
PAGE = Path("book") / "run_on_sd15.md"
PROOF = Path("benchmarks") / "full_size.json"
CHAPTERS = Path("benchmarks") / "full_size_chapters.json"

_NOTE = (
    "Hours are for a card that draws a picture a second; `rbtc.doctor --measure` tells them for "
    "yours. Pictures that two tables share are counted in both, and once in the last line. The "
    "space is what the pictures would take uncompressed, and the store compresses them. FID has a "
    "line of its own, because it takes so many pictures and the paper does not say which."
)


def computed(root: Path) -> str:
    """The text between the markers."""
    profile = load_profile("sd15")
    size = FULL["unet"]["sample_size"] * 8
    table = cost_table(costs(profile, seconds_per_picture=1.0, size=(size, size)))
    table = table.rename(columns={"hours": "hours at one picture a second"})
    parts = [BEGIN, "", _NOTE, "", _markdown(table.to_dict("records"))]
    proof = root / PROOF
    if proof.is_file():
        parts += ["", _proof(json.loads(proof.read_text("utf-8")))]
    chapters = root / CHAPTERS
    if chapters.is_file():
        parts += ["", _chapters(json.loads(chapters.read_text("utf-8")))]
    return "\n".join([*parts, "", END])


def _markdown(lines: list[dict[Any, Any]]) -> str:
    head = [str(name) for name in lines[0]]
    rows = [head, ["---"] * len(head), *([str(v) for v in line.values()] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _proof(found: dict[str, Any]) -> str:
    """What the run with random weights took."""
    facts, options = found["facts"], found["options"]
    size = 8 * (options["latent"] or FULL["unet"]["sample_size"])
    text = (
        f"A run with random weights ({facts['unet_parameters']:,} of them in the UNet, "
        f"{facts['matrices']} matrices attacked, pictures of {size} px, {options['dtype']}, "
        f"{_threads(found)} of a CPU shared with other work) took "
        f"{found['minutes']:.0f} minutes; {facts['share_pruned']:.1%} of the weights were cut, and "
        f"the completion {_ended(facts, options)}:"
    )
    return f"{text}\n\n{_taken(found['steps'], 'step')}"


def _ended(facts: dict[str, Any], options: dict[str, Any]) -> str:
    if facts["converged"] == facts["matrices"]:
        return "reached its tolerance in every matrix"
    return f"was stopped after at most {options['iterations']} iterations a matrix"


def _chapters(found: dict[str, Any]) -> str:
    """What every chapter took on random weights."""
    text = (
        f"Every chapter's study, with one or two pictures a model and random judges of the true "
        f"classes, on {found['model']}, random weights, {_threads(found)} of a CPU shared with "
        f"other work:"
    )
    return f"{text}\n\n{_taken(found['chapters'], 'chapter')}"


def _taken(lines: list[dict[str, Any]], what: str) -> str:
    """Minutes and peak memory as a table."""
    return _markdown(
        [
            {
                what: line[what],
                "minutes": f"{line['minutes']:.1f}",
                "peak memory, GB": f"{line['peak_gigabytes']:.1f}",
            }
            for line in lines
        ]
    )


def _threads(found: dict[str, Any]) -> str:
    count = int(found["threads"])
    return f"{count} thread" if count == 1 else f"{count} threads"


def render(text: str, root: Path) -> str:
    """``text`` with the part between the markers made anew.

    Raises:
        ValueError: the markers are not there once each.
    """
    return replaced(text, BEGIN, END, computed(root), str(PAGE))
