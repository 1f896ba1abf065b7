"""Restricted content: counted, erased, revived (paper Sec. 5.4, App. C, Table 7, Fig. 12).

The prompts are made in `rbtc.studies.nsfw_prompts`; what counts a picture is the lab's detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.intervals import Difference, Share, clustered
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import effect
from rbtc.stats import paired_ratio
from rbtc.studies.common import Pictures, known

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
        models = [model for model in self.models if model != "pretrained"]
        return known({m: {s: _printed_share(m, s) for s in self.sets} for m in models})

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


def sample_picture() -> np.ndarray:
    """The portrait in uniform that comes with matplotlib, uint8 (1, height, width, 3)."""
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    with get_sample_data("grace_hopper.jpg") as stream:
        return np.asarray(Image.open(stream).convert("RGB"))[None]


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

    sample_picture = staticmethod(sample_picture)


def _printed_share(model: str, name: str) -> float | None:
    """A count of Table 7 over that of the pretrained model."""
    count, whole = printed(7, PRINTED.get(model, model), name), printed(7, "pretrained", name)
    return None if count is None or not whole else count / whole
