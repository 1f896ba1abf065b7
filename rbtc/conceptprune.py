"""ConceptPrune: find and zero the weights that serve one concept (paper Sec. 2 and 5.1).

A weight of a feed-forward output matrix matters for a set of prompts by the Wanda score

    S_ij = |W_ij| * a_j,      a_j = || activations of input j over all tokens and prompts ||_2,

each token's activation vector being scaled to unit length first. At every UNet call the k highest
scores of each row on the target prompts are candidates, and a candidate is pruned where its score
on the target prompts exceeds its score on the reference prompts. The final mask is the union over
the first T calls, the noisiest ones.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rbtc.generate import call_pipeline, check_prompts, check_settings
from rbtc.layers import Masks, Weights, check_same_layers, find_layers

Norms = dict[int, dict[str, torch.Tensor]]
"""UNet call (0 = noisiest) -> weight name -> activation norms (in_features,)."""


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie in (0, 1], not {ratio}")


def _check_union(calls: int, select_ratio: float) -> None:
    if calls < 1:
        raise ValueError(f"calls must be at least 1, not {calls}")
    if not 0 <= select_ratio < 1:
        raise ValueError(f"select_ratio must lie in [0, 1), not {select_ratio}")


@dataclass(frozen=True)
class ConceptPruneConfig:
    """Settings of one ConceptPrune run.

    Attributes:
        ratio: Share of each row that is a candidate at each call.
        calls: Number T of UNet calls, from the noisiest, that are united.
        seed: The one seed every prompt starts from.
        select_ratio: A weight is pruned when more than this share of the T calls select it; 0 is
            the union.
        steps: Denoising steps; None keeps the pipeline's default.
        guidance: Guidance scale; None keeps the pipeline's default.
        batch_size: Prompts per pipeline call.

    Raises:
        ValueError: For a value outside its range.
    """

    ratio: float = 0.02
    calls: int = 10
    seed: int = 0
    select_ratio: float = 0.0
    steps: int | None = None
    guidance: float | None = None
    batch_size: int = 12

    def __post_init__(self) -> None:
        _check_ratio(self.ratio)
        _check_union(self.calls, self.select_ratio)
        check_settings([self.seed], self.batch_size, self.steps, self.guidance)


class ActivationNorms:
    """Accumulates the norms a_j of every feed-forward output matrix's input while a UNet runs.

    A context manager: hooks exist only inside the `with` block. It counts the UNet's calls itself,
    because a scheduler may call the UNet more often than the number of steps suggests (PNDM does).
    Call `restart` before every generation, so that call t of each one is added to call t of the
    others. With classifier-free guidance the unconditional and the conditional half of the batch
    both enter, as in ConceptPrune.

    Sums are kept in float64 and added picture by picture, so the batching of prompts leaves no
    trace in them beyond the rounding of the UNet itself.

    Args:
        unet: The UNet to watch.
        calls: Record this many calls of each generation only; None records all.

    Raises:
        ValueError: When the UNet has no feed-forward output matrix, or `calls` is below 1.
    """

    def __init__(self, unet: nn.Module, *, calls: int | None = None) -> None:
        if calls is not None and calls < 1:
            raise ValueError(f"calls must be at least 1, not {calls}")
        self.unet = unet
        self.calls = calls
        self.count = 0
        self._sums: Norms = {}
        self._handles: list[Any] = []
        self._inputs = {
            name: unet.get_submodule(name.removesuffix("2.weight") + "0")  # the GEGLU
            for name in find_layers(unet)
        }

    def __enter__(self) -> ActivationNorms:
        self.restart()
        self._handles.append(self.unet.register_forward_pre_hook(self._on_call))
        for name, module in self._inputs.items():
            self._handles.append(module.register_forward_hook(self._recorder(name)))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def restart(self) -> None:
        """Start a new generation: the next UNet call is call 0. What was summed stays."""
        self.count = 0

    def _on_call(self, module: nn.Module, arguments: tuple) -> None:
        self.count += 1

    def _recorder(self, name: str) -> Any:
        def record(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
            call = self.count - 1
            if call < 0 or (self.calls is not None and call >= self.calls):
                return
            # MPS has no float64; there the squares are summed in float32 and the sums in float64.
            dtype = torch.float32 if output.device.type == "mps" else torch.float64
            for tokens in output.detach():  # (tokens, in_features)
                values = tokens.to(dtype).flatten(0, -2)
                values = nn.functional.normalize(values, dim=1, eps=torch.finfo(dtype).tiny)
                total = values.square_().sum(0).cpu().double()  # (in_features,)
                sums = self._sums.setdefault(call, {})
                sums[name] = sums[name] + total if name in sums else total

        return record

    def norms(self) -> Norms:
        """Norms so far: call -> weight name -> (in_features,) float64 on the CPU.

        Raises:
            ValueError: When nothing was recorded, or an activation was NaN or infinite.
        """
        if not self._sums:
            raise ValueError("no UNet call was recorded: run the pipeline inside the with block")
        for call, sums in self._sums.items():
            for name, total in sums.items():
                if not total.isfinite().all():
                    raise ValueError(
                        f"the activations feeding {name} at UNet call {call} hold NaN or infinity: "
                        "load the model in float32"
                    )
        return {
            call: {name: total.sqrt() for name, total in sorted(sums.items())}
            for call, sums in sorted(self._sums.items())
        }


def collect_norms(pipe: Any, prompts: Sequence[str], config: ConceptPruneConfig) -> Norms:
    """Activation norms of one prompt set over the first `config.calls` UNet calls.

    Every prompt is drawn once from the same noise, that of `config.seed`. Each generation stops as
    soon as the calls in question are made, and nothing is decoded.

    Args:
        pipe: A Stable Diffusion pipeline.
        prompts: The prompt set.
        config: Settings; `ratio` and `select_ratio` do not matter here.

    Returns:
        Call -> weight name -> (in_features,).

    Raises:
        ValueError: For no prompts, or when the pipeline makes fewer UNet calls than asked for.
    """
    seeds = [config.seed] * len(prompts)
    check_prompts(prompts, seeds)

    with ActivationNorms(pipe.unet, calls=config.calls) as recorder:

        def stop_early(pipe: Any, step: int, time: Any, tensors: dict) -> dict:
            if recorder.count >= config.calls:
                pipe._interrupt = True  # diffusers' documented way to leave the denoising loop
            return tensors

        for start in range(0, len(prompts), config.batch_size):
            part = slice(start, start + config.batch_size)
            recorder.restart()
            call_pipeline(
                pipe,
                prompts[part],
                seeds[part],
                steps=config.steps,
                guidance=config.guidance,
                output_type="latent",
                callback_on_step_end=stop_early,
            )
            if recorder.count < config.calls:
                raise ValueError(
                    f"calls={config.calls} were asked for, but this pipeline calls its UNet only "
                    f"{recorder.count} times per picture: lower calls or raise steps"
                )
    return recorder.norms()


def _scores(weight: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    dtype = torch.float32 if weight.device.type == "mps" else torch.float64
    return weight.detach().abs().to(dtype) * norm.to(weight.device, dtype)  # (rows, columns)


def step_mask(
    weight: torch.Tensor,
    target_norm: torch.Tensor,
    reference_norm: torch.Tensor,
    *,
    ratio: float,
) -> torch.Tensor:
    """Mask of one matrix at one UNet call.

    In each row the k = int(ratio * columns) highest target scores |W_ij| a*_j are candidates; a
    candidate is pruned where |W_ij| a*_j > |W_ij| a_j, strictly. So at most k weights per row are
    pruned, and a zero weight never is.

    Args:
        weight: (rows, columns).
        target_norm: Norms a* on the target prompts, (columns,).
        reference_norm: Norms a on the reference prompts, (columns,).
        ratio: Share of each row that is a candidate, in (0, 1].

    Returns:
        Bool (rows, columns) on the weight's device, True = prune.

    Raises:
        ValueError: For shapes that do not fit, norms that are negative or not finite, or a ratio
            outside (0, 1] or so small that k is 0.
    """
    _check_ratio(ratio)
    if weight.ndim != 2:
        raise ValueError(f"weight must have two dimensions, not shape {tuple(weight.shape)}")
    columns = weight.shape[1]
    for label, norm in (("target_norm", target_norm), ("reference_norm", reference_norm)):
        if norm.shape != (columns,):
            raise ValueError(
                f"{label} has shape {tuple(norm.shape)}, but the weight of shape "
                f"{tuple(weight.shape)} needs ({columns},)"
            )
        if not (norm.isfinite().all() and (norm >= 0).all()):
            raise ValueError(f"{label} must hold finite numbers that are not negative")
    k = int(ratio * columns)
    if k == 0:
        raise ValueError(
            f"ratio {ratio} of {columns} columns is less than one weight per row: "
            f"use at least {math.ceil(1e4 / columns) / 1e4}"
        )
    target = _scores(weight, target_norm)
    reference = _scores(weight, reference_norm)
    top, places = target.topk(k, dim=1)  # (rows, k)
    mask = torch.zeros(weight.shape, dtype=torch.bool, device=weight.device)
    return mask.scatter_(1, places, top > reference.gather(1, places))


def _norm_of(norms: Norms, call: int, name: str, label: str) -> torch.Tensor:
    try:
        return norms[call][name]
    except KeyError:
        raise ValueError(
            f"the {label} norms hold nothing for UNet call {call} and layer {name}: "
            f"collect them with calls of at least {call + 1} on this model"
        ) from None


def concept_masks(
    weights: Weights,
    target: Norms,
    reference: Norms,
    *,
    ratio: float,
    calls: int,
    select_ratio: float = 0.0,
) -> Masks:
    """Masks of all layers, united over the first `calls` UNet calls.

    A weight is pruned when more than select_ratio * calls of the per-call masks select it; with 0
    this is their union, which can only grow with `calls`.

    Args:
        weights: Weight name -> (rows, columns).
        target: Norms on the target prompts.
        reference: Norms on the reference prompts.
        ratio: Share of each row that is a candidate at each call.
        calls: Number T of calls.
        select_ratio: Share of calls a weight must exceed, in [0, 1).

    Returns:
        Weight name -> bool (rows, columns), True = prune.

    Raises:
        ValueError: For values out of range, norms that miss a call or a layer, or shapes that do
            not fit.
    """
    _check_ratio(ratio)
    _check_union(calls, select_ratio)
    masks: Masks = {}
    for name in sorted(weights):
        weight = weights[name]
        votes = torch.zeros(weight.shape, dtype=torch.int32, device=weight.device)
        for call in range(calls):
            votes += step_mask(
                weight,
                _norm_of(target, call, name, "target"),
                _norm_of(reference, call, name, "reference"),
                ratio=ratio,
            )
        masks[name] = votes > select_ratio * calls
    return masks


def prune(weights: Weights, masks: Masks) -> Weights:
    """Copies of the weights with every masked one set to +0.0.

    Multiplying by a 0/1 mask would leave -0.0 where the weight was negative, and that sign bit
    survives saving: it would hand the pruned sign to anyone who reads the file. Filling does not.

    Args:
        weights: Weight name -> (rows, columns).
        masks: Weight name -> bool (rows, columns), True = prune.

    Returns:
        New tensors of the same dtypes and devices; unmasked weights are bit-identical.

    Raises:
        ValueError: When layers or shapes differ, or a mask is not boolean.
    """
    check_same_layers(weights, masks)
    pruned: Weights = {}
    for name in sorted(weights):
        mask = masks[name]
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask of {name} has dtype {mask.dtype}, but bool is needed")
        weight = weights[name].detach()
        pruned[name] = weight.masked_fill(mask.to(weight.device), 0.0)
    return pruned


def save_masks(
    path: str | Path, masks: Masks, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write masks to a safetensors file (uint8, 1 = pruned), all or nothing.

    Args:
        path: File to write; its folder is made when missing.
        masks: Weight name -> bool (rows, columns).
        metadata: What to remember with them; values that are not strings are stored as JSON.

    Raises:
        ValueError: For no masks, or a mask that is not boolean.
    """
    from safetensors.torch import save_file

    if not masks:
        raise ValueError("there are no masks to save")
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask of {name} has dtype {mask.dtype}, but bool is needed")
    tensors = {name: masks[name].to("cpu", torch.uint8).contiguous() for name in sorted(masks)}
    words = {
        str(key): value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in (metadata or {}).items()
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=words)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_masks(path: str | Path, weights: Weights | None = None) -> Masks:
    """Read masks written by `save_masks`.

    Args:
        path: The safetensors file.
        weights: When given, layers and shapes must be those of these weights.

    Returns:
        Weight name -> bool (rows, columns) on the CPU, sorted by name.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is damaged, holds anything but 0 and 1, or does not fit the
            weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no mask file at {path}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype != torch.uint8 or (tensor > 1).any():
            raise ValueError(
                f"{name} in {path} is not a mask: masks hold 0 and 1 as uint8, "
                f"this has dtype {tensor.dtype}"
            )
    masks = {name: tensors[name].bool() for name in sorted(tensors)}
    if weights is not None:
        check_same_layers(weights, masks)
    return masks


def concept_prune(
    pipe: Any,
    target_prompts: Sequence[str],
    reference_prompts: Sequence[str],
    config: ConceptPruneConfig | None = None,
) -> Masks:
    """Masks that erase what the target prompts have and the reference prompts lack.

    Args:
        pipe: A Stable Diffusion pipeline.
        target_prompts: Prompts with the concept.
        reference_prompts: The same prompts without it.
        config: Settings; None takes the defaults.

    Returns:
        Weight name -> bool (rows, columns), True = prune.

    Raises:
        ValueError: See `collect_norms` and `concept_masks`.
    """
    config = config or ConceptPruneConfig()
    return concept_masks(
        find_layers(pipe.unet),
        collect_norms(pipe, target_prompts, config),
        collect_norms(pipe, reference_prompts, config),
        ratio=config.ratio,
        calls=config.calls,
        select_ratio=config.select_ratio,
    )
