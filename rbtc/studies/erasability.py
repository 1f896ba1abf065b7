# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""What training has to do with erasing: the variants of the miniature, on held-out concepts.

The counts are made by ``python -m rbtc.emoji.variants``, which needs every variant's weights; here
they are only read.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rbtc.files import read_frame
from rbtc.paths import results_root
from rbtc.stats import Proportion

COLUMNS = {
    "variant", "pictures", "activation_sparsity", "neuron_sparsity", "styled", "model", "concept",
    "ratio", "keep_ratio", "density", "sign_accuracy", "erased_hits", "erased_n",
    "preserved_hits", "preserved_n",
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
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: run `python -m rbtc.emoji.variants NAME=FOLDER ...` in the "
            "repository's folder"
        )
    scores = read_frame(path)
    if missing := COLUMNS - set(scores):
        raise ValueError(
            f"{path} lacks the columns {sorted(missing)}: make it anew with "
            "`python -m rbtc.emoji.variants`"
        )
    return scores


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


def product(pretrained: Proportion, pruned: Proportion, revived: Proportion) -> float:
    """Accuracy times the share of it that pruning takes times the share the attack leaves with.

    1 for a model that draws every concept, loses it when pruned and has it back when attacked.
    """
    before = pretrained.value
    return before * (1 - pruned.value / before) * (revived.value / before) if before else 0.0
