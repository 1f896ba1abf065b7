"""How `rbtc.studies.nms_ablations` is measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rbtc.lab import Lab
from rbtc.studies.common import STRATEGIES, model_name
from rbtc.studies.measuring.common import (
    PAPER_CLASSES,
    Tally,
    each_once,
    in_range,
    over_draws,
    subjects,
)
from rbtc.studies.nms_ablations import KEEP_RATIOS, TABLES, AblationStudy

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
    if "NMS" not in strategies:
        raise ValueError("an ablation needs NMS among its strategies")
    in_range(1, keep_ratios=keep_ratios)
    each_once(draw_seeds=draw_seeds)
    chosen = subjects(lab, concepts)
    swept = subjects(lab, sweep) if sweep else chosen
    tally = Tally(lab, images, pictures=pictures, seed=seed)
    plain = {"draw": -1, "strategy": "", "keep_ratio": math.nan}
    for subject in dict.fromkeys([*chosen, *swept]):
        tabled = subject in chosen
        if tabled:
            tally.add(subject, "pretrained", lab.pretrained, **plain)
        pruned = lab.owner.pruned(subject)
        tally.add(subject, "pruned", pruned, title="" if tabled else None, **plain)
        for strategy in strategies if tabled else ["NMS"]:
            draws = draw_seeds if strategy == DRAWN else draw_seeds[:1]
            for k, draw in itertools.product(keep_ratios, draws):
                revived = lab.revived(
                    subject, keep_ratio=k, strategy=STRATEGIES[strategy], seed=draw
                )
                tally.add(
                    subject, model_name(strategy, k), revived,
                    title=f"K = {k:g}" if tabled and strategy == "NMS" else None,
                    draw=draw, strategy=strategy, keep_ratio=k,
                )  # fmt: skip
    return AblationStudy(
        tuple(chosen), tuple(swept), tuple(map(float, keep_ratios)), tuple(strategies),
        over_draws(tally.hits), tally.shown,
    )  # fmt: skip
