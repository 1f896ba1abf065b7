"""Pipelines: a profile's Stable Diffusion model, checked, loaded, and checked again.

A folder that is missing, damaged or of another kind is found before the weights are read
(`rbtc.models.folders`). The libraries fill what a file does not hold with random numbers, and drop
what the module does not know, both with no more than a warning; here either is an error.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rbtc.files import data_root, offline_hint
from rbtc.layers import find_layers
from rbtc.models.folders import SINGLE, check_model_folder, load_tokenizer, single_file
from rbtc.models.profiles import Profile, load_profile
from rbtc.models.single_file import as_folder


def model_folder(profile: Profile) -> Path:
    """Folder of the profile's model, checked.

    A hub id is fetched into the hub's cache first, and a single ``.safetensors`` file becomes a
    folder in ours (`rbtc.models.single_file`).

    Raises:
        FileNotFoundError: the folder, the file or the hub's model is not there.
        ValueError: it is damaged, or no Stable Diffusion 1.x model.
    """
    place = profile.locate(profile.model)
    if str(place).endswith(".safetensors") and not Path(place).is_dir():
        return check_model_folder(as_folder(place))
    if isinstance(place, str):
        if place.endswith(SINGLE):
            raise ValueError(single_file(place))
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
                f"{data_root()} and could not be fetched from the hub ({error}). "
                f"{offline_hint()}Check the name, the revision, the network and the space (what "
                "was fetched is kept, and another try goes on from there), or set `model` to a "
                "folder or a .safetensors file"
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
        ValueError: it is damaged, is not what its files say, has no feed-forward output matrices,
            or the device is unknown.
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
    load_tokenizer(folder / "tokenizer", 77)  # a damaged one is named as such
    dtype = torch.float32 if place.type == "cpu" else getattr(torch, profile.dtype)
    try:
        with warnings.catch_warnings():
            # Newer releases of diffusers call the argument `dtype`, older ones know only this name.
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            parts = load_parts(folder, dtype)
            pipe = StableDiffusionPipeline.from_pretrained(
                str(folder),
                **parts,
                torch_dtype=dtype,
                safety_checker=None,
                requires_safety_checker=False,
                low_cpu_mem_usage=False,
            )
    except Exception as error:  # the libraries raise whatever a damaged configuration leads to
        raise ValueError(
            f"the model folder {folder} cannot be loaded as a Stable Diffusion pipeline: {error}"
        ) from error
    check_unet(pipe.unet, str(folder))
    for part, module in parts.items():
        check_numbers(part, module, str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(place)


def load_parts(folder: Path, dtype: torch.dtype) -> dict[str, nn.Module]:
    """The UNet, VAE and text encoder of a model folder, every tensor of them from its file.

    Raises:
        ValueError: a tensor of a module that no file holds, or one of a file that no module has.
        Others: whatever the libraries raise for a damaged configuration.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True}
    ours = {**options, "torch_dtype": dtype, "low_cpu_mem_usage": False}
    loaded = {
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet", **ours),
        "vae": AutoencoderKL.from_pretrained(folder / "vae", **ours),
        "text_encoder": CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=dtype, **options
        ),
    }
    for part, (_, info) in loaded.items():
        for key, what in (
            ("missing_keys", "not in its file, and would be random numbers"),
            ("unexpected_keys", "of its file, and unknown to the module"),
        ):
            if names := sorted(info[key]):
                raise ValueError(
                    f"{len(names)} tensors of the {part} are {what}, {names[0]!r} for one; the "
                    "file is damaged (fetch or copy the model again) or the installed diffusers or "
                    "transformers does not fit it (install the versions in requirements.lock)"
                )
    return {part: module for part, (module, _) in loaded.items()}


def check_unet(unet: Any, origin: str) -> None:
    """Refuse a UNet without the matrices that ConceptPrune prunes.

    Raises:
        ValueError: no feed-forward output matrix, or no module at all.
    """
    if not isinstance(unet, nn.Module):
        raise ValueError(f"{origin}: its unet is {type(unet).__name__}, not a torch module")
    try:
        find_layers(unet)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error


def check_numbers(part: str, module: nn.Module, origin: str) -> None:
    """Refuse a part whose weights are not all numbers: its pictures would be black or noise.

    Raises:
        ValueError: naming the first tensor that holds NaN or infinity.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ValueError(
                f"{origin}: {name!r} of its {part} holds {bad} NaN or infinite values: fetch, copy "
                "or export the model again"
            )
