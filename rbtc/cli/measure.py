"""``rbtc measure``: chapters measured, and their measurements put where the book reads them."""

from __future__ import annotations

import ast
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbtc.cli.show import say, shown, silence_libraries
from rbtc.command import needs

if TYPE_CHECKING:
    from rbtc.lab import Lab

FEWEST = 20
"""Pictures a class below which --hours rather leaves out classes."""
SPARE = 0.8
"""Fraction of --hours that is planned for drawing; the rest is for pruning and completing."""

LONGEST = 10_000
"""What --hours is below."""
LARGEST = 1_000_000
"""Largest count that a chapter takes."""

SHARES = ("share", "ratio", "ratios", "keep_ratios", "shown")
"""Parameters that lie in (0, 1] where they are no counts."""

AT_LEAST_ONE = (
    "images", "neutral_images", "word_images", "pictures", "preserved", "prompts", "sets", "shown",
    "forget", "iterations", "passes", "words", "candidates", "guesses", "repeats",
)  # fmt: skip
"""Parameters that count something that a chapter cannot do without."""


def measure(
    chapters: Annotated[list[str] | None, typer.Argument(help="Like 08_objects.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All chapters that measure.")] = False,
    profile: Annotated[str, typer.Option(help="mini, sd15, or a TOML file.")] = "mini",
    full: Annotated[
        bool, typer.Option("--full", help="The counts of data/counts.toml, not the quick ones.")
    ] = False,
    images: Annotated[
        int | None, typer.Option(min=1, help="Pictures of a class and model.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="NAME=VALUE: any parameter of the chapter.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="Choose classes and pictures that this device draws in it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="In place of the repository's results.")] = None,
    force: Annotated[
        bool, typer.Option(help="Also over a measurement with more pictures.")
    ] = False,
) -> int:
    """Measure chapters of the book: prune, attack, draw, judge, and write results/PROFILE/CHAPTER.

    Everything computed is kept under RBTC_CACHE: a command that was stopped goes on where it was,
    and ends with the same results. RBTC_ENGINE=ray draws on several GPUs.
    """
    needs("book")

    from tqdm.auto import tqdm

    from rbtc.files import check_writable
    from rbtc.lab import Lab
    from rbtc.results import folder_of
    from rbtc.saving import save
    from rbtc.studies.measuring import MEASURES, measured

    names = list(MEASURES) if every else [Path(one).stem for one in chapters or ()]
    if not names:
        raise ValueError(f"name a chapter, or --all; there are {', '.join(MEASURES)}")
    given = {name: value for name, _, value in (one.partition("=") for one in parameter or ())}
    if images is not None:
        given["images"] = str(images)
    if hours is not None and not 0 < hours < LONGEST:
        raise ValueError(f"--hours must be above 0 and below {LONGEST:,}, not {hours}")
    plans = {name: chosen(name, given, full=full, lenient=every) for name in names}
    lab = Lab(profile, progress=False)
    folders = {name: folder_of(name, lab.profile.name, out or "") for name in names}
    for folder in folders.values():
        check_writable(folder.parent)
    silence_libraries()
    for name in names:
        if hours is not None:
            plans[name], told = fitted(lab, name, plans[name], hours / len(names))
            say(told)
        total = rehearsed(lab, name, plans[name])[0]
        _refuse_fuller(folders[name], total, force)
        hidden = not shown()
        with tqdm(total=total, desc=name, unit="picture", disable=hidden, file=sys.stderr) as bar:
            lab.measure.on_judged = bar.update
            lab.measure.judged, lab.store.computed["images"] = 0, 0
            study, run = measured(name, lab, plans[name])
            lab.measure.on_judged = None
        save(study, folders[name], run)
        say(f"{name}: {total:,} judged pictures, {run.seconds / 60:.1f} min: {folders[name]}")
    return 0


def chosen(
    chapter: str, given: Mapping[str, str], *, full: bool = False, lenient: bool = False
) -> dict[str, Any]:
    """The parameters of a measurement: full counts if asked, and the command line's over them.

    Full counts are those of ``data/counts.toml``; ``lenient`` leaves out unknown parameters.

    Raises:
        ValueError: no such chapter or parameter, or a value of the wrong type.
    """
    from rbtc.files import data_root
    from rbtc.studies.measuring import defaults

    usual = defaults(chapter)
    counts: dict[str, Any] = {}
    if full:
        with (data_root() / "counts.toml").open("rb") as stream:
            counts = tomllib.load(stream).get(chapter, {})
    own = {name: value for name, value in given.items() if not lenient or name in usual}
    return fit_parameters({**counts, **own}, usual, chapter)


def rehearsed(lab: Lab, chapter: str, parameters: Mapping[str, Any]) -> tuple[int, int]:
    """How many pictures a measurement judges, and how many different ones it draws."""
    from rbtc.lab.rehearsal import rehearse
    from rbtc.studies.measuring import measuring

    _, rehearsal = rehearse(lab, measuring(chapter), parameters)
    return rehearsal.judged, len(rehearsal.asked)


def fitted(
    lab: Lab, chapter: str, parameters: Mapping[str, Any], hours: float
) -> tuple[dict[str, Any], str]:
    """Counts that this device draws in some hours, and what such a run can decide.

    Classes are taken in the order of the paper's effect, the largest first, with the seeds of a
    full run, so that a longer one only adds to it.

    Raises:
        ValueError: not even one class fits.
    """
    from rbtc.models.rate import measure as seconds_per_picture
    from rbtc.stats import smallest_change
    from rbtc.studies.measuring import FEWEST as FEWEST_CONCEPTS
    from rbtc.studies.measuring import defaults

    usual = {**defaults(chapter), **parameters}
    if not {"concepts", "images"} <= set(usual):
        raise ValueError(f"{chapter} draws no pictures of classes: measure it without --hours")
    seconds = seconds_per_picture(lab.pipeline, lab.profile)
    room = int(hours * 3600 * SPARE / seconds)
    order = by_effect(usual["concepts"])

    def pictures(classes: int, images: int) -> int:
        plan = {**usual, "concepts": order[:classes], "images": images}
        plan |= {name: plan["concepts"] for name in ("sweep", "preserved_for") if name in plan}
        return rehearsed(lab, chapter, plan)[1]

    least = FEWEST_CONCEPTS.get(chapter, 1) or len(order)
    fitting = (c for c in range(len(order), least - 1, -1) if pictures(c, FEWEST) <= room)
    if not (classes := next(fitting, 0)):
        raise ValueError(
            f"{hours:g} hours are room for {room:,} pictures at {seconds:.2f} s each, and {least} "
            f"classes with {FEWEST} a model take {pictures(least, FEWEST):,}: give it more"
        )
    base, more = pictures(classes, FEWEST), pictures(classes, FEWEST + 10)
    images = min(500, FEWEST + 10 * int((room - base) / max(1, more - base)))
    plan = {**parameters, "concepts": order[:classes], "images": images}
    plan |= {name: plan["concepts"] for name in ("sweep", "preserved_for") if name in usual}
    told = (
        f"{chapter}: {seconds:.2f} s a picture, {classes} of {len(order)} classes, {images} "
        f"pictures a model, {pictures(classes, images):,} in all; least change that can be told: "
        f"{smallest_change(images):.2f} in a class, {smallest_change(images * classes):.2f} over "
        f"all; the paper's: {_paper_effect(order[:classes])}"
    )
    return plan, told


def by_effect(concepts: Sequence[str]) -> list[str]:
    """Classes in the order of the paper's revival in Table 1, the largest first; others after."""
    return sorted(concepts, key=lambda one: -(_change(one) or 0.0))


def _change(concept: str) -> float | None:
    from rbtc.paper import printed

    before, after = (printed(1, concept, f"erased: {name}") for name in ("ConceptPrune", "NMS"))
    return None if before is None or after is None else after - before


def _paper_effect(concepts: Sequence[str]) -> str:
    known = [change for one in concepts if (change := _change(one)) is not None]
    return f"{min(known):+.2f} to {max(known):+.2f}" if known else "not printed"


def _refuse_fuller(folder: Path, total: int, force: bool) -> None:
    from rbtc.results import RUN, read_run

    if force or not (folder / RUN).is_file():
        return
    before = read_run(folder).pictures
    if before > total:
        raise ValueError(
            f"{folder} holds a measurement of {before:,} judged pictures, and this one would have "
            f"{total:,}: say --force to put it there, or --out for another folder"
        )


def fit_parameters(given: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> dict:
    """The `given` parameters, checked against the defaults' names and types.

    Strings (from the command line) are read as the default's type: a list may be written
    `church,star`. Raises ValueError for a name that the notebook does not have and for a value of
    another type, a count below one, a share outside (0, 1], or a number that is not finite.
    """
    if unknown := sorted(set(given) - set(defaults)):
        raise ValueError(
            f"notebook {name} has no parameter {', '.join(unknown)}; "
            f"it takes {', '.join(defaults) or 'none'}"
        )
    fitted = {key: _fit(value, defaults[key], f"{name}: {key}") for key, value in given.items()}
    for key, value in fitted.items():
        usual = defaults[key] if isinstance(defaults[key], list) else [defaults[key]]
        share = key in SHARES and any(isinstance(one, float) for one in usual)
        for each in value if isinstance(value, list) else [value]:
            _check_number(each, key, name, share=share)
    return fitted


def _fit(value: Any, default: Any, what: str) -> Any:
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            names = {"true": True, "false": False, "none": None, "null": None}
            value = names.get(value.lower(), value)
        if isinstance(default, list) and not isinstance(value, list):
            value = list(value) if isinstance(value, tuple) else str(value).split(",")
            value = [item.strip() if isinstance(item, str) else item for item in value]
    if default is None or value is None:
        return value
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
        raise ValueError(
            f"{what} = {value!r} is a {type(value).__name__}, "
            f"expected a {type(default).__name__} like {default!r}"
        )
    if isinstance(default, list) and isinstance(value, list) and default:
        if None in value:
            raise ValueError(f"{what} = {value!r} holds None, expected a list like {default!r}")
        return [_fit(each, default[0], what) for each in value]
    return value


def _check_number(value: Any, name: str, chapter: str, *, share: bool) -> None:
    """Refuse a number that is out of the bounds of all parameters of its kind.

    Counts lie between 0, or 1, and `LARGEST`; seeds fit into 64 bits; shares lie in (0, 1]; all
    others are finite.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    least, most = 0.0, float(LARGEST)
    if name.endswith(("seed", "seeds")):
        least, most = -(2.0**63), 2.0**64 - 1
    elif name in AT_LEAST_ONE:
        least = 1
    elif share:
        least, most = math.ulp(0.0), 1.0
    if not least <= value <= most:
        bounds = "lie in (0, 1]" if share else f"be at least {least:g} and at most {most:g}"
        raise ValueError(f"{chapter}: {name} must {bounds}, not {value}")
