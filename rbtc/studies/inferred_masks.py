"""One erased concept under every defence: the models, what is seen of them, and the attacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from rbtc.defense.gaussian import sigma_by_layer
from rbtc.defense.mask_inference import Evidence, name_modified
from rbtc.defense.mixture import Mixture, fit_layers
from rbtc.defense.roc import roc
from rbtc.studies.defense import ATTACKERS
from rbtc.studies.honest_attacker import HONEST, attacked, noise
from rbtc.studies.measuring.defense_attacks import attack, attack_places

if TYPE_CHECKING:
    from rbtc.defense.fills import Fill
    from rbtc.lab import Lab, Variant
    from rbtc.models.subjects import Subject

    Judged = Iterator[tuple[Mapping[str, Any], Variant]]

EVIDENCE: tuple[Evidence, ...] = get_args(Evidence)

THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


class DefendedConcept:
    """One erased concept: its models as they are asked for, and what was learnt on the way.

    Args:
        lab: where models come from.
        subject: what was erased.
        sigmas: noise levels of the paper's defence, standard deviations.
        hidings: further defences.
        noise_seed: of the fills.
        share: budget of the first attacker.
        threshold_sigmas: the second attacker takes all weights below this many sigma_M.
        cutoff: the inferring attacker completes the places of at least this probability.

    Attributes:
        guesses, seen, estimates: Lines, see `rbtc.studies.honest_attacker.HonestStudy`.
        sweeps, curves: Frames of the same.
        row: Model -> variant, for the picture grid.
    """

    def __init__(
        self,
        lab: Lab,
        subject: Subject,
        sigmas: Sequence[float],
        hidings: Sequence[Fill],
        *,
        noise_seed: int,
        share: float,
        threshold_sigmas: float,
        cutoff: float,
    ) -> None:
        self.lab, self.subject = lab, subject
        self.sigmas, self.hidings, self.noise_seed = sigmas, hidings, noise_seed
        self.share, self.threshold_sigmas, self.cutoff = share, threshold_sigmas, cutoff
        self.guesses: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self.estimates: list[dict[str, Any]] = []
        self.sweeps: list[pd.DataFrame] = []
        self.curves: list[pd.DataFrame] = []
        self.row: dict[str, Variant] = {}

    def defences(self) -> Iterator[tuple[str, float, Variant]]:
        """Name, sigma_M where there is one for all layers, and the defended model."""
        owner, seed = self.lab.owner, self.noise_seed
        for sigma in self.sigmas:
            yield noise(sigma), sigma, owner.obfuscated(self.subject, sigma=sigma, seed=seed)
        for how in self.hidings:
            yield how, math.nan, owner.hidden(self.subject, how=how, seed=seed)

    def defended(self) -> Judged:
        """The models that nobody attacks, and the attack on the pruned one."""
        self.row |= {
            "pretrained": self.lab.pretrained,
            "pruned": self.lab.owner.pruned(self.subject),
            "revived": self.lab.revived(self.subject),
        }
        for name, variant in self.row.items():
            yield {"model": name, "defence": "", "attacker": ""}, variant
        for name, _, variant in self.defences():
            yield {"model": name, "defence": name, "attacker": ""}, variant

    def attacks(self) -> Judged:
        """The defended models after each attack; where it is impossible, as they were."""
        for defence, sigma, variant in self.defences():
            self.row[defence] = variant
            for attacker in () if math.isnan(sigma) else ATTACKERS:
                limit = self.threshold_sigmas * sigma
                found = attack(self.lab, self.subject, variant, attacker, self.share, limit)
                yield self._after(defence, attacker, variant, *found)
            places = name_modified(self._look(defence, variant), self.cutoff)
            found = attack_places(self.lab, self.subject, variant, places)
            columns, after = self._after(defence, HONEST, variant, *found)
            self.row[columns["model"]] = after
            yield columns, after

    def _after(
        self, defence: str, attacker: str, variant: Variant, guess: dict[str, Any],
        after: Variant | None,
    ) -> tuple[dict[str, Any], Variant]:  # fmt: skip
        place = {"defence": defence, "attacker": attacker}
        self.guesses.append({"concept": self.subject.label, **place, **guess})
        return {"model": attacked(defence, attacker), **place}, after or variant

    def _look(self, defence: str, variant: Variant) -> dict[str, Any]:
        """What the weights show of the defence; returns the honest attacker's probabilities."""
        masks, honest = self.lab.owner.masks(self.subject), {}
        fits = fit_layers(variant.weights)
        for evidence in EVIDENCE:
            scores = self.lab.attacker.infer(variant, evidence=evidence, fits=fits)
            if evidence == HONEST:
                honest = scores
            found = roc(scores, masks)
            place = {"concept": self.subject.label, "defence": defence, "evidence": evidence}
            self.seen.append({**place, "auc": found.auc, **found.at(self.cutoff)})
            self.sweeps.append(found.sweep(THRESHOLDS).assign(**place))
            self.curves.append(found.curve().assign(**place))
        self.estimates += self._estimates(defence, variant, fits)
        return honest

    def _estimates(
        self, defence: str, variant: Variant, fits: Mapping[str, Mixture]
    ) -> list[dict[str, Any]]:
        """The mixture fit of each layer beside the truth."""
        masks = self.lab.owner.masks(self.subject)
        cut = {name: ~mask for name, mask in masks.items()}
        survivors = sigma_by_layer(variant.weights, masks).set_index("name")
        fills = sigma_by_layer(variant.weights, cut).set_index("name")
        return [
            {
                "concept": self.subject.label,
                "defence": defence,
                "layer": survivors.loc[name, "short"],
                "share": fit.fraction,
                "sigma_modified": fit.sigma_modified,
                "sigma_unmodified": fit.sigma_unmodified,
                "gain": fit.gain,
                "true_share": float(masks[name].double().mean()),
                "true_sigma_modified": fills.loc[name, "sigma"],
                "true_sigma_unmodified": survivors.loc[name, "sigma"],
            }
            for name, fit in fits.items()
        ]
