"""The attacker's side: sees the weights of a variant, and nothing else (paper Sec. 4).

No pretrained weight, mask, prompt, picture or pipeline: a test reads this module's imports. Of a
variant it reads the weights and the key under which results are filed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from rbtc.attack import threat_model
from rbtc.attack.completion import Completion, complete_all, solver_of
from rbtc.attack.magnitudes import check_strategy
from rbtc.attack.revive import revive
from rbtc.attack.topk import check_keep
from rbtc.defense.detection import budget_attack, spare_whole_rows, threshold_attack
from rbtc.defense.mask_inference import Evidence, modified_probability
from rbtc.defense.mixture import Mixture
from rbtc.lab.digests import canonical, tensors_digest
from rbtc.lab.store import Recent, Store
from rbtc.lab.variant import Variant, derived
from rbtc.layers import Masks, Weights, density, prune, zero_masks

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ZEROS = 1e-3
"""A smaller fraction of exact zeros is no pruning: fp16 files hold a few by chance."""

_REMEMBERED = 24  # completions kept in memory; on the paper's model each set takes some 50 MB


class Attacker:
    """Who has a model's weights and nothing else.

    Args:
        store: where completions are kept.
        keep_ratio: K of Top-K Sign Retention where an attack names none.
        double: complete in float64: signs do not hang on threads or device.
        progress: show bars.
    """

    def __init__(
        self,
        store: Store,
        *,
        keep_ratio: float = 0.6,
        double: bool = False,
        progress: bool = False,
    ) -> None:
        self.store, self.keep_ratio, self.progress = store, keep_ratio, progress
        self.double = double
        self._completions = Recent[dict[str, Completion]](_REMEMBERED)

    @staticmethod
    def overview() -> pd.DataFrame:
        """The threat model: what the attacker sees of a model and its owner, and what not."""
        return threat_model()

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
        """Revive whatever was pruned from a variant, from its own weights alone (paper Sec. 4).

        Args:
            variant: the model under attack.
            keep_ratio: K of Top-K Sign Retention; None takes the attacker's own.
            strategy: how signs get a magnitude, see `rbtc.attack.magnitudes.assign_magnitudes`.
            per: within what K is counted: "layer", "row" or "global".
            algorithm: of the completion.
            seed: for the strategies that draw magnitudes.
            released: see `rbtc.attack.magnitudes.assign_magnitudes`.
            missing: attack these weights; None takes those that are exactly zero.
            **options: further options of `rbtc.attack.completion.complete`.

        Raises:
            ValueError: an option is wrong. That nothing is missing (the model is not pruned) is
                found when the weights are first asked for.
        """
        keep_ratio = self.keep_ratio if keep_ratio is None else keep_ratio
        solver = solver_of(algorithm, {*options} - {"init"})
        check_keep(keep_ratio, per)
        check_strategy(strategy, released=released)
        if not callable(variant.made):
            self._check_pruned(variant, missing)
        choices: dict[str, Any] = {
            "keep_ratio": keep_ratio,
            "strategy": strategy,
            "per": per,
            "algorithm": algorithm,
            "seed": seed,
            "released": released,
        }

        def weights() -> Weights:
            found = self.complete(variant, algorithm=algorithm, missing=missing, **options)
            return revive(variant.weights, completions=found, missing=missing, **choices).weights

        return derived(
            variant, f"revived ({strategy.replace('_', ' ')})", weights,
            revive, complete_all, solver,
            kind="revived", missing=_digest(missing), double=self.double, **choices, **options,
        )  # fmt: skip

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
        self._check_pruned(variant, missing)
        config = {
            "kind": "completions",
            "base": variant.key,
            "algorithm": algorithm,
            "missing": _digest(missing),
            "options": options,
            "double": self.double,
        }

        def make() -> dict[str, torch.Tensor]:
            weights = variant.weights
            if self.double:
                weights = {name: weight.double() for name, weight in weights.items()}
            options_of = {"algorithm": algorithm, "progress": self.progress, **options}
            return _pack(complete_all(weights, missing, **options_of))

        def read() -> dict[str, Completion]:
            code = (complete_all, solver_of(algorithm))
            tensors, _ = self.store.weights(config, make, code=code)
            return _unpack(tensors, algorithm, variant.weights)

        return self._completions.get_or_make(canonical(config), read)

    def _check_pruned(self, variant: Variant, missing: Masks | None) -> None:
        if missing is None and density(zero_masks(variant.weights)) < FEWEST_ZEROS:
            raise ValueError(
                f"the {variant.label} model is not pruned (hardly a weight is exactly zero), so "
                "there is nothing to revive: attack a pruned one, or pass `missing`"
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
        """Weights taken for pruned ones: the smallest ``share``, or all below ``threshold``."""
        if attacker == "budget":
            return budget_attack(variant.weights, fraction=share, scope=scope)
        if attacker != "threshold":
            raise ValueError(f'attacker must be "budget" or "threshold", not {attacker!r}')
        if threshold is None:
            raise ValueError('attacker="threshold" needs a threshold, for example 5 * sigma')
        return threshold_attack(variant.weights, threshold=threshold)

    def infer(
        self,
        variant: Variant,
        *,
        evidence: Evidence = "columns",
        fits: Mapping[str, Mixture] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Probability of each weight to be a modified one (`rbtc.defense.mask_inference`)."""
        return modified_probability(variant.weights, evidence=evidence, fits=fits)

    def attack_guessed(self, variant: Variant, flagged: Masks, **options: Any) -> Variant:
        """Set the flagged weights to zero and attack there (paper Sec. 5.5).

        Rows that are flagged as a whole are left alone: nothing would be left to complete them
        from. Options as for `attack`.

        Raises:
            ValueError: nothing flagged is left.
        """
        usable = spare_whole_rows(flagged)
        zeroed = derived(
            variant, "re-pruned", lambda: prune(variant.weights, usable), prune,
            kind="repruned", places=tensors_digest(usable),
        )  # fmt: skip
        return self.attack(zeroed, missing=usable, **options)


def _pack(completions: Mapping[str, Completion]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, found in completions.items():
        tensors[f"{name}/values"] = found.values
        tensors[f"{name}/missing"] = found.missing
        tensors[f"{name}/residuals"] = torch.tensor(found.residuals, dtype=torch.float64)
        tensors[f"{name}/run"] = torch.tensor([found.iterations, int(found.converged)])
    return tensors


def _unpack(
    tensors: Mapping[str, torch.Tensor], algorithm: str, weights: Weights
) -> dict[str, Completion]:
    """Completions as they were packed, on the device of the weights."""
    completions = {}
    for name in sorted({key.rsplit("/", 1)[0] for key in tensors}):
        values, missing, residuals, run = (
            tensors[f"{name}/{part}"] for part in ("values", "missing", "residuals", "run")
        )
        device, (iterations, converged) = weights[name].device, run.tolist()
        completions[name] = Completion(
            values.to(device), missing.to(device), int(iterations), tuple(residuals.tolist()),
            bool(converged), algorithm,
        )  # fmt: skip
    return completions


def _digest(masks: Masks | None) -> str | None:
    return None if masks is None else tensors_digest(masks)
