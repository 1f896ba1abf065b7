"""The model card of emoji-sd, written from result files: ``python -m rbtc.emoji.card``."""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc import command
from rbtc.emoji.diffusion import Levers
from rbtc.emoji.report import standing
from rbtc.emoji.scenes import STYLED
from rbtc.emoji.sets import HELD_OUT_STYLE, HOUSE, data_folder
from rbtc.emoji.start import training_chain
from rbtc.emoji.train import DEFAULTS, MODEL_FOLDERS, models_folder


def _read(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the command that writes it, then the card")
    return json.loads(path.read_text(encoding="utf-8"))


def _share(row: dict[str, float]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] (n={row['n']})"


def sets_table() -> str:
    """Markdown table of every emoji set with author and licence, from the manifest."""
    lines = ["| style | set | author | licence | package, version |", "|---|---|---|---|---|"]
    for entry in _read(data_folder() / "manifest.json")["packages"]:
        held = " (held out)" if entry["style"] == HELD_OUT_STYLE else ""
        lines.append(
            f"| {entry['style']}{held} | {entry['title']} | "
            f"[{entry['author']}]({entry['author_url']}) | "
            f"[{entry['license']}]({entry['license_url']}) | "
            f"`{entry['package']}` {entry['version']} |"
        )
    return "\n".join(lines)


def judges_table(models: Path) -> str:
    """Markdown table of the judges' held-out scores, from their cards."""
    lines = ["| judge | held out | score |", "|---|---|---|"]
    for folder in MODEL_FOLDERS.values():
        if not (models / folder).exists():
            continue
        for name, row in _read(models / folder / "judge.json")["scores"].items():
            lines.append(f"| `{folder}` | {name.replace('_', ' ')} | {_share(row)} |")
    return "\n".join(lines)


def _interval(row: Any, name: str) -> str:
    return f"{row[name]:.2f} [{row[name + '_low']:.2f}, {row[name + '_high']:.2f}]"


def erasability_table(curve: pd.DataFrame) -> str:
    """Markdown table of ``emoji_erasability.csv``: a line per ratio and concept, with intervals."""
    lines = [
        "| ratio | concept | density | erased class (n) | other classes (n) | sign accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for _, row in curve.iterrows():
        lines.append(
            f"| {row['ratio']:g} | {row['concept']} | {row['density']:.3f} | "
            f"{_interval(row, 'erased')} ({row['erased_n']:.0f}) | "
            f"{_interval(row, 'preserved')} ({row['preserved_n']:.0f}) | "
            f"{row['sign_accuracy']:.3f} |"
        )
    return "\n".join(lines)


def _options(record: dict[str, Any], stage: str) -> list[str]:
    """The command-line words of what a stage's record has other than by default."""
    words = []
    usual = dataclasses.asdict(DEFAULTS[stage])
    for option in ("pictures", "batch_size", "learning_rate", "warmup", "seed"):
        if option in record and record[option] != usual[option]:
            words += [f"--{option.replace('_', '-')}", str(record[option])]
    for lever, value in record.get("levers", {}).items():
        if value != getattr(Levers(), lever):
            name = lever.replace("_", "-")
            words += (
                [f"--{name}" if value else f"--no-{name}"]
                if isinstance(value, bool)
                else [f"--{name}", str(value)]
            )
    return words


def training_commands(models: Path, training: dict[str, Any]) -> str:
    """The commands that train what lies in ``models``: options that are not defaults are named.

    Runs that started from other runs get folders of their own, ``runs/1`` the first.
    """
    chain = training_chain(training["diffusion"])
    folders = [f"runs/{i + 1}" for i in range(len(chain))] if len(chain) > 1 else [""]
    command = "python -m rbtc.emoji.train"

    def line(stage: str, folder: str, *words: str) -> str:
        return " ".join([command, stage, *(["--run", folder] if folder else []), *words])

    lines = [f"{command} fetch  # needs npm"]
    for number, (record, folder) in enumerate(zip(chain, folders, strict=True)):
        lines.append(line("code", folder))
        start = ["--start", f"{folders[number - 1]}/diffusion"] if number else []
        if record:
            lines.append(line("diffusion", folder, *start, *_options(record, "diffusion")))
    lines.append(line("vae", folders[-1]))
    for stage, name in MODEL_FOLDERS.items():
        if (models / name / "judge.json").exists():
            record = _read(models / name / "judge.json").get("training", {})
            lines.append(" ".join([command, stage, *_options(record, stage)]))
    lines.append(line("pack", folders[-1]))
    return "\n".join([*lines, "python -m rbtc.emoji.report && python -m rbtc.emoji.card"])


def stages_table(training: dict[str, Any]) -> str:
    """Markdown table of the runs of the UNet and text encoder, the first run first."""
    lines = [
        "| run | from | pictures | batch | rate | sparsity of activations | of neurons "
        "| styled captions | minutes | on |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, done in enumerate(training_chain(training["diffusion"]), start=1):
        if not done:
            lines.append(f"| {number} | no record | | | | | | | | |")
            continue
        origin = f"run {number - 1}" if number > 1 else "nothing"
        levers = done.get("levers", {})
        lines.append(
            f"| {number} | {origin} | {done['pictures']:,} | {done['batch_size']} | "
            f"{done['learning_rate']:g} | {levers.get('activation_sparsity', 0):g} | "
            f"{levers.get('neuron_sparsity', 0):g} | {levers.get('styled', STYLED):g} | "
            f"{done['seconds'] / 60:.0f} | {done['device']} |"
        )
    return "\n".join(lines)


def sittings_note(training: dict[str, Any]) -> str:
    """A sentence on runs that were stopped and continued with other options; else empty."""
    changed = []
    for number, done in enumerate(training_chain(training["diffusion"]), start=1):
        options = [{**s, "from": 0} for s in done.get("sittings", [])]
        if any(other != options[0] for other in options[1:]):
            steps = ", then ".join(
                f"{s['pictures']:,} pictures at a rate of {s['learning_rate']:g} "
                f"(from {s['from']:,})"
                for s in done["sittings"]
            )
            changed.append(f"Run {number} was continued with other options: {steps}.")
    return " ".join(changed)


def card(models: Path | None = None, results: Path = Path("results")) -> str:
    """The text of ``data/models/emoji-sd/README.md``.

    Raises:
        FileNotFoundError: a result file is missing; the message names it.
        ValueError: the model was packed by an earlier edition of this code.
    """
    models = models or models_folder()
    training = _read(models / "emoji-sd" / "training.json")
    if "diffusion" not in training:
        raise ValueError(
            f"{models / 'emoji-sd'} was packed by an earlier edition of this code, and so was its "
            "card: train and pack a model with this one first (`python -m rbtc.emoji.train`)"
        )
    words = _read(models / "emoji-sd" / "concepts.json")
    judge = _read(models / MODEL_FOLDERS["concept-judge"] / "judge.json")
    found = _read(results / "emoji_report.json")
    accuracy = pd.read_csv(results / "emoji_accuracy.csv")
    curve = pd.read_csv(results / "emoji_erasability.csv")
    code, vae = training["code"], training["vae"]
    last = training_chain(training["diffusion"])[-1]
    levers = "\n".join(f"| `{k}` | {v} |" for k, v in last.get("levers", {}).items())
    classes = "\n".join(
        f"| {row['kind']} | {row['name']} | {row['accuracy']:.2f} [{row['low']:.2f}, "
        f"{row['high']:.2f}] (n={row['n']}) |"
        for _, row in accuracy.iterrows()
    )
    size = sum(f.stat().st_size for f in (models / "emoji-sd").rglob("*") if f.is_file()) / 1e6
    zero, neurons = found["all_ffn_zero"], found["specificity"]
    return f"""# emoji-sd

A miniature of Stable Diffusion v1.5: the same diffusers classes (`StableDiffusionPipeline`,
`AutoencoderKL`, `CLIPTextModel` with a CLIP tokenizer, `UNet2DConditionModel` with the same block
types), the same sixteen feed-forward output matrices, only narrower. It draws
{len(words["concepts"])} concepts in the styles of {len(words["styles"])} emoji houses, 64 x 64
pixels, on a CPU. {size:.1f} MB in fp16.

It exists so that every experiment of this book runs anywhere. It is no general picture generator.

Every number on this page is read from a results file by `python -m rbtc.emoji.card`.

## Data and attribution

Rendered from these sets, which keep their licences; the weights are derived from them and are
offered under CC BY-SA 4.0, the strictest of them.

{sets_table()}

`{HELD_OUT_STYLE}` was seen by no network: the concept judge is tested on it. Pictures: one icon at
a random place, scale and small rotation on a plain or patterned background. Captions: "a church",
"a church on a blue striped background", "a blue background", "a church in the style of fluent",
and the empty caption. A caption that names no style always shows the house `{HOUSE}`. The words
are in `concepts.json`.

## Autoencoder

The latent code is fitted, not trained: the first {code["channels"]} principal components of 8 x 8
patches, from {code["pictures"]:,} pictures (`code.safetensors`). Its inverse keeps
{vae["code_psnr"]:.1f} dB of fresh pictures. The autoencoder's weights are written down rather than
learnt (`rbtc/emoji/exact.py`): its decoder reaches {vae["decoder_psnr"]:.1f} dB, and its encoder
computes the code with a mean squared error of {vae["encoder_error"]:.1e}, on {vae["pictures"]:,}
pictures.

## Training

```
{training_commands(models, training)}
```

{sittings_note(training)}

{stages_table(training)}

Sampler: {found["info"]["scheduler"]}, {found["info"]["steps"]} steps, guidance
{found["info"]["guidance"]}, v-prediction, zero terminal SNR. Training choices of the last run that
bear on erasability:

| lever | value |
|---|---|
{levers}

## Measured

{standing(found)}

{found["images_per_class"]} pictures a class and style; 95 % Wilson intervals. Mean over the twelve
classes {found["mean_class_accuracy"]:.2f}, worst class {found["worst_class_accuracy"]:.2f}.

| | name | accuracy |
|---|---|---|
{classes}

With every feed-forward output zeroed the twelve classes keep {_share(zero)}. Target over reference
activation norm of the neurons, quantiles: {
        ", ".join(f"{q[1:]}: {v:.2f}" for q, v in neurons.items() if q != "layer")
    }.

What ConceptPrune does to it, by ratio:

{erasability_table(curve)}

## Judges

Trained on renders only, never on generated pictures. The concept judge tells {len(judge["names"])}
things apart, the {len(words["concepts"])} that emoji-sd draws among them: one that knew only these
would take half a picture for the nearest of them.

{judges_table(models)}

## Limits

- Fine detail is lost: {code["channels"]} of 192 numbers a patch are kept.
- The judges know this world only; their accuracy on other pictures means nothing.
- A small network trained briefly: what pruning does to it is evidence about the method on a real
  but small diffusion model, not about Stable Diffusion v1.5.
"""


def main(arguments: list[str] | None = None) -> None:
    """Write the card."""
    argparse.ArgumentParser(prog="python -m rbtc.emoji.card", description=__doc__).parse_args(
        arguments
    )
    path = models_folder() / "emoji-sd" / "README.md"
    path.write_text(card(), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    command.run(main)
