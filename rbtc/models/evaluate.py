"""Classifier accuracy and CLIP measures (paper Sec. 5).

Objects are judged by a classifier's top-1 answer, styles by the cosine between a picture and its
prompt in CLIP's space. A judge is anything with the methods of one of the two protocols below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from rbtc.stats import Proportion


@runtime_checkable
class Classifier(Protocol):
    """Names what is in a picture. Pictures are uint8 (n, height, width, 3)."""

    @property
    def names(self) -> Sequence[str]:
        """Class names, in the order of the columns of `probabilities`."""
        ...

    def predict(self, images: np.ndarray) -> list[str]:
        """Top-1 class name of each picture."""
        ...

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities, (n, classes)."""
        ...

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features before the last layer, (n, dimensions)."""
        ...


@runtime_checkable
class Clip(Protocol):
    """Embeds pictures and prompts in one space; all features (n, dimensions) of unit length."""

    def image_features(self, images: np.ndarray) -> Any:
        """Embed pictures, uint8 (n, height, width, 3)."""
        ...

    def text_features(self, prompts: Sequence[str]) -> Any:
        """Embed prompts."""
        ...


def _unit_rows(features: Any) -> np.ndarray:
    if isinstance(features, torch.Tensor):
        features = features.detach().cpu().double().numpy()
    features = np.asarray(features, dtype=np.float64)
    # Half-precision features have unit length only to three digits.
    return features / np.linalg.norm(features, axis=1, keepdims=True)  # (n, d)


def clip_similarity(images: np.ndarray, prompts: Sequence[str] | str, clip: Clip) -> np.ndarray:
    """Cosine between each picture and its prompt in CLIP's space, in [-1, 1], (n,) float64.

    Args:
        images: uint8 (n, height, width, 3).
        prompts: One prompt per picture, or one for all.
        clip: The judge.
    """
    prompts = [prompts] * len(images) if isinstance(prompts, str) else prompts
    distinct = list(dict.fromkeys(prompts))  # hundreds of pictures often share one prompt
    index = {prompt: i for i, prompt in enumerate(distinct)}
    text = _unit_rows(clip.text_features(distinct))[[index[prompt] for prompt in prompts]]
    return (_unit_rows(clip.image_features(images)) * text).sum(axis=1)  # (n,)


def clip_score(edited: np.ndarray, pretrained: np.ndarray) -> Proportion:
    """Fraction of prompts whose picture fits worse than the pretrained model's (paper Sec. 5.2).

    Counts cos(edited) < cos(pretrained), strictly, pictures of one pair sharing prompt and seed: 0
    for the pretrained model itself, high where a concept is erased, low where it is revived. Both
    are the cosines of a model's pictures, (n,).

    Raises:
        ValueError: For a value that is not finite.
    """
    edited, pretrained = np.asarray(edited, np.float64), np.asarray(pretrained, np.float64)
    if not (np.isfinite(edited).all() and np.isfinite(pretrained).all()):
        raise ValueError("the cosines must be finite: a NaN would count as not erased")
    return Proportion(int((edited < pretrained).sum()), edited.size)
