"""The owner's second pruner: weights chosen by gradient saliency (paper App. E)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from rbtc.lab.digests import canonical, code_digest
from rbtc.lab.pipeline_state import PipelineState
from rbtc.lab.store import Recent, Store
from rbtc.lab.variant import Variant
from rbtc.layers import Weights, prune
from rbtc.matrices import LayerKind, check_kinds, find_matrices
from rbtc.models.profiles import Profile
from rbtc.models.prompts import prompt_pairs
from rbtc.models.subjects import Subject
from rbtc.pruning.saliency import (
    RANKINGS,
    SCORES,
    Gradients,
    Ranking,
    SaliencyConfig,
    Score,
    forget_prompts,
    forget_set,
    gradients,
    saliency,
    top_masks,
)

_CODE = (forget_set, gradients, saliency, top_masks, find_matrices)


class SaliencyPruner:
    """Prunes the weights of highest gradient saliency; belongs to `rbtc.lab.owner.Owner`."""

    def __init__(self, state: Callable[[], PipelineState], profile: Profile, store: Store) -> None:
        self._state, self.profile, self.store = state, profile, store
        self._gradients = Recent[Gradients](2)  # they are large

    def pruned(
        self,
        pretrained: Variant,
        subject: Subject,
        score: Score,
        share: float,
        kinds: Sequence[LayerKind],
        per: Ranking,
        **options: Any,
    ) -> Variant:
        """The pruned model: all matrices of the chosen layers, the pruned weights +0.0.

        Arguments as for `Owner.salient`; ``share`` is of all weights in the chosen layers.

        Raises:
            ValueError: an unknown score, kind, ranking or option, or a share outside (0, 1).
        """
        if score not in SCORES:
            raise ValueError(f"score must be one of {list(SCORES)}, not {score!r}")
        if per not in RANKINGS:
            raise ValueError(f"per must be one of {list(RANKINGS)}, not {per!r}")
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, not {share}")
        if unknown := sorted(set(options) - set(SaliencyConfig.__dataclass_fields__)):
            raise ValueError(f"unknown saliency options {unknown}")
        kinds = check_kinds(kinds)
        state = self._state()
        sampler = {"steps": self.profile.steps, "guidance": self.profile.guidance}
        settings = SaliencyConfig(**{**sampler, **options})
        # The prompts that ConceptPrune prunes by: both methods know the same of the concept.
        prompts, _ = prompt_pairs(self.profile, subject.word, subject.kind)
        of_gradients = {
            "kind": "gradients",
            "base": pretrained.config,
            "prompts": prompts,
            "layers": list(kinds),
            **vars(settings),
            "sampler": state.sampler(self.profile),
        }
        chosen = {"score": score, "share": share, "per": per}
        config = {**of_gradients, **chosen, "kind": "saliency masks"}

        def masks() -> dict[str, torch.Tensor]:
            found = self._gradients_of(pretrained, of_gradients, prompts, settings)
            return top_masks(saliency(found, state.matrices(kinds), score), share, per=per)

        def weights() -> Weights:
            filed, _ = self.store.weights(config, masks, code=_CODE)
            device = state.pipe.unet.device
            on_device = {name: mask.to(device) for name, mask in filed.items()}
            return prune(state.matrices(kinds), on_device)

        config_of_model = {**config, "kind": "pruned by saliency", "code": code_digest(*_CODE)}
        return Variant(f"pruned by {score} ({subject.word})", config_of_model, weights)

    def _gradients_of(
        self,
        pretrained: Variant,
        config: dict[str, Any],
        prompts: Sequence[str],
        settings: SaliencyConfig,
    ) -> Gradients:
        """Gradients on the forget set. They are large, so only their masks are filed."""

        def make() -> Gradients:
            pipe = self._state().apply(pretrained)
            drawn = {
                name: config[name]
                for name in ("base", "prompts", "sampler", "pictures", "first_seed", "batch_size")
            }

            def draw() -> dict[str, torch.Tensor]:
                return {"latents": forget_set(pipe, prompts, settings)[0]}

            filed, _ = self.store.weights({"kind": "forget set", **drawn}, draw, code=(forget_set,))
            latents = filed["latents"].to(pipe.unet.device)
            parameters = find_matrices(pipe.unet, config["layers"])
            asked = forget_prompts(prompts, settings)
            return gradients(pipe, parameters, latents, asked, settings)

        return self._gradients.get_or_make(canonical(config), make)
