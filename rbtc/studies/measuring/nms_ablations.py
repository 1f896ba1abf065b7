# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.nms_ablations` is measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.common import STRATEGIES, model_name
from rbtc.studies.measuring.common import (
    PAPER_CLASSES,
    at_least_one,
    check_draws,
    judged,
    over_draws,
    subjects,
)
from rbtc.studies.nms_ablations import KEEP_RATIOS, TABLES, AblationStudy

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant

DRAWN = "Neuron Sample"
"""The strategy whose magnitudes are drawn."""


def ablation_study(
    lab: Lab,
    concepts: Sequence[str] = tuple(TABLES),
    images: int = 10,
    *,
    sweep: Sequence[str] = PAPER_CLASSES,
    keep_ratios: Sequence[float] = KEEP_RATIOS,
    strategies: Sequence[str] = tuple(STRATEGIES),
    pictures: int = 2,
    seed: int = 0,
    draw_seeds: Sequence[int] = (2021,),
) -> AblationStudy:
    """Attack the pruned model of each concept with every K and strategy, and count.

    Args:
        lab: the models.
        concepts: paper classes or words of the model; they get every strategy.
        images: pictures per model.
        sweep: concepts for which only Neuron-Max Scaling is tried; empty takes ``concepts``. One
            that is in both is drawn once.
        keep_ratios: the K of Top-K Sign Retention, each in (0, 1].
        strategies: names out of `STRATEGIES`, "NMS" among them.
        pictures: how many of each model to show; they are the first ones counted.
        seed: the pictures have this seed and the following ones.
        draw_seeds: one model with drawn magnitudes is made and judged for each.

    Raises:
        ValueError: an unknown strategy, a K outside (0, 1], no K or strategy at all, or no or equal
            draw seeds.
    """
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise ValueError(f"unknown strategies {unknown}, expected some of {list(STRATEGIES)}")
    if not keep_ratios or "NMS" not in strategies:
        raise ValueError("an ablation needs at least one K, and NMS among its strategies")
    if wrong := [k for k in keep_ratios if not 0 < k <= 1]:
        raise ValueError(f"K must lie in (0, 1], not {wrong}")
    at_least_one(images=images, pictures=pictures)
    check_draws(draw_seeds)
    chosen = subjects(lab, concepts)
    lab.judges.require("object")
    swept = subjects(lab, sweep) if sweep else chosen
    frames, shown = [], {}
    for subject in dict.fromkeys([*chosen, *swept]):
        tabled = subject in chosen

        def models(
            subject: Subject = subject, tabled: bool = tabled
        ) -> Iterator[tuple[Mapping[str, Any], Variant]]:
            plain = {"draw": -1, "strategy": "", "keep_ratio": float("nan")}
            if tabled:
                yield {"model": "pretrained", **plain}, lab.pretrained
            yield {"model": "pruned", **plain}, lab.owner.pruned(subject)
            for strategy in strategies if tabled else ["NMS"]:
                draws = draw_seeds if strategy == DRAWN else draw_seeds[:1]
                for k, draw in itertools.product(keep_ratios, draws):
                    columns = {"draw": draw, "strategy": strategy, "keep_ratio": k}
                    options = {"strategy": STRATEGIES[strategy], "seed": draw}
                    revived = lab.revived(subject, keep_ratio=k, **options)
                    yield {"model": model_name(strategy, k), **columns}, revived

        frames.append(over_draws(judged(lab, subject, models(), images, first_seed=seed)))
        if not tabled:
            continue
        variants = {"pretrained": lab.pretrained, "pruned": lab.owner.pruned(subject)}
        variants |= {f"K = {k:g}": lab.revived(subject, keep_ratio=k) for k in keep_ratios}
        shown[subject.label] = {
            name: lab.measure.shown(variant, subject, pictures, seed)
            for name, variant in variants.items()
        }
    return AblationStudy(
        tuple(chosen),
        tuple(swept),
        tuple(map(float, keep_ratios)),
        tuple(strategies),
        pd.concat(frames, ignore_index=True),
        shown,
    )
