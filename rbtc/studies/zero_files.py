"""Files of pruned models: cut in several ways, saved, read back, and what their zeros tell."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rbtc.attack.completion import Completion
from rbtc.audit.signed_zeros import count_zeros, prune_by_multiplying, read_signs
from rbtc.layers import Masks, Weights, canonicalise_zeros, prune, zero_masks
from rbtc.studies.signed_zeros import MULTIPLIED
from rbtc.studies.zero_operations import FORMATS

FILLED, CLEANED = "cut to +0.0", "w * (1 - mask), cleaned on load"
WAYS = (MULTIPLIED, FILLED, CLEANED)
"""How a file was cut, and whether its reader cleaned it as `rbtc.layers.read_weights` does."""


def _safetensors(weights: Weights, path: Path) -> Weights:
    from safetensors.torch import load_file, save_file

    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
    return load_file(path)


def _torch(weights: Weights, path: Path) -> Weights:
    torch.save(weights, path)
    return torch.load(path, weights_only=True)  # our own file, made in the line above


CONTAINERS: dict[str, Callable[[Weights, Path], Weights]] = {
    "safetensors": _safetensors,
    "torch.save": _torch,
}
"""Name -> saves the weights at a path and reads them back."""


def round_trip(weights: Weights, container: str = "safetensors") -> Weights:
    """The weights as they come out of a file, on their own devices; the file does not stay."""
    with tempfile.TemporaryDirectory() as folder:
        plain = {name: weight.detach().cpu() for name, weight in weights.items()}
        found = CONTAINERS[container](plain, Path(folder) / "weights")
    return {name: weight.to(weights[name].device) for name, weight in found.items()}


def file_lines(original: Weights, masks: Masks) -> pd.DataFrame:
    """What the zeros of every kind of file tell of the same cut.

    Returns:
        One line per way, number format and container: places (cut weights that have a sign),
        misplaced (cut weights that are not zero in the file, and zeros that neither were cut nor
        zero before), right (signs), plus (signs that are positive: what "always plus" gets right),
        negative (-0.0 among the zeros).
    """
    lines = []
    for title, dtype in FORMATS.items():
        weights = {name: weight.to(dtype) for name, weight in original.items()}
        cuts = {MULTIPLIED: prune_by_multiplying(weights, masks), FILLED: prune(weights, masks)}
        for container in CONTAINERS:
            read = {way: round_trip(cut, container) for way, cut in cuts.items()}
            read[CLEANED] = {n: canonicalise_zeros(w) for n, w in read[MULTIPLIED].items()}
            lines += [
                {"way": way, "format": title, "container": container,
                 **_told(read[way], weights, masks)}
                for way in WAYS
            ]  # fmt: skip
    return pd.DataFrame(lines).sort_values("way", key=lambda x: x.map(WAYS.index), kind="stable")


def _told(read: Weights, weights: Weights, masks: Masks) -> dict[str, int]:
    counts = dict.fromkeys(("places", "misplaced", "right", "plus"), 0)
    zeros = zero_masks(read)
    for name, mask in masks.items():
        signed = mask & (weights[name] != 0)  # a weight too small for the format has no sign
        signs, truth = read_signs(read[name])[signed], torch.sign(weights[name][signed])
        counts["places"] += int(signed.sum())
        counts["misplaced"] += int((zeros[name] ^ (mask | (weights[name] == 0))).sum())
        counts["right"] += int((signs.to(truth) == truth).sum())
        counts["plus"] += int((truth > 0).sum())
    negative = sum(layer.negative_zeros for layer in count_zeros(read).values())
    return {**counts, "negative": negative}


# ---- a piece to look at -------------------------------------------------------------------------


def sign_patch(
    weight: Tensor, mask: Tensor, guess: Completion, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Signs of the piece of a matrix with the most cut weights, as `rbtc.report.sign_maps` asks.

    Args:
        weight: (rows, columns), before the cut.
        mask: bool of the same shape, True = cut.
        guess: what completion makes of the pruned matrix.
        size: rows and columns of the piece.
    """
    top, left = _densest(mask, size)
    piece = (slice(top, top + size[0]), slice(left, left + size[1]))
    cuts = (prune_by_multiplying({"w": weight}, {"w": mask}), prune({"w": weight}, {"w": mask}))
    leaking, fixed = (read_signs(round_trip(cut)["w"]) for cut in cuts)
    panels = {
        "before the cut": torch.sign(weight),
        "guessed": torch.sign(guess.dense(torch.zeros_like(weight))),
        "read from the file": leaking,
        "read after the fix": fixed,
    }
    return {
        title: signs.float().masked_fill(~mask, float("nan"))[piece].cpu().numpy()
        for title, signs in panels.items()
    }


def _densest(mask: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner of the window with the most True entries, the first of equals."""
    height, width = (min(wanted, own) for wanted, own in zip(size, mask.shape, strict=True))
    counts = torch.nn.functional.avg_pool2d(mask[None].double(), (height, width), stride=1)[0]
    place = int(counts.argmax())
    return place // counts.shape[1], place % counts.shape[1]


def stored_bytes(weight: Tensor, mask: Tensor, n: int = 6) -> pd.DataFrame:
    """What half-precision files hold at the first cut places, most significant byte first."""
    half = weight.half()
    leaking = prune_by_multiplying({"w": half}, {"w": mask})["w"]
    rows, columns = (index[:n].tolist() for index in mask.nonzero(as_tuple=True))
    lines = [
        {"row": row, "column": column, "weight before": f"{float(weight[row, column]):+.4f}",
         "stored before": _hex(half[row, column]),
         MULTIPLIED: _hex(leaking[row, column]),
         FILLED: _hex(canonicalise_zeros(leaking[row, column]))}
        for row, column in zip(rows, columns, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(lines)


def _hex(value: Tensor) -> str:
    return f"{int(value.view(torch.int16)) & 0xFFFF:04x}"
