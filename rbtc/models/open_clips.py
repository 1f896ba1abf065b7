"""The paper's CLIP, ViT-B/32 with OpenAI's weights, through open_clip; and painters by its word.

open_clip fetches and caches the weights; its own preprocessing and tokenizer are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rbtc.files import offline_hint
from rbtc.models.evaluate import Clip

NAME = "openai/clip-vit-base-patch32"
"""What a profile calls it."""

ZERO_SHOT = "clip-zero-shot"
"""What a profile calls the judge of painters."""

ARCHITECTURE = "ViT-B-32-quickgelu"  # OpenAI's weights were trained with the quick GELU
WEIGHTS = "openai"
SENTENCE = "a painting by {style}"


class OpenClipJudge:
    """Embeds pictures and prompts in one space, both to unit length, with an open_clip model.

    ``preprocess`` turns a PIL picture into a (3, h, w) float tensor, ``tokenizer`` prompts into
    (n, length) tokens.
    """

    def __init__(self, model: nn.Module, preprocess: Any, tokenizer: Any) -> None:
        self._model: Any = model.eval().requires_grad_(False)
        self._preprocess, self._tokenizer = preprocess, tokenizer

    def _inputs(self, images: np.ndarray) -> torch.Tensor:
        """Pictures (n, h, w, 3) uint8 as the model takes them."""
        from PIL import Image

        return torch.stack([self._preprocess(Image.fromarray(image)) for image in images])

    def _tokens(self, prompts: Sequence[str]) -> torch.Tensor:
        """Prompts as tokens (n, length)."""
        return self._tokenizer(list(prompts))

    @torch.no_grad()
    def _embedded(self, encode: Any, prepare: Any, what: Any, batch: int) -> np.ndarray:
        device = next(self._model.parameters()).device
        found = [
            F.normalize(encode(prepare(what[i : i + batch]).to(device)).float(), dim=-1).cpu()
            for i in range(0, len(what), batch)
        ]
        return torch.cat(found).numpy()

    def image_features(self, images: np.ndarray, batch: int = 128) -> np.ndarray:
        """(n, d) unit vectors of pictures (n, h, w, 3) uint8."""
        return self._embedded(self._model.encode_image, self._inputs, images, batch)

    def text_features(self, prompts: Sequence[str], batch: int = 512) -> np.ndarray:
        """(n, d) unit vectors of prompts; long ones end after the model's number of tokens."""
        return self._embedded(self._model.encode_text, self._tokens, prompts, batch)


def load_open_clip(
    device: torch.device | str = "cpu", *, weights: str | None = WEIGHTS
) -> OpenClipJudge:
    """The paper's CLIP.

    Args:
        device: where to put it.
        weights: open_clip's name for them; None takes random ones, for a test of the plumbing.

    Raises:
        FileNotFoundError: the weights are not in the cache and cannot be fetched.
    """
    import open_clip

    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            ARCHITECTURE, pretrained=weights, device=device
        )
    except Exception as error:
        # The hub's clients raise a dozen kinds of errors for "not there" and "no network".
        raise FileNotFoundError(
            f"the judge {NAME!r} could not be fetched by open_clip ({error}). {offline_hint()}Run "
            "once with a network, or set the profile's evaluation.clip to a folder"
        ) from error
    return OpenClipJudge(model, preprocess, open_clip.get_tokenizer(ARCHITECTURE))


class ZeroShotStyles:
    """Names the painter, of ``styles``, whose sentence CLIP puts nearest to a picture.

    The paper has no judge of styles; this one needs no training.

    Attributes:
        names: The styles, in column order.
    """

    def __init__(self, clip: Clip, styles: Sequence[str]) -> None:
        if not styles:
            raise ValueError("a judge of styles needs at least one style to choose from")
        self.names = list(styles)
        self._clip = clip
        sentences = [SENTENCE.format(style=style) for style in styles]
        self._sentences = np.asarray(clip.text_features(sentences))  # (styles, d)

    def _cosines(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._clip.image_features(images)) @ self._sentences.T  # (n, styles)

    def predict(self, images: np.ndarray) -> list[str]:
        """The nearest style of each picture."""
        return [self.names[i] for i in self._cosines(images).argmax(1).tolist()]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Softmax of a hundred times the cosines, CLIP's own temperature, (n, styles)."""
        logits = torch.from_numpy(100 * self._cosines(images))
        return logits.softmax(1).numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """CLIP's features, (n, d)."""
        return np.asarray(self._clip.image_features(images))
