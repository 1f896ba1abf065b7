# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The leak of the signed zeros, end to end: cut, save, load, read the signs, revive; and the fix."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rbtc.lab import Lab, Variant
from rbtc.lab.variant import derived
from rbtc.layers import Masks, Weights, canonicalise_zeros, prune, short_name, zero_masks
from rbtc.models.prompts import Subject
from rbtc.report.tables import accuracies, effect, listing, percent
from rbtc.signed_zeros import (
    ZeroSigns,
    count_zeros,
    prune_by_multiplying,
    read_signs,
    revive_exactly,
)
from rbtc.stats import Difference, Proportion, Share
from rbtc.studies.common import Pictures, at_least_one, judged, subjects
from rbtc.studies.zero_operations import FORMATS

PAPER, EXACT = "paper's attack", "exact signs"
MODELS = ("pretrained", "pruned", PAPER, EXACT)

MULTIPLIED, FILLED, CLEANED = "w * (1 - mask)", "cut to +0.0", "w * (1 - mask), cleaned on load"
WAYS = (MULTIPLIED, FILLED, CLEANED)
"""How a file was cut, and whether its reader cleaned it as `rbtc.layers.read_weights` does."""

CHANGES = {
    f"pruned to {PAPER}": ("pruned", PAPER),
    f"pruned to {EXACT}": ("pruned", EXACT),
    f"{PAPER} to {EXACT}": (PAPER, EXACT),
    f"{EXACT} to pretrained": (EXACT, "pretrained"),
}


@dataclass(frozen=True, eq=False)
class SignedZeroStudy:
    """What the zeros of a file tell, and what it is worth.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `rbtc.studies.common.judged`.
        files: One line per concept, way of cutting, number format and container: places (cut
            weights that have a sign), found (zeros), misplaced (cut weights that are no zeros, and
            zeros that were not cut and not zero before), right (signs), plus (weights that were
            positive: what "always plus" gets right), negative (-0.0 among the zeros).
        guessed: Signs that the paper's completion gets right, over the same places.
        patch: Panel -> signs of a piece of a matrix, see `rbtc.report.sign_maps.sign_maps`.
        stored: One line per place: what a file holds there.
        layer: Where patch and stored come from.
        pixel: Largest difference of a pixel between pictures of the two pruned models, 0 to 255.
        pictures: The first ones that were counted.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    files: pd.DataFrame
    guessed: Proportion
    patch: dict[str, np.ndarray]
    stored: pd.DataFrame
    layer: str
    pixel: int
    pictures: Pictures

    def means(self) -> dict[str, Share]:
        """`{model: accuracy}` over all classes."""
        return accuracies(self.hits, ["model"])

    def changes(self) -> dict[str, Difference]:
        """Paired changes of the accuracy, picture by picture."""
        return {title: effect(self.hits, *pair) for title, pair in CHANGES.items()}

    def read(self, way: str) -> Proportion:
        """Signs read right, over all files that were cut in one way."""
        own = self.files[self.files["way"] == way]
        return Proportion(int(own["right"].sum()), int(own["places"].sum()))

    def base_rate(self) -> Proportion:
        """Cut weights that were positive: what a guess without any file gets right."""
        own = self.files[self.files["way"] == FILLED]
        return Proportion(int(own["plus"].sum()), int(own["places"].sum()))

    def file_table(self) -> pd.DataFrame:
        """Per way of cutting, number format and container: what was read, over all concepts."""
        by = ["way", "format", "container"]
        own = self.files.groupby(by, sort=False)[["places", "misplaced", "negative", "right"]].sum()
        return pd.DataFrame(
            {
                "cut weights": own["places"],
                "places wrong": own["misplaced"],
                "-0.0": own["negative"],
                "signs right": [
                    percent(right / places)
                    for right, places in zip(own["right"], own["places"], strict=True)
                ],
            }
        ).reset_index()

    def answer(self) -> str:
        """What came out, in words made from the numbers."""
        leak, fixed, base = self.read(MULTIPLIED), self.read(FILLED) + self.read(CLEANED), None
        wrong = int(self.files.loc[self.files["way"] == MULTIPLIED, "misplaced"].sum())
        base = self.base_rate()
        own = self.files[self.files["way"] != MULTIPLIED]
        nothing = not int(own["negative"].sum()) and fixed.value == base.value
        change = self.changes()[f"{PAPER} to {EXACT}"]
        words = {"rises": "more", "falls": "fewer", "undecided": "not provably more"}
        told = "**Yes**" if leak.value == 1 and not wrong else "**Not all of it**"
        return (
            f"{told}: of the weights that were cut by multiplication, {percent(leak.value, 1)} of "
            f"the signs were read from the files ({leak.hits:,} of {leak.n:,} over "
            f"{listing(FORMATS)}, both containers and {len(self.subjects)} classes), with {wrong} "
            f"wrong places. The paper's attack finds {percent(self.guessed.value)} of them. "
            f"Reviving with the signs that were read brings {words[change.direction]} pictures "
            f"back than the paper's attack: {change} (n={change.n}). After the fix the same reading "
            f"gets {percent(fixed.value, 1)} right"
            + (
                ", which is the share of positive weights: there is **nothing left to read**."
                if nothing
                else f", where guessing plus gets {percent(base.value, 1)}: **something is left**."
            )
        )


def signed_zero_study(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    pictures: int = 1,
    first_seed: int = 0,
    size: tuple[int, int] = (24, 48),
) -> SignedZeroStudy:
    """Cut every concept by multiplication, read the file, revive, and count; then the fix.

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures per model and concept.
        pictures: how many of each to show.
        first_seed: of the pictures.
        size: rows and columns of the piece of a matrix that is shown.
    """
    at_least_one(images=images, pictures=pictures, rows=size[0], columns=size[1])
    chosen = subjects(lab, concepts)
    lab.jury.require("object")
    frames, files, shown, guessed = [], [], {}, Proportion(0, 1)
    for number, subject in enumerate(chosen):
        masks = lab.owner.masks(subject)
        files.append(_files(lab.pretrained.weights, masks).assign(concept=subject.label))
        variants = _variants(lab, subject, masks)
        models = [({"model": name}, variant) for name, variant in variants.items()]
        frames.append(judged(lab, subject, models, images, first_seed=first_seed))
        shown[subject.label] = {
            name.replace(" ", "\n"): lab.measure.shown(variant, subject, pictures, first_seed)
            for name, variant in variants.items()
        }
        share = lab.sign_accuracy(subject)
        guessed = guessed + share if number else share
    layer, patch, stored = _patch(lab, chosen[0], size)
    return SignedZeroStudy(
        tuple(chosen), pd.concat(frames, ignore_index=True), pd.concat(files, ignore_index=True),
        guessed, patch, stored, layer, _pixel(lab, chosen[0], pictures, first_seed), shown,
    )  # fmt: skip


def _leaking(lab: Lab, subject: Subject, masks: Masks) -> Variant:
    """The pruned model as the reference recipe makes it; its file is what the attacker gets."""
    weights = prune_by_multiplying(lab.pretrained.weights, masks)
    base = lab.owner.pruned(subject)
    return derived(base, "pruned by multiplying", weights, prune_by_multiplying, kind="multiplied")


def _variants(lab: Lab, subject: Subject, masks: Masks) -> dict[str, Variant]:
    leaking = _leaking(lab, subject, masks)
    with tempfile.TemporaryDirectory() as folder:
        loaded = _round_trip(leaking.weights, Path(folder), "safetensors")
    exact = derived(leaking, EXACT, revive_exactly(loaded), revive_exactly, kind="exact signs")
    made = (lab.pretrained, lab.owner.pruned(subject), lab.revived(subject), exact)
    return dict(zip(MODELS, made, strict=True))


# ---- files --------------------------------------------------------------------------------------


def _save_safetensors(weights: Weights, path: Path) -> Weights:
    from safetensors.torch import load_file, save_file

    save_file({name: weight.contiguous().cpu() for name, weight in weights.items()}, path)
    return load_file(path)


def _save_torch(weights: Weights, path: Path) -> Weights:
    torch.save(weights, path)
    return torch.load(path, map_location="cpu", weights_only=True)  # our own file, made above


CONTAINERS: dict[str, Callable[[Weights, Path], Weights]] = {
    "safetensors": _save_safetensors,
    "torch.save": _save_torch,
}


def _round_trip(weights: Weights, folder: Path, container: str) -> Weights:
    found = CONTAINERS[container](weights, folder / "unet")
    return {name: weight.to(weights[name].device) for name, weight in found.items()}


def _files(original: Weights, masks: Masks) -> pd.DataFrame:
    """One line per way of cutting, number format and container, see `SignedZeroStudy.files`."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for title, dtype in FORMATS.items():
            weights = {name: weight.to(dtype) for name, weight in original.items()}
            cuts = {MULTIPLIED: prune_by_multiplying(weights, masks), FILLED: prune(weights, masks)}
            for container in CONTAINERS:
                read = {way: _round_trip(cut, Path(folder), container) for way, cut in cuts.items()}
                read[CLEANED] = {n: canonicalise_zeros(w) for n, w in read[MULTIPLIED].items()}
                lines += [
                    {"way": way, "format": title, "container": container}
                    | _judge_file(read[way], weights, masks)
                    for way in WAYS
                ]
    return pd.DataFrame(lines).sort_values("way", key=lambda x: x.map(WAYS.index), kind="stable")


def _judge_file(read: Weights, weights: Weights, masks: Masks) -> dict[str, int]:
    counts = dict.fromkeys(("places", "found", "misplaced", "right", "plus"), 0)
    zeros = zero_masks(read)
    for name, mask in masks.items():
        judged_ = mask & (weights[name] != 0)  # a weight too small for the format has no sign
        signs, truth = read_signs(read[name])[judged_], torch.sign(weights[name][judged_])
        counts["places"] += int(judged_.sum())
        counts["found"] += int(zeros[name].sum())
        counts["misplaced"] += int((zeros[name] ^ (mask | (weights[name] == 0))).sum())
        counts["right"] += int((signs.to(truth) == truth).sum())
        counts["plus"] += int((truth > 0).sum())
    total: Any = sum(count_zeros(read).values(), ZeroSigns(0, 0))
    return {**counts, "negative": total.negative}


# ---- what the page shows ------------------------------------------------------------------------


def _patch(
    lab: Lab, subject: Subject, size: tuple[int, int]
) -> tuple[str, dict[str, np.ndarray], pd.DataFrame]:
    """The piece of a matrix with the most cut weights: layer, panels of signs, what is stored."""
    masks, weights = lab.owner.masks(subject), lab.pretrained.weights
    name = max(masks, key=lambda name: float(masks[name].float().mean()))
    mask, weight = masks[name].cpu(), weights[name].cpu()
    top, left = _densest(mask, size)
    piece = (slice(top, top + size[0]), slice(left, left + size[1]))
    leaking = prune_by_multiplying({name: weight}, {name: mask})[name]
    completion = lab.completions(subject)[name]
    guess = completion.dense(torch.zeros_like(weight))
    panels = {
        "before the cut": torch.sign(weight),
        "guessed by completion": torch.sign(guess),
        "read from the file": read_signs(leaking),
        "read after the fix": read_signs(prune({name: weight}, {name: mask})[name]),
    }
    patch = {
        title: signs.float().masked_fill(~mask, float("nan"))[piece].numpy()
        for title, signs in panels.items()
    }
    return short_name(name), patch, _stored(weight, leaking, mask, 6)


def _densest(mask: torch.Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner of the window with the most True entries, the first of equals."""
    height, width = (min(wanted, own) for wanted, own in zip(size, mask.shape, strict=True))
    counts = torch.nn.functional.avg_pool2d(mask[None].double(), (height, width), stride=1)[0]
    place = int(counts.argmax())
    return place // counts.shape[1], place % counts.shape[1]


def _stored(
    weight: torch.Tensor, leaking: torch.Tensor, mask: torch.Tensor, n: int
) -> pd.DataFrame:
    """What half-precision files hold at the first cut places, most significant byte first."""
    rows, columns = (index[:n].tolist() for index in mask.nonzero(as_tuple=True))

    def stored(value: torch.Tensor) -> str:
        return f"{int(value.half().view(torch.int16)) & 0xFFFF:04x}"

    return pd.DataFrame(
        [
            {
                "row": row,
                "column": column,
                "weight before": f"{float(weight[row, column]):+.4f}",
                "bytes before": stored(weight[row, column]),
                MULTIPLIED: stored(leaking[row, column]),
                FILLED: stored(canonicalise_zeros(leaking[row, column])),
            }
            for row, column in zip(rows, columns, strict=True)
        ]
    )


def _pixel(lab: Lab, subject: Subject, images: int, first_seed: int) -> int:
    """Largest difference between pictures of the two pruned models."""
    leaking = _leaking(lab, subject, lab.owner.masks(subject))
    pair = [
        lab.measure.shown(variant, subject, images, first_seed).astype(int)
        for variant in (leaking, lab.owner.pruned(subject))
    ]
    return int(np.abs(pair[0] - pair[1]).max())
