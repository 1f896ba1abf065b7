"""Model folders: what may lie in one before any of its weights are read.

A folder is data from somewhere else: it must not bring code along, nor name classes other than
those of Stable Diffusion 1.x. Only safetensors are read, never a pickle.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ADVICE = "fetch or copy the model again, or point the profile's `model` at another folder"

SINGLE = (".safetensors", ".ckpt", ".pt", ".pth", ".gguf")
"""How the name of a model in one file ends; of these rbtc reads .safetensors only."""

WEIGHTED = ("unet", "vae", "text_encoder")
"""The parts of a pipeline that have weights."""

_CLASSES = {
    "unet": ("diffusers", ("UNet2DConditionModel",)),
    "vae": ("diffusers", ("AutoencoderKL",)),
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "tokenizer": ("transformers", ("CLIPTokenizer", "CLIPTokenizerFast")),
}


DEFAULT_WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")
"""What the libraries read when no variant is asked for: one file, or numbered shards of it."""


def check_model_folder(folder: Path) -> Path:
    """Make sure that a folder holds a whole Stable Diffusion 1.x model and no code, and return it.

    Reads the JSON files and every safetensors header, not the weights, so it takes no time.

    Raises:
        FileNotFoundError: no folder, no ``model_index.json``, or a part without its files.
        ValueError: a single file, another kind of model, code beside the weights, or a damaged
            index or safetensors file (cut short, say).
    """
    from safetensors import SafetensorError, safe_open

    if folder.suffix in SINGLE and not folder.is_dir():
        raise ValueError(single_file(folder))
    index = folder / "model_index.json"
    if not index.is_file():
        what = "has no model_index.json" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"the model folder {folder} {what}: {ADVICE}")
    try:
        parts = json.loads(index.read_text("utf-8"))
        missing = {*_CLASSES, "scheduler"} - parts.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error}): {ADVICE}") from error
    name = parts.get("_class_name")
    if "text_encoder_2" in parts and (name is None or not str(name).startswith("StableDiffusion")):
        name = "StableDiffusionXLPipeline"  # older folders do not say
    if name not in (None, "StableDiffusionPipeline"):
        is_xl = isinstance(name, str) and name.startswith("StableDiffusionXL")
        raise ValueError(
            f"{index} describes a {name}{', which is SDXL' * is_xl}: rbtc attacks Stable Diffusion "
            "1.x, that is, folders of a StableDiffusionPipeline; point the profile's `model` at one"
        )
    if missing - {"tokenizer"}:
        raise ValueError(f"{index} names no {sorted(missing)}: this is no Stable Diffusion model")
    if not any(parts.get("tokenizer") or ()) or not (folder / "tokenizer").is_dir():
        raise FileNotFoundError(
            f"the model folder {folder} has no tokenizer: expected a folder `tokenizer` with "
            f"vocab.json and merges.txt, named in model_index.json; {ADVICE}"
        )
    for part, entry in parts.items():
        _check_entry(index, part, entry)
    check_no_code(folder)
    check_tokenizer_folder(folder / "tokenizer")
    for part in WEIGHTED:
        for file in weight_files(folder / part):
            try:
                with safe_open(file, "pt") as stream:
                    stream.keys()
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{file} is damaged ({error}): {ADVICE}") from error
    return folder


# A name in a checkpoint's single file that only one architecture has.
_MARKS = {
    "conditioner.embedders.1.": "SDXL",
    "label_emb.": "SDXL",  # its UNet alone, in either naming
    "add_embedding.": "SDXL",
    "joint_blocks.": "Stable Diffusion 3",
    "double_blocks.": "Flux",
    "single_transformer_blocks.": "Flux",
    "cond_stage_model.model.transformer.": "Stable Diffusion 2",
    "controlnet_cond_embedding.": "a ControlNet",
    "temporal_transformer_blocks.": "a video model",
    "motion_modules.": "a video model",
    "lora_": "a LoRA, which is no whole model",
}


def single_file(name: object) -> str:
    """What to do with a checkpoint in one file, as an error message.

    A file that is there is looked into: converting one of another architecture is no use.
    """
    other = architecture(Path(str(name)))
    if other:
        return (
            f"the model {str(name)!r} is a single file of another architecture ({other}), and rbtc "
            "attacks Stable Diffusion 1.x: point the profile's `model` at a folder of one"
        )
    return (
        f"the model {str(name)!r} is a single file, and rbtc reads folders in the layout of "
        "diffusers and .safetensors files, never a pickle: convert it once with "
        "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER) and set the "
        "profile's `model` to that folder"
    )


def architecture(file: Path) -> str:
    """What a single safetensors file holds, where its names tell that it is not SD 1.x; else ""."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as stream:
            names = " ".join(stream.keys())
    except (SafetensorError, OSError):
        return ""  # not there, or no safetensors: its kind cannot be told
    return next((kind for mark, kind in _MARKS.items() if mark in names), "")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors that a part is loaded from: variants (.fp16., .non_ema.) do not count.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there is one file and shards besides, so that libraries would differ.
    """
    every = sorted(folder.glob("*.safetensors"))
    files = [file for file in every if DEFAULT_WEIGHTS.fullmatch(file.name)]
    if not files:
        others = f" but only {', '.join(f.name for f in every)}" if every else ""
        what = " under its default name" if every else ""
        raise FileNotFoundError(f"{folder} holds no .safetensors file{what}{others}: {ADVICE}")
    whole = [file for file in files if "-of-" not in file.name]
    if len(whole) > 1 or (whole and len(files) > 1):
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{folder} holds its weights more than once ({names}): keep one of them")
    return files


def check_tokenizer_folder(folder: Path) -> Path:
    """Make sure that a CLIP tokenizer's vocabulary is there, and return the folder.

    Raises:
        FileNotFoundError: neither tokenizer.json nor vocab.json with merges.txt.
    """
    there = [name for name in ("vocab.json", "merges.txt") if (folder / name).is_file()]
    if len(there) < 2 and not (folder / "tokenizer.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no tokenizer: expected vocab.json and merges.txt, or tokenizer.json; "
            f"{ADVICE}"
        )
    return folder


def load_tokenizer(folder: str | Path, length: int) -> Any:
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


def check_no_code(folder: Path) -> None:
    """Refuse a folder that brings code, or whose configurations ask a library to run some.

    Raises:
        ValueError: a ``*.py`` file, or a configuration with ``auto_map``.
    """
    # The parts of a folder may be links, which rglob does not follow by itself.
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_symlink() and p.is_dir())):
        for path in sorted(place.rglob("*")):
            if path.suffix.lower() == ".py":
                raise ValueError(
                    f"{path} is code, and a model is only data: rbtc loads no folder with code in "
                    "it; delete the file if you know the model works without, or use another model"
                )
            if path.name.endswith("config.json") and _asks_for_code(path):
                raise ValueError(
                    f'{path} has "auto_map", which makes libraries run code of the model\'s own: '
                    "rbtc loads no such model; use one made of the libraries' own classes"
                )


def _asks_for_code(path: Path) -> bool:
    try:
        return "auto_map" in dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return False  # whoever reads it as a configuration will fail on it


def _check_entry(index: Path, part: str, entry: Any) -> None:
    """One line of the index: which class of which library a part is."""
    if part.startswith("_"):
        return
    if not isinstance(entry, list) and part not in {*_CLASSES, "scheduler"}:
        return  # a setting, such as requires_safety_checker
    whole = isinstance(entry, list) and len(entry) == 2
    if not whole or not all(e is None or isinstance(e, str) for e in entry):
        raise ValueError(f"{index}: {part} must be [library, class], not {entry!r}: {ADVICE}")
    library, name = entry
    if part in _CLASSES:
        home, names = _CLASSES[part]
        fits, wanted = library == home and name in names, f"{home}'s {' or '.join(names)}"
    elif part == "scheduler":
        fits, wanted = library == "diffusers" and _is_scheduler(name), "a scheduler of diffusers"
    else:
        known = {None, "diffusers", "transformers"}
        known |= {"stable_diffusion"} if part == "safety_checker" else set()
        fits, wanted = library in known, "a class of diffusers or transformers"
    if not fits:
        raise ValueError(
            f"{index}: {part} is {name!r} of {library!r}, expected {wanted}: rbtc loads nothing "
            "but the parts of Stable Diffusion 1.x, and never a model's own code"
        )


def _is_scheduler(name: str | None) -> bool:
    import diffusers

    found = getattr(diffusers, name, None) if name and name.endswith("Scheduler") else None
    return isinstance(found, type)
