"""The overview: pretrained, pruned and revived, side by side (paper Table 1, Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbtc.claims import with_interval as show
from rbtc.lab import Lab
from rbtc.stats import Proportion
from rbtc.studies import (
    Accuracies,
    Pictures,
    Subject,
    judge,
    pool,
    printed,
    subjects,
)
from rbtc.tables import Row
from rbtc.wording import percent, relation

# The three models, and what the columns of the paper's Table 1 call them.
MODELS = {"pretrained": "pretrained", "pruned": "ConceptPrune", "revived": "NMS"}


@dataclass(frozen=True)
class Overview:
    """Three models per concept: pretrained, pruned, revived.

    erased, preserved: `[model][label]`, accuracy on the concept itself and on the other classes.
    pooled: `["erased" | "preserved"][model]`, over all concepts. The pretrained model draws the
        other classes alike whatever is erased, so its pictures of all classes count once.
    """

    subjects: tuple[Subject, ...]
    erased: Accuracies
    preserved: Accuracies
    pooled: Accuracies
    pictures: Pictures

    def grid(self) -> Pictures:
        """Pictures for `rbtc.figures.picture_grid`."""
        return self.pictures

    def paper(self) -> dict[str, dict[str, float]]:
        """The printed accuracy of the erased class, `[model][label]`."""
        found = {
            model: {s.label: printed(1, s.paper, f"erased: {column}") for s in self.subjects}
            for model, column in MODELS.items()
        }
        return {
            model: {label: value for label, value in of.items() if value is not None}
            for model, of in found.items()
        }

    def rows(self) -> list[Row]:
        """The averages over the concepts, beside the paper's over the same classes (Table 1)."""
        averages = {
            (part, model): self._average(f"{part}: {column}")
            for part in self.pooled
            for model, column in MODELS.items()
        }
        before = {"pruned": "pretrained", "revived": "pruned"}
        return [
            Row(
                row=f"{model} ({column})" if column != model else model,
                column=f"{part} class" if part == "erased" else f"{part} classes",
                paper=averages[part, model],
                ours=self.pooled[part][model],
                paper_baseline=averages.get((part, before.get(model, ""))),
                our_baseline=self.pooled[part].get(before.get(model, "")),
            )
            for model, column in MODELS.items()
            for part in self.pooled
        ]

    def class_rows(self) -> list[Row]:
        """Every concept on its own, in the columns of Table 1."""
        parts = {"erased": self.erased, "preserved": self.preserved}
        return [
            Row(
                s.label,
                f"{part}: {column}",
                printed(1, s.paper, f"{part}: {column}"),
                values[model][s.label],
            )
            for s in self.subjects
            for part, values in parts.items()
            for model, column in MODELS.items()
        ]

    def describe(self) -> str:
        """State the outcome: what pruning took, what the attack brought back, at what price."""
        pre, cut, back = (self.pooled["erased"][model] for model in MODELS)
        count = len(self.subjects)
        pooled = f", all {count} concepts pooled" if count > 1 else ""
        text = [
            f"Asked for the erased concept, the pretrained model is recognised in {show(pre)} "
            f"of its pictures, the pruned model in {show(cut)} and the revived model in "
            f"{show(back)} ({pre.n} pictures each{pooled})."
        ]
        order = relation(cut, pre)
        number = sum(
            relation(self.erased["pruned"][s.label], self.erased["pretrained"][s.label]) == "below"
            for s in self.subjects
        )
        text.append(
            {
                # A clear fall is not yet an erasure: most pictures must be gone.
                "below": "Pruning erases" if 2 * cut.value < pre.value else "Pruning only weakens",
                "not distinguishable from": "The pooled accuracy does not show that pruning erases",
                "above": "Pruning does not erase, it rather strengthens",
            }[order]
            + f" the concepts; taken one by one, the fall is clear for {number} of {count}."
        )
        number = sum(
            relation(self.erased["revived"][s.label], self.erased["pruned"][s.label]) == "above"
            for s in self.subjects
        )
        order = relation(back, cut)
        text.append(
            {
                "above": "The attack brings them back",
                "not distinguishable from": "The pooled accuracy does not show that the attack "
                "brings anything back",
                "below": "The attack brings nothing back and lowers the accuracy further",
            }[order]
            + f"; taken one by one, the rise is clear for {number} of {count}."
        )
        if relation(cut, pre) == "below" and order == "above":
            text.append(self._returned(pre.value, cut.value, back.value))
        text.append(self._price())
        return " ".join(text)

    def _returned(self, pre: float, cut: float, back: float) -> str:
        """The share of the lost accuracy that came back, here and in the paper."""
        paper = [self._average(f"erased: {column}") for column in MODELS.values()]
        text = f"Of the accuracy that pruning took, {percent((back - cut) / (pre - cut))} returns"
        if all(value is not None for value in paper):
            before, after, then = (float(value or 0) for value in paper)
            same = percent((then - after) / (before - after))
            text += f"; in the paper, for the same classes, {same}"
        return text + "."

    def _price(self) -> str:
        """What happened to the classes nobody wanted to erase."""
        pre, cut, back = (self.pooled["preserved"][model] for model in MODELS)
        verbs = {
            "below": "lowers this",
            "not distinguishable from": "does not change this measurably",
            "above": "raises this",
        }
        return (
            f"On the other classes the pretrained model reaches {show(pre)}: pruning "
            f"{verbs[relation(cut, pre)]} ({show(cut)}), and the attack, seen from the pruned "
            f"model, {verbs[relation(back, cut)]} ({show(back)})."
        )

    def _average(self, column: str) -> float | None:
        """Mean of the printed numbers of our concepts; None unless the paper has them all."""
        found = [printed(1, s.paper, column) for s in self.subjects]
        values = [value for value in found if value is not None]
        return sum(values) / len(values) if len(values) == len(found) else None


def overview(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    other_images: int = 10,
    pictures: int = 4,
    first_seed: int = 0,
) -> Overview:
    """Prune and revive each concept, and count on it and on the other classes (paper Table 1).

    Args:
        lab: the models.
        concepts: paper classes or words of the model.
        images: pictures of the erased concept per model.
        other_images: pictures per other class and model.
        pictures: how many to show; they are the first ones counted.
        first_seed: the pictures have this seed and the following ones.
    """
    chosen = subjects(lab, concepts)
    erased: dict[str, dict[str, Proportion]] = {model: {} for model in MODELS}
    preserved: dict[str, dict[str, Proportion]] = {model: {} for model in MODELS}
    shown = {}
    for subject in chosen:
        variants = [("pretrained", lab.pretrained), ("pruned", lab.pruned(subject.word)),
                    ("revived", lab.revived(subject.word))]  # fmt: skip
        counted, shown[subject.label] = judge(lab, subject, variants, images, pictures, first_seed)
        for model, variant in variants:
            erased[model][subject.label] = counted[model]
            preserved[model][subject.label] = lab.preserved(
                variant, subject.word, other_images, first_seed
            )
    pooled = {
        "erased": {model: pool(of.values()) for model, of in erased.items()},
        "preserved": {model: pool(of.values()) for model, of in preserved.items()},
    }
    classes = dict.fromkeys(lab.profile.classes.values())
    pooled["preserved"]["pretrained"] = pool(
        lab.accuracy(lab.pretrained, word, other_images, first_seed) for word in classes
    )
    return Overview(tuple(chosen), erased, preserved, pooled, shown)
