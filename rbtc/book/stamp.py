"""The stamp at the foot of every page: what made this page, and the command that makes it again."""

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rbtc import __version__

# Set by the runner (rbtc.book) for the kernel; without them the stamp describes a session by hand.
STARTED, COMMAND, PARAMETERS = "RBTC_BOOK_STARTED", "RBTC_BOOK_COMMAND", "RBTC_BOOK_PARAMETERS"
COLD = "RBTC_BOOK_COLD"
"""Set to 1 where the run began with an empty store: its minutes are those of a first run."""


_IMPORTED = time.time()


@dataclass(frozen=True)
class Stamp:
    """What made a page. Displays as a two-column table.

    `wall_seconds` is counted from the start of the run to the stamp; `reuse` is the store's report
    (how many results were computed before and only read here); `cold` says that the run began with
    an empty store, so that it read only what an earlier page of the same run had computed.
    """

    profile: str
    parameters: Mapping[str, Any]
    commit: str
    device: str
    versions: Mapping[str, str]
    wall_seconds: float
    reuse: str
    command: str
    cold: bool = False

    def table(self) -> pd.DataFrame:
        """One line per fact, column `stamp`; lines with nothing to say are left out."""
        facts = {
            "profile": self.profile,
            "parameters": ", ".join(
                f"{name} = {value!r}" for name, value in self.parameters.items()
            ),
            "commit": self.commit,
            "device": self.device,
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            "wall time": duration(self.wall_seconds),
            "store": "empty when the run began" if self.cold else "",
            "reuse": self.reuse,
            "to repeat": self.command,
        }
        kept = {name: text for name, text in facts.items() if text}
        return pd.DataFrame({"stamp": kept.values()}, index=list(kept))

    def __str__(self) -> str:
        facts = self.table()["stamp"]
        return "\n".join(f"{name}: {text}" for name, text in facts.items())

    def _repr_html_(self) -> str:
        # Not cut: a command that ends in dots cannot be repeated.
        with pd.option_context("display.max_colwidth", None):
            return self.table().to_html(header=False, border=0)


def stamp(info: Any = None, parameters: Mapping[str, Any] | None = None) -> Stamp:
    """Build the stamp of this page.

    `info` is a `Lab` (its profile, device and store are read), a mapping with any of the keys
    `profile`, `device` and `reuse`, or None. `parameters` defaults to the values that the runner
    used; a notebook executed by hand may pass its own.

    Raises ValueError where a page of the book would be made from a model of random weights.
    """
    if parameters is None:
        parameters = json.loads(os.environ.get(PARAMETERS, "{}"))
    look: Any = info.get if isinstance(info, Mapping) else lambda name: getattr(info, name, None)
    profile, store = look("profile"), look("store")
    if look("random_weights") and os.environ.get(STARTED):
        raise ValueError(
            "the model's folder says that its weights are random numbers, so this page would show "
            "results of nothing: it is not made; execute the notebook by hand to try the plumbing"
        )
    reuse = look("reuse") or (store.report() if store is not None else "")
    return Stamp(
        profile=str(getattr(profile, "name", profile) or "")
        + (", random weights: no result" if look("random_weights") else ""),
        parameters=parameters or {},
        commit=commit(),
        device=describe_device(look("device")),
        versions=versions(),
        wall_seconds=time.time() - float(os.environ.get(STARTED, _IMPORTED)),
        reuse=str(reuse),
        command=os.environ.get(COMMAND, ""),
        cold=os.environ.get(COLD) == "1",
    )


def show(info: Any = None, parameters: Mapping[str, Any] | None = None) -> None:
    """Display the stamp: the last cell of every notebook. Arguments as for `stamp`."""
    made = stamp(info, parameters)
    if "IPython" in sys.modules:
        from IPython.display import display

        # The runner reads these: only the kernel knows what the page ran on, and with which files.
        display(made, metadata={"rbtc_device": made.device, "rbtc_origin": made_with(info)})
    else:
        print(made)


def made_with(info: Any = None) -> dict[str, dict[str, str]]:
    """Digests of the files and models of this page, by path relative to the working folder.

    Returns:
        inputs: the files that were read, the profile among them. models: folders of the model and
        of the judges. What lies outside the working folder is left out.
    """
    from rbtc.files import data_root
    from rbtc.lab.digests import model_digest
    from rbtc.report.outputs import files_used, used

    profile: Any = getattr(info, "profile", None)
    models: dict[str, str] = {}
    if hasattr(profile, "locate"):
        file = data_root() / "profiles" / f"{profile.name}.toml"
        if file.is_file():
            used(file)
        judges = profile.evaluation
        for name in (profile.model, judges.classifier, judges.style_classifier, judges.clip):
            place = profile.locate(name) if name else None
            if isinstance(place, Path) and place.is_dir():
                here = Path.cwd().resolve()
                if place.resolve().is_relative_to(here):
                    models[place.resolve().relative_to(here).as_posix()] = model_digest(place)
    inputs = {name: digest for name, digest in files_used().items() if not name.startswith("/")}
    return {"inputs": inputs, "models": models}


def commit(folder: str | Path | None = None) -> str:
    """Short hash of the commit checked out in `folder` (default: around the package).

    "with changes" is added when tracked files differ from it; "unknown" outside a clone or without
    git.
    """
    folder = Path(__file__).resolve().parents[2] if folder is None else Path(folder)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        name = git("rev-parse", "--short", "HEAD")
        # What a run makes (pages, their files, the twins of the sources) does not count as changes.
        changed = name and git(
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ".",
            ":(exclude)book/notebooks",
            ":(exclude)results",
            ":(exclude)notebooks/*.ipynb",
            ":(exclude)book/_static",
            ":(exclude)book/_generated",
        )
    except OSError:
        return "unknown"
    if not name:
        return "unknown"
    return f"{name} with changes" if changed else name


def describe_device(device: Any = None) -> str:
    """The device in words: the accelerator's name, or the CPU and its cores."""
    kind = str(getattr(device, "type", device) or "cpu").partition(":")[0]
    if kind == "cuda":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(device)
    if kind != "cpu":
        return kind
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that decide the numbers."""
    from rbtc.lab.digests import LIBRARIES

    found = {"rbtc": __version__, "python": platform.python_version()}
    for name in (*LIBRARIES, "pandas"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def duration(seconds: float) -> str:
    """`75.2` -> `"1 min 15 s"`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def command_line(name: str, *, full: bool, overrides: Mapping[str, Any], cold: bool = False) -> str:
    """The runner's command that repeats a page."""
    words = ["python", "-m", "rbtc.book", "run", name, *(["--full"] if full else [])]
    words += ["--cold"] if cold else []
    for parameter, value in overrides.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += ["-p", parameter, text]
    return shlex.join(words)
