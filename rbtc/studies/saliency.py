# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""The attack on other prunings: weights chosen by their gradients (paper App. E, Tables 4, 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rbtc.detection import spare_whole_rows
from rbtc.lab import Lab, Variant
from rbtc.layers import Masks, Weights, density, zero_masks
from rbtc.matrices import ALL_KINDS, FEED_FORWARD, LayerKind
from rbtc.models.prompts import Subject
from rbtc.pruning.saliency import SaliencyConfig, Score
from rbtc.report.tables import Row, accuracies, effect, effects, nested, records
from rbtc.sign_accuracy import SignAccuracy, count_signs
from rbtc.stats import Difference, Proportion, Share
from rbtc.studies.common import Pictures, at_least_one, average_printed, judged, subjects

METHODS: dict[str, Score | None] = {"ConceptPrune": None, "SNIP": "snip", "SalUn": "salun"}
"""Our names of the prunings, and the gradient score of those that have one."""

PRINTED = {
    "ConceptPrune": (1, "erased: ConceptPrune", "erased: NMS", "preserved: NMS"),
    # Table 11 repeats Table 4 and has the right name of one class.
    "SNIP": (11, "Scissorhands: unlearned", "Scissorhands: NMS", "Scissorhands: preserved"),
    "SalUn": (11, "SalUn: unlearned", "SalUn: NMS", "SalUn: preserved"),
}
"""Where the paper prints a method: table; columns of pruned, revived, and revived on others."""

LAYERS: dict[str, tuple[LayerKind, ...]] = {"ff": FEED_FORWARD, "all": ALL_KINDS}
"""Short names of the sets of layers that are cut."""


@dataclass(frozen=True, eq=False)
class SaliencyStudy:
    """Three ways to choose the weights to cut, each cut and each attacked.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `rbtc.studies.common.judged`; besides, stage ("pruned" or
            "revived"), method and layers, empty for the pretrained model. A model is named
            "pruned, SNIP, ff".
        cuts: One line per concept, method and layers: weights in these layers, how many are cut, in
            how many the concept's ConceptPrune mask has the same place, rows cut as a whole, cut
            signs that the completion was asked for, and how many it got right.
        pictures: The first ones that were counted, feed-forward layers only.
        wide: The same for the gradient scores in all layers.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    cuts: pd.DataFrame
    pictures: Pictures
    wide: Pictures

    def part(self, classes: str) -> pd.DataFrame:
        """The pictures of the "erased" or of the "preserved" classes."""
        return self.hits[self.hits["classes"] == classes]

    def accuracy(self, classes: str, model: str) -> Share:
        """Accuracy of a model over all concepts."""
        return accuracies(self.part(classes), ["model"])[model]

    def step(self, classes: str, before: str, after: str) -> Difference:
        """Paired change from one model to another, over all concepts."""
        return effect(self.part(classes), before, after)

    def totals(self) -> pd.DataFrame:
        """One line per model: accuracies over all concepts, and the pictures behind them."""
        erased, preserved = (
            accuracies(self.part(classes), ["model"]) for classes in ("erased", "preserved")
        )
        lines = {
            model: {
                "erased class": share.value,
                "preserved classes": preserved[model].value,
                "n": share.n,
                "n preserved": preserved[model].n,
            }
            for model, share in erased.items()
        }
        frame = pd.DataFrame.from_dict(lines, orient="index").rename_axis(index="model")
        return frame.astype({"n": int, "n preserved": int})

    def curves(self, method: str) -> dict[str, dict[str, Share]]:
        """`{stage: {concept: accuracy}}` on the erased class, for the bars."""
        found = nested(self.part("erased"), "model", "concept")
        return {
            "pretrained": found["pretrained"],
            "pruned": found[model_name("pruned", method, "ff")],
            "revived": found[model_name("revived", method, "ff")],
        }

    def paper(self, method: str) -> dict[str, dict[str, float]]:
        """The printed numbers of `curves`."""
        table, pruned, revived, _ = PRINTED[method]
        places = {
            "pretrained": (1, "erased: pretrained"),
            "pruned": (table, pruned),
            "revived": (table, revived),
        }
        found = {
            stage: {s.label: average_printed(number, [s], column) for s in self.subjects}
            for stage, (number, column) in places.items()
        }
        return {
            stage: {label: value for label, value in of.items() if value is not None}
            for stage, of in found.items()
        }

    def rows(self) -> list[Row]:
        """Averages over the concepts, beside the paper's over the same classes (Tables 4, 11).

        The paper prints the preserved accuracy of one model per method, taken for the revived one;
        its change is seen from the pretrained model.
        """

        def average(number: int, column: str) -> float | None:
            return average_printed(number, self.subjects, column)

        rows, many = [], 500 * len(self.subjects)
        for method in self.methods("ff"):
            table, pruned, revived, preserved = PRINTED[method]
            cut, back = (model_name(stage, method, "ff") for stage in ("pruned", "revived"))
            steps = [
                ("pruned", "erased", "pretrained", cut, (1, "erased: pretrained"), (table, pruned)),
                ("revived", "erased", cut, back, (table, pruned), (table, revived)),
                ("revived, other classes", "preserved", "pretrained", back,
                 (1, "preserved: pretrained"), (table, preserved)),
            ]  # fmt: skip
            for column, classes, before, after, start, end in steps:
                rows.append(
                    Row(
                        row=method,
                        column=column,
                        paper=average(*end),
                        ours=self.accuracy(classes, after),
                        change=self.step(classes, before, after),
                        paper_from=average(*start),
                        paper_images=many,
                    )
                )
        return rows

    def methods(self, layers: str) -> list[str]:
        """The methods that were run on a set of layers."""
        own = self.hits.loc[self.hits["layers"] == layers, "method"]
        return list(dict.fromkeys(own))

    def revivals(self) -> dict[str, Difference]:
        """Change from each pruned model to its revival on the erased class, over all concepts."""
        return {
            name: self.step("erased", f"pruned, {name}", f"revived, {name}")
            for name in self.names()
        }

    def costs(self) -> dict[str, Difference]:
        """Change from the pretrained to each pruned model on the other classes."""
        return {
            name: self.step("preserved", "pretrained", f"pruned, {name}") for name in self.names()
        }

    def names(self) -> list[str]:
        """What was cut and how: "SNIP, ff" and so on."""
        return [f"{method}, {layers}" for layers in LAYERS for method in self.methods(layers)]

    def effects(self) -> pd.DataFrame:
        """Concept by concept: the change that each cut and each attack makes, for the CSV."""
        erased, rows = self.part("erased"), []
        for layers in LAYERS:
            for method in self.methods(layers):
                cut, back = (model_name(stage, method, layers) for stage in ("pruned", "revived"))
                shares = nested(erased, "model", "concept")
                for before, after in (("pretrained", cut), (cut, back)):
                    rows += [
                        Row(concept, after, None, shares[after][concept], change)
                        for concept, change in effects(erased, before, after, "concept").items()
                    ]
        return records(rows).drop(columns=["paper", "verdict"])

    def cut_table(self) -> pd.DataFrame:
        """What was cut, over all concepts: shares, and the signs the completion got right."""
        sums = self.cuts.groupby(["layers", "method"], sort=False).sum(numeric_only=True)
        lines = {
            f"{method}, {layers}": {
                "weights": int(own["weights"]),
                "cut": own["cut"] / own["weights"],
                "also cut by ConceptPrune": own["shared"] / own["cut"] if layers == "ff" else "",
                "rows cut whole": int(own["whole_rows"]),
                "signs found": f"{Proportion(int(own['right']), int(own['signs'])):.3f}",
            }
            for (layers, method), own in sums.iterrows()
        }
        return pd.DataFrame.from_dict(lines, orient="index")


def saliency_study(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    other_images: int = 1,
    wide: bool = True,
    pictures: int = 2,
    first_seed: int = 0,
    forget: int = 48,
    passes: int = 4,
    loss_guidance: float = 1.0,
) -> SaliencyStudy:
    """Cut each concept in three ways, attack each, and count (paper App. E).

    The gradient scores cut as many feed-forward weights as ConceptPrune does for the same concept.
    In all layers they cut the same *number* of weights, wherever the scores are highest. The forget
    set is drawn by the pretrained model, see `rbtc.pruning.saliency`.

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures of the erased concept per model.
        other_images: pictures per other class and model.
        wide: also cut by the gradient scores in attention and convolution layers.
        pictures: how many of each model to show; they are the first ones counted.
        first_seed: the pictures have this seed and the following ones.
        forget: pictures in the forget set.
        passes: how often each of them is used.
        loss_guidance: guidance inside the loss; 1 is the loss the model was trained with.

    Raises:
        ValueError: a bad count, concept or setting, before any work.
    """
    at_least_one(images=images, other_images=other_images, pictures=pictures, forget=forget)
    options = {"pictures": forget, "passes": passes, "loss_guidance": float(loss_guidance)}
    SaliencyConfig(**options)  # refuses what cannot be, before any work
    chosen = subjects(lab, concepts)
    plain = {"stage": "", "method": "", "layers": ""}
    frames, cuts, shown, shown_wide = [], [], {}, {}
    for subject in chosen:
        models: list[tuple[dict[str, Any], Variant]] = [
            ({"model": "pretrained", **plain}, lab.pretrained)
        ]
        reference = lab.owner.masks(subject)
        for layers in LAYERS if wide else ["ff"]:
            for method, score in METHODS.items():
                if score is None and layers != "ff":
                    continue
                cut = _cut(lab, subject, score, layers, **options)
                revived, found = _attacked(lab, cut, layers)
                for stage, variant in (("pruned", cut), ("revived", revived)):
                    columns = {"stage": stage, "method": method, "layers": layers}
                    models.append(({"model": model_name(**columns), **columns}, variant))
                own = {"concept": subject.label, "method": method, "layers": layers}
                cuts.append({**own, **_facts(cut, reference, found)})
        frames.append(
            judged(lab, subject, models, images, other_images=other_images, first_seed=first_seed)
        )
        for plate, layers in ((shown, "ff"), (shown_wide, "all")):
            plate[subject.label] = {
                columns["model"].replace(", ", "\n", 1).removesuffix(f", {layers}"): (
                    lab.measure.shown(variant, subject, pictures, first_seed)
                )
                for columns, variant in models
                if columns["layers"] in ("", layers)
            }
    return SaliencyStudy(
        tuple(chosen),
        pd.concat(frames, ignore_index=True),
        pd.DataFrame(cuts),
        shown,
        shown_wide if wide else {},
    )


def model_name(stage: str, method: str, layers: str) -> str:
    """`"pruned", "SNIP", "ff"` -> `"pruned, SNIP, ff"`."""
    return f"{stage}, {method}, {layers}"


def missing_places(weights: Weights) -> Masks | None:
    """What an attacker completes: the exact zeros, except in rows that hold nothing else.

    None where no row is cut as a whole, which is what `Attacker.attack` takes for all zeros.
    """
    zeros = zero_masks(weights)
    if not any(bool(mask.all(dim=1).any()) for mask in zeros.values()):
        return None
    return spare_whole_rows(zeros)


def _cut(lab: Lab, subject: Subject, score: Score | None, layers: str, **options: Any) -> Variant:
    if score is None:
        return lab.owner.pruned(subject)
    share = density(lab.owner.masks(subject))
    if layers != "ff":
        narrow = sum(weight.numel() for weight in lab.pretrained.weights.values())
        broad = sum(weight.numel() for weight in lab.bench.matrices(LAYERS[layers]).values())
        share *= narrow / broad  # the same number of weights
    return lab.owner.salient(subject, score, share=share, kinds=LAYERS[layers], **options)


def _attacked(lab: Lab, cut: Variant, layers: str) -> tuple[Variant, SignAccuracy]:
    """The revival, from the cut model's weights alone, and the signs that its completion found."""
    missing = missing_places(cut.weights)
    found = lab.attacker.complete(cut, missing=missing)
    truth = lab.bench.matrices(LAYERS[layers])
    signs = sum(count_signs(found, truth).values(), SignAccuracy(0, 0))
    return lab.attacker.attack(cut, missing=missing), signs


def _facts(cut: Variant, reference: Masks, signs: SignAccuracy) -> dict[str, int]:
    zeros = zero_masks(cut.weights)
    shared = sum(int((zeros[name] & mask).sum()) for name, mask in reference.items())
    return {
        "weights": sum(mask.numel() for mask in zeros.values()),
        "cut": sum(int(mask.sum()) for mask in zeros.values()),
        "shared": shared,
        "whole_rows": sum(int(mask.all(dim=1).sum()) for mask in zeros.values()),
        "signs": signs.n,
        "right": signs.correct,
    }
