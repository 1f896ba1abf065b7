"""A whole model in one safetensors file, in the layout that Stable Diffusion was published in.

Reading is diffusers' work, with our configuration, so that no hub is asked; the model becomes a
folder in the cache, once, and is checked like any other.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from rbtc.files import cache_root, check_writable, expanded, file_digest
from rbtc.models.folders import ADVICE, WEIGHTED, architecture, read_header, single_file
from rbtc.models.sd15 import mark_random, write_configuration
from rbtc.writing import made_whole

_UNET = "model.diffusion_model."
RANDOM_NOTE = "random_weights"
"""Key in the file's notes that says that nobody trained its weights."""


def as_folder(
    path: str | Path, parts: dict[str, Any] | None = None, *, cache: str | Path | None = None
) -> Path:
    """The model folder made from a single file, in the cache; made once per content.

    It takes as much disk as the file. Whether a tensor of the file was lost is checked here, what
    the folder holds is checked whenever it is loaded.

    Args:
        path: a ``.safetensors`` file of Stable Diffusion 1.x.
        parts: its configuration if it is not the published one, see `rbtc.models.sd15`.
        cache: where to make the folder; None takes our cache.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged or cut short, of another architecture, or lacks a tensor.
        OSError: the cache cannot be written.
    """
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )

    path = expanded(path)
    dtype, random = _look_into(path)
    root = cache_root() / "models" if cache is None else Path(cache)
    place = root / file_digest(path)[:16]
    if (place / "model_index.json").is_file():  # moved there as a whole
        return place
    check_writable(place.parent)
    try:
        with made_whole(place) as made, warnings.catch_warnings():
            settings = write_configuration(made.parent / "configuration", parts)
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            pipe = StableDiffusionPipeline.from_single_file(
                str(path),
                config=str(settings),
                local_files_only=True,
                torch_dtype=dtype,
                safety_checker=None,
            )
            _compare(path, pipe, dtype)
            pipe.save_pretrained(str(made))
            if random:
                mark_random(made)
    except OSError:
        raise
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"the single file {path} cannot be read as Stable Diffusion 1.x: {error}; {ADVICE}"
        ) from error
    return place


def _look_into(path: Path) -> tuple[torch.dtype, bool]:
    """The weights' dtype, and whether the file calls them random."""
    from safetensors import safe_open

    if not path.is_file():
        raise FileNotFoundError(f"the model file {path} does not exist: {ADVICE}")
    header = read_header(path)
    names = [name for name in header.tensors if name.startswith(_UNET)]
    if architecture(path):
        raise ValueError(single_file(path))
    if not names:
        raise ValueError(
            f"the model file {path} has no tensor named {_UNET}...: it is no whole checkpoint of "
            "Stable Diffusion 1.x in the published layout; point the profile's `model` at one, or "
            "at a folder in the layout of diffusers"
        )
    with safe_open(path, "pt") as stream:
        return stream.get_tensor(min(names)).dtype, RANDOM_NOTE in header.metadata


def _compare(path: Path, pipe: Any, dtype: torch.dtype) -> None:
    """Refuse a pipeline with a tensor that its single file does not hold, under whatever name.

    Diffusers translates the names; what a file lacks it would leave as random numbers.
    """
    from safetensors import safe_open

    def content(tensor: torch.Tensor) -> bytes:
        plain = tensor.detach().cpu().to(dtype).contiguous()
        return hashlib.sha256(plain.view(-1).view(torch.uint8).numpy().data).digest()

    with safe_open(path, "pt") as stream:
        left = Counter(content(stream.get_tensor(name)) for name in stream.keys())
    for part in WEIGHTED:
        for name, tensor in getattr(pipe, part).state_dict().items():
            key = content(tensor)
            left[key] -= 1
            if left[key] < 0:
                raise ValueError(f"the tensor {name!r} of the {part} is not in it as it was loaded")
