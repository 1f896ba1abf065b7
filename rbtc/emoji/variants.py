# pyright: reportArgumentType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""Trained variants side by side: ``python -m rbtc.emoji.variants NAME=FOLDER [NAME=FOLDER ...]``.

A folder is a packed model (``python -m rbtc.emoji.train pack``). It is counted on the concepts that
the operating point is chosen on, none of which a chapter reports; one row per variant, model and
concept goes to ``results/emoji_variants.csv``, where rows of other variants stay.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from rbtc import command
from rbtc.emoji.report import save_rows, without_ffn
from rbtc.emoji.scenes import STYLED
from rbtc.emoji.start import training_chain
from rbtc.files import check_writable, read_json
from rbtc.lab import Lab, Variant
from rbtc.models.profiles import load_profile
from rbtc.models.prompts import held_out_concepts

RATIOS = (0.05, 0.1, 0.15, 0.2)
KEEP_RATIOS = (0.6,)
LEVERS = {
    "activation_sparsity": 0.0, "neuron_sparsity": 0.0, "styled": STYLED, "text_width": 48
}  # fmt: skip
"""The levers that the variants differ in, and what a run that names none was trained with."""


def trained(folder: Path) -> dict[str, Any]:
    """What a packed model's record says of all its runs: pictures, and the last run's levers."""
    chain = training_chain(read_json(folder / "training.json")["diffusion"])
    levers = chain[-1].get("levers", {})
    return {
        "pictures": sum(run.get("pictures", 0) for run in chain),
        **{lever: levers.get(lever, usual) for lever, usual in LEVERS.items()},
    }


def score_variant(
    lab: Lab,
    concepts: Sequence[str],
    *,
    images: int,
    other_images: int,
    ratios: Sequence[float] = RATIOS,
    keep_ratios: Sequence[float] = KEEP_RATIOS,
) -> pd.DataFrame:
    """Count one model pretrained, without its feed-forward outputs, pruned and revived.

    ``images`` are drawn of the erased concept, ``other_images`` of each other one. T and the
    reference prompts are the profile's.

    Returns:
        One row per concept and model: model ("pretrained", "no feed-forward", "pruned",
        "revived"), ratio, keep_ratio, density, sign_accuracy, hits and n of both kinds.
    """
    empty = lab.owner.custom("no feed-forward", without_ffn(lab.pretrained.weights))
    rows = []
    for concept in tqdm(concepts, desc="concepts", disable=not lab.progress):
        models: list[tuple[Variant, str, dict[str, float]]] = [
            (lab.pretrained, "pretrained", {}), (empty, "no feed-forward", {})
        ]  # fmt: skip
        for ratio in ratios:
            pruning = {"ratio": ratio}
            columns = {
                "ratio": ratio,
                "density": lab.density(concept, **pruning),
                "sign_accuracy": lab.sign_accuracy(concept, **pruning).value,
            }
            models.append((lab.owner.pruned(concept, **pruning), "pruned", columns))
            for k in keep_ratios:
                revived = lab.revived(concept, keep_ratio=k, **pruning)
                models.append((revived, "revived", {**columns, "keep_ratio": k}))
        asked = [(lab.subject(w), images if w == concept else other_images) for w in concepts]
        for variant, model, columns in models:
            row = {"model": model, "concept": concept, **columns}
            hits = lab.measure.hits(variant, asked)
            own = hits["asked"] == concept
            for part, found in (("erased", hits[own]), ("preserved", hits[~own])):
                row |= {f"{part}_hits": int(found["hit"].sum()), f"{part}_n": len(found)}
            rows.append(row)
    return pd.DataFrame(rows)


def variants_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One line per variant, model, ratio and K, pooled over the concepts, with accuracies."""
    keys = ["variant", *LEVERS, "pictures", "model", "ratio", "keep_ratio"]
    means = ("density", "sign_accuracy")
    sums = ("erased_hits", "erased_n", "preserved_hits", "preserved_n")
    pooled = scores.groupby(keys, sort=False, dropna=False).agg(
        **{name: (name, "mean") for name in means}, **{name: (name, "sum") for name in sums}
    )
    for part in ("erased", "preserved"):
        pooled[part] = pooled[f"{part}_hits"] / pooled[f"{part}_n"]
    return pooled.reset_index()


def main(arguments: list[str] | None = None) -> None:
    """Score the variants that are named, and write their rows."""
    parser = argparse.ArgumentParser(prog="python -m rbtc.emoji.variants", description=__doc__)
    parser.add_argument("variants", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--concepts", type=int, default=8, help="how many held-out concepts")
    parser.add_argument("--images", type=int, default=12, help="pictures of the erased concept")
    parser.add_argument("--other-images", type=int, default=2, help="pictures of each other one")
    parser.add_argument("--folder", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    for name in ("images", "other_images"):
        if getattr(options, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(options, name)}")
    if options.concepts < 2:
        raise ValueError(
            f"--concepts must be at least 2, not {options.concepts}: each is the others' neighbour"
        )
    check_writable(options.folder)
    folders = {}
    for text in options.variants:
        name, _, folder = text.partition("=")
        if not (Path(folder) / "training.json").is_file():
            raise FileNotFoundError(
                f"{text!r}: expected NAME=FOLDER, the folder of a model that "
                "`python -m rbtc.emoji.train pack` wrote"
            )
        folders[name] = Path(folder)
    profile = load_profile(options.profile)
    path = options.folder / "emoji_variants.csv"
    scores = pd.read_csv(path) if path.is_file() else None
    if scores is not None:
        scores = scores.assign(**{name: scores.get(name, usual) for name, usual in LEVERS.items()})
    for name, folder in folders.items():
        lab = Lab(dataclasses.replace(profile, model=str(folder.resolve())))
        concepts = held_out_concepts(lab.profile, options.concepts)
        found = score_variant(
            lab, concepts, images=options.images, other_images=options.other_images
        )
        found = found.assign(variant=name, **trained(folder))
        if scores is not None:
            # Counts stay whole numbers in the file also where a row has none.
            counts = [c for c in scores if pd.api.types.is_integer_dtype(scores[c])]
            found = pd.concat([scores[scores["variant"] != name], found], ignore_index=True)
            found = found.astype(dict.fromkeys(counts, "Int64"))
        scores = found
        save_rows(scores, path)
    if scores is not None:
        print(variants_table(scores).round(3).to_string(index=False))


if __name__ == "__main__":
    command.run(main)
