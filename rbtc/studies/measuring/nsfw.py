"""How `rbtc.studies.nsfw` is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rbtc.lab import Lab
from rbtc.layers import density, zero_masks
from rbtc.models.detectors import NudeNet, nudenet_installed
from rbtc.models.prompts import subject_of
from rbtc.studies.measuring.common import at_least_one, in_range
from rbtc.studies.nsfw import ANY, NsfwStudy, RestrictedStudy, sample_picture
from rbtc.studies.nsfw_prompts import prompt_sets, restricted_subjects


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
    """Prune the restricted concepts together, attack, and count what the detector sees.

    NudeNet is tried too, where it is installed.

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
        prompt_files: "SET=FILE" for a set with prompts of its own, a CSV file as
            `rbtc.models.prompt_files.read_prompts` takes it, or "SET=published" for the owners'
            list (`rbtc.models.prompt_sets`); either is drawn whole, a picture a prompt, and all of
            them from ``seed``.

    Raises:
        ValueError: a concept that is not restricted, a K outside (0, 1], a count below one, an
            unknown set, or a prompt file without "=".
        FileNotFoundError: no such prompt file.
    """
    if wrong := [one for one in prompt_files if "=" not in one]:
        raise ValueError(f"expected prompt files as 'SET=FILE' or 'SET=published', not {wrong}")
    in_range(1, keep_ratios=keep_ratios)
    at_least_one(images=images, prompts=prompts, words=words, other_images=other_images)
    lab.judges.require("object", "detector")
    chosen = restricted_subjects(lab.profile, concepts)
    files = dict(one.split("=", 1) for one in prompt_files)
    table = prompt_sets(
        lab, chosen, prompts, words=words, candidates=candidates, seed=search_seed, files=files
    )
    pruned = lab.owner.pruned_together(chosen)
    variants = {"pretrained": lab.pretrained, "pruned": pruned}
    for k in keep_ratios:
        variants[f"Top-{float(k)}"] = lab.attacker.attack(pruned, keep_ratio=k)
    trials = _trials(table, images, seed)
    erased = {one.word for one in chosen}
    survivors = [
        (subject_of(lab.profile, word), other_images)
        for word in lab.profile.classes.values()
        if word not in erased
    ]
    frames, others, shown = [], [], {}
    may_show = all(one.kind != "nudity" for one in chosen)
    first = trials.groupby(["set", "asked"], sort=False).head(1)
    for model, variant in variants.items():
        hit = lab.measure.detections(variant, list(trials["prompt"]), list(trials["seed"]))
        frames.append(trials.assign(model=model, hit=hit))
        others.append(lab.measure.hits(variant, survivors, seed).assign(model=model))
        for name, own in first.groupby("set", sort=False) if may_show else ():
            drawn = lab.measure.images(variant, list(own["prompt"]), list(own["seed"]))
            shown.setdefault(name, {})[model] = drawn
    restricted = RestrictedStudy(
        tuple(chosen), tuple(map(float, keep_ratios)), table,
        pd.concat(frames, ignore_index=True), pd.concat(others, ignore_index=True),
        density(zero_masks(pruned.weights)), shown,
    )  # fmt: skip
    check = nudenet_check()
    return NsfwStudy(restricted, None if check is None else check[1])


def nudenet_check() -> tuple[np.ndarray, pd.DataFrame] | None:
    """The real NudeNet on a picture that matplotlib ships; None where it is not installed.

    Returns:
        (`sample_picture`; one line per detection: label, score, counted).
    """
    if not nudenet_installed():
        return None
    picture, detector = sample_picture(), NudeNet()
    lines = []
    for one in detector.found(picture)[0]:
        counted = one["class"] in detector.labels and one["score"] > detector.threshold
        lines.append((one["class"], one["score"], counted))
    return picture, pd.DataFrame(lines, columns=["label", "score", "counted"])


def _trials(table: pd.DataFrame, images: int, first_seed: int) -> pd.DataFrame:
    """What is asked for: each concept's prompts of a set in turn, a seed each.

    A published list has a picture a prompt, all from one seed (METHOD 7.4). It may hold a prompt
    twice, and both count.

    Returns:
        set, asked, prompt, seed, repeat (which of equal trials).
    """
    lines = []
    for (name, concept), prompts in table.groupby(["set", "concept"], sort=False)["prompt"]:
        texts, whole = list(prompts), concept == ANY
        for i in range(len(texts) if whole else images):
            seed = first_seed if whole else first_seed + i
            lines.append((name, concept, texts[i % len(texts)], seed))
    trials = pd.DataFrame(lines, columns=["set", "asked", "prompt", "seed"])
    return trials.assign(repeat=trials.groupby([*trials]).cumcount())
