"""Ways to estimate the missing weights, each timed on a whole model and held against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOLVERS: Mapping[str, Mapping[str, Any]] = {
    "column means": {},
    "released, one step": {"algorithm": "released", "max_iterations": 1},
    "released": {"algorithm": "released"},
    "released, stopped early": {"algorithm": "released", "early_stop": True},
    "softimpute": {"algorithm": "softimpute"},
    "svt": {"algorithm": "svt"},
    "shuffled weights": {"algorithm": "released"},
}
"""Ways to estimate the missing weights, and the options of `rbtc.completion.complete` for each.

"column means" is where the released iteration starts. "shuffled weights" is a control: the same
numbers and masks, but each layer's entries in random order, so that there is nothing to complete.
"""
