# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false
# (diffusers and torch annotate less than they accept and return)
"""Train emoji-sd and its judges: ``python -m rbtc.emoji.train STAGE``.

Stages, in order: ``fetch`` (the emoji sets), ``vae``, ``diffusion``, ``concept-judge``,
``style-judge``, ``clip``, ``pack`` (copy the finished model into ``data/models``). ``vae`` and
``diffusion`` do not need each other. Every stage resumes from its last checkpoint; the run folder
lies outside the repository.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rbtc.emoji import sets
from rbtc.emoji.diffusion import (
    GUIDANCE,
    SAMPLER_STEPS,
    LatentPool,
    Levers,
    assemble,
    build_unet,
    train_diffusion,
)
from rbtc.emoji.judge import train_clip_judge, train_resnet_judge
from rbtc.emoji.loop import LoopConfig
from rbtc.emoji.scenes import SCENES, World, article
from rbtc.emoji.text import build_text_encoder, load_tokenizer, write_tokenizer
from rbtc.emoji.vae import build_vae, train_vae

DEFAULTS = {
    "vae": LoopConfig(
        24_000, batch_size=16, learning_rate=2e-3, warmup=800, ema=0.998, save_every=4_000
    ),
    "diffusion": LoopConfig(
        450_000,
        batch_size=64,
        learning_rate=2e-3,
        warmup=12_800,
        weight_decay=0.02,
        save_every=60_000,
    ),
    "concept-judge": LoopConfig(60_000, batch_size=64, weight_decay=0.05, ema=0.995),
    "style-judge": LoopConfig(30_000, batch_size=64, weight_decay=0.05, ema=0.995),
    "clip": LoopConfig(60_000, batch_size=128, weight_decay=0.05, ema=0.995),
}
MODEL_FOLDERS = {
    "concept-judge": "emoji-judge-concept",
    "style-judge": "emoji-judge-style",
    "clip": "emoji-clip",
}


def models_folder() -> Path:
    """The repository's ``data/models``."""
    return Path(__file__).resolve().parents[2] / "data" / "models"


def probe_prompts(concepts: list[str]) -> list[str]:
    """The prompts of the sample grid: the paper's classes, scenes and styles first."""
    prompts = [article(c) for c in concepts[:19]]
    prompts += ["a church on a blue background", "a blue striped background"]
    prompts += [f"a church in the style of {style}" for style in sets.STYLES]
    return prompts + [article(c) for c in concepts[19:22]]


def save_grid(model: nn.Module, vae: Any, tokenizer: Any, prompts: list[str], path: Path) -> None:
    """Two pictures of every prompt, one picture a cell, sixteen a row."""
    from torchvision.utils import save_image

    from rbtc.models.generate import generate

    if not isinstance(model, nn.ModuleDict):
        raise TypeError(f"expected the ModuleDict of text encoder and UNet, got {type(model)}")
    pipe = assemble(model, vae, tokenizer)
    images = generate(
        pipe, prompts * 2, list(range(2 * len(prompts))), steps=SAMPLER_STEPS, guidance=GUIDANCE
    )
    save_image(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, path, nrow=16)


def load_vae(run: Path, device: str) -> Any:
    """The finished autoencoder of the run."""
    from diffusers import AutoencoderKL

    folder = run / "vae" / "final"
    if not folder.exists():
        raise FileNotFoundError(f"{folder} is missing: run the stage `vae` first")
    return AutoencoderKL.from_pretrained(folder).to(device)


def train_vae_stage(
    run: Path, config: LoopConfig, sheet: Any, names: list[str], device: str
) -> None:
    """Stage ``vae``: writes RUN/vae/final."""
    torch.manual_seed(config.seed)
    world = World(sheet, names, sets.STYLES, seed=config.seed + 1)
    average = train_vae(build_vae().to(device), world, config, run / "vae")
    average.save_pretrained(run / "vae" / "final")


def train_diffusion_stage(
    run: Path, config: LoopConfig, levers: Levers, sheet: Any, names: list[str], device: str
) -> None:
    """Stage ``diffusion``: writes RUN/diffusion/{unet,text_encoder}; grids if RUN/vae is done."""
    folder = run / "diffusion"
    tokenizer = load_tokenizer(write_tokenizer(run / "tokenizer", names, sets.STYLES))
    world = World(sheet, names, sets.STYLES, seed=config.seed + 2)
    torch.manual_seed(config.seed)
    model = nn.ModuleDict(
        {
            "unet": build_unet(levers),
            "text_encoder": build_text_encoder(tokenizer, width=levers.text_width),
        }
    ).to(device)
    pool = LatentPool(world, tokenizer, device=device, seed=config.seed)

    def sample(average: nn.Module, seen: int) -> None:
        if (run / "vae" / "final").exists():
            path = folder / f"grid-{seen:07d}.png"
            save_grid(average, load_vae(run, device), tokenizer, probe_prompts(names), path)

    average = train_diffusion(model, pool, levers, config, folder, sample=sample)
    for part in ("unet", "text_encoder"):
        average[part].save_pretrained(folder / part)
    (folder / "levers.json").write_text(
        json.dumps(dataclasses.asdict(levers), indent=1) + "\n", encoding="utf-8"
    )


def pack(run: Path, names: list[str], target: Path | None = None) -> Path:
    """Copy the finished pipeline into ``data/models/emoji-sd`` in fp16, with how it was trained."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    target, source = target or models_folder() / "emoji-sd", run / "diffusion"
    if not (source / "unet").exists():
        raise FileNotFoundError(f"{source}/unet is missing: finish the stage `diffusion` first")
    parts = {
        "unet": UNet2DConditionModel.from_pretrained(source / "unet", torch_dtype=torch.float16),
        "text_encoder": CLIPTextModel.from_pretrained(
            source / "text_encoder", torch_dtype=torch.float16
        ),
    }
    vae = load_vae(run, "cpu").to(torch.float16)
    pipe = assemble(nn.ModuleDict(parts), vae, load_tokenizer(run / "tokenizer"))
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    pipe.save_pretrained(temporary)
    for config in temporary.glob("*/config.json"):  # where it was trained is nobody's business
        content = json.loads(config.read_text(encoding="utf-8"))
        content.pop("_name_or_path", None)
        config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name in ("vocab.json", "merges.txt"):  # what transformers before 5 looks for
        shutil.copy(run / "tokenizer" / name, temporary / "tokenizer")
    words = {"concepts": names, "styles": list(sets.STYLES), "scenes": list(SCENES)}
    (temporary / "concepts.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    record = {
        "levers": json.loads((run / "diffusion" / "levers.json").read_text(encoding="utf-8")),
        "stages": {
            stage: json.loads((run / stage / "done.json").read_text(encoding="utf-8"))
            for stage in ("vae", "diffusion")
        },
        "sampler": {"steps": SAMPLER_STEPS, "guidance": GUIDANCE},
    }
    (temporary / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if (target / "README.md").exists():
        shutil.copy(target / "README.md", temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)
    return target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rbtc.emoji.train", description=__doc__)
    parser.add_argument("stage", choices=["fetch", *DEFAULTS, "pack"])
    parser.add_argument(
        "--run", type=Path, default=sets.cache_folder().parent / "runs" / "emoji-sd"
    )
    parser.add_argument("--pictures", type=int, help="pictures to train on, in all")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--concepts", type=int, help="use only the first N of the concept list")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for field in dataclasses.fields(Levers):
        flag = "--" + field.name.replace("_", "-")
        kind = {"bool": None, "int": int, "float": float}[str(field.type)]
        if kind is None:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            parser.add_argument(flag, type=kind, default=field.default)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Run one stage."""
    options = _parser().parse_args(arguments)
    concepts = sets.read_concepts(limit=options.concepts)
    names = [c.name for c in concepts]
    if options.stage == "fetch":
        print(sets.fetch())
        return
    if options.stage == "pack":
        print(pack(options.run, names))
        return
    given = {
        key: value
        for key in ("pictures", "batch_size", "learning_rate", "seed")
        if (value := getattr(options, key)) is not None
    }
    config = dataclasses.replace(DEFAULTS[options.stage], **given)
    levers = Levers(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Levers)})
    sheet = sets.load_sheet(concepts)
    if options.stage == "vae":
        train_vae_stage(options.run, config, sheet, names, options.device)
    elif options.stage == "diffusion":
        train_diffusion_stage(options.run, config, levers, sheet, names, options.device)
    else:
        folder, target = options.run / options.stage, models_folder() / MODEL_FOLDERS[options.stage]
        if options.stage == "clip":
            tokenizer = load_tokenizer(
                write_tokenizer(options.run / "tokenizer", names, sets.STYLES)
            )
            card = train_clip_judge(
                sheet, names, tokenizer, config, folder, target, device=options.device
            )
        else:
            which = "concepts" if options.stage == "concept-judge" else "styles"
            card = train_resnet_judge(
                sheet, names, which, config, folder, target, device=options.device
            )
        print(json.dumps(card["scores"], indent=1))


if __name__ == "__main__":
    main()
