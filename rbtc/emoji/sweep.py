# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# (diffusers and torch annotate less than they accept and return)
"""Short training runs that compare the levers: ``python -m rbtc.emoji.sweep``.

Every variant of ``data/emoji/ablation.toml`` is trained for the same number of pictures and
scored without a judge, so that a run of some minutes already says something: the velocity error on
fresh pictures at several times, the same with every feed-forward output zeroed (reliance), the same
after ConceptPrune on the pruned concept's pictures and on others (erasability), and how steep the
singular values fall (what completion lives on). One row a variant goes to
``results/emoji_ablation.csv``; a finished variant is not run again.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from rbtc import command
from rbtc.emoji import sets
from rbtc.emoji.code import fit_code
from rbtc.emoji.diffusion import (
    GUIDANCE,
    SAMPLER_STEPS,
    LatentPool,
    Levers,
    assemble,
    can_compile,
    noise_levels,
    train_diffusion,
)
from rbtc.emoji.loop import LoopConfig
from rbtc.emoji.report import singular_decay, without_ffn
from rbtc.emoji.scenes import World, article
from rbtc.emoji.start import fresh_model
from rbtc.emoji.text import load_tokenizer, write_tokenizer
from rbtc.emoji.train import CODE_PICTURES, DEFAULTS
from rbtc.files import check_writable
from rbtc.layers import Weights, density, prune, read_weights, write_weights
from rbtc.pruning.activations import collect_norms
from rbtc.pruning.conceptprune import ConceptPruneConfig, concept_masks
from rbtc.report.tables import save_csv

TIMES = (300, 500, 700, 850, 999)


CONTENT_TIMES = (700, 850, 999)
"""Where a picture's content is decided: what an erased concept must fail at."""


OPTIONS = ("batch_size", "learning_rate", "seed")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A name, the levers and the loop's options of one run."""

    name: str
    levers: Levers
    config: LoopConfig


def read_variants(path: Path | None = None, *, pictures: int) -> list[Variant]:
    """The variants of a TOML file: a table each, with levers and loop options that differ.

    Raises:
        ValueError: a table names something that is neither a lever nor one of ``OPTIONS``.
    """
    path = path or sets.data_folder() / "ablation.toml"
    known = {f.name for f in dataclasses.fields(Levers)}
    variants = []
    for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if unknown := table.keys() - known - set(OPTIONS):
            raise ValueError(
                f"{path}: {name} sets {sorted(unknown)}; levers are {sorted(known)}, options "
                f"{sorted(OPTIONS)}"
            )
        levers = Levers(**{k: v for k, v in table.items() if k in known})
        options = {k: v for k, v in table.items() if k in OPTIONS}
        config = dataclasses.replace(DEFAULTS["diffusion"], **{**options, "pictures": pictures})
        variants.append(Variant(name, levers, config))
    return variants


class Probe:
    """Fixed pictures with fixed noise, on which models are compared."""

    def __init__(self, pool: LatentPool, n: int = 256, *, seed: int = 1) -> None:
        """Take ``n`` pictures of the pool."""
        self.latents, self.tokens = pool.batch(n)
        generator = torch.Generator().manual_seed(seed)
        self.noise = torch.randn(self.latents.shape, generator=generator).to(self.latents)

    @torch.no_grad()
    def errors(self, model: nn.ModuleDict, times: Sequence[int] = TIMES) -> dict[int, float]:
        """Mean squared error of the velocity at each of ``times`` (training steps, 0 to 999)."""
        was_training = model.training
        model.eval()
        levels = noise_levels().to(self.latents)
        context = model["text_encoder"](self.tokens).last_hidden_state
        found = {}
        for t in times:
            signal, spread = levels[t].sqrt(), (1 - levels[t]).sqrt()
            noisy = signal * self.latents + spread * self.noise
            steps = torch.full((len(noisy),), t, device=noisy.device)
            answer = model["unet"](noisy, steps, context).sample
            wanted = signal * self.noise - spread * self.latents
            found[t] = F.mse_loss(answer, wanted).item()
        model.train(was_training)
        return found

    def content_error(self, model: nn.ModuleDict) -> float:
        """Mean error over ``CONTENT_TIMES``."""
        return sum(self.errors(model, CONTENT_TIMES).values()) / len(CONTENT_TIMES)


def with_weights(model: nn.ModuleDict, weights: Weights, measure: Any) -> float:
    """``measure(model)`` with other feed-forward outputs; the model's own are put back."""
    own = read_weights(model["unet"])
    write_weights(model["unet"], weights)
    try:
        return measure(model)
    finally:
        write_weights(model["unet"], own)


def scores(
    model: nn.ModuleDict,
    pipe: Any,
    probe: Probe,
    probes: Mapping[str, Probe],
    scenes: Sequence[str],
    *,
    ratio: float = 0.05,
    calls: int = 10,
) -> dict[str, float]:
    """What a variant is judged by.

    Args:
        model: text encoder and UNet.
        pipe: the pipeline of the same two, for ConceptPrune's passes.
        probe: pictures of every kind.
        probes: concept -> pictures of this concept alone; each is pruned in turn.
        scenes: scenes of the prompt pairs.
        ratio: ConceptPrune's ratio.
        calls: the first UNet calls whose masks are united.

    Returns:
        ``error@T`` per time; ``without_ffn``, the factor by which zeroing every feed-forward output
        raises the content error; ``erased`` and ``others``, the factors by which ConceptPrune
        raises it on the pruned concept and on the other ones; ``density`` of its masks;
        ``s[1/8]/s[0]`` and its like, medians over the layers.
    """
    weights = read_weights(model["unet"])
    whole = probe.content_error(model)
    row = {f"error@{t}": e for t, e in probe.errors(model).items()}
    row["without_ffn"] = with_weights(model, without_ffn(weights), probe.content_error) / whole
    settings = ConceptPruneConfig(
        ratio=ratio, calls=calls, steps=SAMPLER_STEPS, guidance=GUIDANCE, batch_size=32
    )
    before = {concept: own.content_error(model) for concept, own in probes.items()}
    factors: dict[str, list[float]] = {"erased": [], "others": [], "density": []}
    for concept in probes:
        masks = concept_masks(
            weights,
            *prompt_norms(pipe, concept, scenes, settings),
            ratio=ratio,
            calls=calls,
        )
        factors["density"].append(density(masks))
        pruned = prune(weights, masks)
        for other, own in probes.items():
            after = with_weights(model, pruned, own.content_error)
            factors["erased" if other == concept else "others"].append(after / before[other])
    row |= {name: sum(found) / len(found) for name, found in factors.items()}
    return row | singular_decay(weights).drop(columns=["layer", "rank"]).median().to_dict()


def prompt_norms(
    pipe: Any, concept: str, scenes: Sequence[str], settings: ConceptPruneConfig
) -> tuple[Any, Any]:
    """Activation norms of "a church on a SCENE" and of "a SCENE", for every scene."""
    targets = [f"{article(concept)} on {article(scene)}" for scene in scenes]
    references = [article(scene) for scene in scenes]
    return collect_norms(pipe, targets, settings), collect_norms(pipe, references, settings)


def run_variant(
    variant: Variant,
    folder: Path,
    *,
    concepts: Sequence[str],
    sheet: Any,
    probed: Sequence[str],
    scenes: Sequence[str],
    styles: Sequence[str] = sets.STYLES,
    house: str = sets.HOUSE,
    device: str = "cpu",
    compiled: bool = False,
) -> dict[str, Any]:
    """Train one variant in ``folder`` (resuming there) and return its row."""
    from rbtc.emoji.vae import build_vae

    def world(names: Sequence[str], seed: int) -> World:
        return World(sheet, names, styles, seed=seed, house=house)

    # The same pictures in every variant, so that all learn the same code.
    code = fit_code(world(concepts, 0).batch(CODE_PICTURES).pictures)
    tokenizer = load_tokenizer(write_tokenizer(folder / "tokenizer", concepts, styles))
    model = fresh_model(tokenizer, variant.levers, seed=variant.config.seed).to(device)

    def pool(names: Sequence[str], seed: int, size: int) -> LatentPool:
        return LatentPool(world(names, seed), code, tokenizer, device=device, size=size, seed=seed)

    training = pool(concepts, variant.config.seed + 2, 16_384)
    average = train_diffusion(
        model, training, variant.levers, variant.config, folder, compiled=compiled
    )
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    # The passes never decode: any autoencoder of the right shape completes the pipeline.
    pipe = assemble(average, build_vae().to(device).eval(), tokenizer)
    found = scores(
        average,
        pipe,
        Probe(pool(concepts, 77, 512)),
        {name: Probe(pool([name], 78, 64), 64) for name in probed},
        scenes,
    )
    return {
        "variant": variant.name,
        "pictures": done["pictures"],
        "minutes": done["seconds"] / 60,
        "device": done["device"],
        "parameters": sum(p.numel() for p in average["unet"].parameters()),
        **dataclasses.asdict(variant.levers),
        "batch_size": variant.config.batch_size,
        "learning_rate": variant.config.learning_rate,
        **found,
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rbtc.emoji.sweep", description=__doc__)
    parser.add_argument("names", nargs="*", help="variants to run (default: all)")
    parser.add_argument("--run", type=Path, default=sets.cache_folder().parent / "runs/ablation")
    parser.add_argument("--pictures", type=int, default=120_000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    variants = read_variants(pictures=options.pictures)
    if unknown := set(options.names) - {v.name for v in variants}:
        raise ValueError(
            f"no variant {', '.join(sorted(unknown))}; there are "
            f"{', '.join(v.name for v in variants)}"
        )
    command.check_device(options.device)
    check_writable(options.run)
    check_writable(options.folder)
    concepts = sets.read_concepts()
    names = [c.name for c in concepts]
    sheet = sets.load_sheet(concepts)
    # Held-out concepts: the twelve classes are for the final figures only.
    probed = [c.name for c in concepts if c.role == "object"][:6]
    for variant in tqdm(variants, desc="variants"):
        if options.names and variant.name not in options.names:
            continue
        folder = options.run / f"{variant.name}-{options.pictures}"
        record = folder / "row.json"
        if not record.exists():
            row = run_variant(
                variant,
                folder,
                concepts=names,
                sheet=sheet,
                probed=probed,
                scenes=["blue background", "pink background", "green background"],
                device=options.device,
                compiled=can_compile(),
            )
            record.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    rows = [json.loads(p.read_text("utf-8")) for p in sorted(options.run.glob("*/row.json"))]
    save_csv(pd.DataFrame(rows), "emoji_ablation", str(options.folder))
    print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    command.run(main)
