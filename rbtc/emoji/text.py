"""The tokenizer and text encoder of emoji-sd: CLIP's own classes, with a vocabulary of our own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbtc.emoji.scenes import SCENES, article
from rbtc.models import folders

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 24
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_characters() -> list[str]:
    """The printable characters byte-level BPE uses for the 256 bytes, in byte order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


def vocabulary_words(concepts: Sequence[str], styles: Sequence[str]) -> list[str]:
    """Every word of the caption grammar, in a fixed order."""
    phrases = [*(article(c) for c in concepts), *(article(s) for s in SCENES), *styles]
    words = " ".join([*phrases, "an on in the style of"]).split()
    return list(dict.fromkeys(words))


def merges_for(words: Sequence[str]) -> list[tuple[str, str]]:
    """BPE merges that make every word one token, learnt as always: the commonest pair first."""
    splits = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        counts: dict[tuple[str, str], int] = {}
        for pieces in splits.values():
            for pair in itertools.pairwise(pieces):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            return merges
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for word, pieces in splits.items():
            joined, i = [], 0
            while i < len(pieces):
                if tuple(pieces[i : i + 2]) == best:
                    joined.append(pieces[i] + pieces[i + 1])
                    i += 2
                else:
                    joined.append(pieces[i])
                    i += 1
            splits[word] = joined


def write_tokenizer(folder: Path, concepts: Sequence[str], styles: Sequence[str]) -> Path:
    """Write vocab.json and merges.txt in CLIP's format; any text can be encoded, byte by byte."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = byte_characters()
    merges = merges_for(vocabulary_words(concepts, styles))
    tokens = [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges)]
    tokens = [*dict.fromkeys(tokens), START, END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_TOKENS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The CLIP tokenizer written by :func:`write_tokenizer`."""
    return folders.load_tokenizer(folder, MAX_TOKENS)


def build_text_encoder(tokenizer: CLIPTokenizer, *, width: int = 48) -> CLIPTextModel:
    """An untrained two-layer CLIPTextModel; it is trained together with the UNet."""
    from transformers import CLIPTextConfig, CLIPTextModel

    size = len(tokenizer)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=size,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=width,
            bos_token_id=size - 2,
            eos_token_id=size - 1,
            pad_token_id=size - 1,
        )
    )
