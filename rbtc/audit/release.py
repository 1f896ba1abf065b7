"""What a checkpoint gives away about what was pruned from it, matrix by matrix.

Answered from the files alone: how many weights are exactly zero, and is that more than their format
explains; do the zeros carry signs, which would be those of the pruned weights; does a constant
stand in their place; how do they lie in rows and columns; and how many signs would an attack get
right, estimated on survivors (`rbtc.attack.recoverability`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor

from rbtc.attack.recoverability import Choice, Complete, estimate_sign_accuracy, fast_complete
from rbtc.audit.checkpoints import Checkpoint, Entry
from rbtc.audit.findings import Finding, leaks, ranked
from rbtc.audit.zeros import Repeated, Scatter, Zeros, explain, repeated, scatter
from rbtc.stats import Proportion, pool


@dataclass(frozen=True, kw_only=True)
class LayerAudit(Zeros):
    """What one matrix gives away, besides its zeros.

    Attributes:
        name: Its name in diffusers.
        shape: (rows, columns); those of a convolution are its outputs and all the rest.
        dtype: How it is stored, by safetensors' name.
        repeated: What stands in place of zeros, if something does.
        empty_rows: Rows that are zero as a whole.
        empty_columns: The same for columns.
        rows: How the zeros fall on rows, None where nothing is pruned, or all.
        columns: The same for columns.
        signs: Hidden survivors whose sign came back; None where not asked for or not possible.
    """

    name: str
    shape: tuple[int, int]
    dtype: str
    repeated: Repeated | None
    empty_rows: int
    empty_columns: int
    rows: Scatter | None
    columns: Scatter | None
    signs: Proportion | None = None

    @property
    def weights(self) -> int:
        """How many weights the matrix has."""
        return self.shape[0] * self.shape[1]

    @property
    def density(self) -> float:
        """Share of weights that are exactly zero."""
        return self.zeros / self.weights


@dataclass(frozen=True)
class Audit:
    """What a checkpoint gives away.

    Attributes:
        path: The file or folder.
        kind: What model it is; "" if its names do not tell.
        looked: How many matrices were looked at, of how many.
        layers: One per attacked matrix, sorted by name.
        others: Those of the other matrices that have zeros, or a constant in their place.
        common: Columns in which the zeros of all matrices of a kind lie.
        share: Share of each row that was hidden for the estimate.
        choose: Which survivors were hidden.
    """

    path: str
    kind: str
    looked: tuple[int, int]
    layers: tuple[LayerAudit, ...]
    others: tuple[LayerAudit, ...]
    common: tuple[Finding, ...]
    share: float
    choose: Choice

    @property
    def pruned(self) -> tuple[LayerAudit, ...]:
        """The matrices from which something was pruned."""
        return tuple(layer for layer in (*self.layers, *self.others) if layer.pruned)

    @property
    def negative_zeros(self) -> int:
        """Negative zeros of the matrices that hold more of them than rounding leaves."""
        return sum(layer.negative_zeros for layer in self.pruned if layer.leaks)

    @property
    def zeros(self) -> int:
        """Exact zeros of the attacked matrices."""
        return _zeros(self.layers)

    @property
    def density(self) -> float:
        """Share of zeros over the attacked matrices."""
        return self.zeros / max(1, sum(layer.weights for layer in self.layers))

    @cached_property
    def signs(self) -> Proportion | None:
        """The estimate, pooled over the pruned layers, or over all of a model that is not pruned.

        Layers count by how many weights were hidden in them.
        """
        counted = [each.signs for each in self.pruned or self.layers if each.signs is not None]
        return pool(counted) if counted else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, with counts, worst first."""
        every = (*self.layers, *self.others)
        signed = [x for x in every if x.leaks]
        constant = [x for x in every if x.repeated]
        explained = [x for x in every if not x.pruned and (x.expected >= 1 or x.negative_zeros)]
        back, signs = [x for x in self.pruned if x.signs], self.signs
        if signs is None or signs.low <= 0.5 <= signs.high:
            back = []
        minus = sum(x.negative_zeros for x in signed)
        told = {
            "signed zeros": (signed, f"{minus} of {_zeros(signed)} zeros are -0.0"),
            "repeated values": (constant, _constants([x.repeated for x in constant if x.repeated])),
            "recoverable": (back, f"{signs} of hidden survivors' signs come back"),
            "rounded zeros": (
                explained,
                f"{_zeros(explained)} zeros, {sum(x.negative_zeros for x in explained)} of them "
                "-0.0, which rounding explains",
            ),
        }
        found = [
            Finding(
                kind, "", own[0].name + (f" and {len(own) - 1} more" if own[1:] else ""), detail
            )
            for kind, (own, detail) in told.items()
            if own
        ]
        return ranked([*found, *self.common])

    @property
    def kinds(self) -> list[str]:
        """The kinds of what gives something away."""
        return leaks(self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "path": self.path,
            "kind": self.kind,
            "looked_at": self.looked[0],
            "matrices": self.looked[1],
            "pruned": bool(self.pruned),
            "zeros": self.zeros,
            "density": self.density,
            "negative_zeros": self.negative_zeros,
            "signs": _numbers(self.signs),
            "share": self.share,
            "choose": self.choose,
            "findings": self.kinds,
            "details": [asdict(each) for each in self.findings],
            "layers": [_layer(each) for each in self.layers],
            "others": [_layer(each) for each in self.others],
        }


def _layer(found: LayerAudit) -> dict[str, Any]:
    more = {"density": found.density, "pruned": found.pruned, "signs": _numbers(found.signs)}
    return asdict(found) | more


def _zeros(own: Sequence[LayerAudit]) -> int:
    return sum(layer.zeros for layer in own)


def _constants(made: Sequence[Repeated]) -> str:
    each = f"|w| = {made[0].value:.4g}" if made and made[0].value else "one magnitude a row"
    told = ", with both signs" if any(one.signed for one in made) else ""
    return f"{each} at {sum(one.count for one in made)} places{told}"


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
        checkpoint: where they lie; all of its matrices are looked at.
        share: see `rbtc.attack.recoverability.estimate_sign_accuracy`, like choose, complete and
            seed.
        choose: which survivors to hide.
        estimate: whether to estimate the recoverability of the attacked matrices, and of any other
            of which something was pruned; it takes nearly all of the time.
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
    attacked = {entry.name for entry in checkpoint.entries}
    layers: list[LayerAudit] = []
    others: list[LayerAudit] = []
    columns: dict[str, Tensor] = {}
    for entry in watch(checkpoint.matrices):
        weight = entry.read().flatten(1)
        found = audit_matrix(entry, weight)
        own = entry.name in attacked
        if not own and not (found.zeros or found.repeated):
            continue
        if not own and bool(((weight == 0) | (weight == 1)).all()):
            continue  # a mask, which is the scan's to report
        flat = len(entry.shape) == 2 and found.zeros < found.weights
        if estimate and (own or (found.pruned and flat)):
            found = replace(found, signs=_estimate(weight, options))
        (layers if own else others).append(found)
        if found.pruned:
            columns[entry.name] = (weight == 0).any(dim=0)
    return Audit(
        str(checkpoint.path), checkpoint.kind, (len(checkpoint.matrices), checkpoint.total),
        tuple(layers), tuple(others), tuple(_common_columns(columns)), share, choose,
    )  # fmt: skip


def audit_matrix(entry: Entry, weight: Tensor) -> LayerAudit:
    """Count the zeros of one matrix (rows, columns), explain them, and see how they lie."""
    counts = explain(weight)
    zero = weight == 0 if counts.pruned else torch.zeros(1, 1, dtype=torch.bool)
    if counts.pruned and len(entry.shape) > 2:
        # Channels of a convolution that were added, or are never used, are zero as a whole.
        counts = explain(weight[~zero.all(dim=1)][:, ~zero.all(dim=0)])
    return LayerAudit(
        **asdict(counts),
        name=entry.name,
        shape=(weight.shape[0], weight.shape[1]),
        dtype=entry.dtype,
        repeated=repeated(weight),
        empty_rows=int(zero.all(dim=1).sum()),
        empty_columns=int(zero.all(dim=0).sum()),
        rows=scatter(zero),
        columns=scatter(zero.mT),
    )


def _common_columns(columns: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Few columns in which the zeros of all matrices of a kind lie.

    ConceptPrune's masks of cross attention are of this kind: its input is the prompt's embedding,
    the same in every layer.

    Args:
        columns: name -> bool (columns,), True where one holds a zero; of pruned matrices.
    """
    kinds: dict[tuple[str, int], list[str]] = {}
    for name, own in columns.items():
        role = re.sub(r"^.*(?:_blocks|layers)\.\d+\.", "", name)
        kinds.setdefault((role, len(own)), []).append(name)
    for (role, width), names in kinds.items():
        all_of_them = torch.stack([columns[name] for name in names])
        union, common = int(all_of_them.any(dim=0).sum()), int(all_of_them.all(dim=0).sum())
        if len(names) > 2 and union <= width / 4 and common >= 0.8 * union:
            detail = f"zeros of {len(names)} matrices lie in the same {union} of {width} columns"
            yield Finding("common columns", "", role, detail)


def _estimate(weight: Tensor, options: dict[str, Any]) -> Proportion | None:
    try:
        return estimate_sign_accuracy(weight, weight == 0, **options)
    except ValueError as error:
        if "nothing can be hidden" in str(error):  # a layer that is zero, or nearly so
            return None
        raise


def _numbers(found: Proportion | None) -> dict[str, float] | None:
    keys = ("hits", "n", "value", "low", "high")
    return None if found is None else {key: getattr(found, key) for key in keys}
