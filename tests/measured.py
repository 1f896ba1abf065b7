"""Every chapter's measurement at counts that a tiny pipeline draws in seconds, and its judges."""

from __future__ import annotations

from typing import Any

import numpy as np
from stubs import PROFILE, Judge

from rbtc.studies.stronger_attack import Way

TWO = ["church", "golf ball"]
SIGMAS = (1e-6, 1e-2, 1e-1)
WAY = Way("neuron_average", 0.8)
"""How chapter 14 gives magnitudes here."""

SMALL: dict[str, dict[str, Any]] = {
    "00_overview": {"concepts": TWO, "images": 3, "other_images": 2, "pictures": 2},
    "01_sign_vs_magnitude": {"concepts": TWO, "images": 3, "draw_seeds": [7]},
    "02_matrix_completion": {"concepts": TWO[::-1], "images": 2, "iterations": 4},
    "03_topk_alignment": {"concepts": TWO[::-1], "images": 2, "shown": (0.2, 1.0)},
    "04_nms_ablations": {
        "concepts": ["golf ball", "bus"], "images": 3, "sweep": ["church", "bus"],
        "keep_ratios": [1.0, 0.5], "pictures": 1,
    },
    "05_defense": {
        "concepts": TWO[::-1], "preserved_for": TWO, "sigmas": SIGMAS, "variances": (1e-2,),
        "images": 3, "shown": 2,
    },
    "06_art": {
        "concepts": ["openmoji", "twemoji"], "images": 3, "neutral_images": 4, "pictures": 1,
    },
    "07_nsfw": {
        "concepts": [], "images": 3, "keep_ratios": [0.6], "prompts": 2, "words": 2,
        "candidates": 8,
    },
    "08_objects": {
        "concepts": TWO, "images": 3, "other_images": 2, "other_classes": 1, "draw_seeds": [1, 2],
    },
    "09_saliency": {
        "concepts": ["golf ball", "bus"], "images": 2, "pictures": 1, "budgets": [0.25],
        "forget": 2, "passes": 1,
    },
    "12_signed_zeros": {"concepts": TWO, "images": 3},
    "13_audit": {"concepts": TWO, "factors": (0.5, 1.0), "share": 0.1},
    "14_stronger_attack": {"concepts": TWO, "images": 2},
    "15_honest_attacker": {
        "concepts": TWO[::-1], "sigmas": (1e-6, 1e-2), "hidings": ("layer", "correlated"),
        "images": 2, "other_classes": 1,
    },
    "16_several_concepts": {
        "concepts": ["church", "golf ball", "school bus"], "counts_together": (1, 2), "images": 2,
        "guesses": 3, "word_images": 2, "coins": True,
    },
    "92_explorers": {
        "concepts": TWO, "keep_ratios": [1.0, 0.6], "ratios": [0.1, 0.3], "sigmas": [1e-6, 1.0],
    },
}  # fmt: skip


class Features(Judge):
    """The judge with features: some of the pixels."""

    def features(self, images):
        return images.reshape(len(images), -1)[:, ::1500].astype(np.float32) / 255 + 1


class StyleJudge(Judge):
    names = tuple(PROFILE.styles)


class Clip:
    """Pictures are some of their pixels, texts are drawn by their length."""

    digest = "pixels"

    def image_features(self, images):
        rows = images.reshape(len(images), -1)[:, ::900].astype(float) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def text_features(self, prompts):
        rows = np.array([np.random.default_rng(len(p)).random(14) for p in prompts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
