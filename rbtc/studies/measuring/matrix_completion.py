"""How `rbtc.studies.matrix_completion` is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from rbtc.attack.completion import column_means, complete_all
from rbtc.attack.sign_accuracy import count_signs
from rbtc.attack.spectrum import effective_rank, spectrum
from rbtc.lab import Lab, Variant
from rbtc.layers import Weights, short_name
from rbtc.models.subjects import Subject
from rbtc.studies.matrix_completion import CompletionStudy, MatrixStudy
from rbtc.studies.measuring.common import at_least_one, subjects
from rbtc.studies.measuring.descent import descent

SOLVERS: Mapping[str, Mapping[str, Any]] = {
    "column means": {},
    "released, one step": {"algorithm": "released", "max_iterations": 1},
    "released": {"algorithm": "released"},
    "released, stopped early": {"algorithm": "released", "early_stop": True},
    "softimpute": {"algorithm": "softimpute"},
    "svt": {"algorithm": "svt"},
    "shuffled weights": {"algorithm": "released"},
}
"""Ways to estimate the missing weights, and the options of `rbtc.attack.completion.complete` for
each.

"column means" is where the released iteration starts. "shuffled weights" is a control: the same
numbers and masks, but each layer's entries in random order, so that there is nothing to complete.
"""


def measure(
    lab: Lab,
    concepts: Sequence[str] = ("golf ball", "church", "parachute"),
    *,
    images: int = 4,
    seed: int = 0,
    iterations: int = 12,
) -> MatrixStudy:
    """Complete the pruned models of `concepts` with every solver, and count right signs.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model, at least one.
        images: pictures per model in the picture grid.
        seed: first seed of the pictures.
        iterations: see `rbtc.studies.measuring.descent.descent`, which follows the first concept.

    Raises:
        ValueError: no picture, too few iterations, or an unknown concept.
    """
    at_least_one(images=images)
    chosen = subjects(lab, concepts)
    followed = descent(lab, concepts[0], iterations=iterations)
    layers, seconds, residuals, pictures = [], [], [], {}
    for subject in chosen:
        base = lab.owner.pruned(subject)
        for solver, options in SOLVERS.items():
            run = _timed(lab, base, solver, options)
            place = {"concept": subject.label, "solver": solver}
            seconds.append({**place, "seconds": run["seconds"], "device": run["device"]})
            layers += [{**place, **layer} for layer in run["layers"] if layer["n"]]
            for layer in run["layers"] if (solver, subject) == ("released", chosen[0]) else ():
                # The released rule is first tested at its second iteration.
                first = layer["iterations"] - len(layer["residuals"]) + 1
                for iteration, test in enumerate(layer["residuals"], first):
                    residuals.append((layer["short"], iteration, test))
        variants = {
            "pretrained": lab.pretrained,
            "pruned": base,
            "completed as is": lab.attacker.attack(base, strategy="completed", keep_ratio=1.0),
            "whole attack": lab.attacker.attack(base),
        }
        pictures[subject.label] = {
            name: lab.measure.shown(variant, subject, images, seed)
            for name, variant in variants.items()
        }
    spectra, norms = _spectra(lab, chosen[0])
    completion = CompletionStudy(
        tuple(chosen), pd.DataFrame(layers).drop(columns="residuals"), pd.DataFrame(seconds),
        pd.DataFrame(residuals, columns=["layer", "iteration", "residual"]), spectra,
        norms, pictures,
    )  # fmt: skip
    return MatrixStudy(completion, followed)


def _timed(lab: Lab, base: Variant, solver: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """One completion of a whole model: seconds, device, and signs per layer, against the truth.

    Seconds are those of the run that computed it; a result read from the store keeps them.
    """
    device = torch.device(lab.device).type
    config = {
        "kind": "completion study",
        "base": base.config,
        "solver": solver,
        "options": dict(options),
        "device": device,
    }

    def make() -> dict[str, Any]:
        original, pruned = lab.pretrained.weights, base.weights
        if solver == "shuffled weights":
            original, pruned = _shuffled(original, pruned)
        started = time.perf_counter()
        if solver == "column means":
            found = {name: column_means(weight) for name, weight in pruned.items()}
        else:
            found = complete_all(pruned, **options)
        if device == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - started
        layers = [
            {
                "name": name,
                "short": short_name(name),
                "n": count.n,
                "correct": count.correct,
                "iterations": found[name].iterations,
                "converged": found[name].converged,
                # The first step away from zero is an infinite change, which JSON has no word for.
                "residuals": [x if math.isfinite(x) else None for x in found[name].residuals],
            }
            for name, count in count_signs(found, original).items()
        ]
        return {"seconds": elapsed, "device": device, "layers": layers}

    return lab.store.json(config, make, code=(complete_all, column_means, _shuffled))[0]


def _shuffled(original: Weights, pruned: Weights) -> tuple[Weights, Weights]:
    """Both with the entries of each layer in the same random order; the masks stay in place."""
    generator = torch.Generator().manual_seed(0)
    mixed: Weights = {}
    for name, weight in original.items():
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        mixed[name] = weight.flatten()[order].view_as(weight)
    return mixed, {name: mixed[name].masked_fill(pruned[name] == 0, 0) for name in pruned}


def _spectra(lab: Lab, subject: Subject) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`CompletionStudy.spectra` and `CompletionStudy.norms` of every layer."""
    base, found = lab.owner.pruned(subject), lab.completions(subject)
    states = {
        "pretrained": lab.pretrained.weights,
        "pruned": base.weights,
        "completed": {name: found[name].dense(base.weights[name]) for name in found},
    }
    parts, lines = [], []
    for name in base.weights:
        line: dict[str, Any] = {"layer": short_name(name)}
        for state, weights in states.items():
            if name not in weights:
                continue
            own = spectrum(weights[name]).assign(layer=short_name(name), state=state)
            values = own["value"].to_numpy() * own["largest"].to_numpy()
            line[f"nuclear norm, {state}"] = values.sum()
            if state == "pretrained":
                line["effective rank / size"] = effective_rank(values) / len(values)
                line["smallest / largest"] = values[-1] / values[0]
            parts.append(own[["layer", "state", "place", "value", "largest"]])
        lines.append(line)
    return pd.concat(parts, ignore_index=True), pd.DataFrame(lines)
