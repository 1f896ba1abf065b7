"""The laboratory: one object that makes every model of the paper and measures it.

A chapter asks for a `Variant` (the pretrained weights, pruned, revived, obfuscated ...) and for
what it does: its pictures, its accuracy, its signs. The lab only puts the other modules together,
and keeps what they computed in a `rbtc.runs.Store`, so a second run reads instead of computing.

Two roles are kept apart. Pruning, the idealised study and sign accuracy belong to the model's owner
and use the pretrained weights. The attack (`Lab.attack`, and all that calls it) sees the pruned
weights and nothing else: no pretrained weight, no mask, no prompt, no picture (paper Sec. 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from rbtc.completion import (
    Completion,
    SignAccuracy,
    complete_all,
    count_signs,
    sign_accuracy_by_layer,
)
from rbtc.conceptprune import ConceptPruneConfig, Norms, collect_norms, concept_masks, prune
from rbtc.defense import budget_attack, obfuscate, threshold_attack
from rbtc.generate import generate, latent_shape
from rbtc.layers import Masks, Weights, density, layer_table, read_weights, write_weights
from rbtc.magnitudes import idealised
from rbtc.profiles import (
    Profile,
    check_unet,
    default_device,
    load_pipeline,
    load_profile,
)
from rbtc.prompts import (
    Kind,
    Reference,
    choose,
    concept_word,
    evaluation_prompt,
    prompt_pairs,
    style_prompts,
    vocabulary,
)
from rbtc.quantize import quant_recover
from rbtc.revive import revive
from rbtc.runs import Store, canonical, code_digest, model_digest, tensors_digest
from rbtc.stats import Proportion

if TYPE_CHECKING:
    from rbtc.evaluate import Classifier, Clip

_PRUNING = ("ratio", "calls", "reference", "kind")
_MEMORY = 24  # masks and completions kept in memory; on the paper's model each takes some 50 MB


@dataclass(frozen=True, eq=False)
class Variant:
    """A set of weights with a name for figures, and the configuration that identifies it exactly.

    Equal configurations mean equal weights: pictures are filed under ``config``. For weights made
    outside the lab, let `Lab.custom` write it.
    """

    label: str
    config: Mapping[str, Any]
    weights: Weights

    @property
    def key(self) -> str:
        """Canonical text of the configuration."""
        return canonical(self.config)


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
        self._judges: dict[str, Any] = {
            "object": classifier, "style": style_classifier, "clip": clip,
        }  # fmt: skip
        self._given_judges = {kind for kind, judge in self._judges.items() if judge is not None}
        self._identities: dict[str, str] = {}
        self._applied: str | None = None
        self._memory: dict[str, Any] = {}

    # ---- the model ----------------------------------------------------------------------------

    @cached_property
    def _model(self) -> tuple[Any, str, Weights]:
        """Pipeline, digest of the model, pretrained weights as they were before any pruning."""
        if self._given is None:
            pipe = load_pipeline(self.profile, self.device)
            digest = model_digest(pipe.name_or_path)
        else:
            pipe = self._given
            check_unet(getattr(pipe, "unet", None), "the given pipeline")
            digest = _pipeline_digest(pipe)
        return pipe, digest, read_weights(pipe.unet)

    @property
    def pipeline(self) -> Any:
        """The pipeline, with the weights of the variant that was applied last."""
        return self._model[0]

    @property
    def digest(self) -> str:
        """Sha256 of the model."""
        return self._model[1]

    def apply(self, variant: Variant) -> Any:
        """Write all matrices of a variant into the pipeline's UNet, and return the pipeline."""
        pipe = self.pipeline
        if self._applied != variant.key:
            self._applied = None  # a write that fails half-way leaves neither the old nor the new
            write_weights(pipe.unet, {**self._model[2], **variant.weights})
            self._applied = variant.key
        return pipe

    def restore(self) -> None:
        """Put the pretrained weights back into the pipeline."""
        self.apply(self.pretrained)

    def _sampler(self) -> dict[str, Any]:
        """What a picture depends on apart from model, weights, prompt and seed."""
        pipe = self.pipeline
        settings = {
            # DPM-Solver's default lambda_min_clipped is -inf, which JSON does not know.
            k: repr(v) if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in dict(pipe.scheduler.config).items()
            if not k.startswith("_")
        }
        return {
            "steps": self.profile.steps,
            "guidance": self.profile.guidance,
            "scheduler": {"class": type(pipe.scheduler).__name__, **settings},
            "latent": list(latent_shape(pipe)),
            "dtype": str(pipe.unet.dtype),
        }

    # ---- words --------------------------------------------------------------------------------

    def concept(self, name: str) -> str:
        """The model's word for a paper class ("golf ball") or for a word of its own.

        Raises:
            ValueError: the model knows no such concept; the message names the closest ones.
        """
        return concept_word(self.profile, name)

    def _name(self, concept: str, kind: Kind) -> str:
        if kind == "object":
            return self.concept(concept)
        if kind == "style":
            return choose(concept, vocabulary(self.profile, "styles"), "style")
        return concept

    # ---- the owner's side: pretrained, pruned, idealised, quantised, obfuscated ------------------

    @property
    def pretrained(self) -> Variant:
        """The model as it was trained."""
        pipe, digest, weights = self._model
        config = {"kind": "pretrained", "model": digest, "dtype": str(pipe.unet.dtype)}
        return Variant("pretrained", config, weights)

    def custom(self, label: str, weights: Weights) -> Variant:
        """A variant with weights made elsewhere, identified by a digest of the weights."""
        config = {"kind": "custom", "model": self.digest, "weights": tensors_digest(weights)}
        return Variant(label, config, weights)

    def masks(self, concept: str, **pruning: Any) -> Masks:
        """Which weights ConceptPrune cuts for a concept, True = cut; options as for `pruned`."""
        return self._prune(concept, **pruning)[1]

    def pruned(
        self,
        concept: str,
        *,
        ratio: float | None = None,
        calls: int | None = None,
        reference: Reference | None = None,
        kind: Kind = "object",
    ) -> Variant:
        """The model after ConceptPrune (paper Sec. 5.1): the concept's weights are +0.0.

        Args:
            concept: a paper class or a word of the model; a style, or "nudity", with its ``kind``.
            ratio: share of each row that is a candidate at each UNet call; None: the profile's.
            calls: UNet calls united, from the noisiest; None: the profile's.
            reference: see `rbtc.prompts.prompt_pairs`; None: the profile's.
            kind: "object", "style" or "nudity".
        """
        config, masks = self._prune(
            concept, ratio=ratio, calls=calls, reference=reference, kind=kind
        )
        label = f"pruned ({self._name(concept, kind)})"
        return Variant(label, config, prune(self.pretrained.weights, masks))

    def _prune(
        self,
        concept: str,
        *,
        ratio: float | None = None,
        calls: int | None = None,
        reference: Reference | None = None,
        kind: Kind = "object",
    ) -> tuple[dict[str, Any], Masks]:
        target, bare = prompt_pairs(self.profile, concept, kind, reference)
        ours = self.profile.conceptprune
        if ratio is None:
            ratio = ours.nudity_ratio if kind == "nudity" and ours.nudity_ratio else ours.ratio
        settings = ConceptPruneConfig(
            ratio=ratio,
            calls=ours.calls if calls is None else calls,
            seed=ours.seed,
            steps=self.profile.steps,
            guidance=self.profile.guidance,
            batch_size=self.profile.batch_size,
        )
        config = {
            "kind": "pruned",
            "base": self.pretrained.config,
            "target": target,
            "reference": bare,
            "ratio": settings.ratio,
            "calls": settings.calls,
            "seed": settings.seed,
            "sampler": self._sampler(),
            "code": code_digest("conceptprune", "generate"),
        }

        def make() -> Masks:
            return concept_masks(
                self.pretrained.weights,
                self._norms(target, settings),
                self._norms(bare, settings),
                ratio=settings.ratio,
                calls=settings.calls,
            )

        return config, self._remember(config, make)

    def _norms(self, prompts: list[str], settings: ConceptPruneConfig) -> Norms:
        # The norms of the first T calls begin with those of fewer. So with the profile's T on
        # file, every smaller T, every ratio and every concept with the same reference share them.
        settings = replace(settings, calls=max(settings.calls, self.profile.conceptprune.calls))
        config = {
            "kind": "norms",
            "base": self.pretrained.config,
            "prompts": prompts,
            "calls": settings.calls,
            "seed": settings.seed,
            "sampler": self._sampler(),
        }

        def make() -> dict[str, torch.Tensor]:
            norms = collect_norms(self.apply(self.pretrained), prompts, settings)
            return {f"{call}/{name}": v for call, of in norms.items() for name, v in of.items()}

        flat, _ = self.store.weights(config, make, modules=("conceptprune", "generate"))
        norms: Norms = {}
        for key, value in flat.items():
            call, name = key.split("/", 1)
            norms.setdefault(int(call), {})[name] = value.to(self.device)
        return norms

    def idealised(self, concept: str, mode: Any, seed: int = 2021, **pruning: Any) -> Variant:
        """A thought experiment: pretrained signs or magnitudes are known (paper Sec. 3, App. A).

        ``mode`` is one of `rbtc.magnitudes.idealised`.
        """
        base, masks = self.pruned(concept, **pruning), self.masks(concept, **pruning)
        weights = idealised(self.pretrained.weights, base.weights, masks, mode=mode, seed=seed)
        return _derived(base, mode.replace("_", " "), weights, "magnitudes",
                        kind="idealised", mode=mode, seed=seed)  # fmt: skip

    def quantized(
        self,
        concept: str,
        *,
        bits: int = 4,
        group_size: int | None = None,
        codebook: Literal["int", "fp4", "nf4"] = "int",
        **pruning: Any,
    ) -> Variant:
        """The Quant Recover baseline on the pruned model (paper Sec. 5.1)."""
        base = self.pruned(concept, **pruning)
        options: dict[str, Any] = {"bits": bits, "group_size": group_size, "codebook": codebook}
        weights = quant_recover(base.weights, **options)
        return _derived(base, "quant recover", weights, "quantize", kind="quantized", **options)

    def obfuscated(
        self,
        concept: str,
        *,
        sigma: float | None = None,
        variance: float | None = None,
        seed: int = 0,
        **pruning: Any,
    ) -> Variant:
        """The defence: the cut weights hold Gaussian noise instead of zeros (paper Sec. 4.4).

        Give exactly one of ``sigma`` (a standard deviation) and ``variance``.
        """
        base, masks = self.pruned(concept, **pruning), self.masks(concept, **pruning)
        weights = obfuscate(base.weights, masks, sigma=sigma, variance=variance, seed=seed)
        noise = f"sigma={sigma}" if sigma is not None else f"variance={variance}"
        return _derived(base, f"obfuscated ({noise})", weights, "defense",
                        kind="obfuscated", sigma=sigma, variance=variance, seed=seed)  # fmt: skip

    # ---- the attacker's side: sees the weights of a variant, and nothing else -------------------

    def attack(
        self,
        variant: Variant,
        *,
        keep_ratio: float | None = None,
        strategy: str = "neuron_max",
        per: str = "layer",
        algorithm: str = "released",
        seed: int = 2021,
        released: bool = False,
        missing: Masks | None = None,
        **options: Any,
    ) -> Variant:
        """Revive whatever was cut from a variant, from its own weights alone (paper Sec. 4).

        Args:
            variant: the model under attack.
            keep_ratio: K of Top-K Sign Retention; None takes the profile's.
            strategy: how signs get a magnitude, see `rbtc.magnitudes.assign_magnitudes`.
            per: within what K is counted: "layer", "row" or "global".
            algorithm: of the completion.
            seed: for the strategies that draw magnitudes.
            released: see `rbtc.magnitudes.assign_magnitudes`.
            missing: attack these places; None takes those that are exactly zero.
            **options: further options of `rbtc.completion.complete`.

        Raises:
            ValueError: nothing is missing: the model is not pruned.
        """
        keep_ratio = self.profile.revive.keep_ratio if keep_ratio is None else keep_ratio
        completions = self.complete(variant, algorithm=algorithm, missing=missing, **options)
        choices: dict[str, Any] = {
            "keep_ratio": keep_ratio,
            "strategy": strategy,
            "per": per,
            "algorithm": algorithm,
            "seed": seed,
            "released": released,
        }
        weights = revive(variant.weights, completions=completions, **choices).weights
        return _derived(
            variant,
            f"revived ({strategy.replace('_', ' ')})",
            weights,
            *("revive", "topk", "magnitudes", "completion", "softimpute"),
            kind="revived",
            missing=None if missing is None else tensors_digest(missing),
            **choices,
            **options,
        )

    def complete(
        self,
        variant: Variant,
        *,
        algorithm: str = "released",
        missing: Masks | None = None,
        **options: Any,
    ) -> dict[str, Completion]:
        """Complete every layer of a variant (paper Sec. 4.1), or read it from the store.

        Raises:
            ValueError: nothing is missing: the model is not pruned.
        """
        if missing is None and variant.config.get("kind") in ("pretrained", "obfuscated"):
            # fp16 checkpoints hold a few natural zeros, which are no sign of pruning.
            raise ValueError(
                f"the {variant.label} model is not pruned, so there is nothing to revive: attack "
                "lab.pruned(concept), or pass `missing`"
            )
        config = {
            "kind": "completions",
            "base": variant.config,
            "algorithm": algorithm,
            "missing": None if missing is None else tensors_digest(missing),
            "options": options,
        }

        def make() -> dict[str, torch.Tensor]:
            found = complete_all(
                variant.weights, missing, algorithm=algorithm, progress=self.progress, **options
            )
            return _pack(found)

        def load() -> dict[str, Completion]:
            modules = ("completion", "softimpute")
            tensors, _ = self.store.weights(config, make, modules=modules)
            devices = {name: weight.device for name, weight in variant.weights.items()}
            return _unpack(tensors, algorithm, devices)

        return self._remember(config, load)

    def completions(
        self, concept: str, algorithm: str = "released", **options: Any
    ) -> dict[str, Completion]:
        """Completions of the pruned model of a concept; options of `pruned` and of `complete`."""
        pruning, rest = _split(options)
        return self.complete(self.pruned(concept, **pruning), algorithm=algorithm, **rest)

    def revived(
        self,
        concept: str,
        *,
        keep_ratio: float | None = None,
        strategy: str = "neuron_max",
        seed: int = 2021,
        missing: Masks | None = None,
        **options: Any,
    ) -> Variant:
        """The attack on the pruned model of a concept; options of `pruned` and of `attack`.

        Pruning is the owner's work and reads the pretrained weights; what follows is
        `attack`, which only gets the pruned ones.
        """
        pruning, rest = _split(options)
        return self.attack(
            self.pruned(concept, **pruning),
            keep_ratio=keep_ratio,
            strategy=strategy,
            seed=seed,
            missing=missing,
            **rest,
        )

    def guess(
        self,
        variant: Variant,
        *,
        attacker: Literal["budget", "threshold"] = "budget",
        share: float = 0.02,
        scope: Literal["global", "layer"] = "global",
        threshold: float | None = None,
    ) -> Masks:
        """Places an attacker takes for cut: the smallest ``share``, or all below ``threshold``."""
        if attacker == "budget":
            return budget_attack(variant.weights, share=share, scope=scope)
        if attacker != "threshold":
            raise ValueError(f'attacker must be "budget" or "threshold", not {attacker!r}')
        if threshold is None:
            raise ValueError('attacker="threshold" needs a threshold, for example 5 * sigma')
        return threshold_attack(variant.weights, threshold=threshold)

    def attack_obfuscated(
        self,
        concept: str,
        *,
        sigma: float | None = None,
        variance: float | None = None,
        noise_seed: int = 0,
        attacker: Literal["budget", "threshold"] = "budget",
        share: float = 0.02,
        scope: Literal["global", "layer"] = "global",
        threshold: float | None = None,
        **options: Any,
    ) -> Variant:
        """Attack the defended model: guess the cut places, zero them, revive (paper Sec. 5.5).

        ``sigma``, ``variance`` and ``noise_seed`` are those of `obfuscated`, the next four those of
        `guess`; further options go to `pruned` and `attack`.
        """
        pruning, rest = _split(options)
        defended = self.obfuscated(
            concept, sigma=sigma, variance=variance, seed=noise_seed, **pruning
        )
        guess = self.guess(
            defended, attacker=attacker, share=share, scope=scope, threshold=threshold
        )
        zeroed = _derived(
            defended, f"re-pruned ({attacker})", prune(defended.weights, guess), "defense",
            kind="repruned", attacker=attacker, share=share, scope=scope, threshold=threshold,
        )  # fmt: skip
        return self.attack(zeroed, **rest)

    # ---- signs --------------------------------------------------------------------------------

    def density(self, concept: str, **pruning: Any) -> float:
        """Share of the candidate weights that ConceptPrune cuts."""
        return density(self.masks(concept, **pruning))

    def sign_accuracy(
        self, concept: str, algorithm: str = "released", **options: Any
    ) -> Proportion:
        """Share of the cut weights whose sign the completion finds, pooled over the layers."""
        found = self.completions(concept, algorithm, **options)
        counts = count_signs(found, self.pretrained.weights).values()
        pooled = sum(counts, SignAccuracy(0, 0))
        return Proportion(pooled.correct, pooled.n)

    def layer_frame(
        self, concept: str, algorithm: str = "released", **options: Any
    ) -> pd.DataFrame:
        """One row per layer: shape, density, sign accuracy, iterations of the completion."""
        pruning, _ = _split(options)
        found = self.completions(concept, algorithm, **options)
        signs = sign_accuracy_by_layer(found, self.pretrained.weights)
        signs = signs.drop(columns="short").assign(
            iterations=[found[name].iterations for name in signs["name"]],
            converged=[found[name].converged for name in signs["name"]],
        )
        table = layer_table(self.pruned(concept, **pruning).weights)
        return table.merge(signs, on="name", how="left")

    # ---- pictures and judgements --------------------------------------------------------------

    def images(
        self, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        """Pictures of a variant, uint8 (n, h, w, 3).

        Args:
            variant: whose pictures.
            prompts: one prompt for all seeds, or one per seed.
            seeds: n seeds.
        """
        prompts, seeds = _one_each(prompts, seeds)
        images, _ = self.store.images(
            self._image_config(variant),
            prompts,
            seeds,
            lambda p, s: self._generate(variant, p, s),
            self.profile.batch_size,
            modules=("generate",),
            progress=self.progress,
            label=variant.label,
        )
        return images

    def images_many(
        self, variant: Variant, requests: Sequence[tuple[str, Sequence[int]]]
    ) -> list[np.ndarray]:
        """Pictures for several (prompt, seeds); those to be made fill whole batches together."""
        pairs = [(prompt, seed) for prompt, seeds in requests for seed in seeds]
        images = self.images(variant, [p for p, _ in pairs], [s for _, s in pairs])
        ends = np.cumsum([len(seeds) for _, seeds in requests])
        return np.split(images, ends[:-1])

    def _image_config(self, variant: Variant) -> dict[str, Any]:
        return {"model": self.digest, "variant": variant.config, "sampler": self._sampler()}

    def _generate(self, variant: Variant, prompts: list[str], seeds: list[int]) -> np.ndarray:
        return generate(
            self.apply(variant),
            prompts,
            seeds,
            batch_size=self.profile.batch_size,
            steps=self.profile.steps,
            guidance=self.profile.guidance,
        )

    def predictions(
        self,
        variant: Variant,
        prompts: str | Sequence[str],
        seeds: Sequence[int],
        kind: Kind = "object",
    ) -> list[str]:
        """What the judge sees in each picture: the names of its best classes."""
        prompts, seeds = _one_each(prompts, seeds)

        def make() -> list[str]:
            judge, images = self._judge(kind), self.images(variant, prompts, seeds)
            size = self.profile.batch_size
            parts = [images[i : i + size] for i in range(0, len(images), size)]
            return [str(name) for part in parts for name in judge.predict(part)]

        return self._judged("predictions", kind, variant, prompts, seeds, make)

    def accuracy(
        self,
        variant: Variant,
        concept: str,
        images: int = 100,
        first_seed: int = 0,
        *,
        kind: Kind = "object",
    ) -> Proportion:
        """Share of pictures of a concept that the judge recognises (paper Sec. 5.1).

        Objects are asked for in one sentence with seeds ``first_seed`` and up; styles with every
        thing of the profile in turn.
        """
        return self._accuracy(variant, [self._task(concept, kind, images, first_seed)], kind)

    def preserved(
        self,
        variant: Variant,
        concept: str,
        images: int = 10,
        first_seed: int = 0,
        *,
        kind: Kind = "object",
    ) -> Proportion:
        """Accuracy on the profile's other classes (or styles), ``images`` pictures of each."""
        word = self._name(concept, kind)
        names = self.profile.styles if kind == "style" else self.profile.classes.values()
        others = [name for name in dict.fromkeys(names) if name != word]
        if not others:
            raise ValueError(f"profile {self.profile.name!r} has nothing besides {word!r}")
        tasks = [self._task(name, kind, images, first_seed) for name in others]
        return self._accuracy(variant, tasks, kind)

    def _task(
        self, concept: str, kind: Kind, images: int, first_seed: int
    ) -> tuple[str, list[str], list[int]]:
        """(label, prompts, seeds) of an accuracy."""
        if images < 1:
            raise ValueError(f"images must be at least 1, not {images}")
        seeds = list(range(first_seed, first_seed + images))
        if kind == "style":
            prompts = style_prompts(self.profile, concept)
            return self._name(concept, kind), [prompts[s % len(prompts)] for s in seeds], seeds
        if kind != "object":
            raise ValueError(f'accuracy is measured for kind "object" or "style", not {kind!r}')
        return self.concept(concept), [evaluation_prompt(self.profile, concept)] * images, seeds

    def _accuracy(
        self, variant: Variant, tasks: list[tuple[str, list[str], list[int]]], kind: Kind
    ) -> Proportion:
        labels = [label for label, _, seeds in tasks for _ in seeds]
        prompts = [prompt for _, of, _ in tasks for prompt in of]
        seeds = [seed for _, _, of in tasks for seed in of]
        seen = self.predictions(variant, prompts, seeds, kind)
        hits = sum(a.casefold() == b.casefold() for a, b in zip(seen, labels, strict=True))
        return Proportion(hits, len(labels))

    def similarity(
        self, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        """CLIP cosine of each picture with its own prompt, (n,) floats (paper Sec. 5.2)."""
        prompts, seeds = _one_each(prompts, seeds)

        def make() -> list[float]:
            from rbtc.evaluate import clip_similarity

            images = self.images(variant, prompts, seeds)
            return [float(x) for x in clip_similarity(images, prompts, self._judge("clip"))]

        return np.array(self._judged("similarity", "clip", variant, prompts, seeds, make))

    def clip_score(
        self, variant: Variant, style: str, images: int = 50, first_seed: int = 0
    ) -> Proportion:
        """Share of pictures in a style that fit their prompt less well than the pretrained model's.

        The same prompts and seeds for both: 0 for the pretrained model itself, high when the style
        is erased, low again when it is revived (paper Table 2).
        """
        from rbtc.evaluate import clip_score

        _, prompts, seeds = self._task(style, "style", images, first_seed)
        return clip_score(
            self.similarity(variant, prompts, seeds),
            self.similarity(self.pretrained, prompts, seeds),
        )

    def _judge(self, kind: str) -> Any:
        if self._judges.get(kind) is None:
            from rbtc.judges import load_clip, load_judge

            place = self._judge_place(kind)
            load = load_clip if kind == "clip" else load_judge
            self._judges[kind] = load(place, self.device)
        return self._judges[kind]

    def _judge_place(self, kind: str) -> Path | str:
        ours = self.profile.evaluation
        places = {"object": ours.classifier, "style": ours.style_classifier, "clip": ours.clip}
        if not places.get(kind):
            raise ValueError(f"profile {self.profile.name!r} has no judge for {kind!r}")
        return self.profile.locate(places[kind])

    def _judge_identity(self, kind: str) -> str | None:
        if kind in self._given_judges:
            return getattr(self._judges[kind], "digest", None)
        if kind not in self._identities:
            place = self._judge_place(kind)
            self._identities[kind] = model_digest(place) if isinstance(place, Path) else place
        return self._identities[kind]

    def _judged(
        self,
        what: str,
        kind: str,
        variant: Variant,
        prompts: list[str],
        seeds: list[int],
        make: Callable[[], list[Any]],
    ) -> list[Any]:
        identity = self._judge_identity(kind)
        if identity is None:  # a judge of unknown identity: its word is not kept
            return make()
        config = {
            "kind": what,
            "judge": identity,
            "images": self._image_config(variant),
            "prompts": prompts,
            "seeds": seeds,
        }
        modules = ["generate", "evaluate"]
        if kind not in self._given_judges:
            modules.append("judges")
        return self.store.json(config, make, modules=modules)[0]

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

    def _remember(self, config: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        key = canonical(config)
        if key not in self._memory:
            value = make()
            while len(self._memory) >= _MEMORY:
                del self._memory[next(iter(self._memory))]
            self._memory[key] = value
        return self._memory[key]


def _derived(base: Variant, label: str, weights: Weights, *modules: str, **config: Any) -> Variant:
    return Variant(
        label, {**config, "base": base.config, "code": code_digest(*modules)}, weights
    )


def _one_each(
    prompts: str | Sequence[str], seeds: Sequence[int]
) -> tuple[list[str], list[int]]:
    """One prompt per seed; a single prompt serves all seeds."""
    seeds = [int(seed) for seed in seeds]
    prompts = [prompts] * len(seeds) if isinstance(prompts, str) else list(prompts)
    if len(prompts) != len(seeds):
        raise ValueError(
            f"{len(prompts)} prompts but {len(seeds)} seeds were given: give one prompt for all "
            "seeds, or one per seed"
        )
    return prompts, seeds


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of pruning, and the others."""
    pruning = {name: value for name, value in options.items() if name in _PRUNING}
    return pruning, {name: value for name, value in options.items() if name not in _PRUNING}


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


def _pack(completions: Mapping[str, Completion]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, found in completions.items():
        tensors[f"{name}/values"] = found.values
        tensors[f"{name}/missing"] = found.missing
        tensors[f"{name}/residuals"] = torch.tensor(found.residuals, dtype=torch.float64)
        tensors[f"{name}/run"] = torch.tensor([found.iterations, int(found.converged)])
    return tensors


def _unpack(
    tensors: Mapping[str, torch.Tensor], algorithm: str, devices: Mapping[str, torch.device]
) -> dict[str, Completion]:
    completions = {}
    for name in sorted({key.rsplit("/", 1)[0] for key in tensors}):
        iterations, converged = tensors[f"{name}/run"].tolist()
        completions[name] = Completion(
            tensors[f"{name}/values"].to(devices[name]),
            tensors[f"{name}/missing"].to(devices[name]),
            int(iterations),
            tuple(tensors[f"{name}/residuals"].tolist()),
            bool(converged),
            algorithm,
        )
    return completions
