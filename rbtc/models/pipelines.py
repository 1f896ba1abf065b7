"""Pipelines: a profile's Stable Diffusion model, checked, loaded, and checked again.

A folder that is missing, damaged or of another kind is found before the weights are read
(`rbtc.models.folders`). The libraries then fill what a file does not hold with random numbers, and
drop what the module does not know, both with no more than a warning; so every part that was loaded
is held against its file.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rbtc.files import data_root, offline_hint
from rbtc.layers import find_layers
from rbtc.models.folders import SINGLE, WEIGHTED, check_model_folder, single_file, weight_files
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
    for part in WEIGHTED:
        check_loaded(part, getattr(pipe, part), weight_files(folder / part))
        check_numbers(part, getattr(pipe, part), str(folder))
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


# What AutoencoderKL's attention was called before diffusers 0.18; the published Stable Diffusion
# v1.5 still has it.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


_OLD_NAME = re.compile(rf"(attentions\.\d+\.)({'|'.join(_OLD_ATTENTION)})\.(weight|bias)$")


def check_loaded(part: str, module: nn.Module, files: Sequence[Path]) -> None:
    """Refuse a module that is not, tensor by tensor, what its safetensors files hold.

    Libraries of another version may have dropped or added a prefix of all names (the text encoder's
    "text_model."), and old autoencoders name their attention differently. Such tensors are paired,
    and since a name that only looks alike proves nothing, their values are compared too, in the
    loaded dtype. ``position_ids`` are counted, not learnt, and may be on one side only.

    Args:
        part: what to call it: "unet", "vae" or "text_encoder".
        module: the loaded part.
        files: the safetensors it was loaded from.

    Raises:
        ValueError: a tensor without its counterpart, of another shape, or of other values.
    """
    from safetensors import safe_open

    state = {n: t for n, t in module.state_dict().items() if not _is_counted(n)}
    places: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, "pt") as stream:
            for name in filter(lambda n: not _is_counted(n), stream.keys()):
                if name in places:
                    raise ValueError(_unlike(part, files, f"{name!r} is in two of its files"))
                places[name] = file
                shapes[name] = tuple(stream.get_slice(name).get_shape())
    pairs = _pair(part, places, state)  # name in the file -> name in the module
    spare, lacking = places.keys() - pairs.keys(), state.keys() - set(pairs.values())
    if lacking:
        what = f"{_some(lacking)} of the module not in its file, and would be random numbers"
        raise ValueError(_unlike(part, files, what))
    if spare:
        raise ValueError(_unlike(part, files, f"{_some(spare)} of its file unknown to the module"))
    for name, own in pairs.items():
        value, shape = state[own], shapes[name]
        convolution = part == "vae" and _OLD_NAME.search(name) is not None
        same = shape == tuple(value.shape) or (convolution and shape == (*value.shape, 1, 1))
        if same and name != own:
            with safe_open(places[name], "pt") as stream:
                stored = stream.get_tensor(name).reshape(value.shape)
            same = torch.equal(stored.to(value.dtype), value.cpu())
        if not same:
            what = f"{name!r} does not have the shape or the values of the module's {own!r}"
            raise ValueError(_unlike(part, files, what))


def _is_counted(name: str) -> bool:
    return name.rpartition(".")[2] == "position_ids"


def _pair(part: str, stored: Any, state: Any) -> dict[str, str]:
    """Names in a file -> names in a module, each of them once at most."""
    pairs = {name: name for name in stored if name in state}
    free = set(state) - set(pairs)
    left: dict[str, str] = {}  # today's name -> name in the file
    for name in sorted(set(stored) - set(pairs)):
        today = name
        if part == "vae":
            today = _OLD_NAME.sub(lambda m: f"{m[1]}{_OLD_ATTENTION[m[2]]}.{m[3]}", name)
        if today in free:
            pairs[name] = today
            free.remove(today)
        else:
            left[today] = name
    # Of the prefixes that would make pairs, only the commonest is one that a library put there.
    dropped = Counter(p for name in left for p, rest in _splits(name) if rest in free)
    added = Counter(p for name in free for p, rest in _splits(name) if rest in left)
    if added.total() > dropped.total():
        prefix = added.most_common(1)[0][0]
        return pairs | {left[n]: prefix + n for n in left if prefix + n in free}
    if dropped:
        prefix = dropped.most_common(1)[0][0]
        return pairs | {left[prefix + n]: n for n in free if prefix + n in left}
    return pairs


def _splits(name: str) -> list[tuple[str, str]]:
    """Every (prefix with its dot, rest) of a dotted name."""
    return [(name[: i + 1], name[i + 1 :]) for i, c in enumerate(name) if c == "."]


def _some(names: set[str]) -> str:
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return f"{min(names)!r}{more}"


def _unlike(part: str, files: Sequence[Path], what: str) -> str:
    return (
        f"the {part} that was loaded is not the one in {files[0].parent}: {what}; the file is "
        "damaged (fetch or copy the model again) or the installed diffusers or transformers does "
        "not fit it (install the versions in requirements.lock)"
    )
