"""The model card of emoji-sd, ``card.md`` with results: ``python -m rbtc.emoji.card``."""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import dataclasses
import json
from collections.abc import Iterable
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

TEMPLATE = Path(__file__).with_suffix(".md")
STAGES = (
    "run", "from", "pictures", "batch", "rate", "sparsity of activations", "of neurons",
    "styled captions", "minutes", "on",
)  # fmt: skip
CURVE = ("ratio", "concept", "density", "erased class (n)", "other classes (n)", "sign accuracy")


def _read(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the command that writes it, then the card")
    return json.loads(path.read_text(encoding="utf-8"))


def _rows(lines: Iterable[Iterable[Any]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _table(heads: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    heads = list(heads)
    return f"{_rows([heads])}\n|{'---|' * len(heads)}\n{_rows(lines)}"


def _interval(row: Any, name: str, digits: int = 2) -> str:
    """A proportion and its interval, from the columns ``name``, low and high."""
    low, high = (row[f"{name}_{end}"] if f"{name}_{end}" in row else row[end]
                 for end in ("low", "high"))  # fmt: skip
    return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def sets_table() -> str:
    """Markdown table of every emoji set with author and licence, from the manifest."""
    return _table(
        ("style", "set", "author", "licence", "package, version"),
        (
            (
                e["style"] + " (held out)" * (e["style"] == HELD_OUT_STYLE),
                e["title"],
                f"[{e['author']}]({e['author_url']})",
                f"[{e['license']}]({e['license_url']})",
                f"`{e['package']}` {e['version']}",
            )
            for e in _read(data_folder() / "manifest.json")["packages"]
        ),
    )


def judges_table(models: Path) -> str:
    """Markdown table of the judges' held-out scores, from their cards."""
    folders = [folder for folder in MODEL_FOLDERS.values() if (models / folder).exists()]
    return _table(
        ("judge", "held out", "score"),
        (
            (f"`{folder}`", name.replace("_", " "), f"{_interval(row, 'value', 3)} (n={row['n']})")
            for folder in folders
            for name, row in _read(models / folder / "judge.json")["scores"].items()
        ),
    )


def erasability_table(curve: pd.DataFrame) -> str:
    """Markdown table of ``emoji_erasability.csv``: a line per ratio and concept, with intervals."""
    return _table(
        CURVE,
        (
            (
                f"{row['ratio']:g}",
                row["concept"],
                f"{row['density']:.3f}",
                f"{_interval(row, 'erased')} ({row['erased_n']:.0f})",
                f"{_interval(row, 'preserved')} ({row['preserved_n']:.0f})",
                f"{row['sign_accuracy']:.3f}",
            )
            for _, row in curve.iterrows()
        ),
    )


def _options(record: dict[str, Any], stage: str) -> list[str]:
    """The command-line words of what a stage's record has other than by default."""
    usual = dataclasses.asdict(DEFAULTS[stage])
    words = []
    for option in ("pictures", "batch_size", "learning_rate", "warmup", "seed"):
        if record.get(option, usual[option]) != usual[option]:
            words += [f"--{option.replace('_', '-')}", str(record[option])]
    for lever, value in record.get("levers", {}).items():
        name = lever.replace("_", "-")
        if value != getattr(Levers(), lever):
            words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [
                f"--{name}", str(value)
            ]  # fmt: skip
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
            lines.append(line(stage, "", *_options(record, stage)))
    lines.append(line("pack", folders[-1]))
    return "\n".join([*lines, "python -m rbtc.emoji.report && python -m rbtc.emoji.card"])


def stages_table(training: dict[str, Any]) -> str:
    """Markdown table of the runs of the UNet and text encoder, the first run first.

    A run that was continued with another length or rate names each, and from where it held.
    """
    lines = []
    for number, done in enumerate(training_chain(training["diffusion"]), start=1):
        if not done:
            lines.append([number, "no record", *[""] * 8])
            continue
        parts = done.get("sittings") or [{**done, "from": 0}]
        if all({**part, "from": 0} == parts[0] for part in parts):
            parts = [{**done, "from": 0}]
        since = [f" (from {part['from']:,})" * (len(parts) > 1) for part in parts]
        levers = done.get("levers", {})
        lines.append(
            [
                number,
                f"run {number - 1}" if number > 1 else "nothing",
                ", ".join(f"{p['pictures']:,}{s}" for p, s in zip(parts, since, strict=True)),
                done["batch_size"],
                ", ".join(f"{p['learning_rate']:g}{s}" for p, s in zip(parts, since, strict=True)),
                *(f"{levers.get(f'{kind}_sparsity', 0):g}" for kind in ("activation", "neuron")),
                f"{levers.get('styled', STYLED):g}",
                f"{done['seconds'] / 60:.0f}",
                done["device"],
            ]
        )
    return _table(STAGES, lines)


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
    found = _read(results / "emoji_report.json")
    accuracy = pd.read_csv(results / "emoji_accuracy.csv")
    levers = training_chain(training["diffusion"])[-1].get("levers", {})
    size = sum(f.stat().st_size for f in (models / "emoji-sd").rglob("*") if f.is_file())
    zero, quantiles = found["all_ffn_zero"], found["specificity"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        concepts=len(words["concepts"]),
        styles=len(words["styles"]),
        size=size / 1e6,
        sets=sets_table(),
        held_out=HELD_OUT_STYLE,
        house=HOUSE,
        code=training["code"],
        vae=training["vae"],
        commands=training_commands(models, training),
        stages=stages_table(training),
        levers=_rows((f"`{name}`", value) for name, value in levers.items()),
        found=found,
        standing=standing(found),
        classes=_rows(
            (row["kind"], row["name"], f"{_interval(row, 'accuracy')} (n={row['n']})")
            for _, row in accuracy.iterrows()
        ),
        zero=f"{_interval(zero, 'value', 3)} (n={zero['n']})",
        quantiles=", ".join(f"{q[1:]}: {v:.2f}" for q, v in quantiles.items() if q != "layer"),
        curve=erasability_table(pd.read_csv(results / "emoji_erasability.csv")),
        judged=len(_read(models / MODEL_FOLDERS["concept-judge"] / "judge.json")["names"]),
        judges=judges_table(models),
    )


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
