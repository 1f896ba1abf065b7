"""How far one set of pictures is from another: Fréchet distances of a network's features.

The paper's FID (Sec. 5.3, Table 2) is this distance with the features of an Inception network and
tens of thousands of pictures. A FID is only comparable with one of the same layer, the same numbers
of pictures and the same implementation, and the paper states none of them (METHOD 7.3); so all of
them stand in the result. With fewer pictures than the layer has features it is far too large,
whatever the pictures show.

For 64 x 64 emoji the features are those of the concept judge: these numbers have a scale of their
own and must not be called FID, nor be compared with one.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from rbtc.models.evaluate import Classifier

NAME = "Fréchet distance of judge features"
"""What the book calls it."""

BATCH = 128

Layer = Literal[64, 192, 768, 2048]
"""Inception's feature layers, by their width; FID without further words means the last."""


@dataclass(frozen=True)
class Fid:
    """A distance and all it depends on.

    value: the distance. layer: width of the feature layer. n, n_reference: pictures judged, and
    real ones they were held against. library: implementation with versions.
    """

    value: float
    layer: int
    n: int
    n_reference: int
    library: str

    @property
    def biased(self) -> bool:
        """Whether a set has too few pictures for the layer: the value then says little."""
        return min(self.n, self.n_reference) <= self.layer

    @property
    def row(self) -> dict[str, Any]:
        """One line of a table."""
        named = asdict(self)
        return {"FID": named.pop("value"), **named, "biased": self.biased}


def fid(
    images: Iterable[np.ndarray],
    reference: Iterable[np.ndarray],
    *,
    layer: Layer = 2048,
    extractor: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Fid:
    """FID of two streams of pictures, batch by batch, so that any number fits.

    Args:
        images: batches of pictures, uint8 (n, height, width, 3).
        reference: batches of real pictures, likewise.
        layer: Inception's feature layer.
        extractor: another network in Inception's place, pictures (n, 3, h, w) uint8 to features
            (n, d), with an attribute ``num_features`` (d); its name stands in the result.
        device: where to compute features.

    Raises:
        ImportError: torchmetrics or torch-fidelity is not installed.
        FileNotFoundError: Inception's weights cannot be fetched.
        ValueError: fewer than two pictures in a set, or a batch of another kind.
    """
    metric, library = _metric(layer, extractor)
    metric = metric.to(device)
    counts = [0, 0]
    for place, (batches, real) in enumerate(((reference, True), (images, False))):
        for batch in batches:
            if batch.ndim != 4 or batch.shape[-1] != 3 or batch.dtype != np.uint8:
                raise ValueError(
                    f"expected pictures (n, height, width, 3) uint8, got {batch.shape} "
                    f"{batch.dtype}"
                )
            part = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).to(device)
            metric.update(part, real=real)
            counts[place] += len(batch)
    if min(counts) < 2:
        raise ValueError(f"FID needs two pictures or more in each set, got {counts[::-1]}")
    width = int(extractor.num_features) if extractor is not None else layer  # pyright: ignore
    # Rounding can leave a tiny negative where two sets are equal.
    return Fid(max(float(metric.compute()), 0.0), width, counts[1], counts[0], library)


def need_torchmetrics() -> None:
    """Say how to get torchmetrics where it is missing, before any picture is drawn.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import torchmetrics.image.fid  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"FID and the {NAME} need torchmetrics, an optional dependency: install it with "
            "`pip install 'rbtc[fid]'`"
        ) from error


def _metric(layer: Layer, extractor: nn.Module | None) -> tuple[Any, str]:
    need_torchmetrics()
    from torchmetrics.image.fid import FrechetInceptionDistance

    library = f"torchmetrics {importlib.metadata.version('torchmetrics')}"
    if extractor is not None:
        return FrechetInceptionDistance(feature=extractor), f"{library}, {type(extractor).__name__}"
    try:
        metric = FrechetInceptionDistance(feature=layer)
        library += f", torch-fidelity {importlib.metadata.version('torch-fidelity')} Inception"
    except ModuleNotFoundError as error:
        raise ImportError(
            f"FID's Inception network comes with torch-fidelity ({error}): pip install 'rbtc[fid]'"
        ) from error
    except (OSError, RuntimeError) as error:  # no network, no space, a wrong checksum
        raise FileNotFoundError(
            f"FID's Inception weights could not be fetched by torch-fidelity ({error}): run once "
            f"with a network; they are kept in {torch.hub.get_dir()}/checkpoints"
        ) from error
    return metric, library


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
