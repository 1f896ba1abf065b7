# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
# (pandas annotates row access as any scalar)
"""One report of what decides whether pruning can erase: ``python -m rbtc.emoji.report``.

Accuracy of the model; reliance (accuracy with every feed-forward output zero); specialisation (do
neurons belong to one concept); how steep the singular values fall, which completion lives on; and
erased and other accuracy against mask density. Results go to ``results/emoji_report.json`` and CSV
files beside it.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from rbtc import command
from rbtc.emoji.judge import as_row
from rbtc.files import check_writable, write_whole
from rbtc.lab import Lab
from rbtc.layers import Weights, short_name
from rbtc.models.prompts import prompt_pairs
from rbtc.pruning.activations import collect_norms
from rbtc.stats import Proportion

QUANTILES = (0.5, 0.9, 0.99, 0.999)
RATIOS = (0.02, 0.05, 0.1, 0.2)
BARS = {"mean_class_accuracy": 0.90, "worst_class_accuracy": 0.75}
"""What the project asks of a checkpoint worth reading results from."""
CURVE = ["density", "erased", "preserved", "sign_accuracy"]


def save_rows(frame: pd.DataFrame, path: Path) -> Path:
    """Write a table without its index as CSV, whole or not at all."""
    return write_whole(path, lambda place: frame.to_csv(place, index=False, lineterminator="\n"))


def accuracy_table(lab: Lab, images: int) -> pd.DataFrame:
    """Accuracy of the pretrained model: every class, then every style if there is a style judge."""
    judge = lab.profile.locate(lab.profile.evaluation.style_classifier)
    styles = lab.profile.styles if Path(judge).exists() else ()
    asked = [("class", lab.subject(word)) for word in lab.profile.classes.values()]
    asked += [("style", lab.subject(style, "style")) for style in styles]
    return pd.DataFrame(
        {"kind": kind, "name": subject.word}
        | as_row(lab.measure.accuracy(lab.pretrained, subject, images), "accuracy")
        for kind, subject in tqdm(asked, desc="accuracy", disable=not lab.progress)
    )


def without_ffn(weights: Weights) -> Weights:
    """Set all feed-forward output matrices to zero."""
    return {name: torch.zeros_like(weight) for name, weight in weights.items()}


def reliance(lab: Lab, images: int) -> Proportion:
    """Accuracy over the profile's classes with every feed-forward output zeroed.

    Near chance, the model relies on these layers; near its normal accuracy, it can do without.
    """
    variant = lab.owner.custom("all FFN zero", without_ffn(lab.pretrained.weights))
    found = [
        lab.measure.accuracy(variant, concept, images) for concept in lab.profile.classes.values()
    ]
    return sum(found[1:], found[0])


def specificity(lab: Lab, concepts: Sequence[str]) -> pd.DataFrame:
    """Quantiles over neurons of target norm / reference norm, per layer and pooled.

    The norms are those ConceptPrune uses, summed over the profile's first T UNet calls. A ratio of
    one is a neuron indifferent to the concept; ConceptPrune lives on those far above it.
    """
    settings = lab.owner.settings()
    pipe = lab.apply(lab.pretrained)
    ratios: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
    for concept in concepts:
        prompts = prompt_pairs(lab.profile, concept)
        of_target, of_reference = (collect_norms(pipe, one, settings) for one in prompts)
        # The norms grow with the number of prompts, which the two lists need not share.
        scale = len(prompts[1]) / len(prompts[0])
        for name in of_target[0]:
            target, reference = (
                sum((norms[call][name] ** 2 for call in norms), torch.zeros(()))
                for norms in (of_target, of_reference)
            )
            ratios[name].append((target / reference * scale).sqrt())
    pooled = {short_name(name): torch.cat(values) for name, values in ratios.items()}
    pooled["all"] = torch.cat(list(pooled.values()))
    return pd.DataFrame({"layer": name, **_quantiles(values)} for name, values in pooled.items())


def _quantiles(values: torch.Tensor) -> dict[str, float]:
    finite = values[values.isfinite()].double()
    return {f"q{q}": float(torch.quantile(finite, q)) for q in QUANTILES}


def singular_decay(weights: Weights) -> pd.DataFrame:
    """Singular values at 1/8, 1/4 and 1/2 of the rank, over the first one."""
    rows = []
    for name, weight in weights.items():
        values = torch.linalg.svdvals(weight.double())
        parts = {f"s[1/{n}]/s[0]": float(values[len(values) // n] / values[0]) for n in (8, 4, 2)}
        rows.append({"layer": short_name(name), "rank": len(values), **parts})
    return pd.DataFrame(rows)


def erasability(
    lab: Lab, concepts: Sequence[str], images: int, *, ratios: Sequence[float] = RATIOS
) -> pd.DataFrame:
    """Erased and preserved accuracy, density and sign accuracy, against ConceptPrune's ratio."""
    rows = []
    for ratio in tqdm(ratios, desc="erasability", disable=not lab.progress):
        for concept in concepts:
            pruned = lab.owner.pruned(concept, ratio=ratio)
            erased = lab.measure.accuracy(pruned, concept, images)
            others = lab.measure.preserved(pruned, concept, max(1, images // 8))
            row = {"ratio": ratio, "concept": concept, "density": lab.density(concept, ratio=ratio)}
            for name, found in (("erased", erased), ("preserved", others)):
                row[name] = found.value
                row |= {f"{name}_{key}": getattr(found, key) for key in ("low", "high", "n")}
            rows.append(row | {"sign_accuracy": lab.sign_accuracy(concept, ratio=ratio).value})
    return pd.DataFrame(rows)


def report(
    lab: Lab,
    *,
    images: int = 100,
    concepts: Sequence[str] = ("church", "star", "bus", "fuel pump"),
    folder: Path = Path("results"),
) -> dict[str, Any]:
    """Measure everything, write it under ``folder`` and return the summary."""
    accuracy = accuracy_table(lab, images)
    by_kind = accuracy.groupby("kind")["accuracy"]
    means, worst = by_kind.mean(), by_kind.min()
    zeroed = reliance(lab, max(1, images // 4))
    neurons = specificity(lab, concepts)
    decay = singular_decay(lab.pretrained.weights)
    curve = erasability(lab, concepts, max(1, images // 4))
    for frame, name in (
        (accuracy, "accuracy"),
        (neurons, "specificity"),
        (decay, "singular_values"),
        (curve, "erasability"),
    ):
        save_rows(frame, folder / f"emoji_{name}.csv")
    summary = {
        "info": {k: v for k, v in lab.info().items() if k not in ("reuse", "model_digest")},
        "images_per_class": images,
        "mean_class_accuracy": means["class"],
        "worst_class_accuracy": worst["class"],
        "mean_style_accuracy": means.get("style"),
        "all_ffn_zero": as_row(zeroed),
        "specificity": neurons[neurons["layer"] == "all"].iloc[0].to_dict(),
        "singular_decay_median": decay.drop(columns=["layer", "rank"]).median().to_dict(),
        "erasability": [
            {"ratio": ratio, **part[CURVE].mean().to_dict()}
            for ratio, part in curve.groupby("ratio")
        ],
    }
    summary["bars_met"] = all(summary[name] >= bar for name, bar in BARS.items())
    summary["bars"] = BARS
    text = json.dumps(summary, indent=1) + "\n"
    write_whole(folder / "emoji_report.json", lambda place: place.write_text(text, "utf-8"))
    return summary


def standing(summary: dict[str, Any]) -> str:
    """Say in a sentence whether the checkpoint meets the project's bars."""
    mean, worst = (summary["bars"][f"{name}_class_accuracy"] for name in ("mean", "worst"))
    asked = f"a mean accuracy over the twelve classes of {mean:.2f} and {worst:.2f} for the worst"
    mean, worst = (summary[f"{name}_class_accuracy"] for name in ("mean", "worst"))
    found = f"{mean:.2f} and {worst:.2f} ({summary['images_per_class']} pictures a class)"
    if summary["bars_met"]:
        return f"The checkpoint meets the project's bars ({asked}): it reaches {found}."
    return (
        f"**Not every class is drawn well.** The project asks for {asked}; it reaches "
        f"{found}. What pruning and the attack do to such a class says little; chapter 90 shows "
        "every class by itself."
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rbtc.emoji.report", description=__doc__)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--images", type=int, default=100, help="pictures a class")
    parser.add_argument("--concepts", nargs="+", default=["church", "star", "bus", "fuel pump"])
    parser.add_argument("--folder", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    if options.images < 1:
        raise ValueError(f"--images must be at least 1, not {options.images}")
    check_writable(options.folder)
    lab = Lab(options.profile)
    lab.judges.require("object")
    summary = report(lab, images=options.images, concepts=options.concepts, folder=options.folder)
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    command.run(main)
