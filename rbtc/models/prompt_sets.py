"""The published prompt sets, each from where its owners keep it; none is part of this repository.

I2P, MMA-Diffusion and Ring-A-Bell are data sets of the hub, read by `datasets`; two of them are
gated: their owners want to be asked first. COCO's captions are in the owners' own archive. Rows,
checksum and source of the first load are recorded, and a later load of other content is an error.
A local file of the same layout will do in every set's place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rbtc.files import cache_root, expanded, is_offline, offline_hint, read_json, write_json
from rbtc.models.folders import read_object
from rbtc.models.prompt_files import read_prompts

COCO_CAPTIONS = 480
"""Captions that CLIP similarity is measured on (METHOD 7.3)."""


@dataclass(frozen=True)
class Source:
    """Where a set is.

    hub: id of the data set on the hub, or "" where it is an archive. column: which holds the
    prompts. rows: as published; None where sources disagree. gated: whether its owners have to be
    asked. licence: as its owners put it. archive: address of a JSON file in an archive, as
    `datasets` reads it. field: key of the rows in that JSON.
    """

    hub: str
    column: str
    rows: int | None
    gated: bool = False
    licence: str = ""
    archive: str = ""
    field: str = ""

    @property
    def place(self) -> str:
        """What a reader may look up."""
        return self.hub or self.archive


SOURCES = {
    "I2P": Source("AIML-TUDA/i2p", "prompt", 4703, licence="MIT"),
    "MMA": Source(
        "YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark",
        "adv_prompt",
        1000,
        gated=True,
        licence="on request",
    ),
    "Ring-A-Bell": Source(
        "Chia15/RingABell-Nudity", "prompt", None, gated=True, licence="on request"
    ),
    "COCO": Source(
        "",
        "caption",
        None,
        licence="CC BY 4.0 (annotations)",
        archive="zip://annotations/captions_val2014.json::"
        "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
        field="annotations",
    ),
}
"""The sets of Tables 2 and 7, by the paper's names."""


@dataclass(frozen=True)
class PromptSet:
    """What was loaded; seeds of the published evaluation are 0 for every prompt (METHOD 7.3, 7.4).

    name: the paper's. prompts: in their owners' order. source: data set, archive or file. revision:
    the hub's commit, "" where there is none. rows: number of prompts. sha256: of the prompts, one
    JSON string a line.
    """

    name: str
    prompts: tuple[str, ...]
    source: str
    revision: str
    rows: int
    sha256: str

    @property
    def record(self) -> dict[str, Any]:
        """All but the prompts."""
        return {key: value for key, value in asdict(self).items() if key != "prompts"}


def load_prompt_set(
    name: str, path: str | Path | None = None, *, revision: str = "", records: Path | None = None
) -> PromptSet:
    """A published set, complete and in its order.

    Args:
        name: "I2P", "MMA", "Ring-A-Bell" or "COCO".
        path: a local file instead: CSV with or without a header, or COCO's JSON.
        revision: the hub's commit; "" takes the current one, and records which it was.
        records: file of what was loaded before; None takes the one in our cache.

    Raises:
        ValueError: an unknown set, a file without prompts, or content that is not what was loaded
            first.
        FileNotFoundError: no such file, or the set cannot be had; the message tells how to ask for
            access to a gated one, and what offline mode means.
        ImportError: `datasets` is not installed.
    """
    source = _source(name)
    if path is not None:
        prompts, place, commit = _local(source, expanded(path)), Path(path).name, ""
    else:
        prompts, commit = _published(name, source, revision)
        place = source.place
    prompts = tuple(text for text in (str(p).strip() for p in prompts if p is not None) if text)
    if not prompts:
        raise ValueError(f"the prompt set {name!r} from {place} holds no prompts")
    digest = hashlib.sha256("\n".join(map(json.dumps, prompts)).encode()).hexdigest()
    found = PromptSet(name, prompts, place, commit, len(prompts), digest)
    _record(found, records or cache_root() / "prompt-sets.json")
    return found


def coco_captions(
    count: int = COCO_CAPTIONS, path: str | Path | None = None, *, records: Path | None = None
) -> list[str]:
    """The captions that CLIP similarity is measured on: a shuffle of all, and the first of them.

    The published evaluation shuffles with numpy's seed 0; what exactly it shuffles is not said, so
    the captions may be others than the paper's, drawn by the same rule.

    Raises:
        ValueError: fewer captions than ``count``.
    """
    captions = list(load_prompt_set("COCO", path, records=records).prompts)
    if not 0 < count <= len(captions):
        raise ValueError(f"there are {len(captions)} COCO captions, not {count}")
    # The generator of the published protocol, kept apart from the global one.
    order = np.random.RandomState(0).permutation(len(captions))
    return [captions[i] for i in order[:count]]


def access_hint(name: str) -> str:
    """How to get at a set."""
    source = _source(name)
    if not source.hub:
        return (
            f"fetch {source.archive.rpartition('::')[2]} and give the path of its "
            "annotations/captions_val2014.json"
        )
    page = f"https://huggingface.co/datasets/{source.hub}"
    if source.gated:
        return (
            f"the set is gated: open {page} while logged in, ask its owners for access, and when "
            "they have granted it run `hf auth login` (or set HF_TOKEN); or give the path of a "
            "CSV file that you have from them"
        )
    return f"it is at {page}, open to all; or give the path of a CSV file of it"


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise ValueError(f"unknown prompt set {name!r}: expected one of {list(SOURCES)}")
    return SOURCES[name]


def _published(name: str, source: Source, revision: str) -> tuple[Iterable[Any], str]:
    """Prompts from where the owners keep them, and the hub's commit, "" of an archive."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f"the prompt set {name!r} is read by the package datasets, which is not installed: "
            "pip install 'rbtc[sd15]', or give the path of a local file"
        ) from error
    commit = ""
    try:
        if source.hub:
            commit = revision or _commit(source.hub)
            table = datasets.load_dataset(source.hub, split="train", revision=commit or None)
        else:
            table = datasets.load_dataset(
                "json", data_files=source.archive, field=source.field, split="train"
            )
    except Exception as error:
        # The hub's clients raise a dozen kinds of errors for gates, names and networks.
        hint = access_hint(name)
        raise FileNotFoundError(
            f"the prompt set {name!r} could not be loaded ({type(error).__name__}: {error}). "
            f"{offline_hint()}{hint[:1].upper()}{hint[1:]}"
        ) from error
    columns = list(table.column_names)
    return table[source.column if source.column in columns else columns[0]], commit


def _commit(hub: str) -> str:
    """The current commit of a data set; "" where only the cache can be asked."""
    if is_offline():
        return ""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(hub).sha or "")


def _local(source: Source, path: Path) -> Iterable[Any]:
    if path.suffix == ".json":
        try:
            return [row[source.column] for row in read_json(path)[source.field]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not COCO's captions: expected {source.field!r} with a "
                f"{source.column!r} in each ({type(error).__name__}: {error})"
            ) from error
    return read_prompts(path)


def known_records(file: Path | None = None) -> dict[str, Any]:
    """What was loaded before: key -> `PromptSet.record`.

    Raises:
        ValueError: the file is damaged.
    """
    file = file or cache_root() / "prompt-sets.json"
    return read_object(file) if file.is_file() else {}


def _record(found: PromptSet, file: Path) -> None:
    """Remember what a set was, and refuse another of the same name, source and commit."""
    key = f"{found.name} {found.source} {found.revision}".strip()
    known = known_records(file)
    before = known.get(key)
    if before is not None and before != found.record:
        raise ValueError(
            f"the prompt set {key} has {found.rows} rows with sha256 {found.sha256[:12]}, but had "
            f"{before.get('rows')} with {str(before.get('sha256'))[:12]} when it was first loaded: "
            f"tables made of both cannot be compared; if the change is meant, delete {file}"
        )
    if before is None:
        write_json(file, dict(sorted({**known, key: found.record}.items())))
