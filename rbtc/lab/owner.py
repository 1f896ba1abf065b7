"""The owner's side: pretrained, pruned, idealised, quantised and obfuscated models.

All of it uses the pretrained weights, the masks or the prompts; the attack is `rbtc.lab.attacker`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from rbtc.attack import idealised as ideal
from rbtc.defense.fills import Fill, fill_pruned
from rbtc.defense.gaussian import noise_deviation, obfuscate
from rbtc.lab.digests import canonical, code_digest, tensors_digest
from rbtc.lab.pipeline_state import PipelineState
from rbtc.lab.salient import SaliencyPruner
from rbtc.lab.store import Recent, Store
from rbtc.lab.variant import Variant, derived
from rbtc.layers import Masks, Weights, density, prune
from rbtc.matrices import FEED_FORWARD, LayerKind
from rbtc.models.profiles import Profile
from rbtc.models.prompts import prompt_pairs, subject_of
from rbtc.models.quantize import quant_recover
from rbtc.models.subjects import Reference, Subject
from rbtc.pruning.activations import Norms, collect_norms
from rbtc.pruning.conceptprune import ConceptPruneConfig, concept_masks
from rbtc.pruning.masks import union
from rbtc.pruning.saliency import Ranking, Score

NORMS_BATCH = 12
"""Prompts drawn together for activation norms: a batch's size decides the last bits of its sums."""

_REMEMBERED = 24  # masks kept in memory; on the paper's model each set takes some 50 MB


class Owner:
    """Who has the pretrained model and decides what is pruned.

    A ``concept`` is the name of an object ("golf ball", "church"), or a `Subject` for a style or
    nudity.
    """

    def __init__(self, state: Callable[[], PipelineState], profile: Profile, store: Store) -> None:
        self._state, self.profile, self.store = state, profile, store
        self._masks = Recent[Masks](_REMEMBERED)
        self._salient = SaliencyPruner(state, profile, store)

    @property
    def pretrained(self) -> Variant:
        """The model as it was trained."""
        state = self._state()
        config = {"kind": "pretrained", "model": state.digest, "dtype": str(state.pipe.unet.dtype)}
        return Variant("pretrained", config, state.weights)

    def custom(self, label: str, weights: Weights) -> Variant:
        """A variant with weights made elsewhere, identified by a digest of the weights."""
        digest = tensors_digest(weights)
        config = {"kind": "custom", "model": self._state().digest, "weights": digest}
        return Variant(label, config, weights)

    def masks(self, concept: str | Subject, **pruning: Any) -> Masks:
        """Which weights ConceptPrune prunes, True = pruned; options as for `pruned`."""
        return self._conceptprune(subject_of(self.profile, concept), **pruning)[1]()

    def pruned(
        self,
        concept: str | Subject,
        *,
        ratio: float | None = None,
        calls: int | None = None,
        reference: Reference | None = None,
    ) -> Variant:
        """The model after ConceptPrune (paper Sec. 5.1): the concept's weights are +0.0.

        Args:
            concept: what to erase.
            ratio: fraction of each row that is a candidate at each UNet call; None: the profile's.
            calls: UNet calls united, from the noisiest; None: the profile's.
            reference: see `rbtc.models.prompts.prompt_pairs`; None: the profile's.
        """
        subject = subject_of(self.profile, concept)
        config, masks = self._conceptprune(subject, ratio=ratio, calls=calls, reference=reference)
        pretrained = self.pretrained
        return Variant(
            f"pruned ({subject.word})", config, lambda: prune(pretrained.weights, masks())
        )

    def pruned_together(self, concepts: Sequence[str | Subject], **pruning: Any) -> Variant:
        """One model without several concepts: the union of their masks is pruned.

        ConceptPrune's own way to erase several concepts at once. Options as for `pruned`.

        Raises:
            ValueError: no concept.
        """
        chosen = [subject_of(self.profile, concept) for concept in concepts]
        if not chosen:
            raise ValueError("pruning together needs at least one concept")
        if len(chosen) == 1:
            return self.pruned(chosen[0], **pruning)
        parts = [self._conceptprune(subject, **pruning) for subject in chosen]
        configs, masks = zip(*parts, strict=True)
        config = {"kind": "pruned together", "parts": list(configs), "code": code_digest(union)}
        pretrained = self.pretrained
        return Variant(
            f"pruned ({len(chosen)} concepts)",
            config,
            lambda: prune(pretrained.weights, union([made() for made in masks])),
        )

    def salient(
        self,
        concept: str | Subject,
        score: Score,
        *,
        share: float | None = None,
        kinds: Sequence[LayerKind] = FEED_FORWARD,
        per: Ranking = "layer",
        **options: Any,
    ) -> Variant:
        """The model whose weights of highest gradient saliency (paper App. E) are +0.0.

        Args:
            concept: what to erase.
            score: "snip" (Scissorhands) or "salun", see `rbtc.pruning.saliency`.
            share: of all weights in the chosen layers; None takes the share of the feed-forward
                weights that ConceptPrune prunes for this concept, so that the two can be compared.
            kinds: in which layers, see `rbtc.matrices.find_matrices`.
            per: "layer" takes the share in every matrix, "all" over all of them together.
            **options: fields of `rbtc.pruning.saliency.SaliencyConfig`.

        Raises:
            ValueError: an unknown score, kind, ranking or option, or a share outside (0, 1).
        """
        subject = subject_of(self.profile, concept)
        share = density(self.masks(subject)) if share is None else share
        return self._salient.pruned(self.pretrained, subject, score, share, kinds, per, **options)

    def idealised(
        self,
        concept: str | Subject,
        mode: ideal.IdealMode,
        seed: int = 2021,
        **pruning: Any,
    ) -> Variant:
        """A thought experiment: pretrained signs or magnitudes are known (paper Sec. 3, App. A).

        ``mode`` is one of `rbtc.attack.idealised.idealised`.
        """
        _check_one_of("mode", mode, get_args(ideal.IdealMode))
        base, pretrained = self.pruned(concept, **pruning), self.pretrained

        def weights() -> Weights:
            masks = self.masks(concept, **pruning)
            return ideal.idealised(pretrained.weights, base.weights, masks, mode=mode, seed=seed)

        settings = {"kind": "idealised", "mode": mode, "seed": seed}
        return derived(base, mode.replace("_", " "), weights, ideal.idealised, **settings)

    def quantized(
        self,
        concept: str | Subject,
        *,
        bits: int = 4,
        group_size: int | None = None,
        codebook: Literal["int", "fp4", "nf4"] = "int",
        **pruning: Any,
    ) -> Variant:
        """The Quant Recover baseline on the pruned model (paper Sec. 5.1)."""
        base = self.pruned(concept, **pruning)
        options: dict[str, Any] = {"bits": bits, "group_size": group_size, "codebook": codebook}
        settings = {"kind": "quantized", **options}
        return derived(
            base, "quant recover", lambda: quant_recover(base.weights, **options), quant_recover,
            **settings,
        )  # fmt: skip

    def obfuscated(
        self,
        concept: str | Subject,
        *,
        sigma: float | None = None,
        variance: float | None = None,
        seed: int = 0,
        **pruning: Any,
    ) -> Variant:
        """The defence: the pruned weights hold Gaussian noise instead of zeros (paper Sec. 4.4).

        Give exactly one of ``sigma`` (a standard deviation) and ``variance``.
        """
        noise_deviation(sigma, variance)  # refused before anything is pruned
        base = self.pruned(concept, **pruning)

        def weights() -> Weights:
            masks = self.masks(concept, **pruning)
            return obfuscate(base.weights, masks, sigma=sigma, variance=variance, seed=seed)

        noise = f"sigma={sigma}" if sigma is not None else f"variance={variance}"
        settings = {"kind": "obfuscated", "sigma": sigma, "variance": variance, "seed": seed}
        return derived(base, f"obfuscated ({noise})", weights, obfuscate, **settings)

    def hidden(
        self, concept: str | Subject, *, how: Fill, seed: int = 0, **pruning: Any
    ) -> Variant:
        """The model whose pruned weights resemble the survivors, see `rbtc.defense.fills`."""
        _check_one_of("how", how, get_args(Fill))
        base = self.pruned(concept, **pruning)

        def weights() -> Weights:
            return fill_pruned(base.weights, self.masks(concept, **pruning), how=how, seed=seed)

        settings = {"kind": "hidden", "how": how, "seed": seed}
        return derived(base, f"hidden ({how})", weights, fill_pruned, **settings)

    def settings(
        self, *, ratio: float | None = None, calls: int | None = None
    ) -> ConceptPruneConfig:
        """ConceptPrune's settings on this profile; None takes the profile's own.

        Raises:
            ValueError: a ratio outside (0, 1], or more calls than a picture has.
        """
        ours, steps = self.profile.conceptprune, self.profile.steps
        calls = ours.calls if calls is None else calls
        if calls > steps + 1:  # PNDM calls the UNet once more than it has steps
            raise ValueError(
                f"calls is {calls}, and a picture has only {steps} steps: unite fewer calls"
            )
        return ConceptPruneConfig(
            ratio=float(ours.ratio if ratio is None else ratio),
            calls=calls,
            seed=ours.seed,
            steps=steps,
            guidance=self.profile.guidance,
            batch_size=min(NORMS_BATCH, self.profile.batch_size),
        )

    def _conceptprune(
        self,
        subject: Subject,
        *,
        ratio: float | None = None,
        calls: int | None = None,
        reference: Reference | None = None,
    ) -> tuple[dict[str, Any], Callable[[], Masks]]:
        target, bare = prompt_pairs(self.profile, subject.word, subject.kind, reference)
        if ratio is None and subject.kind == "nudity":
            ratio = self.profile.conceptprune.nudity_ratio
        settings = self.settings(ratio=ratio, calls=calls)
        config = {
            "kind": "pruned",
            "base": self.pretrained.config,
            "target": target,
            "reference": bare,
            "ratio": settings.ratio,
            "calls": settings.calls,
            "seed": settings.seed,
            "sampler": self._state().sampler(self.profile),
            "code": code_digest(collect_norms, concept_masks, prune),
        }

        def make() -> Masks:
            return concept_masks(
                self.pretrained.weights,
                self._norms(target, settings),
                self._norms(bare, settings),
                ratio=settings.ratio,
                calls=settings.calls,
            )

        key = canonical(config)
        return config, lambda: self._masks.get_or_make(key, make)

    def _norms(self, prompts: list[str], settings: ConceptPruneConfig) -> Norms:
        # The norms of the first T calls begin with those of fewer. So with the profile's T on
        # file, every smaller T, every ratio and every concept with the same reference share them.
        settings = replace(settings, calls=max(settings.calls, self.profile.conceptprune.calls))
        state = self._state()
        config = {
            "kind": "norms",
            "base": self.pretrained.config,
            "prompts": prompts,
            "calls": settings.calls,
            "seed": settings.seed,
            "sampler": state.sampler(self.profile),
        }

        def make() -> dict[str, torch.Tensor]:
            norms = collect_norms(state.apply(self.pretrained), prompts, settings)
            return {f"{call}/{name}": v for call, of in norms.items() for name, v in of.items()}

        flat, _ = self.store.weights(config, make, code=(collect_norms,))
        norms: Norms = {}
        for key, value in flat.items():
            call, name = key.split("/", 1)
            norms.setdefault(int(call), {})[name] = value.to(state.pipe.unet.device)
        return norms


def _check_one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a wrong choice before anything is pruned."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
