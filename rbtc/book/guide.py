"""The computed part of the page "Run it on SD v1.5", written by `rbtc.book.generated`.

Its costs follow from the paper's tables and the profile (`rbtc.models.budget`); minutes and memory
at full size are those of the committed runs with random weights, if there are any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rbtc.book.pages import replaced
from rbtc.files import read_json
from rbtc.models.budget import cost_table, costs
from rbtc.models.profiles import load_profile
from rbtc.models.sd15 import FULL
from rbtc.report import markdown

BEGIN, END = "<!-- computed: begin -->", "<!-- computed: end -->"
PAGE = Path("book") / "run_on_sd15.md"
PROOF = Path("benchmarks") / "full_size.json"
CHAPTERS = Path("benchmarks") / "full_size_chapters.json"


def computed(root: Path) -> str:
    """The text between the markers."""
    size = FULL["unet"]["sample_size"] * 8
    found = costs(load_profile("sd15"), seconds_per_picture=1.0, size=(size, size))
    parts = [cost_table(found).rename(columns={"hours": "hours at one picture a second"})]
    if (root / PROOF).is_file():
        proof = read_json(root / PROOF)
        parts += [_facts(proof), _taken(proof["steps"], "step")]
    if (root / CHAPTERS).is_file():
        chapters = read_json(root / CHAPTERS)
        run = {"every chapter on random weights": chapters["model"], "threads": chapters["threads"]}
        parts += [pd.DataFrame([run]), _taken(chapters["chapters"], "chapter")]
    return "\n\n".join([BEGIN, *map(markdown.table, parts), END])


def _facts(found: dict[str, Any]) -> pd.DataFrame:
    """What the run of the whole method with random weights was, in a line."""
    facts, options = found["facts"], found["options"]
    whole = facts["converged"] == facts["matrices"]
    line = {
        "the method on random weights": f"{facts['unet_parameters']:,} in the UNet",
        "matrices": facts["matrices"],
        "picture, px": 8 * (options["latent"] or FULL["unet"]["sample_size"]),
        "dtype": options["dtype"],
        "threads": found["threads"],
        "minutes": f"{found['minutes']:.0f}",
        "pruned": f"{facts['share_pruned']:.1%}",
        "completion": "converged" if whole else f"stopped at {options['iterations']} iterations",
    }
    return pd.DataFrame([line])


def _taken(lines: list[dict[str, Any]], what: str) -> pd.DataFrame:
    """Minutes and peak memory of each step or chapter."""
    return pd.DataFrame(
        {
            what: line[what],
            "minutes": f"{line['minutes']:.1f}",
            "peak memory, GB": f"{line['peak_gigabytes']:.1f}",
        }
        for line in lines
    )


def render(text: str, root: Path) -> str:
    """``text`` with the part between the markers made anew.

    Raises:
        ValueError: the markers are not there once each.
    """
    return replaced(text, BEGIN, END, computed(root), str(PAGE))
