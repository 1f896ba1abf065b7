# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false
# (diffusers and torch annotate less than they accept and return)
"""Training the judges on real renders: concept and style ResNets, and a small open_clip CLIP.

Held out are augmentations (another seed of the same generator) and one whole emoji house, which
neither the judges nor emoji-sd ever see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from rbtc.emoji.loop import LoopConfig, train
from rbtc.emoji.scenes import Placement, World, article
from rbtc.emoji.sets import HELD_OUT_STYLE, HOUSE, STYLES
from rbtc.emoji.text import MAX_TOKENS, tokens_of
from rbtc.files import read_json
from rbtc.models.judges import build_clip, build_resnet, save_judge
from rbtc.stats import Proportion

TRAINING = Placement(scale=(0.84, 1.0), rotation=5.0, jitter=0.12)
"""A little beyond what emoji-sd is taught to draw, and sharp.

A judge that forgives a broken picture calls a concept erased only when nothing is left of it.
"""
HELD_OUT_PICTURES = 4096
"""Fresh pictures that a judge is scored on; half as many of the house that it never saw."""
Sheet = Mapping[tuple[str, str], np.ndarray]


@torch.no_grad()
def score(
    classify: Callable[[torch.Tensor], torch.Tensor],
    world: World,
    which: str,
    pictures: int,
    *,
    index: Sequence[int] = (),
    device: str = "cpu",
) -> Proportion:
    """Top-1 accuracy on fresh pictures of ``world``; ``which`` is "concepts" or "styles".

    ``classify`` gives a score of each class, (n, classes), for pictures (n, 3, 64, 64); ``index``
    is its column of each concept of the world, where they differ.
    """
    columns = torch.tensor(index or range(len(getattr(world, which))))
    hits = 0
    for _ in range(pictures // 128):
        batch = world.batch(128, captioned=False)
        answer = classify(batch.pictures.to(device)).argmax(1).cpu()
        hits += int((answer == columns[getattr(batch, which)]).sum())
    return Proportion(hits, pictures // 128 * 128)


def as_row(proportion: Proportion, name: str = "value") -> dict[str, float]:
    """A proportion with its interval, for JSON cards and tables."""
    return {name: proportion.value, **{k: getattr(proportion, k) for k in ("low", "high", "n")}}


def train_resnet_judge(
    sheet: Sheet,
    concepts: Sequence[str],
    which: str,
    config: LoopConfig,
    folder: Path,
    target: Path,
    *,
    device: str = "cpu",
    styles: Sequence[str] = STYLES,
) -> dict[str, Any]:
    """Train a concept (``which="concepts"``) or style judge, score it, save it, return its card.

    A concept judge sees the usual house as often as emoji-sd does, a style judge all houses alike.
    Labels are smoothed.
    """
    layers = (1, 1, 1, 1)
    names = list(concepts if which == "concepts" else styles)
    torch.manual_seed(config.seed)
    model = build_resnet(len(names), layers=layers).to(device)
    house = HOUSE if which == "concepts" and HOUSE in styles else None

    def fresh(seed: int, **options: Any) -> World:
        return World(sheet, concepts, styles, seed=config.seed + seed, house=house, **options)

    world = fresh(11, placement=TRAINING)

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = world.batch(config.batch_size, captioned=False)
        y = getattr(batch, which).to(device)
        answer = model(batch.pictures.to(device))
        hit = (answer.argmax(1) == y).float().mean().item()
        return F.cross_entropy(answer, y, label_smoothing=0.05), {"accuracy": hit}

    average = train(model, loss, config, folder)
    hits = score(average, fresh(7919), which, HELD_OUT_PICTURES, device=device)
    scores = {"held_out_augmentations": as_row(hits)}
    unseen = [style for style in (*STYLES, HELD_OUT_STYLE) if style not in styles]
    for style in unseen if which == "concepts" else ():
        if drawn := [c for c in concepts if (c, style) in sheet]:
            other = World(sheet, drawn, [style], seed=config.seed + 104729)
            index = [names.index(c) for c in drawn]
            pictures = HELD_OUT_PICTURES // 2
            found = score(average, other, which, pictures, index=index, device=device)
            scores[f"held_out_house_{style}"] = as_row(found)
    card = {"kind": "resnet", "task": which, "layers": layers, "names": names}
    return _save(average, card, scores, folder, target)


def _save(
    model: torch.nn.Module, card: dict[str, Any], scores: dict[str, Any], folder: Path, target: Path
) -> dict[str, Any]:
    """Write a judge with its card, which holds the record of the finished run in ``folder``."""
    card = {**card, "scores": scores, "training": read_json(folder / "done.json")}
    save_judge(model, card, target)
    return card


# The picture's tower is open_clip's ResNet: a transformer of this size learns from so few pictures
# far too slowly.
CLIP_MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "head_width": 64},
    "text_cfg": {
        "context_length": MAX_TOKENS,
        "vocab_size": 0,  # set from the tokenizer
        "width": 128,
        "heads": 4,
        "layers": 2,
    },
}


def train_clip_judge(
    sheet: Sheet,
    concepts: Sequence[str],
    tokenizer: CLIPTokenizer,
    config: LoopConfig,
    folder: Path,
    target: Path,
    *,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train the small CLIP with the usual symmetric contrastive loss on captioned renders.

    The same caption can stand twice in a batch; such pairs count as matches too.
    """
    text_cfg = {**CLIP_MODEL["text_cfg"], "vocab_size": len(tokenizer)}
    description = {**CLIP_MODEL, "text_cfg": text_cfg}
    torch.manual_seed(config.seed)
    model: Any = build_clip(description).to(device)
    world = World(sheet, concepts, STYLES, seed=config.seed + 23, house=HOUSE)

    def images(pictures: torch.Tensor) -> torch.Tensor:
        return F.normalize(model.encode_image(pictures.to(device)), dim=-1)

    def texts(captions: Sequence[str]) -> torch.Tensor:
        return F.normalize(model.encode_text(tokens_of(tokenizer, captions).to(device)), dim=-1)

    def loss(seen: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = world.batch(config.batch_size, empty=0.0)
        image, text = images(batch.pictures), texts(batch.captions)
        logits = model.logit_scale.exp().clamp(max=100) * image @ text.T
        same = torch.tensor(
            [[a == b for b in batch.captions] for a in batch.captions], device=device
        ).float()
        wanted = same / same.sum(1, keepdim=True)
        value = (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2
        hit = same.gather(1, logits.argmax(1, keepdim=True)).mean().item()
        return value, {"accuracy": hit}

    model.load_state_dict(train(model, loss, config, folder).state_dict())
    model.eval()
    with torch.no_grad():
        names = texts([article(c) for c in concepts])
    fresh = World(sheet, concepts, STYLES, seed=config.seed + 6007, house=HOUSE)
    count = HELD_OUT_PICTURES // 2
    hits = score(lambda x: images(x) @ names.T, fresh, "concepts", count, device=device)
    scores = {"zero_shot_concept": as_row(hits)}
    card = _save(model, {"kind": "clip", "model": description}, scores, folder, target)
    tokenizer.save_pretrained(target / "tokenizer")
    return card
