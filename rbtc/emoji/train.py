# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false
# (diffusers and torch annotate less than they accept and return)
"""Train emoji-sd and its judges: ``python -m rbtc.emoji.train STAGE``.

Stages, in order: ``fetch`` (the emoji sets), ``code`` (fit the latent code), ``vae`` (an
autoencoder that computes it and draws from it), ``diffusion``, ``concept-judge``, ``style-judge``,
``clip``, ``pack`` (copy the finished model into ``data/models``). ``vae`` and ``diffusion`` need
the code, not each other.
What trains resumes from its last checkpoint; the run folder lies outside the repository.
``diffusion --start FOLDER`` goes on from the weights of another run.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rbtc import command
from rbtc.emoji import sets
from rbtc.emoji.code import fit_code, load_code
from rbtc.emoji.diffusion import (
    GUIDANCE,
    SAMPLER_STEPS,
    LatentPool,
    Levers,
    assemble,
    can_compile,
    train_diffusion,
)
from rbtc.emoji.judge import Sheet, train_clip_judge, train_resnet_judge
from rbtc.emoji.loop import LoopConfig
from rbtc.emoji.scenes import SCENES, STYLED, World, article
from rbtc.emoji.start import start_record, starting_model
from rbtc.emoji.text import make_tokenizer
from rbtc.emoji.vae import train_vae, vae_scores
from rbtc.files import check_writable, read_json, write_json

DEFAULTS = {
    "vae": LoopConfig(100_000, batch_size=32, learning_rate=2e-3, ema=0.998, save_every=20_000),
    "diffusion": LoopConfig(
        240_000,
        batch_size=64,
        learning_rate=2e-3,
        warmup=12_800,
        weight_decay=0.02,
        save_every=60_000,
    ),
    "concept-judge": LoopConfig(
        96_000, batch_size=64, learning_rate=2e-3, weight_decay=0.05, ema=0.995
    ),
    "style-judge": LoopConfig(
        80_000, batch_size=64, learning_rate=2e-3, weight_decay=0.05, ema=0.995
    ),
    "clip": LoopConfig(96_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema=0.99),
}
OPTIONS: dict[str, tuple[type, str | None]] = {
    "pictures": (int, "pictures to train on, in all"),
    "batch_size": (int, None),
    "learning_rate": (float, None),
    "warmup": (int, "pictures until the full learning rate"),
    "seed": (int, None),
}
"""What a command may change of a stage's `LoopConfig`: type and help."""
CODE_PICTURES = 4_096
"""Pictures the latent code is fitted on."""
SCORE_PICTURES = 1024
"""Fresh pictures the autoencoder is measured on."""
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

    images = generate(
        assemble(model, vae, tokenizer),
        prompts * 2,
        list(range(2 * len(prompts))),
        steps=SAMPLER_STEPS,
        guidance=GUIDANCE,
    )
    save_image(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, path, nrow=16)


def training_world(sheet: Sheet, names: list[str], seed: int, *, styled: float = STYLED) -> World:
    """What emoji-sd is taught: captions that name no style show one house."""
    return World(sheet, names, sets.STYLES, seed=seed, house=sets.HOUSE, styled=styled)


def fit_code_stage(run: Path, sheet: Sheet, names: list[str], *, seed: int = 0) -> Path:
    """Stage ``code``: writes RUN/code.safetensors; one that is there stays, others rest on it."""
    path = run / "code.safetensors"
    if not path.exists():
        world = training_world(sheet, names, seed)
        fit_code(world.batch(CODE_PICTURES).pictures).save(path)
    return path


def load_vae(run: Path, device: str = "cpu") -> Any:
    """The finished autoencoder of the run."""
    from diffusers import AutoencoderKL

    folder = run / "vae" / "final"
    if not folder.exists():
        raise FileNotFoundError(f"{folder} is missing: run the stage `vae` first")
    return AutoencoderKL.from_pretrained(folder).to(device)


def train_vae_stage(
    run: Path,
    sheet: Sheet,
    names: list[str],
    config: LoopConfig,
    device: str = "cpu",
    *,
    compiled: bool = False,
    bfloat16: bool = False,
) -> dict[str, Any]:
    """Stage ``vae``: writes RUN/vae/final and, in RUN/vae/done.json, how well it does."""
    code, folder = load_code(run / "code.safetensors"), run / "vae"
    world = training_world(sheet, names, config.seed + 1)
    vae = train_vae(
        code, world, config, folder, device=device, compiled=compiled, bfloat16=bfloat16
    ).cpu()
    vae.save_pretrained(folder / "final")
    fresh = training_world(sheet, names, config.seed + 3)
    done = read_json(folder / "done.json") | vae_scores(vae, code, fresh, SCORE_PICTURES)
    write_json(folder / "done.json", done)
    return done


def train_diffusion_stage(
    run: Path,
    sheet: Sheet,
    names: list[str],
    config: LoopConfig,
    device: str = "cpu",
    *,
    levers: Levers,
    start: Path | None = None,
    compiled: bool = False,
) -> None:
    """Stage ``diffusion``: writes RUN/diffusion/{unet,text_encoder}; grids if RUN/vae is done."""
    folder = run / "diffusion"
    tokenizer = make_tokenizer(run / "tokenizer", names, sets.STYLES)
    model, record = starting_model(start, tokenizer, levers, folder, seed=config.seed)
    record["levers"] = dataclasses.asdict(levers)
    code = load_code(run / "code.safetensors")
    world = training_world(sheet, names, config.seed + 2, styled=levers.styled)
    pool = LatentPool(world, code, tokenizer, device=device, seed=config.seed)

    def sample(average: nn.Module, seen: int) -> None:
        if (run / "vae" / "final").exists():
            path = folder / f"grid-{seen:07d}.png"
            save_grid(average, load_vae(run, device), tokenizer, probe_prompts(names), path)

    average = train_diffusion(
        model.to(device), pool, levers, config, folder,
        sample=sample, compiled=compiled, record=record,
    )  # fmt: skip
    for part in ("unet", "text_encoder"):
        average[part].save_pretrained(folder / part)


def pack(run: Path, names: list[str], models: Path, *, start: Path | None = None) -> Path:
    """Copy the finished pipeline into ``emoji-sd`` in fp16, with how it was trained.

    Args:
        run: folder with the code, the autoencoder and the stage ``diffusion``.
        names: the concepts, in order.
        models: folder to write ``emoji-sd`` into.
        start: folder with other trained weights to pack instead of ``run``'s own.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    target, source = models / "emoji-sd", start or run / "diffusion"
    if not (source / "unet").exists():
        raise FileNotFoundError(f"{source}/unet is missing: finish the stage `diffusion` first")
    parts = {
        part: kind.from_pretrained(source / part, torch_dtype=torch.float16)
        for part, kind in (("unet", UNet2DConditionModel), ("text_encoder", CLIPTextModel))
    }
    vae = load_vae(run).to(torch.float16)
    pipe = assemble(parts, vae, make_tokenizer(run / "tokenizer", names, sets.STYLES))
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    pipe.save_pretrained(temporary)
    for config in temporary.glob("*/config.json"):  # where it was trained is nobody's business
        content = read_json(config)
        content.pop("_name_or_path", None)
        config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copy(run / "code.safetensors", temporary)
    for name in ("vocab.json", "merges.txt"):  # what transformers before 5 looks for
        shutil.copy(run / "tokenizer" / name, temporary / "tokenizer")
    words = {"concepts": names, "styles": list(sets.STYLES), "scenes": list(SCENES)}
    write_json(temporary / "concepts.json", words)
    done = source / "done.json"
    record = {
        "code": {"pictures": CODE_PICTURES, "channels": vae.config.latent_channels},
        "vae": read_json(run / "vae" / "done.json"),
        "diffusion": read_json(done) if done.exists() else {"start": start_record(source)},
        "sampler": {"steps": SAMPLER_STEPS, "guidance": GUIDANCE},
    }
    write_json(temporary / "training.json", record)
    if (target / "README.md").exists():
        shutil.copy(target / "README.md", temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)
    return target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rbtc.emoji.train", description=__doc__)
    parser.add_argument("stage", choices=["fetch", "code", *DEFAULTS, "pack"])
    parser.add_argument(
        "--run", type=Path, default=sets.cache_folder().parent / "runs" / "emoji-sd"
    )
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=kind, help=text)
    parser.add_argument(
        "--start",
        type=Path,
        help="folder with unet/ and text_encoder/: what `diffusion` goes on from, or what `pack` "
        "packs instead of the run's own",
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=can_compile(),
        help="vae, diffusion: train through torch.compile (default: where a compiler is found)",
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="vae: compute in it (weights stay float32)"
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=models_folder(),
        help="folder to write judges and the packed model into (default: data/models)",
    )
    parser.add_argument("--concepts", type=int, help="use only the first N of the concept list")
    parser.add_argument(
        "--list", type=Path, help="another concept list, like data/emoji/third_edition.csv"
    )
    parser.add_argument(
        "--without-house", choices=sets.STYLES, help="concept-judge: never show it this house"
    )
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
    stage, run, device = options.stage, options.run, options.device
    if options.concepts is not None and options.concepts < 1:
        raise ValueError(f"concepts must be a whole number of at least 1, not {options.concepts}")
    check_writable(sets.cache_folder() if stage == "fetch" else run)
    if stage == "pack" or stage in MODEL_FOLDERS:
        check_writable(options.models)
    if stage in DEFAULTS:
        command.check_device(device)
    concepts = sets.read_concepts(options.list, limit=options.concepts)
    names = [c.name for c in concepts]
    if stage == "fetch":
        print(sets.fetch())
        return
    if stage == "pack":
        print(pack(run, names, options.models, start=options.start))
        return
    if stage == "concept-judge":  # it tells more things apart than emoji-sd draws
        concepts += [c for c in sets.read_distractors() if c.name not in names]
        names = [c.name for c in concepts]
    sheet = sets.load_sheet(concepts)
    if stage == "code":
        print(fit_code_stage(run, sheet, names))
        return
    given = {key: value for key in OPTIONS if (value := getattr(options, key)) is not None}
    config = dataclasses.replace(DEFAULTS[stage], **given)
    common = (run, sheet, names, config, device)
    if stage == "diffusion":
        levers = Levers(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Levers)})
        train_diffusion_stage(*common, levers=levers, start=options.start, compiled=options.compile)
        return
    if stage == "vae":
        done = train_vae_stage(*common, compiled=options.compile, bfloat16=options.bfloat16)
    else:
        ending = f"-without-{options.without_house}" if options.without_house else ""
        target = options.models / (MODEL_FOLDERS[stage] + ending)
        where = (config, run / (stage + ending), target)
        if stage == "clip":
            tokenizer = make_tokenizer(run / "tokenizer", names, sets.STYLES)
            card = train_clip_judge(sheet, names, tokenizer, *where, device=device)
        else:
            which = "concepts" if stage == "concept-judge" else "styles"
            houses = [style for style in sets.STYLES if style != options.without_house]
            card = train_resnet_judge(sheet, names, which, *where, device=device, styles=houses)
        done = card["scores"]
    print(json.dumps(done, indent=1))


if __name__ == "__main__":
    command.run(main)
