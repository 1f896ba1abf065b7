"""Stable Diffusion v1.5 without its weights: configuration, tokenizer, and the mark of random ones.

With the configuration a checkpoint in one file can be read without asking a hub for anything.
CLIP's vocabulary comes with open_clip.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbtc.files import write_json

RANDOM = "random-weights.json"
"""A file of this name marks a folder whose weights nobody trained: no page may show its numbers."""

VOCABULARY = 49408
"""Tokens of CLIP's vocabulary: the bytes twice, the merges, and the two that enclose a text."""

_ATTENTION_DOWN = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
_ATTENTION_UP = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3

FULL: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 2,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": _ATTENTION_DOWN,
        "up_block_types": _ATTENTION_UP,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "norm_num_groups": 32,
    },
    "vae": {
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 2,
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "sample_size": 512,
    },
    "text_encoder": {
        "vocab_size": VOCABULARY,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "projection_dim": 768,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    },
    "scheduler": {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    },
}
"""The published configuration, part by part."""

_CLASSES = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}


def write_vocabulary(
    folder: str | Path, characters: Sequence[str], merges: Sequence[str], length: int
) -> Path:
    """A tokenizer of CLIP's class as the files that transformers reads.

    A token's number is its place in: the characters of the 256 bytes, the same at a word's end, one
    token a merge ("a b"), and the two that enclose a text; ``length`` is that of the longest text.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*characters, *(c + "</w>" for c in characters)]
    tokens += ["".join(merge.split()) for merge in merges]
    tokens = dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"])
    numbers = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length}
    write_json(folder / "tokenizer_config.json", settings)
    return folder


def write_tokenizer(folder: str | Path) -> Path:
    """CLIP's own tokenizer, made of the merges that open_clip ships."""
    import open_clip
    from open_clip.tokenizer import bytes_to_unicode

    packed = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : 1 + VOCABULARY - 2 * 256 - 2]
    return write_vocabulary(folder, list(bytes_to_unicode().values()), merges, 77)


def write_configuration(folder: str | Path, parts: dict[str, Any] | None = None) -> Path:
    """A model folder with everything but the weights.

    Args:
        folder: where to.
        parts: its settings; None takes `FULL`.
    """
    folder, parts = Path(folder), parts or FULL
    for part, settings in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        library, name = _CLASSES[part]
        extra = (
            {"architectures": [name], "model_type": "clip_text_model"}
            if library == "transformers"
            else {"_class_name": name}
        )
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        write_json(folder / part / file, {**extra, **settings})
    write_tokenizer(folder / "tokenizer")
    index = {"_class_name": "StableDiffusionPipeline", **_CLASSES}
    write_json(folder / "model_index.json", {**index, "requires_safety_checker": False})
    return folder


def mark_random(folder: str | Path) -> Path:
    """Mark a model folder as one of random weights."""
    return write_json(Path(folder) / RANDOM, {"weights": "random: no result of this is a result"})


def is_random(folder: str | Path) -> bool:
    """Whether a model folder says that its weights are random."""
    return (Path(folder) / RANDOM).is_file()
