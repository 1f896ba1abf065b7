"""Masks at work: prune the weights they mark, write them to a file, read them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rbtc.files import write_whole
from rbtc.layers import Masks, Weights, check_masks, check_same_layers


def union(masks: Sequence[Masks]) -> Masks:
    """Prune where one of several masks of the same layers does: name -> bool (rows, columns).

    Raises:
        ValueError: no masks, or sets of different layers.
    """
    if not masks:
        raise ValueError("a union needs at least one set of masks")
    first, *others = masks
    for other in others:
        check_same_layers(first, other)
    return {name: torch.stack([each[name] for each in masks]).any(dim=0) for name in first}


def save_masks(path: str | Path, masks: Masks, metadata: Mapping[str, Any] | None = None) -> None:
    """Write masks to a safetensors file (uint8, 1 = pruned), all or nothing; its folder is made.

    ``metadata`` is stored with them; values that are not strings as JSON.

    Raises:
        ValueError: For no masks, or a mask that is not boolean.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not masks:
        raise ValueError("there are no masks to save")
    check_masks(masks)
    tensors = {name: masks[name].to("cpu", torch.uint8).contiguous() for name in sorted(masks)}
    words = {
        str(key): value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in (metadata or {}).items()
    }
    try:
        write_whole(path, lambda target: save_file(tensors, target, metadata=words))
    except SafetensorError as error:  # it wraps a full disk, say
        raise OSError(f"the masks {path} cannot be written: {error}") from error


def load_masks(path: str | Path, weights: Weights | None = None) -> Masks:
    """Read masks written by `save_masks`: weight name -> bool (rows, columns) on the CPU, sorted.

    With ``weights`` given, layers and shapes must be those of these weights.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is damaged or empty, holds anything but 0 and 1, or does not fit
            the weights.
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
    if not tensors:
        raise ValueError(f"{path} holds no masks: write it again with save_masks")
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
