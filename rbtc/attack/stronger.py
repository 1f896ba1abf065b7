"""A stronger attack: everything the survivors tell, each layer tuned without the original.

Three things are added to the paper's attack, each usable without the others:

1. the exponent p of the spectral family (`rbtc.solvers.spectral`), of which the paper's is p = 1;
2. the rows that read a hidden unit's input, completed together with the column that writes its
   output (`rbtc.attack.input_projection`);
3. how large pruned weights are (`rbtc.attack.selection`), with which signs get odds
(`rbtc.attack.soft_signs`).

p and how much of the spectrum counts as noise are chosen for every layer by hide and complete
(`rbtc.attack.recoverability`). Like all of the attack this reads the pruned model and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from rbtc.attack.completion import Completion, complete
from rbtc.attack.input_projection import InputProjection, complete_jointly
from rbtc.attack.recoverability import estimate_sign_accuracy
from rbtc.attack.selection import expected_magnitudes
from rbtc.attack.soft_signs import soften
from rbtc.layers import Masks, Weights, check_same_layers, zero_masks
from rbtc.stats import Proportion


@dataclass(frozen=True)
class Setting:
    """One way to complete a layer.

    Attributes:
        exponent: p of the spectral family.
        ridge: fraction of the spectrum that counts as noise.
        projection: scale of the value half of the input projection that is completed along, beside
            the survivors' (`rbtc.attack.input_projection.stacked`); 0 leaves it out.
        soft: turn the result into expected values, with magnitudes from the selection.
    """

    exponent: float = 1.0
    ridge: float = 1e-6
    projection: float = 0.0
    soft: bool = False


EXPONENTS = tuple(Setting(p, 1e-2) for p in (0.0, 0.5, 1.0))
"""What the exponent alone is chosen from."""

WITH_PROJECTION = tuple(
    Setting(0.0, ridge, scale) for scale, ridge in ((0.5, 0.03), (0.5, 0.1), (0.25, 0.03))
)
"""With the input projection; p = 0 is its linear regression, and what counts as noise decides."""

STEPS = 4
"""Reweighted steps of a completion: hardly a sign moves afterwards."""


@dataclass(frozen=True, eq=False)
class ChosenSetting:
    """What hide and complete said of a layer.

    Attributes:
        setting: The best one.
        estimates: The fraction of hidden signs that each setting found.
    """

    setting: Setting
    estimates: Mapping[Setting, Proportion]


def complete_with(
    setting: Setting, weight: Tensor, missing: Tensor, projection: Tensor | None = None
) -> Completion:
    """Complete one layer (rows, columns) as a setting says.

    ``missing`` is bool (rows, columns), and what the weight holds there is not looked at;
    ``projection`` is (further rows, columns), for settings that use them.

    Raises:
        ValueError: the completion refuses.
    """
    options: dict[str, Any] = {
        "exponent": setting.exponent, "ridge": setting.ridge, "max_iterations": STEPS
    }  # fmt: skip
    beside = projection if setting.projection else None
    if beside is not None:
        found = complete_jointly(weight, missing, beside, scale=setting.projection, **options)
    else:
        found = complete(weight, missing, algorithm="spectral", **options)
    if not setting.soft:
        return found
    magnitudes = expected_magnitudes(weight, missing)
    return soften(
        weight,
        found,
        magnitudes,
        projection=beside,
        scale=setting.projection or 1.0,
        ridge=setting.ridge,
    )


def choose_setting(
    weight: Tensor,
    missing: Tensor,
    settings: Sequence[Setting],
    projection: Tensor | None = None,
    *,
    fraction: float = 0.02,
) -> ChosenSetting:
    """Hide survivors, complete with every setting, and take the one that finds most signs.

    Args:
        weight: (rows, columns).
        missing: bool (rows, columns).
        settings: at least one; of equally good ones the first. A single one needs no estimate.
        projection: (further rows, columns), for settings that use them.
        fraction: of each row that is hidden, see
            `rbtc.attack.recoverability.estimate_sign_accuracy`.

    Raises:
        ValueError: what the estimate refuses.
    """
    if len(settings) == 1:
        return ChosenSetting(settings[0], {})
    estimates = {
        setting: estimate_sign_accuracy(
            weight,
            missing,
            fraction=fraction,
            complete=lambda shown, gone, one=setting: complete_with(one, shown, gone, projection),
        )
        for setting in settings
    }
    return ChosenSetting(max(settings, key=lambda setting: estimates[setting].value), estimates)


def complete_stronger(
    weights: Weights,
    projections: Mapping[str, InputProjection],
    settings: Sequence[Setting] = WITH_PROJECTION,
    *,
    soft: bool = True,
    masks: Masks | None = None,
    fraction: float = 0.02,
    choices: Mapping[str, ChosenSetting] | None = None,
) -> tuple[dict[str, Completion], dict[str, ChosenSetting]]:
    """Complete every layer of a pruned model with the setting chosen for it.

    The completions go into `rbtc.attack.revive.revive`: with `strategy="completed"` and
    `keep_ratio=1` the expected values themselves are written, with `strategy="neuron_max"` their
    signs.

    Args:
        weights: the pruned layers.
        projections: of every layer, see `rbtc.attack.input_projection.find_input_projections`;
            read by settings that use them.
        settings: what is chosen from, layer by layer.
        soft: turn the completions into expected values (`rbtc.attack.soft_signs`). The choice is
            made before that, among the settings as they are.
        masks: where each layer is missing; None takes the entries equal to zero.
        fraction: see `choose_setting`.
        choices: of an earlier call on the same model, which are then not made again.

    Returns:
        Completions and choices of the layers in which something is missing, sorted by name.

    Raises:
        ValueError: nothing is missing, or a layer lacks the projection or the choice it needs.
    """
    masks = zero_masks(weights) if masks is None else masks
    check_same_layers(weights, masks)
    names = [name for name in sorted(weights) if bool(masks[name].any())]
    if not names:
        raise ValueError(f"nothing is missing in any of the {len(weights)} layers: is it pruned?")
    lacking = [name for name in names if name not in projections]
    if lacking and any(setting.projection for setting in settings):
        raise ValueError(f"{lacking[0]} has no input projection, and a setting needs it")
    if choices is not None and (unmade := [name for name in names if name not in choices]):
        raise ValueError(f"{unmade[0]} is not among the {len(choices)} layers of `choices`")
    found, made = {}, {}
    for name in names:
        weight, mask = weights[name].detach(), masks[name]
        beside = projections[name].value if name in projections else None
        made[name] = (
            choose_setting(weight, mask, settings, beside, fraction=fraction)
            if choices is None
            else choices[name]
        )
        setting = replace(made[name].setting, soft=soft)
        found[name] = complete_with(setting, weight, mask, beside)
    return found, made
