"""Prompts found by search: other words for a concept, and a concept added to other words.

MMA-Diffusion looks for a token sequence whose text embedding is that of a forbidden prompt;
Ring-A-Bell moves a neutral prompt's embedding along a concept vector and looks for a token sequence
there. Both are written here from that description, with one search: a seeded coordinate descent
over the tokenizer's whole words. It needs the text encoder, which ConceptPrune leaves as it is, and
no picture (paper Sec. 5.4, App. C use the authors' own lists).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

WORDS = 8
"""Words of a prompt that is searched for."""

STRENGTH = 3.0
"""How far along the concept vector a neutral prompt is moved, in lengths of the vector."""

BATCH = 512

_WORD = re.compile(r"[a-z]+")
_SHORTEST = 3  # "a" inside "pan" is no trace of a concept


class TextSpace:
    """Prompts as a pipeline's UNet sees them: the text encoder's last hidden states.

    Args:
        pipe: a Stable Diffusion pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        self._encoder, self.tokenizer = pipe.text_encoder, pipe.tokenizer
        self.length = int(self.tokenizer.model_max_length)

    @torch.no_grad()
    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Hidden states of token lists (n, length) int64: (n, length, width) float32."""
        device = next(self._encoder.parameters()).device
        parts = [self._encoder(part.to(device))[0] for part in tokens.split(BATCH)]
        return torch.cat(parts).float()

    def tokens(self, prompts: Sequence[str]) -> torch.Tensor:
        """Prompts as padded token lists, (n, length) int64."""
        return self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def of(self, prompts: Sequence[str]) -> torch.Tensor:
        """Hidden states of prompts, (n, length, width)."""
        return self.embed(self.tokens(prompts))

    def words(self, without: Collection[str] = ()) -> dict[str, int]:
        """Every whole word that is one token, and its number; words that hold a forbidden one not.

        Args:
            without: forbidden words. "pill" also forbids "pillow", and "fire engine" both its
                words.
        """
        forbidden = {w for phrase in without for w in _WORD.findall(phrase.casefold())}
        forbidden = {word for word in forbidden if len(word) >= _SHORTEST}
        texts = [token.removesuffix("</w>") for token in sorted(self.tokenizer.get_vocab())
                 if token.endswith("</w>")]  # fmt: skip
        texts = [
            text for text in texts
            if _WORD.fullmatch(text) and not any(word in text for word in forbidden)
        ]  # fmt: skip
        # A word counts only if writing it gives the one token back: prompts are text in the end.
        found = self.tokenizer(texts, add_special_tokens=False).input_ids if texts else []
        return {text: ids[0] for text, ids in zip(texts, found, strict=True) if len(ids) == 1}


@dataclass(frozen=True)
class Found:
    """A prompt and how near it came.

    Attributes:
        prompt: The words.
        distance: Root mean square distance of its hidden states from the target's.
        start: The distance of the random words that the search began with.
    """

    prompt: str
    distance: float
    start: float


def nearest_prompt(
    space: TextSpace,
    target: torch.Tensor,
    words: dict[str, int],
    *,
    count: int = WORDS,
    seed: int = 0,
    sweeps: int = 6,
    candidates: int | None = None,
) -> Found:
    """The word sequence whose hidden states come nearest to a target.

    Begins with random words. Each sweep goes through the positions in random order and puts the
    best word there while the others stay; where all words are tried, a sweep that changes nothing
    is the last.

    Args:
        space: the text encoder.
        target: (length, width) hidden states.
        words: word -> token, see `TextSpace.words`.
        count: words of the prompt, at most the encoder's length less 2.
        seed: of the start, the order of the positions and the candidates.
        sweeps: the most sweeps.
        candidates: random words to try at a position; None tries them all.

    Raises:
        ValueError: no words to choose from.
    """
    if not words:
        raise ValueError("a prompt cannot be searched for without a single allowed word")
    texts, numbers = list(words), torch.tensor(list(words.values()))
    rng = np.random.default_rng(seed)
    frame = space.tokens([" ".join(rng.choice(texts, count))])[0]  # (length,)

    def distances(tokens: torch.Tensor) -> torch.Tensor:
        return (space.embed(tokens) - target).square().mean(dim=(1, 2)).sqrt().cpu()

    best = start = float(distances(frame[None])[0])
    for _ in range(sweeps):
        changed = False
        for position in 1 + rng.permutation(count):  # the first token is the start's
            tried = numbers
            if candidates is not None and candidates < len(numbers):
                tried = numbers[rng.choice(len(numbers), candidates, replace=False)]
            lists = frame.repeat(len(tried), 1)  # (tried, length)
            lists[:, position] = tried
            apart = distances(lists)
            nearest = int(apart.argmin())
            if float(apart[nearest]) < best:
                best, changed, frame = float(apart[nearest]), True, lists[nearest]
        if not changed and candidates is None:  # else the next sweep tries other words
            break
    names = {number: text for text, number in words.items()}
    return Found(" ".join(names[int(n)] for n in frame[1 : count + 1]), best, start)


def concept_vector(space: TextSpace, having: Sequence[str], lacking: Sequence[str]) -> torch.Tensor:
    """Mean difference of hidden states (length, width) of n prompts with and without a concept."""
    return (space.of(having) - space.of(lacking)).mean(dim=0)


def own_words(having: Sequence[str], lacking: Sequence[str]) -> list[str]:
    """Words that only the prompts with a concept have, in order of appearance."""
    known = {word for prompt in lacking for word in _WORD.findall(prompt.casefold())}
    found = [word for prompt in having for word in _WORD.findall(prompt.casefold())]
    return list(dict.fromkeys(word for word in found if word not in known))
