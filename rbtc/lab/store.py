"""The store: what was computed once is read, not computed again.

Everything is filed under the sha256 of what it was made from: a configuration as canonical JSON,
the source of the functions that did the work, and the versions of the libraries that decide
numbers. Neither times, paths nor the device are part of it.

Files are written beside their final place and moved there in one step: a run that is killed loses
one batch, and a second run goes on from there. Every file says what it was filed under.
"""

from __future__ import annotations

import hashlib
import json
import operator
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from rbtc.files import cache_root, check_writable, expanded, sweep, write_whole
from rbtc.lab.digests import canonical, code_digest, library_versions, tensors_digest, text_digest

T = TypeVar("T")

BLOCK = 8
"""Pictures of one prompt are filed in blocks of this many neighbouring seeds."""


_KINDS = {"images": "pictures", "weights": "sets of tensors", "json": "results"}


class _OldEntry(Exception):
    """Entry written before keys were stored; treated as a miss."""


def whole_seeds(seeds: Iterable[Any]) -> list[int]:
    """Seeds as whole numbers.

    Raises:
        ValueError: one that is none: 0.5 and 0.7 would both have been seed 0.
    """
    whole: list[int] = []
    for seed in seeds:
        try:
            whole.append(operator.index(seed))
        except TypeError as error:
            raise ValueError(
                f"seeds must be whole numbers, not {seed!r} ({type(seed).__name__})"
            ) from error
    return whole


class Recent(OrderedDict[str, T]):
    """The values made last, at most ``limit`` of them, by key."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def get_or_make(self, key: str, make: Callable[[], T]) -> T:
        """The value of a key, made now if it is not at hand."""
        if key not in self:
            value = make()
            while len(self) >= self.limit:
                self.popitem(last=False)
            self[key] = value
        return self[key]


class Store:
    """A folder of results, addressed by what they were made from.

    Several processes may share one folder; neither loses what the other filed.

    Args:
        root: the folder; None takes ``runs`` under `cache_root`. It is made when something is first
            to be computed; a folder that has everything is never written to.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = expanded(root) if root is not None else cache_root() / "runs"
        self.reused: Counter[str] = Counter()
        self.computed: Counter[str] = Counter()
        self._ready = False

    def key(self, config: Mapping[str, Any], code: Sequence[Callable[..., Any]] = ()) -> str:
        """Sha256 (64 hex digits) of a configuration, the functions ``code`` and the libraries."""
        identity = {"code": code_digest(*code), "config": config, "libraries": library_versions()}
        text = canonical(identity)
        return hashlib.sha256(text.encode()).hexdigest()

    def images(
        self,
        config: Mapping[str, Any],
        prompts: Sequence[str],
        seeds: Sequence[int],
        make: Callable[[list[str], list[int]], np.ndarray],
        batch: int,
        *,
        code: Sequence[Callable[..., Any]] = (),
        progress: bool = False,
        label: str = "",
    ) -> tuple[np.ndarray, bool]:
        """Pictures for prompts and seeds, made only where they are missing.

        A picture is addressed by (config, prompt, seed). Missing ones of different prompts share
        batches, and each batch is filed before the next is begun. What a picture shared its batch
        with can change the rounding of a few of its values by one; filed, it stays as it is.

        Args:
            config: what the pictures depend on, apart from prompt and seed.
            prompts: n prompts.
            seeds: n seeds, one per prompt.
            make: turns at most ``batch`` prompts and seeds into uint8 pictures (k, h, w, 3).
            batch: pictures per call of ``make``.
            code: functions whose code the pictures depend on.
            progress: show a bar over the missing pictures, with ``label`` before it.
            label: text before the bar.

        Returns:
            (uint8 pictures (n, h, w, 3) in the order asked for, whether all were there already).

        Raises:
            ValueError: seeds that are no whole numbers, or pictures of the wrong kind.
            OSError: the store's folder cannot be written; nothing has been made then.
        """
        wanted = _pairs(prompts, seeds)
        stem = self.key(config, code)
        have = self._filed(stem, wanted)
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in have]
        self._count("images", len(set(wanted)) - len(missing), len(missing))
        if missing:
            self._prepare()
        with _bar(len(missing), label, progress) as bar:
            for start in range(0, len(missing), batch):
                part = missing[start : start + batch]
                made = np.asarray(make([p for p, _ in part], [s for _, s in part]))
                if made.dtype != np.uint8 or made.ndim != 4 or len(made) != len(part):
                    raise ValueError(
                        f"expected {len(part)} uint8 pictures of shape (n, h, w, 3), got "
                        f"{made.dtype} of shape {made.shape}"
                    )
                have.update(zip(part, made, strict=True))
                for address in dict.fromkeys((p, s // BLOCK) for p, s in part):
                    # What another process has filed meanwhile stays, here as on disk.
                    have.update(self._write_block(stem, address, have))
                bar.update(len(part))
        return np.stack([have[pair] for pair in wanted]), not missing  # (n, h, w, 3)

    def missing(
        self,
        config: Mapping[str, Any],
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        code: Sequence[Callable[..., Any]] = (),
    ) -> list[tuple[str, int]]:
        """Which pictures `images` would have to make: (prompt, seed), each once, in order.

        Raises:
            ValueError: as for `images`.
        """
        wanted = _pairs(prompts, seeds)
        have = self._filed(self.key(config, code), wanted)
        return [pair for pair in dict.fromkeys(wanted) if pair not in have]

    def _filed(
        self, stem: str, wanted: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], np.ndarray]:
        """What the blocks of these pictures hold."""
        have: dict[tuple[str, int], np.ndarray] = {}
        for address in dict.fromkeys((p, s // BLOCK) for p, s in wanted):
            have.update(self._read_block(stem, address))
        return have

    def weights(
        self,
        config: Mapping[str, Any],
        make: Callable[[], Mapping[str, torch.Tensor]],
        *,
        code: Sequence[Callable[..., Any]] = (),
    ) -> tuple[dict[str, torch.Tensor], bool]:
        """Named tensors (CPU when read), kept as safetensors with a digest of their bytes.

        Returns:
            (name -> tensor, whether they were there already).
        """
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import save_file

        key = self.key(config, code)
        path = self._path("weights", key, "safetensors")

        def read() -> dict[str, torch.Tensor]:
            with safe_open(path, "pt") as stream:
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}
                notes = stream.metadata() or {}
            if notes.get("digest") != tensors_digest(tensors):
                raise ValueError("its digest does not match its content")
            _check_key(notes, key)
            return tensors

        found = self._try(path, read)
        if found is not None:
            self._count("weights", 1, 0)
            return found, True
        self._prepare()
        made = {n: t.detach().cpu().contiguous() for n, t in sorted(make().items())}
        # Tensors that share memory cannot be saved; clones never do.
        clones = {name: tensor.clone() for name, tensor in made.items()}
        notes = {"digest": tensors_digest(made), "config": canonical(config), "key": key}

        def write(target: Path) -> None:
            try:
                save_file(clones, target, metadata=notes)
            except SafetensorError as error:  # it wraps a full disk, say
                raise OSError(str(error)) from error

        self._write(path, write)
        self._count("weights", 0, 1)
        return made, False

    def json(
        self,
        config: Mapping[str, Any],
        make: Callable[[], Any],
        *,
        code: Sequence[Callable[..., Any]] = (),
    ) -> tuple[Any, bool]:
        """A value with an exact JSON form; fresh or read, it is what JSON gives back.

        Returns:
            (the value, whether it was there already).
        """
        key = self.key(config, code)
        path = self._path("json", key, "json")

        def read() -> Any:
            entry = json.loads(path.read_text("utf-8"))
            if entry["digest"] != text_digest(entry["value"]):
                raise ValueError("its digest does not match its content")
            _check_key(entry, key)
            return entry

        found = self._try(path, read)
        if found is not None:
            self._count("json", 1, 0)
            return found["value"], True
        self._prepare()
        value = json.loads(canonical(make()))
        entry = {"config": config, "digest": text_digest(value), "key": key, "value": value}
        text = canonical(entry)
        self._write(path, lambda target: target.write_text(text, encoding="utf-8"))
        self._count("json", 0, 1)
        return value, False

    def report(self) -> str:
        """How much was read instead of computed, e.g. "reused 96 of 192 pictures, 2 of 2 results".

        Everything this object was asked for since it was made.
        """
        parts = [
            f"{self.reused[kind]} of {self.reused[kind] + self.computed[kind]} {name}"
            for kind, name in _KINDS.items()
            if self.reused[kind] + self.computed[kind]
        ]
        return f"reused {', '.join(parts)}" if parts else "reused 0 of 0"

    def _count(self, kind: str, reused: int, computed: int) -> None:
        self.reused[kind] += reused
        self.computed[kind] += computed

    def _path(self, kind: str, key: str, suffix: str) -> Path:
        return self.root / kind / key[:2] / f"{key}.{suffix}"

    def _write(self, path: Path, write: Callable[[Path], Any]) -> None:
        try:
            write_whole(path, write)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: BaseException) -> OSError:
        return OSError(
            f"the store's folder {self.root} cannot be written ({error}): set RBTC_CACHE to a "
            "folder of your own with enough free space, or give the lab another `store`"
        )

    def _prepare(self) -> None:
        """Before the first thing is computed: can it be filed? And sweep up after killed runs."""
        if self._ready:
            return
        try:
            check_writable(self.root)
        except OSError as error:
            raise self._unwritable(error.__cause__ or error) from error
        self._ready = True
        for folder in self.root.glob("*/*"):
            sweep(folder)

    def _try(self, path: Path, read: Callable[[], Any], *, warn: bool = True) -> Any | None:
        """Read a file; None when it is not there, or damaged (which is worth a warning)."""
        try:
            return read() if path.is_file() else None
        except _OldEntry:
            return None
        except PermissionError:
            raise
        except Exception as error:
            # A damaged file can fail anywhere inside zip, JSON, numpy or safetensors; whatever
            # went wrong, computing it again is right.
            if warn:
                warnings.warn(
                    f"{path} is damaged and will be computed again ({error})",
                    RuntimeWarning,
                    stacklevel=4,
                )
            return None

    def _block_path(self, stem: str, address: tuple[str, int]) -> Path:
        key = hashlib.sha256(_block_key(stem, address).encode()).hexdigest()
        return self._path("images", key, "npz")

    def _read_block(
        self, stem: str, address: tuple[str, int], *, warn: bool = True
    ) -> dict[tuple[str, int], np.ndarray]:
        path = self._block_path(stem, address)

        def read() -> dict[tuple[str, int], np.ndarray]:
            with np.load(path, allow_pickle=False) as file:  # zip members carry a checksum
                seeds, images = file["seeds"], file["images"]
                notes = {"key": str(file["key"])} if "key" in file else {}
            if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(seeds):
                raise ValueError(f"it holds {images.dtype} of shape {images.shape}")
            _check_key(notes, _block_key(stem, address))
            return {
                (address[0], int(seed)): image for seed, image in zip(seeds, images, strict=True)
            }

        return self._try(path, read, warn=warn) or {}

    def _write_block(
        self,
        stem: str,
        address: tuple[str, int],
        have: Mapping[tuple[str, int], np.ndarray],
    ) -> dict[tuple[str, int], np.ndarray]:
        """Add pictures to what a block holds by now; returns what it holds then."""
        from filelock import FileLock

        prompt, block = address
        mine = {
            (prompt, s): have[prompt, s]
            for s in range(block * BLOCK, (block + 1) * BLOCK)
            if (prompt, s) in have
        }
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # One lock for all blocks: it is held for the write of a few pictures, no longer.
            with FileLock(self.root / ".lock"):
                # Who damaged the block was told so when it was read first.
                merged = mine | self._read_block(stem, address, warn=False)
                seeds = sorted(s for _, s in merged)
                content = {
                    "seeds": np.array(seeds, dtype=np.int64),
                    "images": np.stack([merged[prompt, s] for s in seeds]),
                    "key": np.array(_block_key(stem, address)),  # ASCII, whatever the prompt
                }

                def write(target: Path) -> None:
                    with target.open("wb") as stream:
                        np.savez_compressed(stream, **content)

                write_whole(self._block_path(stem, address), write)
        except OSError as error:
            raise self._unwritable(error) from error
        return merged


def _pairs(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    return [(str(p), s) for p, s in zip(prompts, whole_seeds(seeds), strict=True)]


def _block_key(stem: str, address: tuple[str, int]) -> str:
    return canonical([stem, *address])


def _check_key(notes: Mapping[str, Any], key: str) -> None:
    """Whether an entry is what was asked for, and not another that was copied over it."""
    if "key" not in notes:
        raise _OldEntry
    if notes["key"] != key:
        raise ValueError("it was filed under another key")


def _bar(total: int, label: str, shown: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=label, unit="picture", disable=not (shown and total), leave=False)
