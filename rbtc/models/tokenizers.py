"""Tokenizers: CLIP's own class, read from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rbtc.models.folders import check_tokenizer_folder

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


def load_tokenizer(folder: str | Path, length: int) -> CLIPTokenizer:
    """The CLIP tokenizer of a folder, for texts of at most ``length`` tokens.

    Raises:
        FileNotFoundError: neither tokenizer.json nor vocab.json with merges.txt.
        ValueError: the files are damaged.
    """
    from transformers import CLIPTokenizer

    folder = check_tokenizer_folder(Path(folder))
    try:
        return CLIPTokenizer.from_pretrained(folder, model_max_length=length)
    except Exception as error:
        # A damaged vocabulary fails anywhere in JSON or in the tokenizers library, which raises
        # plain Exception.
        raise ValueError(
            f"the tokenizer in {folder} is damaged ({error}): restore the folder"
        ) from error
