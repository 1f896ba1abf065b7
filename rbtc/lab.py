"""The laboratory: one object that makes every model of the paper and measures it.

A chapter asks for a `Variant` (the pretrained weights, pruned, revived, obfuscated ...) and for
what it does: its pictures, its accuracy, its signs. The lab only puts the other modules together,
and keeps what they computed in a `rbtc.runs.Store`, so a second run reads instead of computing.

Two roles are kept apart. Pruning, the idealised study and sign accuracy belong to the model's owner
and use the pretrained weights. The attack (`Lab.attack`, and all that calls it) sees the pruned
weights and nothing else: no pretrained weight, no mask, no prompt, no picture (paper Sec. 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rbtc import attacks, measurements, variants
from rbtc.judging import Judges
from rbtc.model import Model
from rbtc.pipelines import default_device
from rbtc.profiles import Profile, load_profile
from rbtc.prompts import concept_word
from rbtc.runs import Store, canonical
from rbtc.variants import Variant

if TYPE_CHECKING:
    from rbtc.evaluate import Classifier, Clip

__all__ = ["Lab", "Variant"]

_MEMORY = 24  # masks and completions kept in memory; on the paper's model each takes some 50 MB


class Lab:
    """Every model and every measurement of one profile.

    The pipeline is loaded when it is first needed. There is one, and the weights of a variant are
    written into it in place; write to its UNet only through `apply`.

    Args:
        profile: name, TOML path or `Profile`.
        store: where results are kept, or its folder; None takes the user's cache.
        device: where to compute; None takes the GPU where there is one.
        progress: show bars.
        pipeline: use this Stable Diffusion pipeline instead of the profile's model.
        classifier: judge of objects, instead of the profile's.
        style_classifier: judge of styles, likewise.
        clip: CLIP model, likewise.
    """

    def __init__(
        self,
        profile: str | Path | Profile = "mini",
        *,
        store: Store | str | Path | None = None,
        device: str | torch.device | None = None,
        progress: bool = True,
        pipeline: Any = None,
        classifier: Classifier | None = None,
        style_classifier: Classifier | None = None,
        clip: Clip | None = None,
    ) -> None:
        self.profile = profile if isinstance(profile, Profile) else load_profile(profile)
        self.store = store if isinstance(store, Store) else Store(store)
        self.progress = progress
        if pipeline is not None and device is None:
            device = pipeline.device
        self.device = torch.device(device or default_device())
        self._given = pipeline
        given = {"object": classifier, "style": style_classifier, "clip": clip}
        self.judges = Judges(self.profile, self.device, given)
        self._memory: dict[str, Any] = {}

    # ---- the model ----------------------------------------------------------------------------

    @cached_property
    def model(self) -> Model:
        """The model, loaded when it is first needed."""
        if self._given is None:
            return Model.load(self.profile, self.device)
        return Model.given(self._given)

    @property
    def pipeline(self) -> Any:
        """The pipeline, with the weights of the variant that was applied last."""
        return self.model.pipe

    @property
    def digest(self) -> str:
        """Sha256 of the model."""
        return self.model.digest

    @property
    def pretrained(self) -> Variant:
        """The model as it was trained."""
        dtype = str(self.pipeline.unet.dtype)
        config = {"kind": "pretrained", "model": self.digest, "dtype": dtype}
        return Variant("pretrained", config, self.model.weights)

    def apply(self, variant: Variant) -> Any:
        """Write all matrices of a variant into the pipeline's UNet, and return the pipeline."""
        return self.model.apply(variant)

    def restore(self) -> None:
        """Put the pretrained weights back into the pipeline."""
        self.apply(self.pretrained)

    def concept(self, name: str) -> str:
        """The model's word for a paper class ("golf ball") or for a word of its own.

        Raises:
            ValueError: the model knows no such concept; the message names the closest ones.
        """
        return concept_word(self.profile, name)

    # ---- the owner's side ---------------------------------------------------------------------

    custom = variants.custom
    masks = variants.masks
    pruned = variants.pruned
    idealised = variants.idealised
    quantized = variants.quantized
    obfuscated = variants.obfuscated

    # ---- the attacker's side ------------------------------------------------------------------

    attack = attacks.attack
    complete = attacks.complete
    completions = attacks.completions
    revived = attacks.revived
    guess = attacks.guess
    attack_obfuscated = attacks.attack_obfuscated

    # ---- what a variant does ------------------------------------------------------------------

    images = measurements.images
    images_many = measurements.images_many
    predictions = measurements.predictions
    accuracy = measurements.accuracy
    preserved = measurements.preserved
    similarity = measurements.similarity
    clip_score = measurements.clip_score
    density = measurements.density
    sign_accuracy = measurements.sign_accuracy
    layer_frame = measurements.layer_frame

    # ---- what happened ------------------------------------------------------------------------

    def report(self) -> str:
        """How much was read from the store instead of computed."""
        return self.store.report()

    def info(self) -> dict[str, Any]:
        """What a page needs to say about how its numbers were made."""
        pipe = self.pipeline
        return {
            "profile": self.profile.name,
            "model": self.profile.model if self._given is None else "given pipeline",
            "model_digest": self.digest,
            "device": str(self.device),
            "dtype": str(pipe.unet.dtype).removeprefix("torch."),
            "scheduler": type(pipe.scheduler).__name__,
            "steps": self.profile.steps,
            "guidance": self.profile.guidance,
            "ratio": self.profile.conceptprune.ratio,
            "calls": self.profile.conceptprune.calls,
            "keep_ratio": self.profile.revive.keep_ratio,
            "reuse": self.report(),
        }

    def remember(self, config: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """What `make` gives, kept in memory under a configuration; the oldest give way."""
        key = canonical(config)
        if key not in self._memory:
            value = make()
            while len(self._memory) >= _MEMORY:
                del self._memory[next(iter(self._memory))]
            self._memory[key] = value
        return self._memory[key]
