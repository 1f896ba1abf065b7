"""Is everything here that a profile's chapters need? What is missing, how to get it, how long.

``python -m rbtc.cli.doctor sd15`` looks and computes nothing; with ``--measure`` it loads the
model and times a few calls of its UNet, which is where a picture's time goes. Nothing is fetched.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from rbtc import command
from rbtc.files import cache_root, check_writable, is_offline
from rbtc.models.budget import CHAPTERS, costs
from rbtc.models.open_clips import NAME as CLIP_NAME
from rbtc.models.open_clips import ZERO_SHOT
from rbtc.models.profiles import Profile, load_profile
from rbtc.models.prompt_sets import SOURCES, access_hint, known_records

State = Literal["ok", "missing", "note"]

RESNET = "resnet50-imagenet1k-v2"
_SETS = {"06_art": ("COCO",), "07_nsfw": ("I2P", "MMA", "Ring-A-Bell")}
_LICENCES = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": (
        "CreativeML Open RAIL-M: use restrictions apply to the model and to its pictures"
    ),
    "nudenet": "AGPL-3.0: an optional extra, imported only when its detector is asked for",
}


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
    return [
        *_device(profile, device),
        *_memory(),
        *_cache(),
        *_weights(profile),
        *_judges(profile, chapter),
        *_data_sets(profile, chapter),
        *_packages(profile, chapter),
        *_licences(profile),
        *_effort(profile, chapter, seconds_per_picture),
    ]


def _found(topic: str, there: bool, text: str, remedy: str = "") -> Finding:
    return Finding(topic, "ok" if there else "missing", text, "" if there else remedy)


def _device(profile: Profile, device: str | None) -> list[Finding]:
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}: try 'cpu' or 'cuda'") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        remedy = "install a build of torch for your GPU and its driver"
        return [Finding("device", "missing", "torch sees no GPU", remedy)]
    if place.type == "cuda":
        free, total = map(_size, torch.cuda.mem_get_info(place))
        text = (
            f"pictures are drawn {profile.batch_size} at a time in {profile.dtype}; a batch that "
            "does not fit into memory is halved until it does"
        )
        name = torch.cuda.get_device_name(place)
        return [
            Finding("device", "ok", f"{name}, {free} of {total} free"),
            Finding("device", "note", text),
        ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    small = profile.name == "mini"
    text = f"CPU with {cores} cores, float32" + ("" if small else f" (not {profile.dtype})")
    remedy = "" if small else "it works and takes days for a table: use a machine with a GPU"
    return [Finding("device", "ok" if small else "note", text, remedy)]


def _memory() -> list[Finding]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free, total = (_size(page * os.sysconf(f"SC_{w}PHYS_PAGES")) for w in ("AV", ""))
    except (AttributeError, ValueError, OSError):  # not on every system
        return [Finding("memory", "note", "this system does not tell")]
    return [Finding("memory", "ok", f"{free} of {total} free")]


def _cache() -> list[Finding]:
    root = cache_root()
    try:
        check_writable(root)
    except OSError as error:
        remedy = "set RBTC_CACHE to a folder of your own with enough free space"
        why = str(error.__cause__ or error)
        return [Finding("cache", "missing", f"RBTC_CACHE: {root} cannot be written: {why}", remedy)]
    return [Finding("cache", "ok", f"{root}")]


def _weights(profile: Profile) -> list[Finding]:
    from rbtc.models.folders import check_model_folder
    from rbtc.models.sd15 import is_random

    place = profile.locate(profile.model)
    if isinstance(place, Path):
        if place.suffix == ".safetensors" and place.is_file():
            return [Finding("weights", "ok", f"the single file {place}")]
        try:
            folder = check_model_folder(place)
        except (ValueError, OSError) as error:
            return [Finding("weights", "missing", str(error))]
        if is_random(folder):
            text = f"{folder} holds random numbers: for tests only, no page takes its results"
            return [Finding("weights", "note", text)]
        return [Finding("weights", "ok", f"{folder}")]
    if _in_hub_cache(place, "model_index.json", profile.revision):
        return [Finding("weights", "ok", f"{place} is in the hub's cache")]
    pinned = f" --revision {profile.revision}" if profile.revision else ""
    text = f"{place} is not in the hub's cache" + (" and offline mode is on" * is_offline())
    remedy = (
        f"hf download {place}{pinned}, or set the profile's `model` to a folder or a .safetensors "
        "file; without either it is fetched when a chapter first needs it"
    )
    return [Finding("weights", "missing", text, remedy)]


def _in_hub_cache(name: str, file: str, revision: str = "") -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(name, file, revision=revision or None), str)
    except (ImportError, ValueError):  # ValueError: no name of the hub's
        return False


def _judges(profile: Profile, chapter: str | None) -> list[Finding]:
    ours = profile.evaluation
    places = {"judge of objects": ours.classifier, "CLIP": ours.clip}
    if chapter in (None, "06_art"):
        places["judge of styles"] = ours.style_classifier
    found = [
        _judge(topic, name, profile.locate(name))
        for topic, name in places.items()
        if name and name != ZERO_SHOT
    ]
    if ours.detector == "nudenet" and chapter in (None, "07_nsfw"):
        found.append(_package("nudenet", "the detector of nudity", "nsfw"))
    return found


def _judge(topic: str, name: str, place: Path | str) -> Finding:
    if isinstance(place, Path):
        there = all((place / file).is_file() for file in ("judge.json", "model.safetensors"))
        return _found(topic, there, str(place), "restore the folder from the repository")
    remedy = "it is fetched when a chapter first needs it: be online then"
    if name == RESNET:
        from torchvision.models import ResNet50_Weights

        file = ResNet50_Weights.IMAGENET1K_V2.url.rpartition("/")[2]
        path = Path(torch.hub.get_dir()) / "checkpoints" / file
        return _found(topic, path.is_file(), f"{name} at {path}", remedy)
    if name == CLIP_NAME:
        import open_clip

        from rbtc.models.open_clips import ARCHITECTURE, WEIGHTS

        hub = open_clip.get_pretrained_cfg(ARCHITECTURE, WEIGHTS).get("hf_hub", "").strip("/")
        files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        cached = any(_in_hub_cache(hub, file) for file in files)
        return _found(topic, cached, f"{name} ({hub})", remedy)
    return Finding(topic, "missing", f"{name!r} is neither a folder nor a judge that rbtc knows")


def _data_sets(profile: Profile, chapter: str | None) -> list[Finding]:
    if profile.evaluation.detector != "nudenet":
        return []  # the miniature has prompts of its own
    records = {record.get("name"): record for record in known_records().values()}
    found = []
    for name in _SETS.get(chapter, ()) if chapter else SOURCES:
        if record := records.get(name):
            text = f"{name}: {record['rows']} rows, sha256 {record['sha256'][:12]}"
        else:
            text = f"{name} was never loaded here" + " (gated)" * SOURCES[name].gated
        found.append(_found("data set", bool(record), text, access_hint(name)))
    return found


def _packages(profile: Profile, chapter: str | None) -> list[Finding]:
    full = profile.evaluation.detector == "nudenet"
    wanted = [("papermill", "executing the notebooks", "book")]
    if chapter in (None, "06_art"):
        wanted += [("torchmetrics", "distances of picture sets", "fid")]
        wanted += [("torch_fidelity", "FID's Inception network", "fid")] * full
    if chapter in (None, "06_art", "07_nsfw"):
        wanted += [("datasets", "the published prompt sets", "sd15")] * full
    found = [_package(*each) for each in wanted]
    if not _installed("ray"):
        remedy = "pip install 'rbtc[ray]' to draw with several GPUs or machines"
        found.append(Finding("package", "note", "ray is not installed", remedy))
    return found


def _package(name: str, what: str, extra: str) -> Finding:
    remedy = f"pip install 'rbtc[{extra}]'"
    return _found("package", _installed(name), f"{name}, for {what}", remedy)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _licences(profile: Profile) -> list[Finding]:
    full = profile.evaluation.detector == "nudenet"
    names = [profile.model, *["nudenet"] * full]
    texts = [f"{name}: {_LICENCES[name]}" for name in names if name in _LICENCES]
    if full:
        sets = "; ".join(f"{name}: {source.licence}" for name, source in SOURCES.items())
        texts.append(f"prompt sets - {sets}")
    return [Finding("licence", "note", text) for text in texts]


def _effort(
    profile: Profile, chapter: str | None, seconds_per_picture: float | None
) -> list[Finding]:
    """Hours and disk of the paper's own counts, against what is free."""
    if profile.evaluation.detector != "nudenet":
        return []  # the miniature's chapters have counts of their own
    tables = [table for table, name in CHAPTERS.items() if chapter in (None, name)]
    found = costs(profile, seconds_per_picture=seconds_per_picture, tables=tables)
    findings = []
    for cost in found:
        hours = "" if cost.hours is None else f", {cost.hours:,.1f} hours on one such device"
        name = "all tables" if cost.table == "all" else f"table {cost.table} ({cost.chapter})"
        findings.append(Finding("time", "note", f"{name}: {cost.pictures:,} pictures{hours}"))
    if seconds_per_picture is None:
        remedy = "python -m rbtc.cli.doctor ... --measure, or --seconds-per-picture S"
        findings.append(Finding("time", "note", "hours need a measured picture rate", remedy))
    root = cache_root()
    there = next(p for p in (root, *root.absolute().parents) if p.exists())
    free, wanted = shutil.disk_usage(there).free, found[-1].gigabytes * 1e9
    remedy = "set RBTC_CACHE to a folder on a larger disk, or make one table after another"
    text = f"{_size(free)} free for {root}; the pictures take {_size(wanted)} at most"
    return [*findings, _found("disk", free > wanted, text, remedy)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print the findings; status 1 if something is missing."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m rbtc.cli.doctor", description=__doc__)
    parser.add_argument("profile", help="sd15, mini, or the path of a profile")
    parser.add_argument("chapter", nargs="?", help="such as 08_objects; all of them without it")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--seconds-per-picture", type=float, help="measured on the device")
    rate.add_argument("--measure", action="store_true", help="load the model and time its UNet")
    parser.add_argument("--device", help="such as cuda:0 or cpu")
    options = parser.parse_args(arguments)
    profile = load_profile(options.profile)
    seconds = options.seconds_per_picture
    if options.measure:
        from rbtc.models.pipelines import load_pipeline
        from rbtc.models.rate import measure

        seconds = measure(load_pipeline(profile, options.device), profile)
        print(f"measured: {seconds:.3g} seconds per picture")
    findings = check(profile, options.chapter, seconds_per_picture=seconds, device=options.device)
    print("\n".join(map(str, findings)))
    missing = sum(finding.state == "missing" for finding in findings)
    print(f"{missing} missing" if missing else "nothing is missing")
    return 1 if missing else 0


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


if __name__ == "__main__":
    command.run(lambda: main(sys.argv[1:]))
