"""``rbtc prune``: ConceptPrune on a model of one's own."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbtc.cli.show import (
    Folder,
    Json,
    Out,
    print_json,
    print_table,
    say,
    say_written,
    silence_libraries,
    waiting,
    write,
)
from rbtc.command import needs

if TYPE_CHECKING:
    from rbtc.layers import Masks
    from rbtc.models.profiles import Profile


def prune(
    model: Folder,
    concept: Annotated[
        list[str], typer.Option("--concept", "-c", help="What to erase; may be given repeatedly.")
    ],
    out: Out,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Whose prompts and settings to use: mini, sd15 or a .toml file. Left out: of the "
            "profile whose model this is, or a changed copy of it, by its training.json."
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="object, style or nudity.")] = "object",
    ratio: Annotated[
        float | None, typer.Option(help="Share of each row that is a candidate at each call.")
    ] = None,
    calls: Annotated[
        int | None, typer.Option(help="How many calls of the UNet are united, noisiest first.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Also write the masks to this file; keep it to yourself.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Erase concepts from a model with ConceptPrune and write a pruned copy.

    The pruned weights are +0.0: none keeps the sign of what it was.
    """
    needs("models")

    from rbtc.audit.checkpoints import open_checkpoint
    from rbtc.audit.copies import check_target
    from rbtc.layers import density
    from rbtc.layers import prune as cut
    from rbtc.models.folders import check_model_folder
    from rbtc.pruning.masks import save_masks
    from rbtc.writing import made_whole

    checkpoint = open_checkpoint(model)
    check_target(checkpoint.path, out)
    check_model_folder(model)
    if "inpainting" in checkpoint.kind:
        raise ValueError(
            f"{model} is an inpainting model, which also draws from a picture and its mask: prune "
            "the one that it was made from, which draws from text alone"
        )
    _check_masks_file(masks, model, out)
    settings = dataclasses.replace(_profile(profile, model), model=str(model.absolute()))
    _check_calls(settings, model, calls)
    silence_libraries()
    found = _masks(settings, concept, kind, {"ratio": ratio, "calls": calls})
    weights = cut(checkpoint.weights(), found)
    missed = None
    try:
        with contextlib.ExitStack() as both:
            if masks is not None:
                own = both.enter_context(made_whole(masks, over=False))
                save_masks(own, found, {"concepts": concept, "kind": kind})
            missed = write(checkpoint, out, weights)
    except BaseException:
        if missed is not None:  # the copy was there before its masks, which could not be moved
            shutil.rmtree(out, ignore_errors=True)
        raise
    counts = {name: int(mask.sum()) for name, mask in found.items()}
    if as_json:
        print_json(
            {
                "out": str(out),
                "left_out": missed,
                "concepts": concept,
                "kind": kind,
                "profile": settings.name,
                "pruned": sum(counts.values()),
                "density": density(found),
                "layers": counts,
            }
        )
    else:
        _show(found)
        say(f"{sum(counts.values())} weights, {density(found):.2%}, are pruned.")
        say_written(out, missed)
    return 0


def _masks(profile: Profile, concepts: list[str], kind: str, pruning: dict[str, Any]) -> Masks:
    """The union of the concepts' masks; words and settings are checked before the model is read."""
    from rbtc.lab import Lab
    from rbtc.models.prompts import prompt_pairs, subject_of
    from rbtc.pruning.masks import union

    subjects = [subject_of(profile, name, kind) for name in concepts]  # type: ignore[arg-type]
    for subject in subjects:
        prompt_pairs(profile, subject.word, subject.kind)
    lab = Lab(profile, progress=False)
    lab.owner.settings(**pruning)
    made = []
    for subject in subjects:
        with waiting(f"watching the model draw with and without {subject.word!r}"):
            mask = lab.owner.masks(subject, **pruning)
        made.append({name: each.cpu() for name, each in mask.items()})
    return union(made)


def _check_calls(profile: Profile, model: Path, calls: int | None) -> None:
    """Refuse more calls than the model's scheduler makes, which the lab sees when it has drawn."""
    from rbtc.models.folders import read_object

    scheduler = read_object(model / "scheduler" / "scheduler_config.json").get("_class_name")
    calls = profile.conceptprune.calls if calls is None else calls
    # PNDM calls the UNet once more than it has steps.
    if calls > profile.steps + (scheduler == "PNDMScheduler"):
        raise ValueError(
            f"calls is {calls}, and a picture of the profile {profile.name} has only "
            f"{profile.steps} steps: unite fewer calls"
        )


def _profile(name: str | None, model: Path) -> Profile:
    from rbtc.files import file_digest
    from rbtc.models.profiles import available_profiles, load_profile

    if name is not None:
        return load_profile(name)
    for each in available_profiles():
        found = load_profile(each)
        own = found.locate(found.model)
        if isinstance(own, Path) and own.is_dir():
            records = [folder / "training.json" for folder in (own, model)]
            told = [file_digest(record) for record in records if record.is_file()]
            if own.samefile(model) or (len(told) == 2 and told[0] == told[1]):
                return found
    raise ValueError(
        f"{model} is no profile's model, nor trained as one: give --profile, one of "
        f"{', '.join(available_profiles())} or a .toml file"
    )


def _check_masks_file(masks: Path | None, model: Path, out: Path) -> None:
    from rbtc.files import check_new

    if masks is None:
        return
    check_new(masks)
    for folder in (model, out):
        if masks.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"the masks {masks} would lie inside {folder}, whose readers they would tell what "
                "was pruned: give another place"
            )


def _show(found: Masks) -> None:
    from rbtc.layers import short_name

    print_table(
        "pruned",
        (
            {
                "layer": short_name(name),
                "weights": str(mask.numel()),
                "pruned": str(int(mask.sum())),
                "density": f"{float(mask.double().mean()):.2%}",
            }
            for name, mask in found.items()
        ),
    )
