"""What training has to do with erasing, and who judges it.

The variants of the miniature are counted on held-out concepts by ``python -m rbtc.emoji.variants``,
which needs every variant's weights; here the counts are only read.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rbtc.files import data_root, read_frame, results_root
from rbtc.models.subjects import Subject
from rbtc.report.tables import accuracies, effect
from rbtc.stats import Proportion

MODELS = ("pretrained", "pruned", "NMS")


@dataclass(frozen=True, eq=False)
class JudgeStudy:
    """The erased classes, pretrained, pruned and revived, under each judge of objects.

    Attributes:
        subjects: The classes.
        hits: One line per picture and judge: concept, model, judge, asked, prompt, seed, seen, hit.
        revived: Pictures of revived models that the usual judge accepts, uint8 (n, h, w, 3).
        pruned: Pictures of pruned models that it rejects.
        sheet: What stands where: kind ("revived" or "pruned"), concept, seed, in that order.
    """

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame
    revived: np.ndarray
    pruned: np.ndarray
    sheet: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """One line per judge: accuracies of the three models, and the paired changes."""
        lines = {}
        for judge, own in self.hits.groupby("judge", sort=False):
            found = accuracies(own, ["model"])
            lines[judge] = {
                **{model: f"{found[model]}" for model in MODELS},
                "by pruning": f"{effect(own, 'pretrained', 'pruned')}",
                "by the attack": f"{effect(own, 'pruned', 'NMS')}",
            }
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index="judge")

    def contact_sheet(self) -> dict[str, dict[str, np.ndarray]]:
        """Class -> "revived, accepted" or "pruned, rejected" -> its pictures."""
        found: dict[str, dict[str, np.ndarray]] = {one.label: {} for one in self.subjects}
        for kind, answer in (("revived", "accepted"), ("pruned", "rejected")):
            own, pictures = self.sheet[self.sheet["kind"] == kind], getattr(self, kind)
            for label in own["concept"].unique():
                found[label][f"{kind}, {answer}"] = pictures[(own["concept"] == label).to_numpy()]
        return {label: cells for label, cells in found.items() if cells}

    def looked_at(self, digest: str) -> pd.DataFrame:
        """In how many pictures of the sheets the class is recognised by eye.

        Args:
            digest: sha256 of the pictures' file; what was found in others counts for nothing.

        Returns:
            One line per class and in all; no line where nobody has looked at these pictures.
        """
        found = pd.read_csv(data_root() / "emoji" / "looked_at.csv")
        found = found[found["pictures"] == digest].pivot_table(
            index="concept", columns="kind", values="recognised", sort=False
        )
        if found.empty:
            return found
        shown = self.sheet.groupby(["concept", "kind"]).size().unstack()
        shown, found = (one.reindex([s.label for s in self.subjects]) for one in (shown, found))
        table = pd.DataFrame({
            "revived, accepted": shown["revived"], "recognised by eye": found["revived"],
            "pruned, rejected": shown["pruned"], "recognised by eye all the same": found["pruned"],
        }).fillna(0).astype(int)  # fmt: skip
        table.loc["all"] = table.sum()
        return table


COLUMNS = {
    "variant", "pictures", "activation_sparsity", "neuron_sparsity", "styled", "text_width",
    "model", "concept", "ratio", "keep_ratio", "density", "sign_accuracy", "erased_hits",
    "erased_n", "preserved_hits", "preserved_n",
}  # fmt: skip


def read_variants(folder: str | Path = "") -> pd.DataFrame:
    """The counts that the command wrote, one row per variant, model and concept.

    Args:
        folder: where they lie; "" takes the repository's results.

    Raises:
        FileNotFoundError: it has not been run.
        ValueError: the file is of another edition.
    """
    path = Path(folder or results_root()) / "emoji_variants.csv"
    return read_frame(path, COLUMNS, "python -m rbtc.emoji.variants NAME=FOLDER ...")


def share(scores: pd.DataFrame, part: str = "erased") -> Proportion:
    """Hits and pictures of some rows, pooled; ``part`` is "erased" or "preserved"."""
    return Proportion(int(scores[f"{part}_hits"].sum()), int(scores[f"{part}_n"].sum()))


def erasing_curves(
    scores: pd.DataFrame, model: str = "pruned", part: str = "erased", *, keep_ratio: float = 0.0
) -> dict[str, dict[float, Proportion]]:
    """Accuracy of every variant against the share of weights that each ratio cut.

    Returns:
        variant -> mean density in percent -> accuracy; density 0 is the pretrained model.
    """
    curves: dict[str, dict[float, Proportion]] = {}
    for name, of_variant in scores.groupby("variant", sort=False):
        before = of_variant[of_variant["model"] == "pretrained"]
        points = {0.0: share(before, part)}
        chosen = of_variant[of_variant["model"] == model]
        if model == "revived":
            chosen = chosen[chosen["keep_ratio"] == keep_ratio]
        for _, rows in chosen.groupby("ratio"):
            points[round(100 * float(rows["density"].mean()), 1)] = share(rows, part)
        curves[str(name)] = points
    return curves


def summary(scores: pd.DataFrame, ratio: float, keep_ratio: float) -> pd.DataFrame:
    """One line per variant: how it was trained, and what pruning and attack do to it.

    Args:
        scores: of `read_variants`.
        ratio: of the pruning shown.
        keep_ratio: of the attack shown.

    Returns:
        Indexed by variant: pictures and levers of its training, accuracies pretrained and without
        feed-forward outputs, density, sign accuracy, accuracies pruned and revived, of the others;
        last `product`.

    Raises:
        ValueError: nothing was counted at this ratio and K.
    """
    at = scores["ratio"] == ratio
    revived = scores[at & (scores["model"] == "revived") & (scores["keep_ratio"] == keep_ratio)]
    if revived.empty:
        raise ValueError(
            f"no variant was attacked at ratio {ratio:g} with K = {keep_ratio:g}: counted are the "
            f"ratios {sorted(scores['ratio'].dropna().unique())} and "
            f"K of {sorted(scores['keep_ratio'].dropna().unique())}"
        )
    lines = {}
    for name, rows in scores.groupby("variant", sort=False):
        pruned = rows[(rows["ratio"] == ratio) & (rows["model"] == "pruned")]
        before = share(rows[rows["model"] == "pretrained"])
        after = share(revived[revived["variant"] == name])
        lines[name] = {
            "pictures": int(rows["pictures"].iloc[0]),
            "text width": int(rows["text_width"].iloc[0]),
            "activation sparsity": float(rows["activation_sparsity"].iloc[0]),
            "neuron sparsity": float(rows["neuron_sparsity"].iloc[0]),
            "styled captions": float(rows["styled"].iloc[0]),
            "pretrained": before,
            "no feed-forward": share(rows[rows["model"] == "no feed-forward"]),
            "density": float(pruned["density"].mean()),
            "signs": float(pruned["sign_accuracy"].mean()),
            "pruned": share(pruned),
            "others, pruned": share(pruned, "preserved"),
            "revived": after,
            "product": product(before, share(pruned), after),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def yardstick(scores: pd.DataFrame, accuracy: float = 0.2) -> pd.DataFrame:
    """Density at which pruning brings erased concepts down to an accuracy, and what others keep.

    Between the ratios that were counted both are interpolated.

    Returns:
        One line per variant: ``density, %`` and ``others keep``, a fraction of their accuracy
        before; NaN for a variant that begins lower, or never falls so far.
    """
    lines = {}
    for name, rows in scores.groupby("variant", sort=False):
        erased, others = (
            {density: share.value for density, share in curve.items()}
            for part in ("erased", "preserved")
            for curve in erasing_curves(rows, part=part).values()
        )
        places, values = sorted(erased), [erased[x] for x in sorted(erased)]
        density = float("nan")
        for (a, high), (b, low) in itertools.pairwise(zip(places, values, strict=True)):
            if high > accuracy >= low:
                density = a + (b - a) * (high - accuracy) / (high - low)
                break
        left = float(np.interp(density, places, [others[x] for x in places]))
        lines[name] = {"density, %": density, "others keep": left / others[0.0]}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index="variant")


def product(pretrained: Proportion, pruned: Proportion, revived: Proportion) -> float:
    """Accuracy times the share of it that pruning takes times the share the attack leaves with.

    1 for a model that draws every concept, loses it when pruned and has it back when attacked.
    """
    before = pretrained.value
    return before * (1 - pruned.value / before) * (revived.value / before) if before else 0.0
