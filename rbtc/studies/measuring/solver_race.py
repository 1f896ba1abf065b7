"""Ways to estimate the missing weights, each timed on a whole model and held against the truth."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbtc.lab import Lab, Variant
    from rbtc.layers import Weights

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


def timed_completion(
    lab: Lab, base: Variant, solver: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """One completion of a whole model: seconds, device, and signs per layer.

    Seconds are those of the run that computed it; a result read from the store keeps them.
    """
    import torch

    from rbtc.attack.completion import column_means, complete_all
    from rbtc.attack.sign_accuracy import count_signs
    from rbtc.layers import short_name

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
        counts = count_signs(found, original)
        layers = [
            {
                "name": name,
                "short": short_name(name),
                "n": counts[name].n,
                "correct": counts[name].correct,
                "iterations": found[name].iterations,
                "converged": found[name].converged,
                # The first step away from zero is an infinite change, which JSON has no word for.
                "residuals": [x if math.isfinite(x) else None for x in found[name].residuals],
            }
            for name in counts
        ]
        return {"seconds": elapsed, "device": device, "layers": layers}

    return lab.store.json(config, make, code=(complete_all, column_means, _shuffled))[0]


def _shuffled(original: Weights, pruned: Weights) -> tuple[Weights, Weights]:
    """Both with the entries of each layer in the same random order; the masks stay in place."""
    import torch

    generator = torch.Generator().manual_seed(0)
    mixed: Weights = {}
    for name, weight in original.items():
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        mixed[name] = weight.flatten()[order].view_as(weight)
    return mixed, {name: mixed[name].masked_fill(pruned[name] == 0, 0) for name in pruned}
