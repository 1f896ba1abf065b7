"""The tokenizer and text encoder of emoji-sd: CLIP's own classes, with a vocabulary of our own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbtc.emoji.scenes import SCENES, article
from rbtc.models.folders import load_tokenizer
from rbtc.models.sd15 import write_vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 24


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


def make_tokenizer(folder: Path, concepts: Sequence[str], styles: Sequence[str]) -> CLIPTokenizer:
    """Write a CLIP tokenizer's files and load it; any text can be encoded, byte by byte."""
    from open_clip.tokenizer import bytes_to_unicode

    characters = [character for _, character in sorted(bytes_to_unicode().items())]
    merges = merges_for(vocabulary_words(concepts, styles))
    write_vocabulary(folder, characters, [" ".join(pair) for pair in merges], MAX_TOKENS)
    return load_tokenizer(folder, MAX_TOKENS)


def tokens_of(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> torch.Tensor:
    """Padded tokens of n captions, (n, length) int64."""
    return tokenizer(
        list(captions), padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids


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
