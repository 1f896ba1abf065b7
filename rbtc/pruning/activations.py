"""What feeds each feed-forward output matrix while a model draws: ConceptPrune's statistics.

For a set of prompts, input j of a matrix gets the norm

    a_j = || activations of input j over all tokens and prompts ||_2,

each token's activation vector being scaled to unit length first (paper Sec. 2). Each UNet call has
norms of its own, for ConceptPrune makes a mask per call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rbtc.layers import find_layers
from rbtc.models.generate import call_pipeline, check_prompts

if TYPE_CHECKING:
    from rbtc.pruning.conceptprune import ConceptPruneConfig


Norms = dict[int, dict[str, torch.Tensor]]
"""UNet call (0 = noisiest) -> weight name -> activation norms (in_features,)."""


class ActivationNorms:
    """Accumulates the norms a_j of every feed-forward output matrix's input while a UNet runs.

    A context manager: hooks exist only inside the `with` block. It counts the UNet's calls itself
    (PNDM makes more than its steps). Call `restart` before every generation, so that call t of each
    one is added to call t of the others. With classifier-free guidance both halves of the batch
    enter, as in ConceptPrune. Sums are kept in float64 and added picture by picture, so batching
    changes them by no more than the rounding of the UNet itself.

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


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """One thread on a CPU: how many threads share a sum decides its last bits."""
    threads = torch.get_num_threads()
    try:
        if device.type == "cpu":
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)


def collect_norms(pipe: Any, prompts: Sequence[str], config: ConceptPruneConfig) -> Norms:
    """Activation norms of one prompt set over the first `config.calls` UNet calls.

    Every prompt is drawn once from the same noise, that of `config.seed`. Each generation stops as
    soon as the calls are made, and nothing is decoded. On a CPU one thread does it, so that norms
    and masks are the same whatever number of threads torch has.

    Returns:
        Call -> weight name -> (in_features,).

    Raises:
        ValueError: For no prompts, or when the pipeline makes fewer UNet calls than asked for.
    """
    seeds = [config.seed] * len(prompts)
    check_prompts(prompts, seeds)

    with (
        _one_thread(pipe.unet.device),
        ActivationNorms(pipe.unet, calls=config.calls) as recorder,
    ):

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
