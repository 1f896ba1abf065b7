"""Take a model of Stable Diffusion v1.5's full size through every step, without its weights.

    python benchmarks/full_size.py [--ratio 0.05] [--dtype float32] [--out full_size.json]

builds the published configuration with random weights, prunes it with ConceptPrune from real
activations, lets `rbtc audit` at the pruned UNet (with --harden `rbtc harden` too, which tries ten
sigmas and takes longer than all the rest), completes, revives, saves it as a folder and as a single
file, and loads both again. Written down are the seconds and the peak memory of every step. The
weights are random, so nothing is said about what the attack finds; only that, and at what cost, it
runs.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import gc
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from measure import high_water, peak_megabytes, reset_peak, seconds
from published import configuration, random_pipeline, save_single_file

from rbtc import command
from rbtc.attack.revive import revive
from rbtc.files import check_writable, write_whole
from rbtc.lab.digests import library_versions, tensors_digest
from rbtc.layers import density, prune, read_weights, write_weights
from rbtc.models.pipelines import default_device, load_pipeline
from rbtc.models.profiles import Profile, load_profile
from rbtc.models.prompts import prompt_pairs
from rbtc.models.sd15 import mark_random
from rbtc.models.single_file import as_folder
from rbtc.pruning.conceptprune import ConceptPruneConfig, concept_prune
from rbtc.studies.measuring.common import at_least_one

T = TypeVar("T")


class Clock:
    """Seconds and peak memory of one step after the other."""

    def __init__(self, device: str) -> None:
        """Count on a device."""
        self.device = device
        self.lines: list[dict[str, Any]] = []

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Do a step, and write down what it took."""
        done: list[T] = []
        gc.collect()
        reset_peak(self.device)
        spent = seconds(lambda: done.append(work()), self.device)
        peak = peak_megabytes("cpu")
        line = {"step": name, "minutes": spent / 60, "peak_gigabytes": peak / 1024}
        if self.device.startswith("cuda"):
            line["peak_gpu_gigabytes"] = peak_megabytes(self.device) / 1024
        self._write(line)
        return done[0]

    def command(self, *arguments: str) -> None:
        """Run `rbtc` in a process of its own, and write down what that took.

        Raises:
            RuntimeError: it failed; 1 is a finding, and no failure.
        """
        start, peak = time.perf_counter(), 0.0
        with subprocess.Popen(
            [sys.executable, "-m", "rbtc", *arguments], stdout=subprocess.DEVNULL
        ) as child:
            while child.poll() is None:  # a child's own mark: getrusage counts what it forked from
                peak = max(peak, high_water(child.pid) or 0.0)
                time.sleep(0.05)
        spent = time.perf_counter() - start
        if child.returncode not in (0, 1):
            raise RuntimeError(f"rbtc {' '.join(arguments)} ended with status {child.returncode}")
        self._write(
            {"step": f"rbtc {arguments[0]}", "minutes": spent / 60, "peak_gigabytes": peak / 1024}
        )

    def _write(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}, flush=True)


def proof(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every step, in a folder that needs room for the model three times."""
    device = options.device or default_device()
    clock = Clock(device)
    profile = load_profile("sd15")
    dtype = getattr(torch, options.dtype)
    facts, digest, file = attack_and_save(options, clock, folder, profile)

    def same(model: Path) -> bool:
        back = load_pipeline(replace(profile, model=str(model), dtype=options.dtype), device)
        return tensors_digest(_stored(back, dtype)) == digest

    facts["same_from_folder"] = clock("load folder", lambda: same(folder / "model"))
    parts = configuration(small=options.small, sample_size=options.latent)
    facts["same_from_single_file"] = clock(
        "load single file", lambda: same(as_folder(file, parts, cache=folder / "made"))
    )
    facts["gigabytes_single_file"] = file.stat().st_size / 1e9
    return {"facts": facts, "steps": clock.lines}


def attack_and_save(
    options: argparse.Namespace, clock: Clock, folder: Path, profile: Profile
) -> tuple[dict[str, Any], str, Path]:
    """Build, prune, audit, revive and save; the facts, the weights' digest, the single file."""
    dtype = getattr(torch, options.dtype)

    def build() -> Any:
        pipe = random_pipeline(
            folder / "configuration", small=options.small, sample_size=options.latent
        )
        return pipe.to(clock.device, dtype)

    pipe = clock("build", build)
    target, reference = prompt_pairs(profile, options.concept)
    settings = ConceptPruneConfig(
        ratio=options.ratio or profile.conceptprune.ratio,
        calls=options.calls,
        steps=options.steps,
        guidance=profile.guidance,
        batch_size=1,
    )
    pairs = target[: options.prompts], reference[: options.prompts]
    masks = clock("prune", lambda: concept_prune(pipe, *pairs, settings))
    write_weights(pipe.unet, prune(read_weights(pipe.unet), masks))
    judge(pipe.unet, clock, folder, harden=options.harden)
    limits = {"max_iterations": options.iterations}
    revival = clock("complete and revive", lambda: revive(pipe.unet, **limits))
    write_weights(pipe.unet, revival.weights)
    facts = {
        "unet_parameters": sum(p.numel() for p in pipe.unet.parameters()),
        "matrices": len(revival.weights),
        "share_pruned": density(masks),
        "iterations": sum(done.iterations for done in revival.completions.values()),
        "converged": sum(done.converged for done in revival.completions.values()),
    }
    clock("save folder", lambda: pipe.save_pretrained(str(folder / "model")))
    mark_random(folder / "model")
    file = clock(
        "save single file", lambda: save_single_file(pipe, folder / "one.safetensors", random=True)
    )
    return facts, tensors_digest(_stored(pipe, dtype)), file


def judge(unet: Any, clock: Clock, folder: Path, *, harden: bool) -> None:
    """What the command line says of a pruned UNet, and makes of it; nothing stays."""
    pruned, hardened = folder / "pruned", folder / "hardened"
    unet.save_pretrained(str(pruned))
    clock.command("audit", str(pruned), "--json")
    if harden:
        clock.command("harden", str(pruned), "--out", str(hardened))
        shutil.rmtree(hardened)
    shutil.rmtree(pruned)


def _stored(pipe: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The attacked matrices as they were stored: a CPU computes in float32 whatever that was."""
    return {name: weight.to(dtype) for name, weight in read_weights(pipe.unet).items()}


def main(arguments: list[str] | None = None) -> None:
    """Read the options, run, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("full_size.json"))
    parser.add_argument("--device", help="the GPU where there is one")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--latent", type=int, help="height of a latent; 64 is a picture of 512")
    parser.add_argument("--small", action="store_true", help="the same build, a few channels")
    parser.add_argument("--concept", default="church")
    parser.add_argument("--prompts", type=int, default=1, help="pairs of prompts")
    parser.add_argument("--steps", type=int, default=2, help="denoising steps")
    parser.add_argument("--calls", type=int, default=1, help="UNet calls united into the mask")
    parser.add_argument("--ratio", type=float, help="the profile's without it")
    parser.add_argument("--iterations", type=int, default=500, help="of the completion, at most")
    parser.add_argument("--harden", action="store_true", help="time `rbtc harden` as well")
    parser.add_argument("--work", type=Path, help="a folder with room; a temporary one without it")
    options = parser.parse_args(arguments)
    counts = ("prompts", "steps", "calls", "iterations")
    at_least_one(**{name: getattr(options, name) for name in counts})
    command.check_device(options.device or default_device())
    check_writable(options.out.parent)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        found = proof(options, Path(folder))
    found = {
        "weights": "random: no number of this says what an attack finds",
        "options": {k: v for k, v in vars(options).items() if k not in ("out", "work")},
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "libraries": library_versions(),
        **found,
        "minutes": sum(line["minutes"] for line in found["steps"]),
        "peak_gigabytes": max(line["peak_gigabytes"] for line in found["steps"]),
    }
    text = json.dumps(found, indent=1) + "\n"
    write_whole(options.out, lambda target: target.write_text(text, encoding="utf-8"))
    print(
        f"{options.out}: {found['minutes']:.1f} minutes, {found['peak_gigabytes']:.1f} GB at most"
    )


if __name__ == "__main__":
    command.run(main)
