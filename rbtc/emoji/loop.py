"""One resumable training loop for every network of emoji-sd: VAE, judges, text encoder and UNet."""

from __future__ import annotations

import copy
import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from rbtc.files import write_json


@dataclass(frozen=True)
class LoopConfig:
    """Length and optimiser of a training run.

    ``pictures`` are counted over the whole run, resumed parts included; ``warmup`` and the cosine
    decay to zero are in pictures as well, so that another batch size keeps the schedule.
    """

    pictures: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup: int = 4_000
    weight_decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    save_every: int = 50_000
    log_every: int = 2_000

    def __post_init__(self) -> None:
        if self.pictures < self.batch_size:
            raise ValueError(f"pictures={self.pictures} is less than one batch ({self.batch_size})")


def schedule(config: LoopConfig, seen: int) -> float:
    """Learning-rate factor after ``seen`` pictures: linear warm-up, cosine to zero."""
    if seen < config.warmup:
        return (seen + 1) / config.warmup
    progress = (seen - config.warmup) / max(1, config.pictures - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def device_name(device: torch.device) -> str:
    """What ran: the GPU's name, or the CPU's with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{name}, {torch.get_num_threads()} threads"


def train(
    model: nn.Module,
    loss: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    config: LoopConfig,
    folder: Path,
    *,
    groups: Sequence[dict[str, Any]] = (),
    sample: Callable[[nn.Module, int], None] | None = None,
    record: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Train ``model`` in place and return its exponential moving average.

    Args:
        model: the module whose parameters are optimised; ``loss`` must use this very module.
        loss: given the pictures seen so far, draws a batch and returns (loss, figures to log).
        config: see there.
        folder: checkpoints (``checkpoint.pt``), ``log.jsonl`` and ``done.json``; a checkpoint
            found there is resumed.
        groups: optimiser parameter groups; default one group of all parameters.
        sample: called with the average model and the pictures seen, at every checkpoint.
        record: goes into ``done.json`` as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(
        groups or model.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.99),
        fused=True,
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    seen, seconds, checkpoint = 0, 0.0, folder / "checkpoint.pt"
    sittings: list[dict] = []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        seen, seconds = state["seen"], state["seconds"]
        sittings = state.get("sittings", [])
    # One entry per start of the command: a run whose options changed midway says so.
    sittings.append({"from": seen, **asdict(config), "device": device_name(device)})

    def save() -> None:
        temporary = checkpoint.with_suffix(".tmp")
        torch.save(
            {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "seen": seen,
                "seconds": seconds,
                "sittings": sittings,
            },
            temporary,
        )
        temporary.replace(checkpoint)
        if sample is not None:
            sample(average, seen)

    torch.manual_seed(config.seed + seen)
    model.train()
    bar = tqdm(total=config.pictures, initial=seen, unit="picture", desc=folder.name, mininterval=5)
    start, logged, saved, figures = time.monotonic(), seen, seen, {}
    while seen < config.pictures:
        factor = schedule(config, seen)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        value, figures = loss(seen)
        if not torch.isfinite(value):
            raise ValueError(
                f"the loss became {value.item()} after {seen} pictures: lower the rate"
            )
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seen += config.batch_size
        decay = min(config.ema, seen / (seen + 10 * config.batch_size))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
            for slow, fast in zip(average.buffers(), model.buffers(), strict=True):
                slow.copy_(fast)
        bar.update(config.batch_size)
        if seen - logged >= config.log_every:
            logged = seen
            elapsed = seconds + time.monotonic() - start
            row = {"seen": seen, "seconds": round(elapsed, 1), "loss": value.item(), **figures}
            with (folder / "log.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            bar.set_postfix(loss=f"{value.item():.4f}")
        if seen - saved >= config.save_every:
            saved = seen
            now = time.monotonic()
            seconds, start = seconds + now - start, now
            save()
            model.train()
    bar.close()
    seconds += time.monotonic() - start
    save()
    done = {**asdict(config), "seconds": seconds, "device": device_name(device)}
    write_json(folder / "done.json", {**done, "sittings": sittings, **figures, **(record or {})})
    return average
