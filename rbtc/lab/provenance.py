"""How a number was made: commit, device, versions, digests of models, and the run of a study."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rbtc import __version__
from rbtc.lab.digests import LIBRARIES, model_digest, text_digest
from rbtc.lab.judges import PLACES
from rbtc.lab.lab import Lab

MADE = ("book/notebooks", "results", "notebooks/*.ipynb", "book/_static", "book/_generated")
"""What measuring and executing write; a change there is no change of the code."""


def weight_check(lab: Lab, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a replay can compare without a picture: one concept pruned, completed and attacked.

    The concept is the first of the chapter's, or of the profile's classes.

    Returns:
        concept; candidates, the weights of the layers; pruned, how many of them are; right, how
        many of their signs completion finds; revived, the mean magnitude of what the attack writes.
    """
    concepts = parameters.get("concepts") or list(lab.profile.classes)
    name = str(concepts[0])
    styles = {style.casefold() for style in lab.profile.styles}
    subject = lab.subject(name, "style" if name.casefold() in styles else "object")
    masks, revived = lab.owner.masks(subject), lab.revived(subject).weights
    written = [revived[layer][mask].double().abs().sum().item() for layer, mask in masks.items()]
    signs = lab.sign_accuracy(subject)
    return {
        "candidates": sum(mask.numel() for mask in masks.values()),
        "concept": name,
        "pruned": sum(int(mask.sum()) for mask in masks.values()),
        "right": signs.hits,
        "revived": sum(written) / signs.n,
    }


def settings(lab: Lab) -> dict[str, Any]:
    """Sampler, ratio, T and reference of pruning, K of the attack, and a digest of the prompts."""
    profile = lab.profile
    return {
        "steps": profile.steps,
        "guidance": profile.guidance,
        "ratio": profile.conceptprune.ratio,
        "calls": profile.conceptprune.calls,
        "reference": profile.conceptprune.reference,
        "keep_ratio": profile.revive.keep_ratio,
        "prompt": profile.evaluation.prompt,
        "prompts": text_digest(dataclasses.asdict(profile.prompts)),
    }


def model_digests(lab: Lab) -> dict[str, str]:
    """Sha256 of the model and of every judge that lies in a folder, by its part in the profile."""
    found = {"model": lab.digest}
    for part, key in PLACES.items():
        name = getattr(lab.profile.evaluation, key)
        place = lab.profile.locate(name) if name else None
        if isinstance(place, Path) and place.is_dir():
            found[part] = model_digest(place)
    return found


def _git(*words: str) -> str:
    folder = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """Short hash of the commit around the package; "unknown" outside a clone or without git."""
    return _git("rev-parse", "--short", "HEAD") or "unknown"


def is_dirty() -> bool:
    """Whether tracked files differ from the commit, apart from what measuring writes (`MADE`)."""
    out = [f":(exclude){place}" for place in MADE]
    return bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *out))


def describe_device(device: Any = None) -> str:
    """The device in words: the accelerator's name, or the CPU and its cores."""
    kind = str(getattr(device, "type", device) or "cpu").partition(":")[0]
    if kind == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return kind if kind != "cpu" else f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that decide the numbers."""
    found = {"rbtc": __version__, "python": platform.python_version()}
    for name in (*LIBRARIES, "pandas"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
