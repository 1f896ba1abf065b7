"""Is everything here that a profile's chapters need? What is missing, how to get it, how long.

``rbtc doctor sd15`` looks and computes nothing; with ``--measure`` it loads the model and times a
few calls of its UNet, which is where a picture's time goes. Nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from rbtc.files import cache_root, check_writable, is_offline
from rbtc.models.budget import CHAPTERS, Cost, costs
from rbtc.models.open_clips import NAME as CLIP_NAME
from rbtc.models.open_clips import ZERO_SHOT
from rbtc.models.profiles import Profile, load_profile
from rbtc.models.prompt_sets import SOURCES, access_hint, known_records

State = Literal["ok", "missing", "note"]
Answer = tuple[State, str] | tuple[State, str, str]
"""The state, what was found, and what to do about it."""

RESNET = "resnet50-imagenet1k-v2"
FETCHED = "it is fetched when a chapter first needs it: be online then"
_SETS = {"06_art": ("COCO",), "07_nsfw": ("I2P", "MMA", "Ring-A-Bell")}
_LICENCES = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": (
        "CreativeML Open RAIL-M: use restrictions apply to the model and to its pictures"
    ),
    "nudenet": "AGPL-3.0: an optional extra, imported only when its detector is asked for",
}
_PACKAGES = (  # name, what for, extra, chapters (none: all), whether the miniature needs it too
    ("nudenet", "the detector of nudity", "nsfw", ("07_nsfw",), False),
    ("papermill", "executing the notebooks", "book", (), True),
    ("torchmetrics", "distances of picture sets", "fid", ("06_art",), True),
    ("torch_fidelity", "FID's Inception network", "fid", ("06_art",), False),
    ("datasets", "the published prompt sets", "sd15", ("06_art", "07_nsfw"), False),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What sort of thing.
        state: "ok", "missing", or "note" for what is neither.
        text: What was found.
        remedy: What to do about it.
    """

    topic: str
    state: State
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {"ok": "ok     ", "missing": "MISSING", "note": "note   "}[self.state]
        remedy = f"\n          -> {self.remedy}" if self.remedy else ""
        return f"{mark} {self.topic}: {self.text}{remedy}"


@dataclass(frozen=True)
class Question:
    """What a check is asked about: a profile, one of its chapters or all, how fast, and where."""

    profile: Profile
    chapter: str | None
    seconds_per_picture: float | None
    device: str | None

    @property
    def full(self) -> bool:
        """Whether it is the paper's setting: the miniature has prompts and counts of its own."""
        return self.profile.evaluation.detector == "nudenet"

    def about(self, *chapters: str) -> bool:
        """Whether one of these chapters is meant."""
        return self.chapter in (None, *chapters)


def check(
    profile: Profile | str,
    chapter: str | None = None,
    *,
    seconds_per_picture: float | None = None,
    device: str | None = None,
) -> list[Finding]:
    """Look for everything that a profile, or one chapter of it ("08_objects"), needs.

    ``seconds_per_picture`` on the device gives the hours, see `rbtc.models.rate.measure`;
    ``device`` is where it will run, None takes the GPU where there is one.

    Raises:
        ValueError: an unknown chapter, device or profile.
    """
    profile = load_profile(profile) if isinstance(profile, str) else profile
    known = sorted({*CHAPTERS.values()})
    if chapter is not None and chapter not in known:
        raise ValueError(f"unknown chapter {chapter!r}: those with pictures are {known}")
    asked = Question(profile, chapter, seconds_per_picture, device)
    return [Finding(topic, *answer) for topic, look in CHECKS for answer in look(asked)]


def _answer(there: bool, text: str, remedy: str = "") -> Answer:
    return ("ok", text) if there else ("missing", text, remedy)


def _device(asked: Question) -> Iterator[Answer]:
    try:
        place = torch.device(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"unknown device {asked.device!r}: try 'cpu' or 'cuda'") from error
    profile = asked.profile
    if place.type == "cuda" and not torch.cuda.is_available():
        yield "missing", "torch sees no GPU", "install a build of torch for your GPU and its driver"
    elif place.type == "cuda":
        free, total = map(_size, torch.cuda.mem_get_info(place))
        yield "ok", f"{torch.cuda.get_device_name(place)}, {free} of {total} free"
        text = f"pictures are drawn {profile.batch_size} at a time in {profile.dtype}"
        yield "note", f"{text}; a batch that does not fit into memory is halved until it does"
    else:
        known = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if known else os.cpu_count()
        text = f"CPU with {cores} cores, float32"
        if profile.name == "mini":
            yield "ok", text
        else:
            remedy = "it works and takes days for a table: use a machine with a GPU"
            yield "note", f"{text} (not {profile.dtype})", remedy


def _memory(asked: Question) -> Iterator[Answer]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free, total = (_size(page * os.sysconf(f"SC_{w}PHYS_PAGES")) for w in ("AV", ""))
        yield "ok", f"{free} of {total} free"
    except (AttributeError, ValueError, OSError):  # not on every system
        yield "note", "this system does not tell"


def _cache(asked: Question) -> Iterator[Answer]:
    root = cache_root()
    try:
        yield "ok", f"{check_writable(root)}"
    except OSError as error:
        why = f"RBTC_CACHE: {root} cannot be written: {error.__cause__ or error}"
        yield "missing", why, "set RBTC_CACHE to a folder of your own with enough free space"


def _weights(asked: Question) -> Iterator[Answer]:
    from rbtc.models.folders import check_model_folder
    from rbtc.models.sd15 import is_random

    revision = asked.profile.revision
    place = asked.profile.locate(asked.profile.model)
    if isinstance(place, Path) and place.suffix == ".safetensors" and place.is_file():
        yield "ok", f"the single file {place}"
    elif isinstance(place, Path):
        try:
            if is_random(folder := check_model_folder(place)):
                yield "note", f"{folder} holds random numbers: for tests only, it gives no results"
            else:
                yield "ok", f"{folder}"
        except (ValueError, OSError) as error:
            yield "missing", str(error)
    elif _in_hub_cache(place, "model_index.json", revision):
        yield "ok", f"{place} is in the hub's cache"
    else:
        pinned = f" --revision {revision}" if revision else ""
        text = f"{place} is not in the hub's cache" + (" and offline mode is on" * is_offline())
        remedy = (
            f"hf download {place}{pinned}, or set the profile's `model` to a folder or a "
            ".safetensors file; without either it is fetched when a chapter first needs it"
        )
        yield "missing", text, remedy


def _in_hub_cache(name: str, file: str, revision: str = "") -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(name, file, revision=revision or None), str)
    except (ImportError, ValueError):  # ValueError: no name of the hub's
        return False


def _judge(asked: Question, part: str) -> Iterator[Answer]:
    """The judge that a profile names as ``part`` of its evaluation."""
    name = getattr(asked.profile.evaluation, part)
    if not name or name == ZERO_SHOT or (part == "style_classifier" and not asked.about("06_art")):
        return
    place = asked.profile.locate(name)
    if isinstance(place, Path):
        there = all((place / file).is_file() for file in ("judge.json", "model.safetensors"))
        yield _answer(there, str(place), "restore the folder from the repository")
    elif name == RESNET:
        from torchvision.models import ResNet50_Weights

        file = ResNet50_Weights.IMAGENET1K_V2.url.rpartition("/")[2]
        path = Path(torch.hub.get_dir()) / "checkpoints" / file
        yield _answer(path.is_file(), f"{name} at {path}", FETCHED)
    elif name == CLIP_NAME:
        import open_clip

        from rbtc.models.open_clips import ARCHITECTURE, WEIGHTS

        hub = open_clip.get_pretrained_cfg(ARCHITECTURE, WEIGHTS).get("hf_hub", "").strip("/")
        files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        cached = any(_in_hub_cache(hub, file) for file in files)
        yield _answer(cached, f"{name} ({hub})", FETCHED)
    else:
        yield "missing", f"{name!r} is neither a folder nor a judge that rbtc knows"


def _data_sets(asked: Question) -> Iterator[Answer]:
    if not asked.full:
        return
    records = {record.get("name"): record for record in known_records().values()}
    for name in _SETS.get(asked.chapter, ()) if asked.chapter else SOURCES:
        if record := records.get(name):
            text = f"{name}: {record['rows']} rows, sha256 {record['sha256'][:12]}"
        else:
            text = f"{name} was never loaded here" + " (gated)" * SOURCES[name].gated
        yield _answer(bool(record), text, access_hint(name))


def _packages(asked: Question) -> Iterator[Answer]:
    for name, what, extra, chapters, small in _PACKAGES:
        if (asked.full or small) and (not chapters or asked.about(*chapters)):
            yield _answer(_installed(name), f"{name}, for {what}", f"pip install 'rbtc[{extra}]'")
    if not _installed("ray"):
        remedy = "pip install 'rbtc[ray]' to draw with several GPUs or machines"
        yield "note", "ray is not installed", remedy


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _licences(asked: Question) -> Iterator[Answer]:
    for name in (asked.profile.model, *["nudenet"] * asked.full):
        if name in _LICENCES:
            yield "note", f"{name}: {_LICENCES[name]}"
    if asked.full:
        sets = "; ".join(f"{name}: {source.licence}" for name, source in SOURCES.items())
        yield "note", f"prompt sets - {sets}"


def _costs(asked: Question) -> list[Cost]:
    """What the paper's own counts take; nothing for the miniature."""
    if not asked.full:
        return []
    tables = [table for table, name in CHAPTERS.items() if asked.about(name)]
    return costs(asked.profile, seconds_per_picture=asked.seconds_per_picture, tables=tables)


def _time(asked: Question) -> Iterator[Answer]:
    found = _costs(asked)
    for cost in found:
        hours = "" if cost.hours is None else f", {cost.hours:,.1f} hours on one such device"
        name = "all tables" if cost.table == "all" else f"table {cost.table} ({cost.chapter})"
        yield "note", f"{name}: {cost.pictures:,} pictures{hours}"
    if found and asked.seconds_per_picture is None:
        remedy = "rbtc doctor ... --measure, or --seconds-per-picture S"
        yield "note", "hours need a measured picture rate", remedy


def _disk(asked: Question) -> Iterator[Answer]:
    if found := _costs(asked):
        root = cache_root()
        there = next(p for p in (root, *root.absolute().parents) if p.exists())
        free, wanted = shutil.disk_usage(there).free, found[-1].gigabytes * 1e9
        text = f"{_size(free)} free for {root}; the pictures take {_size(wanted)} at most"
        remedy = "set RBTC_CACHE to a folder on a larger disk, or make one table after another"
        yield _answer(free > wanted, text, remedy)


CHECKS: tuple[tuple[str, Callable[[Question], Iterator[Answer]]], ...] = (
    ("device", _device),
    ("memory", _memory),
    ("cache", _cache),
    ("weights", _weights),
    ("judge of objects", partial(_judge, part="classifier")),
    ("CLIP", partial(_judge, part="clip")),
    ("judge of styles", partial(_judge, part="style_classifier")),
    ("data set", _data_sets),
    ("package", _packages),
    ("licence", _licences),
    ("time", _time),
    ("disk", _disk),
)
"""Topic, and what looks into it."""


def report(profile: str, chapter: str | None, measured: bool, **options: Any) -> int:
    """Print what `check` finds; returns 1 if something is missing.

    ``measured``: take the picture rate of this device, measured now.

    Raises:
        ValueError: as for `check`, or a rate both given and to be measured.
    """
    loaded = load_profile(profile)
    if measured:
        from rbtc.models.pipelines import load_pipeline
        from rbtc.models.rate import measure

        if options["seconds_per_picture"] is not None:
            raise ValueError("give --seconds-per-picture or --measure, not both")
        seconds = measure(load_pipeline(loaded, options["device"]), loaded)
        options["seconds_per_picture"] = seconds
        print(f"measured: {seconds:.3g} seconds per picture")
    findings = check(loaded, chapter, **options)
    print("\n".join(map(str, findings)))
    missing = sum(finding.state == "missing" for finding in findings)
    print(f"{missing} missing" if missing else "nothing is missing")
    return 1 if missing else 0


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
