# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# (diffusers and transformers annotate less than they accept and return)
"""The weights a diffusion run begins with: fresh ones, or those of an earlier run.

A second stage is an ordinary run that starts from a folder with ``unet/`` and ``text_encoder/``: of
another run's stage, or a packed model. Its record names the weights by their checksum and, where
the folder tells, how those were trained in turn.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rbtc.emoji.diffusion import Levers, build_unet
from rbtc.emoji.text import build_text_encoder
from rbtc.files import file_digest, read_json, write_json

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

PARTS = {"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}


_OF_TEXT = re.compile(r"text_encoder\.|unet\..*\.attn2\.to_[kv]\.weight")
"""Parameters whose shapes follow the width of the text."""


def fresh_model(tokenizer: CLIPTokenizer, levers: Levers, *, seed: int = 0) -> nn.ModuleDict:
    """Untrained text encoder and UNet."""
    torch.manual_seed(seed)
    return nn.ModuleDict(
        {
            "unet": build_unet(levers),
            "text_encoder": build_text_encoder(tokenizer, width=levers.text_width),
        }
    )


def trained_model(folder: Path, tokenizer: CLIPTokenizer, levers: Levers) -> nn.ModuleDict:
    """Text encoder and UNet of ``folder``, in float32.

    With ``levers.fresh_text`` what depends on the text's width is untrained.

    Raises:
        FileNotFoundError: ``folder`` lacks one of the two.
        ValueError: the UNet was built with other levers, or the text encoder knows another
            vocabulary.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    for part, file in PARTS.items():
        if not (folder / part / file).exists():
            raise FileNotFoundError(
                f"{folder} is nothing to start from: expected {part}/{file} in it, as the stage "
                "`diffusion` and `pack` write them"
            )
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    given = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).state_dict()
    model = fresh_model(tokenizer, levers)
    own = model.state_dict()
    if levers.fresh_text:
        given = {name: own.get(name, value) if _OF_TEXT.match(name) else value
                 for name, value in given.items()}  # fmt: skip
    for name in sorted(given.keys() | own.keys()):
        found, wanted = (tuple(one[name].shape) if name in one else None for one in (given, own))
        if found != wanted:
            raise ValueError(
                f"{folder}: the shape of {name} is {found}, the levers and the vocabulary ask for "
                f"{wanted}: give the levers and the list of concepts that it was trained with"
            )
    model.load_state_dict(given)
    return model


def start_record(folder: Path) -> dict[str, Any]:
    """What a training record says of its start.

    Returns:
        ``sha256`` of the UNet and of the text encoder, and ``training``, the record of how they
        came about (``done.json`` of a stage, ``training.json`` of a packed model) or ``None``.
    """
    training = None
    if (folder / "done.json").exists():
        training = read_json(folder / "done.json")
    elif (folder / "training.json").exists():
        training = read_json(folder / "training.json")["diffusion"]
    sums = {part: file_digest(folder / part / file) for part, file in PARTS.items()}
    return {"sha256": sums, "training": training}


def training_chain(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record of a diffusion stage and those of what it started from, the first run first.

    A start whose training nobody recorded is an empty record.
    """
    chain = [record]
    while "start" in chain[0]:
        chain.insert(0, chain[0]["start"]["training"] or {})
    return chain


def starting_model(
    start: Path | None,
    tokenizer: CLIPTokenizer,
    levers: Levers,
    folder: Path,
    *,
    seed: int = 0,
) -> tuple[nn.ModuleDict, dict[str, Any]]:
    """The model a run begins with, and what its record says of that.

    ``folder`` keeps the record in ``start.json``, so that a resumed run cannot claim another start.

    Raises:
        ValueError: the run in ``folder`` was started from something else.
    """
    if start is None:
        model, record = fresh_model(tokenizer, levers, seed=seed), None
    else:
        model, record = trained_model(start, tokenizer, levers), start_record(start)
    kept = folder / "start.json"
    if (folder / "checkpoint.pt").exists():
        first = read_json(kept) if kept.exists() else None
        if first != record:
            raise ValueError(
                f"{folder} holds a run that started from "
                f"{'other weights' if first else 'fresh weights'}: resume it with the same start, "
                "or give another run folder"
            )
    elif record is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(kept, record)
    return model, {} if record is None else {"start": record}
