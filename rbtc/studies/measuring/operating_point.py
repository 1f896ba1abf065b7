# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How the operating point of `rbtc.studies.operating_point` is found, and what it does."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from rbtc.models.prompts import held_out_concepts
from rbtc.models.subjects import Reference, Subject
from rbtc.report.tables import save_csv
from rbtc.studies.measuring.common import PAPER_CLASSES, at_least_one, judged, subjects
from rbtc.studies.operating_point import (
    NAME,
    PAPER_REFERENCE,
    ClassStudy,
    choose_keep,
    choose_pruning,
    settings_table,
)

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

RATIOS = (0.05, 0.1, 0.15, 0.2, 0.3)

CALLS = (2, 5, 8)

REFERENCES: tuple[Reference, ...] = get_args(Reference)

KEEP_RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


def kept(
    lab: Lab, variant: Variant, concept: str, others: Sequence[str], images: int, other_images: int
) -> dict[str, int]:
    """Hits and pictures on the erased concept and on the others, all drawn together.

    Args:
        lab: the models.
        variant: what draws.
        concept: the erased one, of ``others``.
        others: it and its neighbours.
        images: pictures of the erased concept.
        other_images: pictures of each of the others.

    Returns:
        ``erased_hits``, ``erased_n``, ``preserved_hits``, ``preserved_n``.
    """
    asked = [(lab.subject(w), images if w == concept else other_images) for w in others]
    hits = lab.measure.hits(variant, asked)
    own = hits["asked"] == concept
    return {
        "erased_hits": int(hits.loc[own, "hit"].sum()),
        "erased_n": int(own.sum()),
        "preserved_hits": int(hits.loc[~own, "hit"].sum()),
        "preserved_n": int((~own).sum()),
    }


def pruning_sweep(
    lab: Lab,
    concepts: Sequence[str],
    *,
    images: int,
    other_images: int,
    ratios: Sequence[float] = RATIOS,
    calls: Sequence[int] = CALLS,
    references: Sequence[Reference] = REFERENCES,
) -> pd.DataFrame:
    """Prune every concept at every setting and count; ratio 0 is the pretrained model.

    Args:
        lab: the models.
        concepts: at least two; each is the others' neighbour.
        images: pictures of the erased concept.
        other_images: pictures of each of the others.
        ratios: shares of each row, see `rbtc.pruning.conceptprune.step_mask`.
        calls: numbers T of UNet calls.
        references: kinds of reference prompts, see `rbtc.models.prompts.prompt_pairs`; others than
            the paper's, shown beside it, at the largest number of calls only.

    Returns:
        One row per setting and concept: ratio, calls, reference, concept, density, hits and n.
    """
    from tqdm.auto import tqdm

    if len(concepts) < 2:
        raise ValueError(f"a sweep needs at least two concepts, got {list(concepts)}")
    at_least_one(images=images, other_images=other_images)
    for ratio in ratios:  # refused now, and not when their turn comes
        for n in calls:
            lab.owner.settings(ratio=ratio, calls=n)
    lab.judges.require("object")
    rows = [
        {"ratio": 0.0, "calls": 0, "reference": "", "concept": concept, "density": 0.0}
        | kept(lab, lab.pretrained, concept, concepts, images, other_images)
        for concept in concepts
    ]
    settings = [
        (ratio, n, which)
        for which in references
        for n in (calls if which == PAPER_REFERENCE else [max(calls)])
        for ratio in ratios
    ]
    for ratio, n, which in tqdm(settings, desc="settings", disable=not lab.progress):
        for concept in concepts:
            pruning = {"ratio": ratio, "calls": n, "reference": which}
            pruned = lab.owner.pruned(concept, **pruning)
            rows.append(
                {**pruning, "concept": concept, "density": lab.density(concept, **pruning)}
                | kept(lab, pruned, concept, concepts, images, other_images)
            )
    return pd.DataFrame(rows)


def keep_sweep(
    lab: Lab,
    concepts: Sequence[str],
    *,
    images: int,
    other_images: int,
    ratio: float,
    calls: int,
    reference: Reference,
    keep_ratios: Sequence[float] = KEEP_RATIOS,
) -> pd.DataFrame:
    """Attack the models of one pruning setting with every K; K = 0 is the pruned model.

    Returns:
        One line per picture, see `rbtc.studies.measuring.common.judged`, with the columns
        keep_ratio and sign_accuracy.
    """
    from tqdm.auto import tqdm

    from rbtc.attack.topk import check_keep

    at_least_one(images=images, other_images=other_images)
    for k in keep_ratios:
        check_keep(k)
    lab.judges.require("object")
    pruning: dict[str, Any] = {"ratio": ratio, "calls": calls, "reference": reference}
    everyone = subjects(lab, concepts)
    frames = []
    for subject in tqdm(everyone, desc="attacks", disable=not lab.progress):
        signs = lab.sign_accuracy(subject, **pruning).value
        models = [({"keep_ratio": 0.0, "sign_accuracy": signs},
                   lab.owner.pruned(subject, **pruning))]  # fmt: skip
        models += [
            ({"keep_ratio": k, "sign_accuracy": signs},
             lab.revived(subject, keep_ratio=k, **pruning))
            for k in keep_ratios
        ]  # fmt: skip
        others = [one for one in everyone if one != subject]
        frames.append(
            judged(lab, subject, models, images, other_images=other_images, others=others)
        )
    return pd.concat(frames, ignore_index=True)


def measure(
    lab: Lab,
    concepts: Sequence[str] = PAPER_CLASSES,
    ratios: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.3),
    images: int = 12,
) -> ClassStudy:
    """What the chapter measures; see `class_sweep`."""
    return ClassStudy(class_sweep(lab, concepts, images, ratios=ratios))


def class_sweep(
    lab: Lab, concepts: Sequence[str], images: int, *, ratios: Sequence[float] = RATIOS
) -> pd.DataFrame:
    """Prune and revive the reported classes at several ratios; nothing is chosen from it.

    T, the reference prompts and K are the profile's.

    Returns:
        One line per picture, see `rbtc.studies.measuring.common.judged`, with the columns model
        ("pretrained", "pruned, 0.1", "revived, 0.1"), ratio and density.
    """
    at_least_one(images=images)
    for ratio in ratios:
        lab.owner.settings(ratio=ratio)
    lab.judges.require("object")
    frames = []
    for subject in subjects(lab, concepts):

        def models(subject: Subject = subject) -> Iterator[tuple[Mapping[str, Any], Variant]]:
            yield {"model": "pretrained", "ratio": 0.0, "density": 0.0}, lab.pretrained
            for ratio in ratios:
                columns = {"ratio": ratio, "density": lab.density(subject, ratio=ratio)}
                pruned = lab.owner.pruned(subject, ratio=ratio)
                yield {"model": f"pruned, {ratio:g}", **columns}, pruned
                revived = lab.revived(subject, ratio=ratio)
                yield {"model": f"revived, {ratio:g}", **columns}, revived

        frames.append(judged(lab, subject, models(), images))
    return pd.concat(frames, ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """Run both sweeps, write the tables and print the choice."""
    from rbtc.files import check_writable
    from rbtc.lab import Lab
    from rbtc.models.pipelines import model_folder
    from rbtc.models.profiles import load_profile

    parser = argparse.ArgumentParser(prog="python -m rbtc.studies.operating_point")
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--concepts", type=int, default=8, help="how many held-out concepts")
    parser.add_argument("--images", type=int, default=16, help="pictures of the erased concept")
    parser.add_argument("--other-images", type=int, default=2, help="pictures of each other one")
    parser.add_argument("--model", help="another model's folder, in place of the profile's")
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS)
    parser.add_argument("--references", nargs="+", choices=REFERENCES, default=REFERENCES)
    parser.add_argument("--name", default=NAME, help="how the tables' names begin")
    parser.add_argument("--folder", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    check_writable(options.folder)
    profile = load_profile(options.profile)
    if options.model:
        profile = dataclasses.replace(profile, model=options.model)
        model_folder(profile)  # of a model that is not there nothing else is true
    lab = Lab(profile)
    concepts = held_out_concepts(profile, options.concepts)
    counts = {"images": options.images, "other_images": options.other_images}
    grid = {"ratios": options.ratios, "references": options.references}
    sweep = pruning_sweep(lab, concepts, **counts, **grid)
    choice = choose_pruning(sweep)
    pruning: dict[str, Any] = {
        "ratio": float(choice["ratio"]),
        "calls": int(choice["calls"]),
        "reference": str(choice["reference"]),
    }
    attacks = keep_sweep(lab, concepts, **counts, **pruning)
    save_csv(sweep, f"{options.name}_pruning", options.folder)
    save_csv(attacks, f"{options.name}_keep", options.folder)
    print(settings_table(sweep).round(3).to_string(index=False))
    print(f"chosen: {pruning}, keep_ratio = {choose_keep(attacks)}")
