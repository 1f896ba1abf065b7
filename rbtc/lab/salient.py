"""The owner's other knife: weights chosen by gradient saliency (paper App. E)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rbtc.lab.bench import Bench
from rbtc.lab.digests import canonical, code_digest
from rbtc.lab.store import Store
from rbtc.lab.variant import Variant
from rbtc.layers import Masks, prune
from rbtc.matrices import LayerKind, check_kinds, find_matrices
from rbtc.models.profiles import Profile
from rbtc.models.prompts import Subject, prompt_pairs
from rbtc.pruning.saliency import (
    SCORES,
    SaliencyConfig,
    Score,
    forget_set,
    gradients,
    saliency,
    top_masks,
)

_CODE = (forget_set, gradients, saliency, top_masks, find_matrices)
_REMEMBERED = 4  # pairs of mask sets kept in memory


class SaliencyCuts:
    """Cuts the weights of highest gradient saliency; belongs to `rbtc.lab.owner.Owner`.

    Args:
        bench: the model.
        profile: its sampler and its words.
        store: where masks are kept.
    """

    def __init__(self, bench: Callable[[], Bench], profile: Profile, store: Store) -> None:
        self._bench, self.profile, self.store = bench, profile, store
        self._masks: OrderedDict[str, dict[Score, Masks]] = OrderedDict()

    def cut(
        self,
        pretrained: Variant,
        subject: Subject,
        score: Score,
        share: float,
        kinds: Sequence[LayerKind],
        **options: Any,
    ) -> Variant:
        """The pruned model: all matrices of the chosen layers, the cut weights +0.0.

        Args:
            pretrained: the model as it was trained.
            subject: what to erase.
            score: "snip" or "salun", see `rbtc.pruning.saliency`.
            share: of all weights in the chosen layers.
            kinds: layers, see `rbtc.matrices.find_matrices`.
            **options: fields of `SaliencyConfig`.

        Raises:
            ValueError: an unknown score, kind or option, or a share outside (0, 1).
        """
        if score not in SCORES:
            raise ValueError(f"score must be one of {list(SCORES)}, not {score!r}")
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, not {share}")
        if unknown := sorted(set(options) - set(SaliencyConfig.__dataclass_fields__)):
            raise ValueError(f"unknown saliency options {unknown}")
        kinds = check_kinds(kinds)
        bench = self._bench()
        own = {"steps": self.profile.steps, "guidance": self.profile.guidance}
        settings = SaliencyConfig(**{**own, **options})
        # The prompts that ConceptPrune cuts by: both methods know the same of the concept.
        prompts, _ = prompt_pairs(self.profile, subject.word, subject.kind)
        config = {
            "kind": "saliency masks",
            "base": pretrained.config,
            "prompts": prompts,
            "share": share,
            "layers": list(kinds),
            **vars(settings),
            "sampler": bench.sampler(self.profile),
        }
        masks = self._both(pretrained, config, prompts, settings)[score]
        weights = prune(bench.matrices(kinds), masks)
        cut = {**config, "kind": "pruned by saliency", "score": score, "code": code_digest(*_CODE)}
        return Variant(f"pruned by {score} ({subject.word})", cut, weights)

    def _both(
        self,
        pretrained: Variant,
        config: dict[str, Any],
        prompts: Sequence[str],
        settings: SaliencyConfig,
    ) -> dict[Score, Masks]:
        """The masks of both scores, which share their gradients."""
        bench, key = self._bench(), canonical(config)

        def make() -> dict[str, torch.Tensor]:
            pipe = bench.apply(pretrained)
            latents, asked = forget_set(pipe, prompts, settings)
            parameters = find_matrices(pipe.unet, config["layers"])
            found = gradients(pipe, parameters, latents, asked, settings)
            weights = bench.matrices(config["layers"])
            return {
                f"{score}/{name}": mask
                for score in SCORES
                for name, mask in top_masks(
                    saliency(found, weights, score), config["share"]
                ).items()
            }

        if key not in self._masks:
            flat, _ = self.store.weights(config, make, code=_CODE)
            while len(self._masks) >= _REMEMBERED:
                self._masks.popitem(last=False)
            both: dict[Score, Masks] = {score: {} for score in SCORES}
            for path, mask in flat.items():
                score, name = path.split("/", 1)
                both[score][name] = mask.to(bench.pipe.unet.device)  # pyright: ignore
            self._masks[key] = both
        return self._masks[key]
