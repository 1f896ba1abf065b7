"""The emoji sets: nine houses' drawings of the same concepts, fetched from the npm registry.

A concept ("church") plays the part of an object, a house ("fluent") that of an art style.
The pictures never enter the repository: the packages are fetched into a cache, and
``data/emoji/manifest.json`` records the name, version and checksum of each.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rbtc.files import cache_root, read_json, read_table

PACKAGES = {
    "twemoji": "@iconify-json/twemoji",
    "noto": "@iconify-json/noto",
    "notov1": "@iconify-json/noto-v1",
    "openmoji": "@iconify-json/openmoji",
    "fluent": "@iconify-json/fluent-emoji",
    "fluentflat": "@iconify-json/fluent-emoji-flat",
    "fxemoji": "@iconify-json/fxemoji",
    "emojione": "@iconify-json/emojione",
    "emojionev1": "@iconify-json/emojione-v1",
}
HELD_OUT_STYLE = "emojionev1"
"""The house that neither emoji-sd nor its judges ever see: the judges are tested on it."""
HOUSE = "fluentflat"
"""The house emoji-sd draws when a caption names none: flat, complete, and under the MIT licence."""
STYLES = tuple(style for style in PACKAGES if style != HELD_OUT_STYLE)
SHEET_SIZE = 96


@dataclass(frozen=True)
class Concept:
    """A concept: its word, the icon names that draw it, and its role in the book."""

    name: str
    icons: tuple[str, ...]
    role: str


def data_folder() -> Path:
    """Folder with the concept list and the manifest, inside the repository."""
    return Path(__file__).resolve().parents[2] / "data" / "emoji"


def cache_folder() -> Path:
    """Folder outside the repository that holds fetched packages and rendered sheets."""
    return cache_root() / "emoji"


def read_concepts(path: Path | None = None, *, limit: int | None = None) -> list[Concept]:
    """Concepts in file order, the paper's classes first; at most ``limit`` of them."""
    path = path or data_folder() / "concepts.csv"
    rows = read_table(path, ("concept", "icons", "role"))
    concepts = [Concept(r["concept"], tuple(r["icons"].split("|")), r["role"]) for r in rows]
    return concepts[:limit]


def read_distractors() -> list[Concept]:
    """Concepts that only the concept judge learns.

    Without them it would have to take half a thing for the nearest that emoji-sd draws.
    """
    return read_concepts(data_folder() / "distractors.csv")


def manifest() -> list[dict[str, str]]:
    """The nine packages: style, package, version, file, integrity, title, author and licence."""
    return read_json(data_folder() / "manifest.json")["packages"]


def fetch(folder: Path | None = None) -> Path:
    """Fetch the nine packages with the npm client, check them against the manifest, return folder.

    Raises:
        FileNotFoundError: there is no npm client.
        ValueError: npm failed (no network, say), or a package's content is not the one that the
            manifest records.
    """
    folder = folder or cache_folder()
    missing = [m for m in manifest() if not (folder / m["file"]).exists()]
    if missing:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(
                "npm was not found, and training needs it to fetch the emoji sets: install Node.js "
                "(it brings npm) and run the command again. Nothing else in rbtc needs npm."
            )
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{m['package']}@{m['version']}" for m in missing]
        # Not --silent, which leaves out why it failed; names of files are what is printed.
        words = [npm, "pack", "--loglevel", "error", *names]
        done = subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True)
        absent = [m["file"] for m in missing if not (folder / m["file"]).exists()]
        if done.returncode or absent:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            why = lines[0] if lines else f"{len(absent)} of {len(missing)} files did not arrive"
            raise ValueError(
                f"npm pack failed with status {done.returncode} ({why}): check the network and "
                f"npm's registry, or copy the packages of another machine into {folder}"
            )
    for entry in manifest():
        path = folder / entry["file"]
        digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
        if entry["integrity"] != f"sha512-{digest}":
            raise ValueError(
                f"{path} is not {entry['package']} {entry['version']} (checksum differs): "
                "delete the file and fetch again"
            )
    return folder


def _key(icon: str) -> str:
    return icon.replace("-", "").replace("_", "")


def read_svgs(folder: Path, concepts: Sequence[Concept]) -> dict[tuple[str, str], str]:
    """SVG text of every (concept, style) pair that its house has drawn."""
    found: dict[tuple[str, str], str] = {}
    for entry in manifest():
        with tarfile.open(folder / entry["file"]) as archive:
            member = archive.extractfile("package/icons.json")
            if member is None:
                raise ValueError(f"{entry['file']} holds no package/icons.json: fetch it again")
            content = json.load(io.TextIOWrapper(member, encoding="utf-8"))
        by_key = {_key(name): icon for name, icon in content["icons"].items()}
        for alias, target in content.get("aliases", {}).items():
            if target["parent"] in content["icons"]:
                by_key.setdefault(_key(alias), content["icons"][target["parent"]])
        for concept in concepts:
            icon = next((by_key[_key(i)] for i in concept.icons if _key(i) in by_key), None)
            if icon is None:
                continue
            width = icon.get("width", content.get("width", 16))
            height = icon.get("height", content.get("height", 16))
            found[concept.name, entry["style"]] = (
                f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
                f' viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
            )
    return found


def render_svg(svg: str, size: int = SHEET_SIZE) -> np.ndarray:
    """One SVG as (size, size, 4) uint8, straight alpha."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))


def load_sheet(concepts: Sequence[Concept]) -> dict[tuple[str, str], np.ndarray]:
    """Rendered pictures, (96, 96, 4) uint8 each, of every drawn (concept, style) pair.

    The renders are cached beside the packages; the cache's name holds a digest of what it shows.
    """
    folder = fetch()
    svgs = read_svgs(folder, concepts)
    digest = hashlib.sha256(
        json.dumps(sorted((*k, v) for k, v in svgs.items())).encode()
    ).hexdigest()[:16]
    path = folder / f"sheet-{SHEET_SIZE}-{digest}.npz"
    pairs = sorted(svgs)
    if path.exists():
        with np.load(path) as stored:
            pictures = stored["pictures"]
    else:
        pictures = np.stack([render_svg(svgs[pair]) for pair in tqdm(pairs, desc="rendering")])
        temporary = path.with_suffix(".tmp.npz")
        np.savez_compressed(temporary, pictures=pictures)
        temporary.replace(path)
    return dict(zip(pairs, pictures, strict=True))
