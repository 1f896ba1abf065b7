"""Model folders: what may lie in one before any of its weights are read.

A folder is data from somewhere else: it must not bring code along, nor name classes other than
those of Stable Diffusion 1.x. Only safetensors are read, never a pickle.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbtc.files import data_root, read_json

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


def absence_hint(folder: Path) -> str:
    """What to do about a model or judge that is not there: nothing to say where some are."""
    root = data_root()
    if not folder.is_relative_to(root) or (root / "models").exists():
        return ""
    return (
        f"{root} has no models; the miniature and its judges are not in the installed package: "
        "clone the repository and set RBTC_DATA to its data folder"
    )


def check_model_folder(folder: Path) -> Path:
    """Make sure that a folder holds a whole Stable Diffusion 1.x model and no code, and return it.

    Reads the JSON files and every safetensors header, not the weights, so it takes no time.

    Raises:
        FileNotFoundError: no folder, no ``model_index.json``, or a part without its files.
        ValueError: a single file, another kind of model, code beside the weights, or a damaged
            index or safetensors file (cut short, say), or configurations that contradict the
            weights.
    """
    if folder.suffix in SINGLE and not folder.is_dir():
        raise ValueError(single_file(folder))
    index = folder / "model_index.json"
    if not index.exists():
        what = "has no model_index.json" if folder.is_dir() else "does not exist"
        advice = absence_hint(folder) or ADVICE
        raise FileNotFoundError(f"the model folder {folder} {what}: {advice}")
    parts = read_object(index)
    missing = {*_CLASSES, "scheduler"} - parts.keys()
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
        read = (read_header(file).tensors for file in weight_files(folder / part))
        shapes = {name: shape for each in read for name, (shape, _) in each.items()}
        config = check_sizes(folder / part / "config.json", shapes.values())
        if part == "unet":
            check_matrices(folder / part, shapes, config)
    check_sizes(folder / "scheduler" / "scheduler_config.json")
    return folder


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object of a model.

    Raises:
        FileNotFoundError, ValueError: as `rbtc.files.read_json`, or another kind of value.
    """
    found = read_json(file)
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: expected an object, not {type(found).__name__}")
    return found


@dataclass(frozen=True)
class Header:
    """Header of a safetensors file: key -> (shape, dtype), and its entries of text."""

    tensors: dict[str, tuple[tuple[int, ...], str]]
    metadata: dict[str, str]


def read_header(file: Path) -> Header:
    """The header of a safetensors file, whatever it is called; no tensor is read.

    Raises:
        ValueError: no regular file, damaged, or too large to be mapped into memory.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise ValueError(f"{file} is not a regular file, expected a safetensors file")
    try:
        with safe_open(file, "pt") as stream:
            parts = {key: stream.get_slice(key) for key in stream.keys()}
            tensors = {key: (tuple(part.get_shape()), str(part.get_dtype()))
                       for key, part in parts.items()}  # fmt: skip
            return Header(tensors, stream.metadata() or {})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{file} is damaged, no whole safetensors file ({error}): fetch or copy it again"
        ) from error


_BOUNDS = {
    "sample_size": (1, 1024), "num_train_timesteps": (1, 100_000), "layers_per_block": (1, 64),
    "transformer_layers_per_block": (1, 64), "num_hidden_layers": (1, 64),
    "scaling_factor": (1e-6, 1e6), "beta_start": (0, 1), "beta_end": (0, 1),
}  # fmt: skip
"""What numbers of a configuration lie between; other whole ones between -1 and a million."""
_SIDES = (
    "block_out_channels", "cross_attention_dim", "in_channels", "out_channels", "latent_channels",
    "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings",
)  # fmt: skip
"""Sizes of a configuration that are a side of some tensor."""


def check_sizes(file: Path, shapes: Iterable[tuple[int, ...]] = ()) -> dict[str, Any]:
    """The configuration of a part, whose sizes are no larger than they can be, and fit its tensors.

    Raises:
        ValueError: damaged, a number out of bounds, or one that contradicts the tensors' shapes.
    """
    if not file.exists():
        return {}
    config, sides = read_object(file), {side for shape in shapes for side in shape}
    for key, value in config.items():
        if key in _BOUNDS and isinstance(value, str | dict | bool):
            raise ValueError(f"{file}: {key} is {value!r}, expected a number: {ADVICE}")
        for number in _numbers(value):
            usual = (-1, 1_000_000) if isinstance(number, int) else (-math.inf, math.inf)
            least, most = _BOUNDS.get(key, usual)
            if not least <= number <= most:  # NaN lies nowhere
                raise ValueError(
                    f"{file}: {key} is {number}, expected {least:g} to {most:g}: {ADVICE}"
                )
            if key in _SIDES and sides and number not in sides:
                raise ValueError(
                    f"{file} contradicts its weights: {key} is {number}, and no tensor has such a "
                    f"side: {ADVICE}"
                )
    return config


def _numbers(value: Any) -> Iterator[float]:
    """Numbers of a value and of lists within."""
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


_UNET = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "layers_per_block": 2,
    "transformer_layers_per_block": 1,
}
"""Blocks of Stable Diffusion 1.x: sixteen feed-forward output matrices (paper Sec. 5.1)."""


def feed_forward_names(config: Mapping[str, Any]) -> dict[str, int | None]:
    """The feed-forward output matrices of a UNet, name -> rows (None where it does not say).

    Args:
        config: the UNet's; what it does not say is as in Stable Diffusion 1.x.
    """
    told: dict[str, Any] = _UNET | {
        key: value for key, value in config.items() if value is not None or key == "mid_block_type"
    }
    downs, ups, channels = (
        told["down_block_types"], told["up_block_types"], told.get("block_out_channels")
    )  # fmt: skip
    last = len(downs) - 1

    def of(key: str, number: int) -> int:
        return told[key][number] if isinstance(told[key], list) else told[key]

    blocks = [(f"down_blocks.{i}", kind, i, of("layers_per_block", i))
              for i, kind in enumerate(downs)]  # fmt: skip
    blocks += [("mid_block", told["mid_block_type"], last, 1)]
    blocks += [(f"up_blocks.{i}", kind, last - i, of("layers_per_block", last - i) + 1)
               for i, kind in enumerate(ups)]  # fmt: skip
    return {
        f"{block}.attentions.{attention}.transformer_blocks.{layer}.ff.net.2.weight":
            channels[level] if channels else None
        for block, kind, level, attentions in blocks if "CrossAttn" in str(kind)
        for attention in range(attentions)
        for layer in range(of("transformer_layers_per_block", level))
    }  # fmt: skip


def check_matrices(
    place: Path, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> None:
    """Refuse a UNet that lacks feed-forward output matrices, has others, or other sizes.

    Args:
        place: for the message.
        shapes: name in diffusers -> shape; others than feed-forward output matrices do not count.
        config: the UNet's, ``{}`` where there is none: then of Stable Diffusion 1.x.

    Raises:
        ValueError: naming the first that is missing, too many or of another size.
    """
    try:
        expected = feed_forward_names(config)
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError(
            f"{place}: its config.json describes no UNet ({error}): {ADVICE}"
        ) from error
    found = {name: shape for name, shape in shapes.items() if name.endswith(".ff.net.2.weight")}
    whose = "its config.json" if config else "Stable Diffusion 1.x"
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or more:
        what = f"not {missing[0]}" if missing else f"and {more[0]}, which {whose} has not"
        raise ValueError(
            f"{place} has {len(expected) - len(missing)} of the {len(expected)} feed-forward "
            f"output matrices of {whose}, {what}: give the whole model, or its folder with a "
            "config.json that fits"
        )
    for name, rows in expected.items():
        if rows is not None and found[name][:1] != (rows,):
            raise ValueError(
                f"{place}: {name} has shape {found[name]}, and its config.json says {rows} rows: "
                f"{ADVICE}"
            )


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
    try:
        names = " ".join(read_header(file).tensors)
    except ValueError:
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
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path} is a pipe or a device, and a model is files: delete it")
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
        return "auto_map" in read_object(path)
    except (OSError, ValueError):
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
