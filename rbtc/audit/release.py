"""What a checkpoint gives away about what was pruned from it, layer by layer.

Four questions, answered from the file alone: how many weights are exactly zero, and is that more
than rounding explains; do the zeros carry signs, which would be those of the pruned weights; how do
the zeros lie in rows and columns; and how many signs would an attack get right, estimated on
survivors (`rbtc.attack.recoverability`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rbtc.attack.recoverability import Choice, Complete, estimate_sign_accuracy, fast_complete
from rbtc.audit.checkpoints import Checkpoint, Entry
from rbtc.audit.zeros import Scatter, rounded_zeros, scatter
from rbtc.stats import Proportion


@dataclass(frozen=True)
class LayerAudit:
    """What one matrix gives away.

    Attributes:
        name: Its name in diffusers.
        shape: (rows, columns).
        dtype: How it is stored, by safetensors' name.
        zeros: Weights that are exactly zero, with either sign.
        negative_zeros: Those of them that are -0.0.
        rounded: How many zeros rounding to the stored dtype explains, at most.
        empty_rows: Rows that are zero as a whole.
        rows: How the zeros fall on rows, None without zeros or without anything else.
        columns: The same for columns.
        signs: Hidden survivors whose sign came back; None where not asked for or not possible.
    """

    name: str
    shape: tuple[int, int]
    dtype: str
    zeros: int
    negative_zeros: int
    rounded: int
    empty_rows: int
    rows: Scatter | None
    columns: Scatter | None
    signs: Proportion | None

    @property
    def weights(self) -> int:
        """How many weights the matrix has."""
        return self.shape[0] * self.shape[1]

    @property
    def density(self) -> float:
        """Share of weights that are exactly zero."""
        return self.zeros / self.weights

    @property
    def pruned(self) -> bool:
        """Whether more weights are zero than rounding explains."""
        return self.zeros > self.rounded

    @property
    def leaks(self) -> bool:
        """Whether more zeros are negative than rounding explains: they carry the pruned signs."""
        return self.negative_zeros > self.rounded


@dataclass(frozen=True)
class Audit:
    """What a checkpoint gives away.

    Attributes:
        path: The file or folder.
        layers: One per matrix, sorted by name.
        share: Share of each row that was hidden for the estimate.
        choose: Which survivors were hidden.
    """

    path: str
    layers: tuple[LayerAudit, ...]
    share: float
    choose: Choice

    @property
    def pruned(self) -> tuple[LayerAudit, ...]:
        """The layers from which something was pruned."""
        return tuple(layer for layer in self.layers if layer.pruned)

    @property
    def zeros(self) -> int:
        """Exact zeros of all layers."""
        return sum(layer.zeros for layer in self.layers)

    @property
    def negative_zeros(self) -> int:
        """Negative zeros of the layers that hold more of them than rounding leaves."""
        return sum(layer.negative_zeros for layer in self.pruned if layer.leaks)

    @property
    def density(self) -> float:
        """Share of zeros over all layers."""
        return self.zeros / sum(layer.weights for layer in self.layers)

    @cached_property
    def signs(self) -> Proportion | None:
        """The estimate, pooled over the pruned layers, or over all of a model that is not pruned.

        Layers count by how many weights were hidden in them.
        """
        counted = [each.signs for each in self.pruned or self.layers if each.signs is not None]
        return sum(counted[1:], counted[0]) if counted else None

    @property
    def findings(self) -> tuple[Literal["signed zeros", "recoverable"], ...]:
        """What is wrong: signs left in the file, signs that an attack can be expected to find."""
        found: list[Literal["signed zeros", "recoverable"]] = []
        if self.negative_zeros:
            found.append("signed zeros")
        if self.pruned and self.signs is not None and self.signs.low > 0.5:
            found.append("recoverable")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "path": self.path,
            "pruned": bool(self.pruned),
            "zeros": self.zeros,
            "density": self.density,
            "negative_zeros": self.negative_zeros,
            "signs": _numbers(self.signs),
            "share": self.share,
            "choose": self.choose,
            "findings": list(self.findings),
            "layers": [
                asdict(layer)
                | {
                    "density": layer.density,
                    "pruned": layer.pruned,
                    "signs": _numbers(layer.signs),
                }
                for layer in self.layers
            ],
        }


def audit(
    checkpoint: Checkpoint,
    *,
    share: float = 0.02,
    choose: Choice = "alike",
    estimate: bool = True,
    complete: Complete = fast_complete,
    seed: int = 0,
    watch: Callable[[Sequence[Entry]], Iterable[Entry]] = iter,
) -> Audit:
    """Audit one matrix after the other; only one of them is in memory at a time.

    Args:
        checkpoint: where they lie.
        share: see `rbtc.attack.recoverability.estimate_sign_accuracy`, like choose, complete and
            seed.
        choose: which survivors to hide.
        estimate: whether to estimate recoverability, which takes nearly all of the time.
        complete: the attack's completion.
        seed: of the random choice.
        watch: hands the entries through, and may show a progress bar meanwhile.

    Raises:
        ValueError: a share outside (0, 1), an unknown choice, or a matrix that holds NaN or
            infinity.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), not {share}")
    if choose not in get_args(Choice):
        raise ValueError(f"choose must be one of {get_args(Choice)}, not {choose!r}")
    options = {"fraction": share, "choose": choose, "seed": seed, "complete": complete}
    layers = []
    for entry in watch(checkpoint.entries):
        weight = entry.read()
        layers.append(audit_matrix(entry, weight, _estimate(weight, options) if estimate else None))
    return Audit(str(checkpoint.path), tuple(layers), share, choose)


def audit_matrix(entry: Entry, weight: Tensor, signs: Proportion | None = None) -> LayerAudit:
    """Count the zeros of one matrix (rows, columns) and see how they lie."""
    zero = weight == 0
    return LayerAudit(
        name=entry.name,
        shape=entry.shape,
        dtype=entry.dtype,
        zeros=int(zero.sum()),
        negative_zeros=int((zero & torch.signbit(weight)).sum()),
        rounded=rounded_zeros(weight),
        empty_rows=int(zero.all(dim=1).sum()),
        rows=scatter(zero),
        columns=scatter(zero.mT),
        signs=signs,
    )


def _estimate(weight: Tensor, options: dict[str, Any]) -> Proportion | None:
    try:
        return estimate_sign_accuracy(weight, weight == 0, **options)
    except ValueError as error:
        if "nothing can be hidden" in str(error):  # a layer that is zero, or nearly so
            return None
        raise


def _numbers(found: Proportion | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {
        "hits": found.hits, "n": found.n,
        "value": found.value, "low": found.low, "high": found.high,
    }  # fmt: skip
