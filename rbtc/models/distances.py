"""How far one set of pictures is from another: the Fréchet distance of a judge's features.

The paper's FID (Sec. 5.3) is this distance with the features of an Inception network and tens of
thousands of pictures. For 64 x 64 emoji the features are those of the concept judge: these numbers
have a scale of their own and must not be called FID, nor be compared with one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rbtc.models.evaluate import Classifier
from rbtc.models.fid import fid

NAME = "Fréchet distance of judge features"
"""What the book calls it."""

BATCH = 128


class JudgeFeatures(nn.Module):
    """A judge as the feature module that torchmetrics asks for.

    Takes pictures (n, 3, h, w) uint8 and gives the judge's features before its last layer, (n, d)
    float32.
    """

    def __init__(self, judge: Classifier, num_features: int) -> None:
        """Wrap a judge; torchmetrics reads ``num_features``, the d of its features."""
        super().__init__()
        self.judge, self.num_features = judge, num_features

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See the class."""
        images = pictures.permute(0, 2, 3, 1).cpu().numpy()
        return torch.as_tensor(np.asarray(self.judge.features(images)), dtype=torch.float32)


def need_torchmetrics() -> None:
    """Say how to get torchmetrics where it is missing, before any picture is drawn.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import torchmetrics.image.fid  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"the {NAME} needs torchmetrics, an optional dependency: install it with "
            "`pip install 'rbtc[fid]'`"
        ) from error


def frechet_of_pictures(images: np.ndarray, reference: np.ndarray, judge: Classifier) -> float:
    """Fréchet distance between two sets of pictures in a judge's features, by torchmetrics.

    ``images`` are uint8 (n, height, width, 3) and ``reference`` (m, height, width, 3). With fewer
    pictures than features the distance is too large: compare only numbers that have the same n.

    Raises:
        ValueError: fewer than two pictures in a set.
        ImportError: torchmetrics is not installed.
    """
    d = int(np.asarray(judge.features(reference[:1])).shape[1])
    parts = (
        [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        for pictures in (images, reference)
    )
    return fid(*parts, extractor=JudgeFeatures(judge, d)).value


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """The same distance from features (n, d) and (m, d), fast enough for hundreds of resamples.

    With centred features ``A`` and ``B``, scaled so that the covariances are ``A'A`` and ``B'B``,
    tr((A'A B'B)^(1/2)) is the sum of the singular values of ``A B'``: a matrix of pictures by
    pictures instead of features by features. n and m are at least 2.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shift = a.mean(axis=0) - b.mean(axis=0)  # (d,)
    a = (a - a.mean(axis=0)) / np.sqrt(len(a) - 1)
    b = (b - b.mean(axis=0)) / np.sqrt(len(b) - 1)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()  # of (n, m)
    return float(max((shift**2).sum() + (a**2).sum() + (b**2).sum() - 2 * shared, 0.0))
