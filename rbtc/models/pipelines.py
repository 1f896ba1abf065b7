"""Pipelines: a profile's Stable Diffusion model, checked and loaded.

A folder that is missing or damaged is found before the weights are read, and the message says what
to do about it. Only safetensors are read, never a pickle.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rbtc.files import data_root
from rbtc.layers import find_layers
from rbtc.models.profiles import Profile, load_profile


def check_model_folder(folder: Path) -> Path:
    """Make sure that a folder holds a whole Stable Diffusion model, and return it.

    Reads the index and every safetensors header, not the weights, so it takes no time.

    Raises:
        FileNotFoundError: no folder, no ``model_index.json``, or a part without weights.
        ValueError: the index or a safetensors file is damaged (cut short, say).
    """
    from safetensors import SafetensorError, safe_open

    advice = "fetch or copy the model again, or point the profile's `model` at another folder"
    index = folder / "model_index.json"
    if not index.is_file():
        what = "has no model_index.json" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"the model folder {folder} {what}: {advice}")
    try:
        parts = json.loads(index.read_text("utf-8"))
        missing = {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} - parts.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error}): {advice}") from error
    if missing:
        raise ValueError(f"{index} names no {sorted(missing)}: this is no Stable Diffusion model")
    for part in ("unet", "vae", "text_encoder"):
        files = sorted((folder / part).glob("*.safetensors"))
        if not files:
            raise FileNotFoundError(f"{folder / part} holds no .safetensors file: {advice}")
        for file in files:
            try:
                with safe_open(file, "pt") as stream:
                    stream.keys()
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{file} is damaged ({error}): {advice}") from error
    return folder


def model_folder(profile: Profile) -> Path:
    """Folder of the profile's model, checked; a hub id is fetched into the hub's cache first.

    Raises:
        FileNotFoundError: the folder, or the hub's model, is not there.
        ValueError: the folder is damaged.
    """
    place = profile.locate(profile.model)
    if isinstance(place, str):
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline

        try:
            place = Path(
                DiffusionPipeline.download(
                    place,
                    revision=profile.revision or None,
                    use_safetensors=True,  # never a pickle
                    safety_checker=None,
                )
            )
        except Exception as error:
            # The hub's clients raise a dozen kinds of errors for "not there" and "no network".
            raise FileNotFoundError(
                f"the model {profile.model!r} of profile {profile.name!r} is no folder under "
                f"{data_root()} and could not be fetched from the hub ({error}). Check the name, "
                "the revision and the network, or set `model` to a folder"
            ) from error
    return check_model_folder(place)


def default_device() -> str:
    """The GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_pipeline(profile: Profile | str, device: str | torch.device | None = None) -> Any:
    """The profile's Stable Diffusion pipeline, safety checker off, ready on its device.

    Args:
        profile: a profile or its name.
        device: where to put it; None takes the GPU where there is one. On a CPU the weights are
            float32 whatever the profile says: half precision is slow or missing there.

    Raises:
        FileNotFoundError: the model is not there.
        ValueError: it is damaged, has no feed-forward output matrices, or the device is unknown.
    """
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )

    profile = load_profile(profile) if isinstance(profile, str) else profile
    try:
        place = torch.device(device or default_device())
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}: try 'cpu' or 'cuda'") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"the device {device!r} was asked for, but torch sees no GPU here")
    folder = model_folder(profile)
    dtype = torch.float32 if place.type == "cpu" else getattr(torch, profile.dtype)
    try:
        with warnings.catch_warnings():
            # Newer releases of diffusers call the argument `dtype`, older ones know only this name.
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            pipe = StableDiffusionPipeline.from_pretrained(
                str(folder),
                torch_dtype=dtype,
                use_safetensors=True,
                safety_checker=None,
                requires_safety_checker=False,
            )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"the model folder {folder} cannot be loaded as a Stable Diffusion pipeline: {error}"
        ) from error
    check_unet(pipe.unet, str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(place)


def check_unet(unet: Any, origin: str) -> None:
    """Refuse a UNet without the matrices that ConceptPrune cuts.

    Raises:
        ValueError: no feed-forward output matrix, or no module at all.
    """
    if not isinstance(unet, nn.Module):
        raise ValueError(f"{origin}: its unet is {type(unet).__name__}, not a torch module")
    try:
        find_layers(unet)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error
