"""One pipeline, into which the weights of any variant are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from rbtc.lab.digests import canonical, model_digest, tensors_digest
from rbtc.lab.variant import Variant
from rbtc.layers import Weights, read_weights
from rbtc.matrices import LayerKind, find_matrices, read_matrices, write_matrices
from rbtc.models.generate import generate, latent_shape
from rbtc.models.pipelines import check_unet, load_pipeline
from rbtc.models.profiles import Profile
from rbtc.models.sd15 import is_random


class PipelineState:
    """A pipeline and what identifies it.

    Attributes:
        pipe: A Stable Diffusion pipeline, with the weights of the variant that was applied last.
        digest: Sha256 of the model.
        random: Whether its folder says that its weights are random numbers.
        weights: The pretrained feed-forward output matrices.
    """

    def __init__(self, pipe: Any, digest: str) -> None:
        self.pipe = pipe
        self.digest = digest
        folder = str(getattr(pipe, "name_or_path", "") or "")
        self.random = bool(folder) and is_random(folder)
        self.weights: Weights = read_weights(pipe.unet)
        self._others: Weights = {}  # further pretrained matrices, as far as anyone asked
        self._applied: str | None = None

    @classmethod
    def load(cls, profile: Profile, device: torch.device) -> PipelineState:
        """The profile's model."""
        pipe = load_pipeline(profile, device)
        return cls(pipe, model_digest(pipe.name_or_path))

    @classmethod
    def given(cls, pipe: Any) -> PipelineState:
        """A pipeline that came as an object.

        Raises:
            ValueError: its UNet has no feed-forward output matrix.
        """
        check_unet(getattr(pipe, "unet", None), "the given pipeline")
        return cls(pipe, _pipeline_digest(pipe))

    def matrices(self, kinds: Sequence[LayerKind]) -> Weights:
        """The pretrained matrices of these kinds of layers, see `rbtc.matrices.find_matrices`."""
        names = list(find_matrices(self.pipe.unet, kinds))
        self._keep(names)
        known = {**self._others, **self.weights}
        return {name: known[name] for name in names}

    def _keep(self, names: Iterable[str]) -> None:
        # Nothing writes to a matrix before it is kept, so what is read here is as it was trained.
        new = [name for name in names if name not in self.weights and name not in self._others]
        self._others |= read_matrices(self.pipe.unet, new)

    def apply(self, variant: Variant) -> Any:
        """Write all matrices of a variant into the UNet, and return the pipeline.

        Matrices that an earlier variant changed and this one does not name are as trained again.
        """
        if self._applied != variant.key:
            self._keep(variant.weights)
            self._applied = None  # a write that fails half-way leaves neither the old nor the new
            write_matrices(self.pipe.unet, {**self._others, **self.weights, **variant.weights})
            self._applied = variant.key
        return self.pipe

    def draw(
        self, variant: Variant, profile: Profile, prompts: list[str], seeds: list[int]
    ) -> np.ndarray:
        """Pictures of a variant by the profile's settings, uint8 (n, h, w, 3)."""
        return generate(
            self.apply(variant),
            prompts,
            seeds,
            batch_size=profile.drawn_at_once(self.pipe.device),
            steps=profile.steps,
            guidance=profile.guidance,
        )

    def sampler(self, profile: Profile) -> dict[str, Any]:
        """What a picture depends on apart from model, weights, prompt and seed."""
        settings = {
            # DPM-Solver's default lambda_min_clipped is -inf, which JSON does not know.
            k: repr(v) if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in dict(self.pipe.scheduler.config).items()
            if not k.startswith("_")
        }
        return {
            "steps": profile.steps,
            "guidance": profile.guidance,
            "scheduler": {"class": type(self.pipe.scheduler).__name__, **settings},
            "latent": list(latent_shape(self.pipe)),
            "dtype": str(self.pipe.unet.dtype),
        }


def _pipeline_digest(pipe: Any) -> str:
    """Identity of a pipeline that came as an object: its weights, its configs, its vocabulary."""
    parts = {
        name: tensors_digest(getattr(pipe, name).state_dict())
        for name in ("unet", "vae", "text_encoder")
    }
    vocab = canonical(pipe.tokenizer.get_vocab())
    settings = {k: v for k, v in dict(pipe.vae.config).items() if not k.startswith("_")}
    text = canonical({"parts": parts, "vocabulary": vocab, "vae": str(sorted(settings.items()))})
    return tensors_digest({"text": torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)})
