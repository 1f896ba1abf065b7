"""The owner's side: pretrained, pruned, idealised, quantised and obfuscated models.

Pruning, the idealised study and the defence belong to the model's owner and use the pretrained
weights. What an attacker makes of the result is in `rbtc.attacks`. The functions that take a lab
are methods of `rbtc.lab.Lab`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from rbtc import magnitudes
from rbtc.activations import Norms, collect_norms
from rbtc.conceptprune import ConceptPruneConfig, concept_masks
from rbtc.defense import obfuscate
from rbtc.layers import Masks, Weights
from rbtc.masks import prune
from rbtc.prompts import Kind, Reference, concept_name, prompt_pairs
from rbtc.quantize import quant_recover
from rbtc.runs import canonical, code_digest, tensors_digest

if TYPE_CHECKING:
    from rbtc.lab import Lab

PRUNING = ("ratio", "calls", "reference", "kind")
"""Options of `pruned`."""


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


def derived(base: Variant, label: str, weights: Weights, *modules: str, **config: Any) -> Variant:
    """A variant made from another by the code of ``modules``, with the settings of ``config``."""
    return Variant(label, {**config, "base": base.config, "code": code_digest(*modules)}, weights)


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of pruning, and the others."""
    pruning = {name: value for name, value in options.items() if name in PRUNING}
    return pruning, {name: value for name, value in options.items() if name not in PRUNING}


def custom(lab: Lab, label: str, weights: Weights) -> Variant:
    """A variant with weights made elsewhere, identified by a digest of the weights."""
    config = {"kind": "custom", "model": lab.digest, "weights": tensors_digest(weights)}
    return Variant(label, config, weights)


def masks(lab: Lab, concept: str, **pruning: Any) -> Masks:
    """Which weights ConceptPrune cuts for a concept, True = cut; options as for `pruned`."""
    return _cut(lab, concept, **pruning)[1]


def pruned(
    lab: Lab,
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
    config, masks = _cut(lab, concept, ratio=ratio, calls=calls, reference=reference, kind=kind)
    label = f"pruned ({concept_name(lab.profile, concept, kind)})"
    return Variant(label, config, prune(lab.pretrained.weights, masks))


def _cut(
    lab: Lab,
    concept: str,
    *,
    ratio: float | None = None,
    calls: int | None = None,
    reference: Reference | None = None,
    kind: Kind = "object",
) -> tuple[dict[str, Any], Masks]:
    target, bare = prompt_pairs(lab.profile, concept, kind, reference)
    ours = lab.profile.conceptprune
    if ratio is None:
        ratio = ours.nudity_ratio if kind == "nudity" and ours.nudity_ratio else ours.ratio
    settings = ConceptPruneConfig(
        ratio=ratio,
        calls=ours.calls if calls is None else calls,
        seed=ours.seed,
        steps=lab.profile.steps,
        guidance=lab.profile.guidance,
        batch_size=lab.profile.batch_size,
    )
    config = {
        "kind": "pruned",
        "base": lab.pretrained.config,
        "target": target,
        "reference": bare,
        "ratio": settings.ratio,
        "calls": settings.calls,
        "seed": settings.seed,
        "sampler": lab.model.sampler(lab.profile),
        "code": code_digest("activations", "conceptprune", "generate", "masks"),
    }

    def make() -> Masks:
        return concept_masks(
            lab.pretrained.weights,
            _norms(lab, target, settings),
            _norms(lab, bare, settings),
            ratio=settings.ratio,
            calls=settings.calls,
        )

    return config, lab.remember(config, make)


def _norms(lab: Lab, prompts: list[str], settings: ConceptPruneConfig) -> Norms:
    # The norms of the first T calls begin with those of fewer. So with the profile's T on
    # file, every smaller T, every ratio and every concept with the same reference share them.
    settings = replace(settings, calls=max(settings.calls, lab.profile.conceptprune.calls))
    config = {
        "kind": "norms",
        "base": lab.pretrained.config,
        "prompts": prompts,
        "calls": settings.calls,
        "seed": settings.seed,
        "sampler": lab.model.sampler(lab.profile),
    }

    def make() -> dict[str, torch.Tensor]:
        norms = collect_norms(lab.apply(lab.pretrained), prompts, settings)
        return {f"{call}/{name}": v for call, of in norms.items() for name, v in of.items()}

    flat, _ = lab.store.weights(config, make, modules=("activations", "generate"))
    norms: Norms = {}
    for key, value in flat.items():
        call, name = key.split("/", 1)
        norms.setdefault(int(call), {})[name] = value.to(lab.device)
    return norms


def idealised(lab: Lab, concept: str, mode: Any, seed: int = 2021, **pruning: Any) -> Variant:
    """A thought experiment: pretrained signs or magnitudes are known (paper Sec. 3, App. A).

    ``mode`` is one of `rbtc.magnitudes.idealised`.
    """
    base, masks = lab.pruned(concept, **pruning), lab.masks(concept, **pruning)
    weights = magnitudes.idealised(
        lab.pretrained.weights, base.weights, masks, mode=mode, seed=seed
    )
    return derived(base, mode.replace("_", " "), weights, "magnitudes",
                   kind="idealised", mode=mode, seed=seed)  # fmt: skip


def quantized(
    lab: Lab,
    concept: str,
    *,
    bits: int = 4,
    group_size: int | None = None,
    codebook: Literal["int", "fp4", "nf4"] = "int",
    **pruning: Any,
) -> Variant:
    """The Quant Recover baseline on the pruned model (paper Sec. 5.1)."""
    base = lab.pruned(concept, **pruning)
    options: dict[str, Any] = {"bits": bits, "group_size": group_size, "codebook": codebook}
    weights = quant_recover(base.weights, **options)
    return derived(base, "quant recover", weights, "quantize", kind="quantized", **options)


def obfuscated(
    lab: Lab,
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
    base, masks = lab.pruned(concept, **pruning), lab.masks(concept, **pruning)
    weights = obfuscate(base.weights, masks, sigma=sigma, variance=variance, seed=seed)
    noise = f"sigma={sigma}" if sigma is not None else f"variance={variance}"
    return derived(base, f"obfuscated ({noise})", weights, "defense",
                   kind="obfuscated", sigma=sigma, variance=variance, seed=seed)  # fmt: skip
