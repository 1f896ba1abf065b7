"""Accuracies and CLIP measures with judges whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rbtc.models.evaluate import Classifier, Clip, clip_score, clip_similarity
from rbtc.stats import Proportion


class Brightness:
    """Calls a picture by its first pixel's red value."""

    names = ("church", "French horn", "golf ball")

    def probabilities(self, images):
        return np.eye(3)[images[:, 0, 0, 0]]

    def predict(self, images):
        return [self.names[value] for value in images[:, 0, 0, 0]]

    def features(self, images):
        return self.probabilities(images)


class Angles:
    """Pictures point along their first pixel's (red, green); "x" and "y" along the axes."""

    def __init__(self, kind=np.asarray, length=1.0):
        self.kind, self.length, self.asked = kind, length, []

    def image_features(self, images):
        pixels = images[:, 0, 0, :2].astype(np.float32)
        return self.kind(self.length * pixels / np.linalg.norm(pixels, axis=1, keepdims=True))

    def text_features(self, prompts):
        self.asked.append(list(prompts))
        axes = {"x": (1.0, 0.0), "y": (0.0, 1.0)}
        return self.kind(np.array([axes[prompt] for prompt in prompts], dtype=np.float32))


def pictures(*pixels) -> np.ndarray:
    images = np.zeros((len(pixels), 4, 4, 3), dtype=np.uint8)
    for image, pixel in zip(images, pixels, strict=True):
        image[0, 0, : len(pixel)] = pixel
    return images


def test_the_judges_follow_the_protocols():
    assert isinstance(Brightness(), Classifier) and isinstance(Angles(), Clip)
    assert not isinstance(Angles(), Classifier)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, lambda x: torch.tensor(x).half()])
def test_similarity_is_the_cosine_for_arrays_and_tensors(kind):
    clip = Angles(kind, length=0.999)  # nearly unit length, as half precision leaves it
    images = pictures((3, 4), (3, 4), (1, 0), (0, 9))
    found = clip_similarity(images, ["x", "y", "x", "x"], clip)
    assert found.shape == (4,) and found.dtype == np.float64
    np.testing.assert_allclose(found, [0.6, 0.8, 1.0, 0.0], atol=1e-3)
    assert clip.asked == [["x", "y"]]  # each prompt embedded once
    np.testing.assert_allclose(clip_similarity(images, "y", clip), [0.8, 0.8, 0, 1], atol=1e-3)


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1, 1)))
def test_clip_score_of_a_model_against_itself_is_zero(cosines):
    assert clip_score(cosines, cosines) == Proportion(0, cosines.size)
    assert clip_score(cosines - 0.1, cosines).value == 1
    assert clip_score(cosines + 0.1, cosines).value == 0


def test_clip_score_counts_strictly():
    score = clip_score(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.2, 0.2, 0.5]))
    assert score == Proportion(2, 4)


def test_cosines_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="must be finite"):
        clip_score([float("nan")], [0.1])
