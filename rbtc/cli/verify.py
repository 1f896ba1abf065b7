"""``rbtc verify``: draw and judge random rows of the committed measurements again, and compare."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbtc.cli.show import Json, print_json, say, silence_libraries
from rbtc.command import needs

if TYPE_CHECKING:
    import pandas as pd

    from rbtc.lab import Lab

ALLOWED = 0.02
"""Fraction of the judged labels that may flip from device to device, rounded up to whole labels.

A margin for cards, which nobody has measured yet. On a CPU none flips with another number of
threads (``results/verify_1_thread.json``) or another version of torch
(``results/verify_torch_2.6.json``), made with
``OMP_NUM_THREADS=1 rbtc verify 00_overview 08_objects 12_signed_zeros --rows 12 --json``.
"""

ALLOWED_NUMBERS = 0.005
"""Fraction of a chapter's recomputed numbers that may differ, rounded down to whole numbers.

On a processor of another make one does in chapter 02 (``results/verify_other_processor.json``, by
``rbtc verify 02_matrix_completion --rows 2 --json``): soft-impute on shuffled weights, whose
singular values lie so close together that rounding decides which are kept.
"""

CLOSE = 1e-3
"""Relative difference of a number computed from weights that still counts as equal."""

ANSWERS = ("seen", "hit", "similarity")
"""Columns that a judge writes."""

PLACE = "place among equal lines"


@dataclasses.dataclass
class Replay:
    """What a replay of one chapter found.

    labels: judged pictures drawn again; flipped: what differs among their labels, a line each.
    numbers: numbers computed from weights again; wrong: what else differs, a line each.
    absent: lines of the replay that nobody committed; no processor explains one.
    """

    chapter: str
    labels: int = 0
    flipped: list[str] = dataclasses.field(default_factory=list)
    numbers: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    absent: int = 0

    @property
    def failed(self) -> bool:
        """Whether more numbers differ than processors explain."""
        return bool(self.absent) or len(self.wrong) > int(ALLOWED_NUMBERS * self.numbers)

    def number(self, equal: bool, told: str) -> None:
        """Count a number that was computed again; ``told`` is kept where it differs."""
        self.numbers += 1
        if not equal:
            self.wrong.append(told)

    def __str__(self) -> str:
        return (
            f"{self.labels - len(self.flipped)} of {self.labels} redrawn labels and "
            f"{self.numbers - len(self.wrong)} of {self.numbers} recomputed numbers are equal"
        )


def verify(
    chapters: Annotated[list[str] | None, typer.Argument(help="Like 08_objects.")] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Judged pictures of each chapter to draw again.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Which rows are drawn.")] = 0,
    profile: Annotated[str, typer.Option(help="Whose measurements.")] = "mini",
    results: Annotated[Path | None, typer.Option(help="In place of the repository's.")] = None,
    note: Annotated[bool, typer.Option(help="Note what was found beside the measurement.")] = False,
    as_json: Json = False,
) -> int:
    """Check the committed measurements: status 1 if more differs than devices explain.

    Every file is compared with its digest; the profile's models and settings with those of the
    record; one concept is pruned, completed and attacked; random rows are drawn and judged again.
    """
    needs("book")

    import torch

    from rbtc.lab import Lab
    from rbtc.lab.provenance import describe_device, versions
    from rbtc.results import folder_of, results_root
    from rbtc.saving import note_verified, today

    silence_libraries()
    with tempfile.TemporaryDirectory(prefix="rbtc-verify-") as store:
        lab = Lab(profile, store=store, progress=False)
        root = (results or results_root()) / lab.profile.name
        found = sorted(path.parent.name for path in root.glob("*/run.json"))
        names = [Path(one).stem for one in chapters or ()] or found
        if not names:
            raise FileNotFoundError(f"{root} holds no measurement: rbtc measure --all makes them")
        replays = []
        for name in names:
            folder = folder_of(name, lab.profile.name, results or "")
            one = replayed(lab, folder, rows, seed)
            replays.append(one)
            if not as_json:
                say(f"{'differs' if one.flipped or one.wrong else 'ok     '} {name}: {one}")
                for line in (*one.wrong, *one.flipped):
                    say(f"        {line}")
            if note:
                note_verified(folder, f"Replayed on {today()}: {one}")
    labels = sum(one.labels for one in replays)
    flips = sum(len(one.flipped) for one in replays)
    wrong = sum(len(one.wrong) for one in replays)
    failed = any(one.failed for one in replays)
    allowed = math.ceil(ALLOWED * labels)
    if as_json:
        print_json({
            "device": describe_device(lab.device),
            "threads": torch.get_num_threads(),
            "torch": versions()["torch"],
            "labels": labels,
            "flipped": flips,
            "allowed": allowed,
            "chapters": [dataclasses.asdict(one) for one in replays],
        })  # fmt: skip
    else:
        explained = ", as processors make" if wrong and not failed else ""
        say(
            f"{flips} of {labels} labels flipped (up to {allowed} may, from device to device), and "
            f"{wrong} other differences{explained}."
        )
    return 1 if failed or flips > allowed else 0


def replayed(lab: Lab, folder: Path, rows: int, seed: int) -> Replay:
    """Check one measurement against what this machine makes of it."""
    from rbtc.lab.provenance import model_digests, settings, weight_check
    from rbtc.lab.rehearsal import rehearse
    from rbtc.results import read_run
    from rbtc.studies.chapters import read
    from rbtc.studies.measuring import OF_PICTURES, measuring

    replay = Replay(folder.name)
    try:
        run = read_run(folder)
        study = read(folder)
    except (ValueError, KeyError, TypeError) as error:
        replay.number(False, str(error))
        return replay
    for what, before, now in (
        ("the model's and judges' digests", run.models, model_digests(lab)),
        ("the settings of the profile", run.settings, json.loads(json.dumps(settings(lab)))),
    ):
        different = [k for k in sorted(before) if before[k] != now.get(k)]
        told = ", ".join(f"{k}: {before.get(k)} is now {now.get(k)}" for k in different)
        replay.number(not different, f"{what} differ: {told}")
    if replay.wrong:
        return replay  # another model draws other pictures
    now = weight_check(lab, run.parameters)
    for name, value in now.items():
        before = run.weights.get(name)
        replay.number(_equal(before, value), f"{name} of {now['concept']}: {before} is {value}")
    generator = random.Random(f"{seed} {folder.name}")
    parameters = alone(folder.name, run.parameters, generator)
    again, total = rehearse(lab, measuring(folder.name), parameters)
    if total.judged:
        wanted = generator.sample(range(total.judged), min(rows, total.judged))
        again, _ = rehearse(lab, measuring(folder.name), parameters, wanted)
    skipped = OF_PICTURES.get(folder.name, ())
    committed, fresh = dict(frames(study)), dict(frames(again))
    for path, frame in fresh.items():
        if path not in skipped and path in committed:
            compare(path, committed[path], frame, replay, whole=parameters == run.parameters)
    return replay


def alone(chapter: str, parameters: Mapping[str, Any], generator: random.Random) -> dict[str, Any]:
    """The parameters for as few random concepts as a chapter can be measured for."""
    from rbtc.studies.measuring import FEWEST

    concepts, fewest = parameters.get("concepts"), FEWEST.get(chapter, 1)
    if not fewest or not concepts:
        return dict(parameters)
    known = {*concepts, *parameters.get("sweep", ())}
    lists = [n for n, v in parameters.items() if isinstance(v, list) and v and {*v} <= known]
    common = [one for one in concepts if all(one in parameters[name] for name in lists)]
    few = generator.sample(common, min(fewest, len(common)))
    return {**parameters, **dict.fromkeys(lists, few)}


def frames(study: Any, path: str = "") -> Iterator[tuple[str, pd.DataFrame]]:
    """Every frame of a study, by its path."""
    import pandas as pd

    if isinstance(study, pd.DataFrame):
        yield path, study
    elif dataclasses.is_dataclass(study):
        for field in dataclasses.fields(study):
            own = f"{path}.{field.name}" if path else field.name
            yield from frames(getattr(study, field.name), own)


def compare(
    path: str, before: pd.DataFrame, now: pd.DataFrame, replay: Replay, *, whole: bool
) -> None:
    """Compare the lines of a frame that a replay made with the committed ones.

    Lines are matched by everything that is neither an answer of a judge nor a computed number, and
    by their order where that leaves several. In a frame that no judge answered whole numbers are
    counts over weights, computed as well: gradients round differently from machine to machine.
    Times are not compared, nor frames that do not say whose concept a line is, unless all concepts
    were measured again (``whole``).
    """
    import pandas as pd

    from rbtc.lab.rehearsal import NOTHING

    judged = next((name for name in ("seen", "hit") if name in now), None)
    computed = pd.api.types.is_float_dtype if judged else pd.api.types.is_numeric_dtype
    numbers = [
        c
        for c in now
        if computed(now[c]) and not pd.api.types.is_bool_dtype(now[c]) and c not in ANSWERS
    ]
    keys = [c for c in now if c not in (*numbers, *ANSWERS)]
    if not keys or not {*keys} <= {*before} or ("concept" not in keys and not whole):
        return
    now, before = (one.assign(**{PLACE: one.groupby(keys, dropna=False).cumcount()})
                   for one in (now, before))  # fmt: skip
    drawn = pd.Series(True, index=now.index)
    if judged == "seen":
        drawn = now["seen"] != NOTHING
    elif judged == "hit":  # the mean of several draws is no label
        drawn = now["hit"].notna() & (now["draws"] == 1 if "draws" in now else True)
    now = now.loc[drawn]
    both = now.merge(
        before, on=[*keys, PLACE], how="left", suffixes=("", " committed"), indicator=True
    )
    values = [judged] if judged else [c for c in numbers if "second" not in str(c)]
    for line in both.to_dict("records"):
        place = f"{path}: {', '.join(str(line[key]) for key in keys)}"
        if line["_merge"] != "both":
            replay.number(False, f"{place}: no such line was committed")
            replay.absent += 1
            continue
        for name in values:
            mine, theirs = line[name], line[f"{name} committed"]
            if judged:
                replay.labels += 1
                if mine != theirs:
                    replay.flipped.append(f"{place}: {theirs!r} is now {mine!r}")
            elif not pd.isna(mine):
                replay.number(_equal(theirs, mine), f"{place}: {name} {theirs} is {mine}")


def _equal(before: Any, now: Any) -> bool:
    if isinstance(now, float) or isinstance(before, float):
        return before is not None and math.isclose(before, now, rel_tol=CLOSE, abs_tol=1e-6)
    if isinstance(now, int) and isinstance(before, int):  # counts over weights round like numbers
        return abs(now - before) <= CLOSE * max(abs(now), abs(before))
    return before == now
