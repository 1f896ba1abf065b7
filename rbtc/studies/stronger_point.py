"""How better signs should get magnitudes: ``python -m rbtc.studies.stronger_point``.

Top-K and Neuron-Max were made for the paper's signs: K leaves out those that are probably wrong.
An attack that gets more signs right may keep more of them, or write other magnitudes. Which, is
chosen as the paper's K is: on held-out concepts, none of which a chapter shows, as what revives
most there (see `rbtc.studies.operating_point`).
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from rbtc import command
from rbtc.attack.topk import check_keep
from rbtc.files import check_writable, read_frame, results_root
from rbtc.lab import Lab, Variant
from rbtc.models.profiles import Profile, load_profile
from rbtc.models.prompts import held_out_concepts
from rbtc.report.tables import save_csv
from rbtc.studies.measuring.common import at_least_one
from rbtc.studies.measuring.operating_point import KEEP_RATIOS
from rbtc.studies.measuring.stronger_attack import attack_signs, given
from rbtc.studies.stronger_attack import BEST, PAPER, Way, ways_table

WAYS = tuple(
    Way(strategy, keep)
    for strategy, keep in product(("neuron_max", "neuron_average", "completed"), KEEP_RATIOS)
)


COMMAND = "python -m rbtc.studies.stronger_point"


NAME = "operating_point_stronger"
"""Of the command's table."""


COLUMNS = ["profile", "concept", "attack", "strategy", "keep_ratio", "hits", "n"]


def way_sweep(
    lab: Lab, concepts: Sequence[str], *, images: int, ways: Sequence[Way] = WAYS
) -> pd.DataFrame:
    """Revive every concept with the best attack's signs in every way, and count.

    Args:
        lab: the models.
        concepts: at least one, each erased at the profile's operating point.
        images: pictures per concept and model.
        ways: at least one.

    Returns:
        One row per concept and model, with `COLUMNS`: the pruned model and the paper's attack, both
        without a strategy, and the attack `BEST` in every way.

    Raises:
        ValueError: no concept, no way, or a count or K that does not fit.
    """
    at_least_one(images=images, concepts=len(concepts), ways=len(ways))
    for way in ways:
        check_keep(way.keep_ratio)
    lab.judges.require("object")
    rows = []
    for concept in tqdm(concepts, desc="attacks", disable=not lab.progress):
        subject = lab.subject(concept)
        completions = attack_signs(lab, subject)[0][BEST]
        models: list[tuple[str, Way | None, Variant]] = [
            ("pruned", None, lab.owner.pruned(subject)),
            (PAPER, None, lab.revived(subject)),
            *((BEST, way, given(lab, subject, completions, way)) for way in ways),
        ]
        for attack, way, variant in models:
            hits = lab.measure.hits(variant, [(subject, images)])["hit"]
            strategy, keep = (way.strategy, way.keep_ratio) if way else ("", 0.0)
            counted = (subject.label, attack, strategy, keep, int(hits.sum()), len(hits))
            rows.append((lab.profile.name, *counted))
    return pd.DataFrame(rows, columns=COLUMNS)


def choose_way(sweep: pd.DataFrame) -> Way:
    """The way in which most pictures of the erased concepts are recognised; of equals the first.

    Raises:
        ValueError: the sweep holds no way.
    """
    tried = sweep[sweep["attack"] == BEST]
    if tried.empty:
        raise ValueError(f"the table has no row of the attack {BEST!r}: run `{COMMAND}` again")
    hits = tried.groupby(["strategy", "keep_ratio"], sort=False)["hits"].sum()
    strategy, keep_ratio = hits.idxmax()
    return Way(strategy, float(keep_ratio))


def read_ways(profile: Profile, folder: str | Path = "") -> pd.DataFrame:
    """What the command wrote for a profile, as `way_sweep` gives it; empty if it was not run.

    Args:
        profile: whose rows.
        folder: where the table lies; "" takes the repository's results.

    Raises:
        ValueError: the file is of another edition.
    """
    path = Path(folder or results_root()) / f"{NAME}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    sweep = read_frame(path, COLUMNS, COMMAND, keep_default_na=False)
    return sweep[sweep["profile"] == profile.name].reset_index(drop=True)


def chosen_way(profile: Profile, folder: str | Path = "") -> Way:
    """The way chosen for a profile; where none was, the paper's Neuron-Max with the profile's K."""
    sweep = read_ways(profile, folder)
    return Way("neuron_max", profile.revive.keep_ratio) if sweep.empty else choose_way(sweep)


def main(arguments: list[str] | None = None) -> None:
    """Run the sweep, write its table and print the choice."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--concepts", type=int, default=8, help="how many held-out concepts")
    parser.add_argument("--images", type=int, default=24, help="pictures per concept and model")
    parser.add_argument("--folder", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    check_writable(options.folder)
    profile = load_profile(options.profile)
    lab = Lab(profile)
    concepts = held_out_concepts(profile, options.concepts)
    sweep = way_sweep(lab, concepts, images=options.images)
    path = options.folder / f"{NAME}.csv"
    if path.is_file():
        before = read_frame(path, keep_default_na=False)
        sweep = pd.concat([before[before["profile"] != profile.name], sweep], ignore_index=True)
    save_csv(sweep, NAME, options.folder)
    print(ways_table(sweep[sweep["profile"] == profile.name]).to_string())
    print(f"chosen: {chosen_way(profile, options.folder)}")


if __name__ == "__main__":
    command.run(main)
