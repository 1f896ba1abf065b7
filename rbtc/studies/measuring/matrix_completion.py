# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false
# (pandas cannot say whether a selection is a frame or a series)
"""How `rbtc.studies.matrix_completion` is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbtc.models.subjects import Subject
from rbtc.studies.matrix_completion import CompletionStudy, MatrixStudy
from rbtc.studies.measuring.common import at_least_one, subjects
from rbtc.studies.measuring.descent import descent
from rbtc.studies.measuring.solver_race import SOLVERS, timed_completion

if TYPE_CHECKING:
    from rbtc.lab import Lab


def measure(
    lab: Lab,
    concepts: Sequence[str] = ("golf ball", "church", "parachute"),
    *,
    images: int = 4,
    seed: int = 0,
    iterations: int = 12,
) -> MatrixStudy:
    """Measure the chapter: see `completion_study`, and `rbtc.studies.measuring.descent.descent`."""
    completion = completion_study(lab, concepts, images=images, seed=seed)
    return MatrixStudy(completion, descent(lab, concepts[0], iterations=iterations))


def completion_study(
    lab: Lab,
    concepts: Sequence[str],
    *,
    solvers: Mapping[str, Mapping[str, Any]] = SOLVERS,
    images: int = 4,
    seed: int = 0,
) -> CompletionStudy:
    """Complete the pruned models of `concepts` with every solver, and count right signs.

    Seconds are those of the run that computed a result; a result read from the store keeps them.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model, at least one.
        solvers: name -> options; see `rbtc.studies.measuring.solver_race.SOLVERS`.
        images: pictures per model in the picture grid.
        seed: first seed of the pictures.

    Raises:
        ValueError: no picture, or an unknown concept.
    """
    at_least_one(images=images)
    chosen = subjects(lab, concepts)
    layers, seconds, residuals, images_of = [], [], [], {}
    for subject in chosen:
        base = lab.owner.pruned(subject)
        for solver, options in solvers.items():
            run = timed_completion(lab, base, solver, options)
            place = {"concept": subject.label, "solver": solver}
            seconds.append({**place, "seconds": run["seconds"], "device": run["device"]})
            for layer in run["layers"]:
                tests = layer.pop("residuals")
                if layer["n"]:
                    layers.append({**place, **layer})
                if solver != "released" or subject is not chosen[0]:
                    continue
                # The released rule is first tested at its second iteration.
                first = layer["iterations"] - len(tests) + 1
                residuals += [
                    {"layer": layer["short"], "iteration": first + i, "residual": test}
                    for i, test in enumerate(tests)
                ]
        variants = {
            "pretrained": lab.pretrained,
            "pruned": base,
            "completed as is": lab.attacker.attack(base, strategy="completed", keep_ratio=1.0),
            "whole attack": lab.attacker.attack(base),
        }
        images_of[subject.label] = {
            name: lab.measure.shown(variant, subject, images, seed)
            for name, variant in variants.items()
        }
    spectra = _spectra(lab, chosen[0])
    return CompletionStudy(
        tuple(chosen),
        pd.DataFrame(layers),
        pd.DataFrame(seconds),
        pd.DataFrame(residuals, columns=["layer", "iteration", "residual"]),
        spectra,
        _norms(spectra),
        images_of,
    )


def _spectra(lab: Lab, subject: Subject) -> pd.DataFrame:
    """Singular values of every layer: layer, state, place (in (0, 1]), value / largest, largest."""
    from rbtc.attack.spectrum import spectrum
    from rbtc.layers import short_name

    base, found = lab.owner.pruned(subject), lab.completions(subject)
    states = {
        "pretrained": lab.pretrained.weights,
        "pruned": base.weights,
        "completed": {name: found[name].dense(base.weights[name]) for name in found},
    }
    parts = [
        spectrum(weights[name]).assign(layer=short_name(name), state=state)
        for name in base.weights
        for state, weights in states.items()
        if name in weights
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["layer", "state", "place", "value", "largest"]]


def _norms(spectra: pd.DataFrame) -> pd.DataFrame:
    """`CompletionStudy.norms` of the singular values."""
    from rbtc.attack.spectrum import effective_rank

    lines = []
    for short, own in spectra.groupby("layer", sort=False):
        line: dict[str, Any] = {"layer": short}
        for state, of in own.groupby("state", sort=False):
            values = of["value"].to_numpy() * of["largest"].to_numpy()
            line[f"nuclear norm, {state}"] = values.sum()
            if state == "pretrained":
                line["effective rank / size"] = effective_rank(values) / len(values)
                line["smallest / largest"] = values[-1] / values[0]
        lines.append(line)
    return pd.DataFrame(lines)
