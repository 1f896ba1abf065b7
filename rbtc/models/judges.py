"""Judges of pictures: a torchvision ResNet for concepts and styles, an open_clip CLIP for prompts.

A judge is a folder: ``judge.json`` (architecture, names in column order, held-out scores) and
``model.safetensors``. The emoji judges are trained by ``rbtc.emoji.judge`` on real renders only,
never on generated pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rbtc.files import read_json, write_json
from rbtc.models.folders import absence_hint, check_tokenizer_folder, load_tokenizer
from rbtc.models.open_clips import NAME as CLIP_NAME
from rbtc.models.open_clips import OpenClipJudge, load_open_clip


def build_resnet(classes: int, *, layers: Sequence[int] = (1, 1, 1, 1)) -> nn.Module:
    """A torchvision ResNet of basic blocks for 64 x 64 pictures."""
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, list(layers), num_classes=classes)


def build_clip(config: dict[str, Any]) -> nn.Module:
    """An open_clip CLIP from its own model configuration (embed_dim, vision_cfg, text_cfg)."""
    from open_clip.model import CLIP

    return CLIP(**config)


def read_card(folder: str | Path, kind: str) -> dict[str, Any]:
    """The content of a judge's ``judge.json``, checked; the weights are not read.

    ``kind`` is "resnet" or "clip".

    Raises:
        FileNotFoundError: no folder, or one without judge.json and model.safetensors.
        ValueError: the card is damaged, of another kind, or its names or layers make no judge.
    """
    folder = Path(folder)
    if not all((folder / name).is_file() for name in ("judge.json", "model.safetensors")):
        what = "is no judge" if folder.is_dir() else "does not exist"
        advice = absence_hint(folder) or (
            "restore the folder from the repository or train it with `python -m rbtc.emoji.train "
            "judge`"
        )
        raise FileNotFoundError(
            f"{folder} {what}: expected judge.json and model.safetensors in it; {advice}"
        )
    card = read_json(folder / "judge.json")
    found = card.get("kind") if isinstance(card, dict) else card
    if found != kind:
        raise ValueError(f"{folder} holds a {found!r} judge, expected {kind!r}")
    names, layers, problem = card.get("names"), card.get("layers"), ""
    if kind == "clip":
        if not isinstance(card.get("model"), dict):
            problem = "model must be open_clip's configuration"
    elif (
        not (isinstance(names, list) and names)
        or not all(isinstance(name, str) and name.strip() for name in names)
        or len({name.casefold() for name in names}) < len(names)  # as `Measure.hits` compares them
    ):
        problem = "names must be a list of different class names, in column order"
    elif not (
        isinstance(layers, list)
        and len(layers) == 4
        and all(type(n) is int and 0 < n <= 64 for n in layers)
    ):
        problem = "layers must be four numbers of blocks from 1 to 64"
    if problem:
        raise ValueError(f"{folder / 'judge.json'}: {problem}: restore the folder")
    return card


def _fill(model: nn.Module, folder: str | Path) -> nn.Module:
    """Read a judge's weights into a model of its architecture, every tensor or none.

    Raises:
        ValueError: the file is damaged, not of this architecture, or holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / "model.safetensors"
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore the judge's folder") from error
    if bad := [name for name in state if not state[name].isfinite().all()]:
        raise ValueError(f"{path} holds NaN or infinite values in {bad[0]!r}: restore the folder")
    try:
        model.load_state_dict(state)  # in the model's own float32
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit judge.json's names and architecture ({error}): restore the "
            "judge's folder or train it again"
        ) from error
    return model


def as_input(images: np.ndarray) -> torch.Tensor:
    """Pictures (n, h, w, 3) uint8 to (n, 3, h, w) float in [-1, 1], what the judges were taught.

    Raises:
        ValueError: pictures of another shape or dtype, which would be judged all the same.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"expected pictures (n, height, width, 3) of uint8, got {images.shape} {images.dtype}"
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class ResNetJudge:
    """Names what a picture shows; ``names`` are its classes in column order."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._model = model.eval().requires_grad_(False)

    def _inputs(self, images: np.ndarray) -> torch.Tensor:
        return as_input(images)

    @torch.no_grad()
    def _run(self, images: np.ndarray, batch: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
        device = next(self._model.parameters()).device
        kept: list[torch.Tensor] = []
        hook = self._model.avgpool.register_forward_hook(  # pyright: ignore
            lambda module, args, output: kept.append(output.flatten(1).cpu())
        )
        try:
            logits = [
                self._model(self._inputs(images[i : i + batch]).to(device)).cpu()
                for i in range(0, len(images), batch)
            ]
        finally:
            hook.remove()
        return torch.cat(logits), torch.cat(kept)

    def predict(self, images: np.ndarray) -> list[str]:
        """Most probable name of each picture."""
        return [self.names[i] for i in self._run(images)[0].argmax(1).tolist()]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities, (n, classes), columns as ``names``."""
        return self._run(images)[0].softmax(1).numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """Pooled features before the last layer, (n, 512)."""
        return self._run(images)[1].numpy()


class StricterJudge:
    """A judge that answers "" where its best class has less than ``least`` of the probability."""

    def __init__(self, judge: ResNetJudge, least: float = 0.5) -> None:
        self.names, self._judge, self._least = judge.names, judge, least

    def predict(self, images: np.ndarray) -> list[str]:
        """Most probable name of each picture, "" for none."""
        found = self._judge.probabilities(images)
        best, sure = found.argmax(1), found.max(1) >= self._least
        return [self.names[i] if ok else "" for i, ok in zip(best, sure, strict=True)]


class LenientJudge:
    """A judge that has only some of its classes to choose from.

    Raises:
        ValueError: the judge lacks one of them.
    """

    def __init__(self, judge: ResNetJudge, names: Sequence[str]) -> None:
        known = {name.casefold(): i for i, name in enumerate(judge.names)}
        if missing := [name for name in names if name.casefold() not in known]:
            raise ValueError(f"the judge of objects has no class for {missing}")
        self.names, self._judge = tuple(names), judge
        self._columns = [known[name.casefold()] for name in names]

    def predict(self, images: np.ndarray) -> list[str]:
        """Most probable of the names for each picture."""
        found = self._judge.probabilities(images)[:, self._columns]
        return [self.names[i] for i in found.argmax(1).tolist()]


class ClipJudge(OpenClipJudge):
    """A small CLIP of ours with the tokenizer it was trained with."""

    def _inputs(self, images: np.ndarray) -> torch.Tensor:
        return as_input(images)

    def _tokens(self, prompts: Sequence[str]) -> torch.Tensor:
        options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        return self._tokenizer(list(prompts), **options).input_ids


class ImageNetJudge(ResNetJudge):
    """torchvision's ResNet-50 (IMAGENET1K_V2) with its own transforms, the paper's judge."""

    def __init__(self, model: nn.Module, transforms: Any, names: Sequence[str]) -> None:
        """Wrap the model; ``transforms`` take (n, 3, h, w) uint8."""
        super().__init__(model, names)
        self._transforms = transforms

    def _inputs(self, images: np.ndarray) -> torch.Tensor:
        return self._transforms(torch.from_numpy(images).permute(0, 3, 1, 2))


def load_judge(folder: str | Path, device: torch.device | str = "cpu") -> ResNetJudge:
    """Load a concept or style judge from its folder, or "resnet50-imagenet1k-v2" by name.

    The latter's weights are fetched and cached by torchvision.

    Raises:
        FileNotFoundError: no such folder, a file of it is missing, or the judge cannot be fetched.
        ValueError: the card or the weights are damaged.
    """
    if str(folder) == "resnet50-imagenet1k-v2":
        from torchvision.models import ResNet50_Weights, resnet50

        weights = ResNet50_Weights.IMAGENET1K_V2
        names = weights.meta["categories"]
        try:
            model = resnet50(weights=weights)
        except (OSError, RuntimeError) as error:  # no network, no space, a wrong checksum
            raise FileNotFoundError(
                f"the judge {str(folder)!r} could not be fetched ({error}): run once with a "
                f"network, put {weights.url.rpartition('/')[2]} into {torch.hub.get_dir()}"
                "/checkpoints, or set the profile's evaluation.classifier to a folder"
            ) from error
        return ImageNetJudge(model.to(device), weights.transforms(), names)
    card = read_card(folder, "resnet")
    model = _fill(build_resnet(len(card["names"]), layers=card["layers"]), folder)
    return ResNetJudge(model.to(device), card["names"])


def load_clip(folder: str | Path, device: torch.device | str = "cpu") -> OpenClipJudge:
    """Load a CLIP from its folder (with its tokenizer in ``tokenizer/``), or the paper's by name.

    The latter, "openai/clip-vit-base-patch32", is fetched and cached by open_clip.

    Raises:
        FileNotFoundError: no such folder, a file of it is missing, or the CLIP cannot be fetched.
        ValueError: the card, the weights or the tokenizer are damaged.
    """
    if str(folder) == CLIP_NAME:
        return load_open_clip(device)
    card = read_card(folder, "clip")
    check_tokenizer_folder(Path(folder) / "tokenizer")
    try:
        model = build_clip(card["model"])
        length = int(model.context_length)  # pyright: ignore
    except Exception as error:
        # open_clip does not check its configuration: anything can go wrong with a wrong one.
        raise ValueError(
            f"{Path(folder) / 'judge.json'}: open_clip cannot build its model ({error}): restore "
            "the folder"
        ) from error
    tokenizer = load_tokenizer(Path(folder) / "tokenizer", length)
    return ClipJudge(_fill(model, folder).to(device), None, tokenizer)


def save_judge(model: nn.Module, card: dict[str, Any], folder: str | Path) -> None:
    """Write a judge folder: weights in fp16, the card with the held-out scores."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    write_json(folder / "judge.json", card)
