"""The laboratory: one object that makes every model of the paper and measures it.

A chapter asks for a `Variant` (pretrained, pruned, revived, obfuscated ...) and for its pictures,
accuracy or signs. `Lab.owner` has the pretrained weights and prunes, `Lab.attacker` sees the
weights of a variant and nothing else (paper Sec. 4), `Lab.measure` draws and judges. What they
compute is kept in a `rbtc.lab.store.Store`.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rbtc import layers
from rbtc.attack.completion import Completion
from rbtc.attack.sign_accuracy import SignAccuracy, count_signs
from rbtc.lab.attacker import Attacker
from rbtc.lab.judges import Judges
from rbtc.lab.measure import Measure
from rbtc.lab.owner import Owner
from rbtc.lab.pipeline_state import PipelineState
from rbtc.lab.ray_engine import ENGINE, RayEngine, engine_of
from rbtc.lab.store import Store
from rbtc.lab.variant import Variant
from rbtc.models.pipelines import default_device
from rbtc.models.profiles import Profile, load_profile
from rbtc.models.prompts import other_subjects, subject_of
from rbtc.models.subjects import Kind, Subject
from rbtc.stats import Proportion

if TYPE_CHECKING:
    from rbtc.models.detectors import Detector
    from rbtc.models.evaluate import Classifier, Clip

PRUNING = ("ratio", "calls", "reference")
"""Options of `Owner.pruned`, as opposed to those of the attack."""


class Lab:
    """Every model and every measurement of one profile.

    The pipeline is loaded when it is first needed, and the weights of a variant are written into it
    in place; write to its UNet only through `apply`.

    Args:
        profile: name, TOML path or `Profile`.
        store: where results are kept, or its folder; None takes the user's cache.
        device: where to compute; None takes the GPU where there is one.
        progress: show bars.
        pipeline: use this Stable Diffusion pipeline instead of the profile's model.
        classifier: judge of objects, instead of the profile's; style_classifier, clip (a CLIP
            model) and detector (counts pictures of restricted concepts) likewise.
        engine: draws with several workers, see `rbtc.lab.ray_engine`; None asks the environment
            variable RBTC_ENGINE, and draws in this process where it is not set.

    Attributes: owner (prunes and defends), attacker (completes and revives), measure (draws and
    judges), judges (the judges), store (what was computed).
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
        detector: Detector | None = None,
        engine: RayEngine | None = None,
    ) -> None:
        self.profile = profile if isinstance(profile, Profile) else load_profile(profile)
        self.store = store if isinstance(store, Store) else Store(store)
        self.progress = progress
        if pipeline is not None and device is None:
            device = pipeline.device
        self.device = torch.device(device or default_device())
        self._given = pipeline
        given = {
            "object": classifier,
            "style": style_classifier,
            "clip": clip,
            "detector": detector,
        }
        self.judges = Judges(self.profile, self.device, given)
        self.owner = Owner(lambda: self.pipeline_state, self.profile, self.store)
        ours = self.profile.revive
        self.attacker = Attacker(
            self.store, keep_ratio=ours.keep_ratio, double=ours.double, progress=progress
        )
        if engine is None and pipeline is None:  # workers load the profile's own model
            engine = engine_of(os.environ.get(ENGINE, ""), self.profile)
        self.measure = Measure(
            lambda: self.pipeline_state, self.judges, self.profile, self.store,
            progress=progress, engine=engine,
        )  # fmt: skip

    @cached_property
    def pipeline_state(self) -> PipelineState:
        """The model, loaded when it is first needed."""
        if self._given is None:
            return PipelineState.load(self.profile, self.device)
        return PipelineState.given(self._given)

    @property
    def pipeline(self) -> Any:
        """The pipeline, with the weights of the variant that was applied last."""
        return self.pipeline_state.pipe

    @property
    def digest(self) -> str:
        """Sha256 of the model."""
        return self.pipeline_state.digest

    @property
    def pretrained(self) -> Variant:
        """The model as it was trained."""
        return self.owner.pretrained

    @property
    def random_weights(self) -> bool:
        """Whether the model that was loaded says that nobody trained it: no result is a result."""
        return "pipeline_state" in vars(self) and self.pipeline_state.random

    def apply(self, variant: Variant) -> Any:
        """Write all matrices of a variant into the pipeline's UNet, and return the pipeline."""
        return self.pipeline_state.apply(variant)

    def restore(self) -> None:
        """Put the pretrained weights back into the pipeline."""
        self.apply(self.pretrained)

    def subject(self, name: str | Subject, kind: Kind = "object") -> Subject:
        """The concept that a name means: a paper class ("golf ball") or a word of the model.

        Raises:
            ValueError: the model knows no such concept; the message names the closest ones.
        """
        return subject_of(self.profile, name, kind)

    def others(self, subject: Subject) -> list[Subject]:
        """The profile's other classes, or other styles."""
        return other_subjects(self.profile, subject)

    def revived(self, concept: str | Subject, **options: Any) -> Variant:
        """Attack the pruned model of a concept; options of `Owner.pruned`, `Attacker.attack`."""
        pruning, rest = _split(options)
        return self.attacker.attack(self.owner.pruned(concept, **pruning), **rest)

    def completions(self, concept: str | Subject, **options: Any) -> dict[str, Completion]:
        """Completions of the pruned model of a concept; options as for `revived`."""
        pruning, rest = _split(options)
        return self.attacker.complete(self.owner.pruned(concept, **pruning), **rest)

    def density(self, concept: str | Subject, **pruning: Any) -> float:
        """Fraction of the candidate weights that ConceptPrune prunes."""
        return layers.density(self.owner.masks(concept, **pruning))

    def sign_accuracy(self, concept: str | Subject, **options: Any) -> Proportion:
        """Fraction of the pruned weights whose sign the completion finds, over all layers."""
        found = self.completions(concept, **options)
        counts = count_signs(found, self.pretrained.weights).values()
        pooled = sum(counts, SignAccuracy(0, 0))
        return Proportion(pooled.correct, pooled.n)

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
            "reference": self.profile.conceptprune.reference,
            "keep_ratio": self.profile.revive.keep_ratio,
            "reuse": self.report(),
        }


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of pruning, and the others."""
    pruning = {name: value for name, value in options.items() if name in PRUNING}
    return pruning, {name: value for name, value in options.items() if name not in PRUNING}
