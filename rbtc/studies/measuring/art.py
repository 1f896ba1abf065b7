"""How `rbtc.studies.art` is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rbtc.files import data_root, read_text
from rbtc.lab import Lab
from rbtc.models.distances import frechet, frechet_of_pictures, need_torchmetrics
from rbtc.models.prompt_sets import coco_captions
from rbtc.stats import change_of
from rbtc.studies.art import CHANGES, COCO, NEUTRAL_PROMPTS, ArtStudy
from rbtc.studies.measuring.common import Tally, subjects

STYLES = ("openmoji", "fluent", "fxemoji", "notov1", "twemoji")
"""The miniature's styles in the place of the paper's five painters."""

REFERENCE_SEEDS = 10_000
"""Added to a neutral picture's seed for the reference picture of the same prompt."""

DRAWS = 200
"""Resamples of such an interval."""

JUDGES = {"style": "style judge", "clip": "CLIP", "object": "concept judge (its features)"}
"""Kind of judge -> what an error calls it."""


def art_study(
    lab: Lab,
    concepts: Sequence[str] = STYLES,
    images: int = 16,
    *,
    other_images: int = 1,
    neutral_images: int = 30,
    neutral_prompts: str | Path = NEUTRAL_PROMPTS,
    pictures: int = 2,
    seed: int = 0,
) -> ArtStudy:
    """Cut each style, attack, and judge the pictures with and without the style's name.

    Args:
        lab: the models; its profile must have a style judge, a CLIP and a concept judge.
        concepts: styles of the profile.
        images: pictures per model in the erased style, the profile's things in turn.
        other_images: pictures per model in each other style; 0 leaves them out.
        neutral_images: pictures per model of the neutral prompts, the first ones of the file.
        neutral_prompts: file with a prompt a line, relative to the data folder; or "coco" for the
            published captions (`rbtc.models.prompt_sets.coco_captions`), all from ``seed``.
        pictures: how many of each model to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.

    Raises:
        FileNotFoundError: a judge or the prompts are missing; nothing has been drawn then.
        ValueError: an unknown style, one given twice, or too small a count.
        ImportError: torchmetrics is not installed.
    """
    chosen = subjects(lab, concepts, "style")
    prompts, seeds = neutral_pairs(neutral_prompts, neutral_images, seed)
    need_torchmetrics()
    need_judges(lab)
    shown = min(pictures, images)
    tally = Tally(lab, images, other_images=other_images, pictures=shown, seed=seed)
    judge = lab.judges.get("object")
    reference = lab.measure.images(
        lab.pretrained, prompts, [one + REFERENCE_SEEDS for one in seeds]
    )
    features: dict[str, list[np.ndarray]] = {}
    neutral, distances, plain = [], [], {}
    for style in chosen:
        models = {
            "pretrained": lab.pretrained,
            "pruned": lab.owner.pruned(style),
            "Quant Recover": lab.owner.quantized(style),
            "NMS": lab.revived(style),
        }
        plain[style.word] = {}
        for model, variant in models.items():
            hits = tally.add(style, model, variant)
            own = hits["classes"] == "erased"
            asked = hits.loc[own, "prompt"], hits.loc[own, "seed"]
            hits.loc[own, "similarity"] = lab.measure.similarity(variant, *map(list, asked))
            drawn = lab.measure.images(variant, prompts, seeds)
            same = {"concept": style.word, "model": model}
            likeness = lab.measure.similarity(variant, prompts, seeds)
            lines = {"asked": "", "prompt": prompts, "seed": seeds, "similarity": likeness}
            neutral.append(pd.DataFrame({**same, **lines}))
            distance = frechet_of_pictures(drawn, reference, judge)
            distances.append({**same, "distance": distance, "n": len(drawn)})
            features.setdefault(model, []).append(np.asarray(judge.features(drawn)))
            plain[style.word][model] = drawn[:pictures]
    found = pd.DataFrame(distances)
    changes = _distance_changes(found, np.asarray(judge.features(reference)), features)
    return ArtStudy(
        tuple(chosen), tally.hits, pd.concat(neutral, ignore_index=True), found, changes,
        tally.shown, plain,
    )  # fmt: skip


def _distance_changes(
    distances: pd.DataFrame, reference: np.ndarray, features: dict[str, list[np.ndarray]]
) -> pd.DataFrame:
    """The changes of `CHANGES`; neutral prompts are drawn anew, for all styles alike.

    Args:
        distances: see `ArtStudy`.
        reference: judge features of the reference pictures, (n, d).
        features: model -> those of its neutral pictures, (n, d) for each style.
    """
    means = {str(name): rows["distance"].mean() for name, rows in distances.groupby("model")}
    lines = []
    for before, after in CHANGES:
        sets = list(zip(features[before], features[after], strict=True))

        def change(places: np.ndarray, sets: list[tuple[np.ndarray, np.ndarray]] = sets) -> float:
            # The reference picture of a prompt goes with it.
            own = reference[places]
            pairs = [frechet(b[places], own) - frechet(a[places], own) for a, b in sets]
            return float(np.mean(pairs))

        value = float(means[after] - means[before])
        found = change_of(change, value, len(reference), resamples=DRAWS)
        lines.append((before, after, found.value, found.low, found.high, found.n))
    return pd.DataFrame(lines, columns=["before", "after", "change", "low", "high", "n"])


def need_judges(lab: Lab) -> None:
    """Load the three judges of the chapter, or say at once which are missing.

    Raises:
        FileNotFoundError: naming every judge that cannot be had, and why.
    """
    missing = []
    for kind, name in JUDGES.items():
        try:
            lab.judges.get(kind)
        except (FileNotFoundError, ValueError) as error:
            missing.append(f"{name}: {error}")
    if missing:
        raise FileNotFoundError(
            f"the art chapter needs {len(JUDGES)} judges, and of profile {lab.profile.name!r} it "
            f"cannot have {len(missing)}; nothing was drawn.\n- " + "\n- ".join(missing)
        )


def neutral_pairs(
    source: str | Path, count: int, first_seed: int = 0
) -> tuple[list[str], list[int]]:
    """The neutral prompts and a seed for each; arguments as those of `art_study`.

    Of a file the first ones; lines that begin with # are remarks.

    Raises:
        FileNotFoundError: no such file, or the captions cannot be had.
        ValueError: fewer prompts than ``count``, one twice, or fewer than two asked for.
    """
    if str(source) == COCO:
        return coco_captions(count), [first_seed] * count  # METHOD 7.3
    file = data_root() / source  # an absolute path stays as it is
    lines = [line.strip() for line in read_text(file).splitlines()]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if len(set(prompts)) < len(prompts):
        raise ValueError(f"{file} holds a prompt twice: every picture must have its own")
    if not 2 <= count <= len(prompts):
        raise ValueError(
            f"{file} has {len(prompts)} prompts, so the neutral pictures can be from 2 to "
            f"{len(prompts)}, not {count}"
        )
    return prompts[:count], list(range(first_seed, first_seed + count))
