"""The model card of emoji-sd, ``card.md`` with results: ``python -m rbtc.emoji.card``."""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from rbtc import command
from rbtc.emoji.diffusion import Levers
from rbtc.emoji.report import standing
from rbtc.emoji.scenes import STYLED
from rbtc.emoji.sets import HELD_OUT_STYLE, HOUSE, manifest
from rbtc.emoji.start import training_chain
from rbtc.emoji.train import DEFAULTS, MODEL_FOLDERS, OPTIONS, models_folder
from rbtc.files import read_json

TEMPLATE = Path(__file__).with_suffix(".md")


def _interval(row: Mapping[str, Any], name: str, digits: int = 2) -> str:
    """A proportion and its interval, from the columns ``name``, low and high."""
    low, high = (row.get(f"{name}_{end}", row.get(end)) for end in ("low", "high"))
    return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _options(record: dict[str, Any], stage: str) -> list[str]:
    """The command-line words of what a stage's record has other than by default."""
    usual = dataclasses.asdict(DEFAULTS[stage])
    words = []
    for option in OPTIONS:
        if record.get(option, usual[option]) != usual[option]:
            words += [f"--{option.replace('_', '-')}", str(record[option])]
    for lever, value in record.get("levers", {}).items():
        name = lever.replace("_", "-")
        if value != getattr(Levers(), lever):
            words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [
                f"--{name}", str(value)
            ]  # fmt: skip
    return words


def training_commands(chain: list[dict[str, Any]], judges: Mapping[str, dict[str, Any]]) -> str:
    """The commands that train a model and its judges: options that are not defaults are named.

    Runs that started from other runs get folders of their own, ``runs/1`` the first.

    Args:
        chain: records of the diffusion runs, see `training_chain`.
        judges: content of ``judge.json`` of each judge that there is, by its folder's name.
    """

    def line(stage: str, run: int, *words: str) -> str:
        folder = ["--run", f"runs/{run}"] if run and len(chain) > 1 else []
        return " ".join(["python -m rbtc.emoji.train", stage, *folder, *words])

    lines = ["python -m rbtc.emoji.train fetch  # needs npm"]
    for run, record in enumerate(chain, start=1):
        lines.append(line("code", run))
        start = ["--start", f"runs/{run - 1}/diffusion"] if run > 1 else []
        if record:
            lines.append(line("diffusion", run, *start, *_options(record, "diffusion")))
    lines.append(line("vae", len(chain)))
    for stage, name in MODEL_FOLDERS.items():
        if name in judges:
            lines.append(line(stage, 0, *_options(judges[name].get("training", {}), stage)))
    lines.append(line("pack", len(chain)))
    return "\n".join([*lines, "python -m rbtc.emoji.report && python -m rbtc.emoji.card"])


def _stage(run: int, done: dict[str, Any]) -> list[Any]:
    """A run of the UNet and text encoder as the cells of a line.

    One that was continued with another length or rate names each, and from where it held.
    """
    if not done:
        return [run, "no record", *[""] * 8]
    parts = done.get("sittings") or [{**done, "from": 0}]
    if all({**part, "from": 0} == parts[0] for part in parts):
        parts = [{**done, "from": 0}]
    since = [f" (from {part['from']:,})" * (len(parts) > 1) for part in parts]
    levers = done.get("levers", {})
    return [
        run,
        f"run {run - 1}" if run > 1 else "nothing",
        ", ".join(f"{p['pictures']:,}{s}" for p, s in zip(parts, since, strict=True)),
        done["batch_size"],
        ", ".join(f"{p['learning_rate']:g}{s}" for p, s in zip(parts, since, strict=True)),
        *(f"{levers.get(f'{kind}_sparsity', 0):g}" for kind in ("activation", "neuron")),
        f"{levers.get('styled', STYLED):g}",
        f"{done['seconds'] / 60:.0f}",
        done["device"],
    ]


def card(models: Path | None = None, results: Path = Path("results")) -> str:
    """The text of ``data/models/emoji-sd/README.md``.

    Raises:
        FileNotFoundError: a result file is missing; the message names it.
        ValueError: the model was packed by an earlier edition of this code.
    """
    models = models or models_folder()
    training = read_json(models / "emoji-sd" / "training.json")
    if "diffusion" not in training:
        raise ValueError(
            f"{models / 'emoji-sd'} was packed by an earlier edition of this code, and so was its "
            "card: train and pack a model with this one first (`python -m rbtc.emoji.train`)"
        )
    chain = training_chain(training["diffusion"])
    found = read_json(results / "emoji_report.json")
    judges = {
        name: read_json(models / name / "judge.json")
        for name in MODEL_FOLDERS.values()
        if (models / name).exists()
    }
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        fmt=format,
        interval=_interval,
        words=read_json(models / "emoji-sd" / "concepts.json"),
        megabytes=sum(f.stat().st_size for f in (models / "emoji-sd").rglob("*") if f.is_file())
        / 1e6,
        sets=manifest(),
        held_out=HELD_OUT_STYLE,
        house=HOUSE,
        training=training,
        commands=training_commands(chain, judges),
        stages=[_stage(run, done) for run, done in enumerate(chain, start=1)],
        levers=chain[-1].get("levers", {}),
        found=found,
        standing=standing(found),
        accuracy=pd.read_csv(results / "emoji_accuracy.csv").to_dict("records"),
        quantiles={q: value for q, value in found["specificity"].items() if q != "layer"},
        erasability=pd.read_csv(results / "emoji_erasability.csv").to_dict("records"),
        judged=len(read_json(models / MODEL_FOLDERS["concept-judge"] / "judge.json")["names"]),
        judges=judges,
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
