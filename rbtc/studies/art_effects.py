# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""What chapter 06 says of its pictures: estimates, effects, the paper's Table 2 beside ours."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rbtc.paper import printed
from rbtc.report.comparisons import Row
from rbtc.report.tables import accuracies, accuracy, effect
from rbtc.stats import Difference, Mean, Share, mean, mean_change
from rbtc.studies.art import MODELS, ArtStudy

PAPER = {"pruned": "ConceptPrune"}
"""Our names of the paper's models, where they differ."""

NAME = "Fréchet distance of judge features"
"""What `rbtc.models.distances` measures."""

PAPER_SCORES = 250
"""Pictures behind an average score of the paper: five artists, 50 prompts each (Sec. 5.3)."""

SIMILARITY, SCORE = "CLIP similarity, in style", "CLIP score"
NEUTRAL, ACCURACY = "CLIP similarity, neutral", "style judge accuracy"

PRINTED = {
    SIMILARITY: "artist similarity",
    SCORE: "artist score",
    NAME: "COCO FID",
    NEUTRAL: "COCO similarity",
}
"""Our measures, and the columns of the paper's Table 2 in whose place they stand."""

ROUNDING = {SIMILARITY: 0.01, NEUTRAL: 0.01, NAME: 0.01}
"""What rounding alone can make of a printed change. The paper gives no spread of these means."""


def accuracy_by_style(study: ArtStudy) -> dict[str, dict[str, Share]]:
    """`{model: {style: accuracy}}` on the erased style."""
    return {m: accuracies(_model(study.erased, m), ["concept"]) for m in MODELS}


def score_by_style(study: ArtStudy) -> dict[str, dict[str, Share]]:
    """`{model: {style: CLIP score}}`; the pretrained model's is 0 by definition and left out."""
    scores = study.erased.assign(hit=study.erased["below"])
    return {m: accuracies(_model(scores, m), ["concept"]) for m in MODELS[1:]}


def similarity_by_style(study: ArtStudy) -> dict[str, dict[str, Mean]]:
    """`{model: {style: mean CLIP cosine}}` of pictures in the erased style."""
    return {
        m: {
            style: mean(own["similarity"])
            for style, own in _model(study.erased, m).groupby("concept", sort=False)
        }
        for m in MODELS
    }


def distance_change(study: ArtStudy, before: str, after: str) -> Difference:
    """Change of the mean distance over styles, for the pairs of `rbtc.studies.art.CHANGES`."""
    lines = study.distance_changes.set_index(["before", "after"])
    value, low, high, n = lines.loc[(before, after)]
    return Difference(value, low, high, int(n), int(n))


def change(study: ArtStudy, measure: str, before: str, after: str) -> Difference:
    """Paired change of a measure from one model to another, over all styles."""
    if measure == ACCURACY:
        return effect(study.erased, before, after)
    if measure == SCORE:
        return effect(study.erased.assign(hit=study.erased["below"]), before, after)
    if measure == NAME:
        return distance_change(study, before, after)
    frame = study.erased if measure == SIMILARITY else study.neutral
    keys = ["concept", "prompt", "seed"]
    halves = [_model(frame, m)[[*keys, "similarity"]] for m in (before, after)]
    pairs = halves[0].merge(halves[1], on=keys, validate="1:1", suffixes=("_a", "_b"))
    # A neutral picture of the pretrained model stands against one of every style's models.
    clusters = None if measure == SIMILARITY else _trials(pairs)
    return mean_change(pairs["similarity_a"], pairs["similarity_b"], clusters)


def estimate(study: ArtStudy, measure: str, model: str) -> Share | Mean | float:
    """A measure of one model over all styles."""
    if measure in (ACCURACY, SCORE):
        column = "hit" if measure == ACCURACY else "below"
        own = _model(study.erased, model)
        return accuracy(own.assign(hit=own[column]), model)
    if measure == NAME:
        return float(_model(study.distances, model)["distance"].mean())
    own = _model(study.erased if measure == SIMILARITY else study.neutral, model)
    return mean(own["similarity"], None if measure == SIMILARITY else _trials(own))


def rows(study: ArtStudy, measures: Sequence[str] = tuple(PRINTED)) -> list[Row]:
    """The paper's averages beside ours.

    A change is what cutting did to the pretrained model, or an attack to the pruned one. The CLIP
    score of the pruned model has none: the pretrained model's is 0 by definition, so it can only
    rise.
    """
    found = []
    for measure in measures:
        column = PRINTED[measure]
        for model in MODELS[1:]:
            before = "pretrained" if model == "pruned" else "pruned"
            by_definition = measure == SCORE and before == "pretrained"
            found.append(
                Row(
                    measure,
                    model,
                    printed(2, "Average", f"{PAPER.get(model, model)}: {column}"),
                    estimate(study, measure, model),
                    None if by_definition else change(study, measure, before, model),
                    printed(2, "Average", f"{PAPER.get(before, before)}: {column}"),
                    PAPER_SCORES,
                    ROUNDING.get(measure),
                )
            )
    return found


def distance_table(study: ArtStudy) -> pd.DataFrame:
    """Distances per style down and model across, with n in every row."""
    wide = study.distances.pivot(index="concept", columns="model", values="distance")
    wide = wide.reindex(index=[s.word for s in study.styles], columns=list(MODELS))
    n = study.distances.groupby("concept")["n"].first()
    table = wide.map("{:.3g}".format).assign(n=n.reindex(wide.index))
    return table.rename_axis(index="style erased", columns=None)


def spread(study: ArtStudy) -> pd.DataFrame:
    """Per measure and model: mean over styles, the smallest and the largest, n in all."""
    score = {m: {k: s.value for k, s in of.items()} for m, of in score_by_style(study).items()}
    hits = {m: {k: s.value for k, s in of.items()} for m, of in accuracy_by_style(study).items()}
    near = {m: {k: s.value for k, s in of.items()} for m, of in similarity_by_style(study).items()}
    far = {
        m: dict(zip(own["concept"], own["distance"], strict=True))
        for m, own in study.distances.groupby("model", sort=False)
    }
    pictures, plain = len(_model(study.erased, "pruned")), len(_model(study.neutral, "pruned"))
    lines = []
    for measure, of, n in (
        (ACCURACY, hits, pictures),
        (SIMILARITY, near, pictures),
        (SCORE, score, pictures),
        (NAME, far, plain),
    ):
        for model, by_style in of.items():
            series = pd.Series(by_style)
            lines.append(
                {
                    "measure": measure,
                    "model": model,
                    "mean": series.mean(),
                    "least": series.min(),
                    "in": series.idxmin(),
                    "most": series.max(),
                    "in ": series.idxmax(),
                    "styles": len(series),
                    "n": n,
                }
            )
    return pd.DataFrame(lines).set_index(["measure", "model"]).round(3)


def contrasts(study: ArtStudy) -> dict[str, Difference]:
    """What the paper says of styles (Sec. 5.3), where our measure is a share of pictures."""
    return {
        f"{measure}, {before} to {after}": change(study, measure, before, after)
        for measure, before, after in (
            (SCORE, "pruned", "NMS"), (SCORE, "Quant Recover", "NMS"),
            (ACCURACY, "pretrained", "pruned"), (ACCURACY, "pruned", "NMS"),
            (ACCURACY, "Quant Recover", "NMS"),
        )
    }  # fmt: skip


def _trials(frame: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(frame["prompt"], frame["seed"], strict=True))


def _model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame[frame["model"] == model]
