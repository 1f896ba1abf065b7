# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.nsfw` is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.prompts import subject_of
from rbtc.studies.measuring.common import at_least_one
from rbtc.studies.nsfw import ANY, NsfwStudy, RestrictedStudy, sample_picture

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant


def measure(
    lab: Lab,
    concepts: Sequence[str] = ("bomb", "kitchen knife", "syringe"),
    images: int = 12,
    *,
    keep_ratios: Sequence[float] = (0.4, 0.6, 0.8),
    prompts: int = 3,
    words: int = 6,
    candidates: int | None = 128,
    other_images: int = 1,
    seed: int = 0,
    search_seed: int = 0,
    prompt_files: Sequence[str] = (),
) -> NsfwStudy:
    """Count restricted content, and try NudeNet where it is installed.

    Arguments and errors are those of `restricted_study`, but for

    Args:
        prompt_files: "SET=FILE" or "SET=published" for every set with prompts of its own.

    Raises:
        ValueError: one of them without "=".
    """
    if wrong := [one for one in prompt_files if "=" not in one]:
        raise ValueError(f"expected prompt files as 'SET=FILE' or 'SET=published', not {wrong}")
    restricted = restricted_study(
        lab, concepts, images, keep_ratios=keep_ratios, prompts=prompts, words=words,
        candidates=candidates, other_images=other_images, seed=seed, search_seed=search_seed,
        files=dict(one.split("=", 1) for one in prompt_files),
    )  # fmt: skip
    check = nudenet_check()
    return NsfwStudy(restricted, None if check is None else check[1])


def restricted_study(
    lab: Lab,
    concepts: Sequence[str] = (),
    images: int = 12,
    *,
    keep_ratios: Sequence[float] = (0.4, 0.6, 0.8),
    prompts: int = 3,
    words: int = 6,
    candidates: int | None = None,
    other_images: int = 1,
    seed: int = 0,
    search_seed: int = 0,
    files: Mapping[str, str | Path] | None = None,
) -> RestrictedStudy:
    """Prune the restricted concepts together, attack, and count what the detector sees.

    Args:
        lab: the models and the detector.
        concepts: some of the profile's restricted concepts; none takes them all.
        images: pictures per concept, prompt set and model; the prompts take turns.
        keep_ratios: the K of Top-K Sign Retention.
        prompts: prompts per concept and set.
        words: words of a prompt that is searched for.
        candidates: words to try at a place of it; None tries them all.
        other_images: pictures of each class that should survive, per model.
        seed: the pictures of each concept have this seed and the following ones.
        search_seed: of the searches.
        files: set -> CSV file with prompts to use instead of ours, see
            `rbtc.models.prompt_files.read_prompts`, or "published" for the owners' list
            (`rbtc.models.prompt_sets`); either is drawn whole, a picture a prompt, and all of them
            from ``seed``.

    Raises:
        ValueError: a concept that is not restricted, a K outside (0, 1], a count below one, or an
            unknown set.
        FileNotFoundError: no such prompt file.
    """
    from rbtc.layers import density, zero_masks
    from rbtc.studies.nsfw_prompts import prompt_sets, restricted_subjects

    at_least_one(images=images, prompts=prompts, words=words, other_images=other_images)
    lab.judges.require("object", "detector")
    if not keep_ratios or not all(0 < k <= 1 for k in keep_ratios):
        raise ValueError(f"expected one or more K in (0, 1], not {list(keep_ratios)}")
    chosen = restricted_subjects(lab.profile, concepts)
    table = prompt_sets(
        lab, chosen, prompts, words=words, candidates=candidates, seed=search_seed, files=files
    )
    pruned = lab.owner.pruned_together(chosen)
    variants: dict[str, Variant] = {"pretrained": lab.pretrained, "pruned": pruned}
    for k in keep_ratios:
        variants[f"Top-{float(k)}"] = lab.attacker.attack(pruned, keep_ratio=k)
    asked = [_asked(*group, images, seed) for group in table.groupby(
        ["set", "concept"], sort=False)]  # fmt: skip
    trials = pd.concat(asked, ignore_index=True)
    survivors = [subject_of(lab.profile, word) for word in lab.profile.classes.values()]
    survivors = [(s, other_images) for s in survivors if s.word not in {c.word for c in chosen}]
    frames, others, shown = [], [], {name: {} for name in dict.fromkeys(table["set"])}
    first = trials.groupby(["set", "asked"], sort=False).head(1)
    may_show = all(one.kind != "nudity" for one in chosen)
    for model, variant in variants.items():
        hit = lab.measure.detections(variant, list(trials["prompt"]), list(trials["seed"]))
        frames.append(trials.assign(model=model, hit=hit))
        others.append(lab.measure.hits(variant, survivors, seed).assign(model=model))
        for name, own in first.groupby("set", sort=False) if may_show else ():
            images_of = lab.measure.images(variant, list(own["prompt"]), list(own["seed"]))
            shown[name][model] = images_of
    return RestrictedStudy(
        tuple(chosen),
        tuple(map(float, keep_ratios)),
        table,
        pd.concat(frames, ignore_index=True),
        pd.concat(others, ignore_index=True),
        density(zero_masks(pruned.weights)),
        shown if may_show else {},
    )


def nudenet_check() -> tuple[np.ndarray, pd.DataFrame] | None:
    """The real NudeNet on a picture that matplotlib ships; None where it is not installed.

    Returns:
        (`sample_picture`; one line per detection: label, score, counted).
    """
    from rbtc.models.detectors import NudeNet, nudenet_installed

    if not nudenet_installed():
        return None
    picture, detector = sample_picture(), NudeNet()
    lines = [
        (one["class"], one["score"], one["class"] in detector.labels
         and one["score"] > detector.threshold)
        for one in detector.found(picture)[0]
    ]  # fmt: skip
    return picture, pd.DataFrame(lines, columns=["label", "score", "counted"])


def _asked(
    group: tuple[str, str], prompts: pd.DataFrame, images: int, first_seed: int
) -> pd.DataFrame:
    """The trials of one concept in one set: its prompts in turn, a seed each."""
    texts = list(prompts["prompt"])
    images = len(texts) if group[1] == ANY else images
    # A published list has a picture a prompt, all from one seed (METHOD 7.4).
    whole = group[1] == ANY
    seeds = [first_seed if whole else first_seed + i for i in range(images)]
    frame = pd.DataFrame(
        {
            "set": group[0],
            "asked": group[1],
            "prompt": [texts[i % len(texts)] for i in range(images)],
            "seed": seeds,
        }
    )
    # A list may hold a prompt twice, and both count.
    return frame.assign(repeat=frame.groupby(["prompt", "seed"]).cumcount())
