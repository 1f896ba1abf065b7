"""How much a table of the paper costs: pictures, GPU-hours and disk, from the printed tables.

Every printed number stands for some pictures of one model: an accuracy for five hundred of its
class, a preserved accuracy for five hundred of every other class, a COCO similarity for 480
captions, a FID for thirty thousand, a count of nudity for the whole prompt list (METHOD 7). The
same model asked for the same pictures is counted once. So the costs follow from ``data/paper``,
the profile, and one measured number: seconds per picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rbtc.models.profiles import Profile
from rbtc.models.prompt_files import SEEDS
from rbtc.models.prompt_sets import COCO_CAPTIONS, SOURCES
from rbtc.paper import load_table

CHAPTERS = {
    1: "08_objects",
    2: "06_art",
    3: "04_nms_ablations",
    4: "09_saliency",
    7: "07_nsfw",
    8: "04_nms_ablations",
    9: "04_nms_ablations",
    10: "04_nms_ablations",
    12: "05_defense",
}
"""Tables that are made of pictures, and their chapters; 11 repeats 4, 5 and 6 need none."""

TITLES = 50
"""Pictures of a painter (METHOD 7.2)."""

FID_PICTURES = 30_000
"""Pictures that a FID is usually computed from (METHOD 7.3)."""

RING_A_BELL = 101
"""The paper's count of Ring-A-Bell prompts; the published file may have another (METHOD 8)."""

FID = "COCO FID"
_ONE_CLASS = {3: "golf ball", 8: "parachute", 9: "church", 10: "gas pump"}
_K = "Top 0.6"  # of Table 1
_MISPRINTS = {"rocket": "racket"}  # METHOD 12, no. 3

Demand = dict[tuple[str, str], int]
"""(model, set of prompts) -> pictures."""


@dataclass(frozen=True)
class Cost:
    """What a table takes.

    Attributes:
        table: Its number.
        chapter: The notebook that makes it.
        models: Different models that draw.
        pictures: Pictures, each model and prompt set once.
        hours: On one device, None without a rate.
        gigabytes: Of pictures at most: as if the store did not compress them.
    """

    table: str
    chapter: str
    models: int
    pictures: int
    hours: float | None
    gigabytes: float


def demand(profile: Profile, table: int, *, fid: bool = False) -> Demand:
    """Which pictures of which models a table is made of.

    Args:
        profile: whose classes.
        table: one of `CHAPTERS`.
        fid: also those that only a FID needs.

    Raises:
        ValueError: a table that is not made of pictures.
    """
    if table not in CHAPTERS:
        raise ValueError(f"table {table} is not made of pictures: expected {sorted(CHAPTERS)}")
    printed = load_table(table)
    needed: Demand = {}
    for row, column in zip(printed["row"], printed["column"], strict=True):
        if row != "Average":
            name = str(row).casefold()
            needed |= _entry(profile, table, _MISPRINTS.get(name, name), str(column), fid)
    return needed


def _entry(profile: Profile, table: int, row: str, column: str, fid: bool) -> Demand:
    """The pictures behind one printed number."""
    if table == 7:
        counts = {name: source.rows for name, source in SOURCES.items()}
        own = row if row == "pretrained" else f"nudity {row}"
        return {(own, column): counts.get(column) or RING_A_BELL}
    if table == 2:
        model, _, what = column.partition(": ")
        own = "pretrained" if model == "pretrained" else f"{row} {model}"
        if what == FID:
            return {(own, "COCO for FID"): FID_PICTURES} if fid else {}
        if what == "COCO similarity":
            return {(own, "COCO"): COCO_CAPTIONS}
        return {(own, row): TITLES}
    if table in _ONE_CLASS:
        name = _ONE_CLASS[table]
        # Table 1's models are among them.
        own = f"{name} {column}" + ("" if row.casefold() == _K.casefold() else f" {row}")
        return {(own, name): SEEDS}
    group, _, method = column.partition(": ")
    if table == 4:  # group: who pruned; the class that survives is asked of the attacked model
        kept = method == "preserved"
        own = f"{row} {group} {'NMS' if kept else method}"
    else:
        kept = group == "preserved"
        own = f"{row} {method}" if table == 1 else f"{row} {group} {method}"
        own = "pretrained" if method == "pretrained" else own
    names = [word.casefold() for word in profile.classes]
    return {(own, name): SEEDS for name in (set(names) - {row} if kept else {row})}


def costs(
    profile: Profile,
    *,
    seconds_per_picture: float | None = None,
    size: tuple[int, int] = (512, 512),
    tables: Sequence[int] = (),
) -> list[Cost]:
    """What the tables take, the FIDs of Table 2 by themselves, and all of them together.

    Args:
        profile: whose classes.
        seconds_per_picture: measured on the device in question; None leaves the hours open.
        size: (height, width) of a picture.
        tables: some of `CHAPTERS`; none takes all.

    Raises:
        ValueError: an unknown table, or a rate that is no positive number.
    """
    if seconds_per_picture is not None and not 0 < seconds_per_picture < float("inf"):
        raise ValueError(f"seconds per picture must be positive, not {seconds_per_picture}")

    def cost(table: str, chapter: str, needed: Demand) -> Cost:
        pictures = sum(needed.values())
        hours = None if seconds_per_picture is None else pictures * seconds_per_picture / 3600
        gigabytes = pictures * 3 * size[0] * size[1] / 1e9
        return Cost(table, chapter, len({m for m, _ in needed}), pictures, hours, gigabytes)

    found, everything = [], {}
    for table in tables or sorted(CHAPTERS):
        needed = demand(profile, table)
        found.append(cost(str(table), CHAPTERS[table], needed))
        everything |= needed
        if table == 2:
            whole = demand(profile, table, fid=True)
            only = {key: n for key, n in whole.items() if key not in needed}
            found.append(cost("2 (FID)", CHAPTERS[table], only))
            everything |= only
    return [*found, cost("all", "", everything)]


def cost_table(found: Sequence[Cost]) -> pd.DataFrame:
    """Costs as a table to show: one line each, hours and gigabytes rounded."""
    lines = [
        {
            "table": cost.table,
            "chapter": cost.chapter,
            "models": cost.models,
            "pictures": f"{cost.pictures:,}",
            "hours": "-" if cost.hours is None else f"{cost.hours:,.1f}",
            "GB at most": f"{cost.gigabytes:,.1f}",
        }
        for cost in found
    ]
    return pd.DataFrame(lines)
