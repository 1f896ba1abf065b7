"""The attack on other prunings: weights chosen by their gradients (paper App. E, Tables 4, 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.intervals import Difference, Share
from rbtc.models.subjects import Subject
from rbtc.report.comparisons import Row, records
from rbtc.report.tables import accuracies, effects, nested, percent
from rbtc.stats import Proportion
from rbtc.studies.common import Judged, Pictures, average_printed, known

if TYPE_CHECKING:
    from rbtc.pruning.saliency import Score

METHODS: dict[str, Score | None] = {"ConceptPrune": None, "SNIP": "snip", "SalUn": "salun"}
"""Our names of the prunings, and the gradient score of those that have one."""

FF = "ff"
"""Name of a cut: the feed-forward outputs."""


PRINTED = {
    "ConceptPrune": (1, "erased: ConceptPrune", "erased: NMS", "preserved: NMS"),
    # Table 11 repeats Table 4 and has the right name of one class.
    "SNIP": (11, "Scissorhands: unlearned", "Scissorhands: NMS", "Scissorhands: preserved"),
    "SalUn": (11, "SalUn: unlearned", "SalUn: NMS", "SalUn: preserved"),
}
"""Where the paper prints a method: table; columns of pruned, revived, and revived on others."""


def model_name(stage: str, method: str, layers: str) -> str:
    """`"pruned", "SNIP", "ff"` -> `"pruned, SNIP, ff"`."""
    return f"{stage}, {method}, {layers}"


@dataclass(frozen=True, eq=False)
class SaliencyStudy(Judged):
    """Three ways to choose the weights to cut, each cut and each attacked.

    Attributes:
        subjects: The concepts.
        hits: One line per picture, see `measuring.common.judged`; besides, stage ("pruned" or
            "revived"), method and layers (the name of a cut), empty for the pretrained model. A
            model is named "pruned, SNIP, ff".
        cuts: One line per concept, method and cut: weights in these layers, how many are cut, the
            largest share in one of them, how many ConceptPrune cuts too, rows cut as a whole, cut
            signs that the completion was asked for, and how many it got right.
        pictures: The first ones that were counted, feed-forward layers only.
        others: The same for the other cuts of the gradient scores.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    cuts: pd.DataFrame
    pictures: Pictures
    others: Pictures

    @property
    def methods(self) -> list[str]:
        """The three ways to choose the weights."""
        return list(METHODS)

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
            "pruned": found[model_name("pruned", method, FF)],
            "revived": found[model_name("revived", method, FF)],
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
        return known(found)

    def rows(self) -> list[Row]:
        """Averages over the concepts, beside the paper's over the same classes (Tables 4, 11).

        The paper prints the preserved accuracy of one model per method, taken for the revived one;
        its change is seen from the pretrained model.
        """
        rows, many = [], 500 * len(self.subjects)
        for method in METHODS:
            table, pruned, revived, preserved = PRINTED[method]
            cut, back = (model_name(stage, method, FF) for stage in ("pruned", "revived"))
            steps = [
                ("pruned", "erased", "pretrained", cut, (1, "erased: pretrained"), (table, pruned)),
                ("revived", "erased", cut, back, (table, pruned), (table, revived)),
                ("revived, other classes", "preserved", "pretrained", back,
                 (1, "preserved: pretrained"), (table, preserved)),
            ]  # fmt: skip
            for column, classes, before, after, *places in steps:
                start, end = (average_printed(one, self.subjects, name) for one, name in places)
                ours, change = self.accuracy(classes, after), self.step(classes, before, after)
                rows.append(Row(method, column, end, ours, change, start, many))
        return rows

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
        cut = self.hits.loc[self.hits["stage"] == "pruned", "model"]
        return [name.removeprefix("pruned, ") for name in dict.fromkeys(cut)]

    def effects(self) -> pd.DataFrame:
        """Concept by concept: the change that each cut and each attack makes, for the CSV."""
        erased, rows = self.part("erased"), []
        shares = nested(erased, "model", "concept")
        for name in self.names():
            cut, back = f"pruned, {name}", f"revived, {name}"
            for before, after in (("pretrained", cut), (cut, back)):
                rows += [
                    Row(concept, after, None, shares[after][concept], change)
                    for concept, change in effects(erased, before, after, "concept").items()
                ]
        return records(rows).drop(columns=["paper", "verdict"])

    def summary(self) -> pd.DataFrame:
        """Every model's accuracy on the erased and on the other classes, as text."""
        found = {
            f"{classes} {'class' if classes == 'erased' else 'classes'}": {
                model: f"{share}"
                for model, share in accuracies(self.part(classes), ["model"]).items()
            }
            for classes in ("erased", "preserved")
        }
        return pd.DataFrame(found)

    def cut_table(self) -> pd.DataFrame:
        """What was cut, over all concepts: shares, and the signs the completion got right."""
        lines = {}
        for (layers, method), own in self.cuts.groupby(["layers", "method"], sort=False):
            total = own.sum(numeric_only=True)
            lines[f"{method}, {layers}"] = {
                "share cut": percent(total["cut"] / total["weights"], 1),
                "most in one layer": percent(own["densest"].max(), 1),
                "ConceptPrune's too": percent(total["shared"] / total["cut"]),
                "rows cut whole": int(total["whole_rows"]),
                "signs found": f"{Proportion(int(total['right']), int(total['signs'])).value:.3f}",
            }
        return pd.DataFrame.from_dict(lines, orient="index")
