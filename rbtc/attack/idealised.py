"""One half of the truth given away: pretrained signs or magnitudes (paper Sec. 3, App. A)."""

from __future__ import annotations

from typing import Literal

import torch

from rbtc.attack.magnitudes import _draw, _filled, _magnitude, _sign_of
from rbtc.layers import Masks, Weights, check_same_layers

IdealMode = Literal[
    "pretrained_magnitude_random_sign",
    "pretrained_sign_random_magnitude",
    "pretrained_sign_neuron_max",
    "pretrained_sign_neuron_average",
]


_IDEAL_MODES = (
    "pretrained_magnitude_random_sign",
    "pretrained_sign_random_magnitude",
    "pretrained_sign_neuron_max",
    "pretrained_sign_neuron_average",
)


def idealised(
    weights_original: Weights,
    weights: Weights,
    missing: Masks,
    *,
    mode: IdealMode,
    seed: int = 2021,
    released: bool = False,
) -> Weights:
    """Refill pruned layers with one half of the truth (paper Sec. 3, Fig. 2 and App. A).

    weights_original: the layers before pruning. weights: the pruned ones. Filled are the missing
    entries that were not zero before pruning; the others stay as they are. With g ~ N(mean, std^2)
    of the row's survivors, drawn alike in every mode:

    "pretrained_magnitude_random_sign"   |w| sign(g)
    "pretrained_sign_random_magnitude"   sign(w) |g|
    "pretrained_sign_neuron_max"         sign(w) times the row's largest surviving magnitude
                                         (`released`: max(|g|, (1 + 1e-6) * that))
    "pretrained_sign_neuron_average"     sign(w) times the row's mean surviving magnitude
    """
    if mode not in _IDEAL_MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(_IDEAL_MODES)}")
    if released and mode != "pretrained_sign_neuron_max":
        raise ValueError(f"released belongs to mode='pretrained_sign_neuron_max', not to {mode!r}")
    check_same_layers(weights, missing)
    check_same_layers(weights, weights_original)
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name in sorted(weights):
        weight = weights[name].detach()
        original = weights_original[name].detach().to(weight.device)
        mask = missing[name].to(weight.device)
        signed = mask & (original != 0)
        if not signed.any():
            result[name] = weight.clone()
            continue
        truth = original[signed].double()
        if mode == "pretrained_magnitude_random_sign":
            # Zeros of the original model are not survivors either: they are zero in `weight`.
            sign, magnitude = _sign_of(_draw(weight, signed, generator, mask)), truth.abs()
        elif mode == "pretrained_sign_random_magnitude":
            sign, magnitude = truth.sign(), _draw(weight, signed, generator, mask).abs()
        else:
            strategy = mode.removeprefix("pretrained_sign_")
            sign = truth.sign()
            magnitude = _magnitude(weight, signed, strategy, released, generator, mask)
        result[name] = _filled(weight, signed, sign, magnitude)
    return result
