"""What the studies of the chapters share: whom they are about, and how a model is judged.

A study asks a `rbtc.lab.Lab` for its variants, lets the judge count, and returns a frozen result
that knows its pictures (`grid`), its rows in a table (`rows`) and, in words computed from the
numbers, what came out (`describe`). All models of a study draw with the same prompts and seeds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rbtc.lab import Lab, Variant
from rbtc.paper import load_table
from rbtc.prompts import evaluation_prompt
from rbtc.stats import Proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Accuracies = Mapping[str, Mapping[str, Proportion]]
Pictures = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Subject:
    """A concept under study.

    word: what the model calls it. paper: the paper's class, None where it has none.
    """

    word: str
    paper: str | None

    @property
    def label(self) -> str:
        """The paper's class, with the model's word where that differs: "golf ball (golf flag)"."""
        if self.paper is None or self.paper == self.word:
            return self.word
        return f"{self.paper} ({self.word})"


def subjects(lab: Lab, concepts: Sequence[str]) -> list[Subject]:
    """Look the concepts up, given as paper classes or as words of the model.

    Raises:
        ValueError: no concept, an unknown one, or one given twice.
    """
    words = [lab.concept(concept) for concept in concepts]
    if not words or len(set(words)) < len(words):
        raise ValueError(f"expected one or more concepts, each once, got {list(concepts)}")
    classes = {word: name for name, word in lab.profile.classes.items()}
    return [Subject(word, classes.get(word)) for word in words]


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, whole or not at all; equal figures give equal files."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    figure.savefig(unfinished, format="png", dpi=150, metadata={"Software": None})
    unfinished.replace(path)
    return path


def judge(
    lab: Lab,
    subject: Subject,
    variants: Iterable[tuple[str, Variant]],
    images: int,
    pictures: int,
    first_seed: int,
) -> tuple[dict[str, Proportion], dict[str, np.ndarray]]:
    """Accuracy of each variant on the concept, and its first ``pictures`` pictures.

    The variants are asked for one at a time: on the paper's model each holds 100 MB of weights.
    """
    prompt = evaluation_prompt(lab.profile, subject.word)
    seeds = range(first_seed, first_seed + pictures)
    counted, shown = {}, {}
    for name, variant in variants:
        counted[name] = lab.accuracy(variant, subject.word, images, first_seed)
        if pictures:
            shown[name] = lab.images(variant, prompt, seeds)
    return counted, shown


def pictures(
    lab: Lab, subject: Subject, variants: Mapping[str, Variant], *, images: int = 4, seed: int = 0
) -> dict[str, np.ndarray]:
    """Pictures of a concept by each variant, from the same seeds: one row of a picture grid."""
    prompt, seeds = evaluation_prompt(lab.profile, subject.word), range(seed, seed + images)
    return {label: lab.images(variant, prompt, seeds) for label, variant in variants.items()}


def pool(proportions: Iterable[Proportion]) -> Proportion:
    """All of them as one; at least one is needed."""
    first, *others = proportions
    return sum(others, first)


def printed(table: int, row: str | None, column: str) -> float | None:
    """A number of the paper; None for a row that the table does not have."""
    if row is None:
        return None
    frame = load_table(table)
    names = frame["row"].str.casefold()
    found = frame.loc[(names == row.casefold()) & (frame["column"] == column), "value"].dropna()
    return float(found.iloc[0]) if len(found) else None


def plural(count: int, noun: str) -> str:
    """`1 concept`, `2 concepts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
