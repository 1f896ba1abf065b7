"""The attack: complete the matrices, keep the confident signs, give them a magnitude."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

THREAT_MODEL = {
    "the published weights, every zero of them": "sees",
    "the architecture: which matrices are feed-forward outputs": "sees",
    "the original weights, or any checkpoint from before": "does not see",
    "where the owner pruned, and with which method": "does not see",
    "the erased concept's name, and every prompt": "does not see",
    "pictures and training data": "does not see",
    "what pruning was measured to do": "does not see",
}
"""What the attacker of the paper's Sec. 4 has, and has not; a test reads the attack's imports."""


def threat_model() -> pd.DataFrame:
    """What the attacker sees and what not: one line each, and "sees" or "does not see"."""
    import pandas as pd

    return pd.DataFrame({"the attacker": THREAT_MODEL})
