"""Which concept was erased? An attacker's answer from pictures alone (BEYOND 7).

The attacker holds the pruned model and the revived one that the attack makes of it. Both draw a
vocabulary of words with the same seeds. A word whose pictures the attack changes most is taken for
the erased one. Nothing here sees the pretrained model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rbtc.layers import Masks, Weights


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Features (n, d) scaled to unit length in float64.

    Raises:
        ValueError: another shape, NaN or infinity, or a row of zeros, which has no direction.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"expected features (n, d) with n > 0, got {rows.shape}")
    length = np.linalg.norm(rows, axis=1, keepdims=True)  # (n, 1)
    if not np.isfinite(length).all() or not length.all():
        raise ValueError("features must be finite and no row all zero: one has no direction")
    return rows / length


def feature_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far each picture moved: one minus the cosine of its features, (n,) in [0, 2].

    Args:
        before: (n, d) features of the pruned model's pictures.
        after: (n, d) features of the revived model's, same prompts and seeds.

    Raises:
        ValueError: unequal shapes, or features without a direction.
    """
    first, second = unit_rows(before), unit_rows(after)
    if first.shape != second.shape:
        raise ValueError(f"expected features of one shape, got {first.shape} and {second.shape}")
    return 1 - (first * second).sum(axis=1)


def rank(scores: Mapping[str, float], word: str) -> int:
    """Place of a word in the attacker's list, 1 = most suspect. Ties count against the attacker.

    Raises:
        ValueError: the word is not in the vocabulary, or a score is NaN.
    """
    if word not in scores:
        raise ValueError(f"{word!r} is none of the {len(scores)} words of the vocabulary")
    if any(value != value for value in scores.values()):
        raise ValueError("scores must not be NaN")
    own = scores[word]
    return 1 + sum(value >= own for other, value in scores.items() if other != word)


def identified(scores: Mapping[str, float], erased: Collection[str]) -> list[bool]:
    """Of k erased words, which stand among the k most suspect ones.

    Blind guessing finds each with probability k over the size of the vocabulary.
    """
    return [rank(scores, word) <= len(erased) for word in erased]


def random_signs(revived: Weights, missing: Masks, *, seed: int = 0) -> Weights:
    """The revived weights with a coin's sign at every place that the attack filled.

    The attacker's control: it disturbs the model at the same entries and as strongly, but knows
    nothing. What it changes in a word's pictures is how fragile they are.

    Args:
        revived: weight name -> (rows, columns).
        missing: weight name -> bool (rows, columns), where the pruned model was zero.
        seed: of the coins, one generator for all layers in the order of their names.

    Raises:
        ValueError: layers or shapes differ.
    """
    import torch

    from rbtc.layers import check_same_layers

    check_same_layers(revived, missing)
    generator = torch.Generator().manual_seed(seed)
    tossed = {}
    for name in sorted(revived):
        weight = revived[name].detach()
        heads = torch.rand(weight.shape, generator=generator) < 0.5
        signed = torch.where(heads.to(weight.device), weight.abs(), -weight.abs())
        tossed[name] = torch.where(missing[name].to(weight.device) & (weight != 0), signed, weight)
    return tossed
