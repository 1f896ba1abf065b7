# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""Restricted content: counted, erased, revived (paper Sec. 5.4, App. C, Table 7, Fig. 12).

The prompts are made in `rbtc.studies.nsfw_prompts`; what counts a picture is the lab's detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rbtc.models.prompts import subject_of
from rbtc.models.subjects import Subject
from rbtc.report.paper import printed
from rbtc.report.tables import Row, effect
from rbtc.stats import Difference, Share, clustered, paired_ratio
from rbtc.studies.common import Pictures, at_least_one

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

BEFORE = {"pruned": "pretrained"}
"""The step that leads to a model; all attacks start from the pruned one."""

PRINTED = {"pretrained": "pretrained", "pruned": "ConceptPrune"}
"""What the rows of the paper's Table 7 call our models; the attacks have its names."""

ANY = "any"
"""The concept of a prompt from a file: nobody says which one it is about."""


@dataclass(frozen=True, eq=False)
class RestrictedStudy:
    """Pictures counted by the detector, for each prompt set and model.

    Attributes:
        subjects: The restricted concepts, erased together.
        keep_ratios: The K of the attacks.
        prompts: One line per prompt: set, concept, prompt, distance and start (see
            `rbtc.models.adversarial_prompts.Found`; missing where nothing was searched).
        hits: One line per picture: set, model, asked (the concept's word), prompt, seed, hit
            (whether the detector counts it).
        others: One line per picture of the classes that should survive, see
            `rbtc.lab.measure.Measure.hits`, plus model.
        density: Share of the candidate weights that are cut.
        pictures: Set -> model -> the first pictures of each concept; none where nudity was cut:
            explicit pictures are counted, and neither shown nor kept.
    """

    subjects: tuple[Subject, ...]
    keep_ratios: tuple[float, ...]
    prompts: pd.DataFrame
    hits: pd.DataFrame
    others: pd.DataFrame
    density: float
    pictures: Pictures

    @property
    def models(self) -> list[str]:
        """Pretrained, pruned, and the attacks."""
        return list(dict.fromkeys(self.hits["model"]))

    @property
    def sets(self) -> list[str]:
        """The prompt sets."""
        return list(dict.fromkeys(self.hits["set"]))

    def change(self, name: str, before: str, after: str) -> Difference:
        """Paired change of the share of counted pictures of one set."""
        return effect(self.hits[self.hits["set"] == name], before, after)

    def changes(self, after: str) -> dict[str, Difference]:
        """Change that leads to a model, set by set."""
        return {name: self.change(name, BEFORE.get(after, "pruned"), after) for name in self.sets}

    def relative(self) -> dict[str, dict[str, Share]]:
        """`{model: {set: counted pictures over those of the pretrained model}}`.

        A set of which the pretrained model shows nothing is left out.
        """
        found: dict[str, dict[str, Share]] = {}
        for name, own in self.hits.groupby("set", sort=False):
            picture = ["asked", "prompt", "repeat", "seed"]
            wide = own.pivot(index=picture, columns="model", values="hit")
            for model in self.models:
                ratio = paired_ratio(wide["pretrained"], wide[model])
                if model != "pretrained" and ratio is not None:
                    found.setdefault(model, {})[name] = ratio
        return found

    def paper_relative(self) -> dict[str, dict[str, float]]:
        """The same for the paper's Table 7."""
        found = {
            model: {name: _printed_share(model, name) for name in self.sets}
            for model in self.models
            if model != "pretrained"
        }
        return {m: {s: x for s, x in of.items() if x is not None} for m, of in found.items()}

    def asked(self) -> pd.DataFrame:
        """The prompts for reading: one line each, distances as text."""
        lines = self.prompts.set_index(["set", "concept"])
        for name in ("distance", "start"):
            lines[name] = ["" if np.isnan(x) else f"{x:.2f}" for x in lines[name].astype(float)]
        return lines

    def counts(self) -> pd.DataFrame:
        """Table 7: counted pictures, the paper's and ours, one line per model."""
        lines = {}
        for model in self.models:
            own = self.hits[self.hits["model"] == model].groupby("set", sort=False)["hit"]
            for name, hits in own:
                paper = printed(7, PRINTED.get(model, model), name)
                cells = lines.setdefault(model, {})
                cells[name, "paper"] = "" if paper is None else f"{paper:.0f}"
                cells[name, "ours"] = f"{int(hits.sum())} of {len(hits)}"
        return pd.DataFrame.from_dict(lines, orient="index")

    def rows(self) -> list[Row]:
        """Counts over the pretrained model's, the paper's and ours, with paired changes."""
        ours = self.relative()
        rows = []
        for model in self.models[1:]:
            before = BEFORE.get(model, "pruned")
            for name in self.sets:
                whole = printed(7, "pretrained", name)
                rows.append(
                    Row(
                        model,
                        name,
                        _printed_share(model, name),
                        ours.get(model, {}).get(name),
                        self.change(name, before, model),
                        _printed_share(before, name),
                        # The paper's pictures that could change: those its pretrained model shows.
                        int(whole or 1),
                    )
                )
        return rows

    def survivors(self) -> dict[str, Share]:
        """Accuracy on the classes that should survive, model by model."""
        return {
            model: clustered(own["hit"], list(zip(own["asked"], own["seed"], strict=True)))
            for model, own in self.others.groupby("model", sort=False)
        }


@dataclass(frozen=True, eq=False)
class NsfwStudy:
    """What the chapter shows.

    Attributes:
        restricted: The counts.
        nudenet: What NudeNet finds in matplotlib's sample picture, see `nudenet_check`; None where
            it was not installed.
    """

    restricted: RestrictedStudy
    nudenet: pd.DataFrame | None


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
    lab.jury.require("object", "detector")
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


def sample_picture() -> np.ndarray:
    """The portrait in uniform that comes with matplotlib, uint8 (1, height, width, 3)."""
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    with get_sample_data("grace_hopper.jpg") as stream:
        return np.asarray(Image.open(stream).convert("RGB"))[None]


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


def _printed_share(model: str, name: str) -> float | None:
    """A count of Table 7 over that of the pretrained model."""
    count, whole = printed(7, PRINTED.get(model, model), name), printed(7, "pretrained", name)
    return None if count is None or not whole else count / whole
