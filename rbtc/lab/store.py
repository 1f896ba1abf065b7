"""The store: what was computed once is read, not computed again.

Everything is filed under the sha256 of what it was made from: a configuration as canonical JSON,
the source of the functions that did the work, and the versions of the libraries that decide
numbers. Neither times, paths nor the device are part of it.

Files are written beside their final place and moved there in one step: a run that is killed loses
one batch, and a second run goes on from there. Every file says what it was filed under.
"""

from __future__ import annotations

import json
import operator
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from rbtc.files import cache_root, check_writable, expanded, write_whole
from rbtc.lab.digests import canonical, code_digest, library_versions, tensors_digest, text_digest
from rbtc.writing import sweep

T = TypeVar("T")

Batch = tuple[list[str], list[int]]
"""Prompts and seeds of pictures that are drawn together."""

_KINDS = {"images": "pictures", "weights": "sets of tensors", "json": "results"}
_MISSING = object()


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
        return text_digest(
            {"code": code_digest(*code), "config": config, "libraries": library_versions()}
        )

    def images(
        self,
        config: Mapping[str, Any],
        prompts: Sequence[str],
        seeds: Sequence[int],
        make: Callable[[list[str], list[int]], np.ndarray],
        batch: int,
        *,
        code: Sequence[Callable[..., Any]] = (),
        draw: Callable[[list[Batch]], Iterable[tuple[Batch, np.ndarray]]] | None = None,
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
            draw: yields the batches it was given with their pictures, in any order; None calls
                ``make`` for one after the other.
            progress: show a bar over the missing pictures, with ``label`` before it.
            label: text before the bar.

        Returns:
            (uint8 pictures (n, h, w, 3) in the order asked for, whether all were there already).

        Raises:
            ValueError: seeds that are no whole numbers, or pictures of the wrong kind.
            OSError: the store's folder cannot be written; nothing has been made then.
        """
        from tqdm.auto import tqdm

        stem = self.key(config, code)
        wanted = [(str(p), s) for p, s in zip(prompts, whole_seeds(seeds), strict=True)]
        keys = {pair: text_digest([stem, *pair]) for pair in wanted}
        have = {pair: self._read("images", key) for pair, key in keys.items()}
        missing = [pair for pair, found in have.items() if found is _MISSING]
        parts = [missing[i : i + batch] for i in range(0, len(missing), batch)]
        batches: list[Batch] = [([p for p, _ in part], [s for _, s in part]) for part in parts]
        if missing:
            self._prepare()
        hidden = not (progress and missing)
        bar = tqdm(total=len(missing), desc=label, unit="picture", disable=hidden, leave=False)
        with bar:
            drawn = draw(batches) if draw else ((one, make(*one)) for one in batches)
            for part, made in drawn if missing else ():
                made = np.asarray(made)
                if made.dtype != np.uint8 or made.ndim != 4 or len(made) != len(part[0]):
                    raise ValueError(
                        f"expected {len(part[0])} uint8 pictures of shape (n, h, w, 3), got "
                        f"{made.dtype} of shape {made.shape}"
                    )
                for pair, picture in zip(zip(*part, strict=True), made, strict=True):
                    # What another process has filed meanwhile stays, here as on disk.
                    have[pair] = self._read("images", keys[pair], warn=False)
                    if have[pair] is _MISSING:
                        have[pair] = {"picture": torch.tensor(picture)}
                        self._file("images", keys[pair], have[pair], list(pair))
                bar.update(len(made))
        self._count("images", len(keys) - len(missing), len(missing))
        # (n, h, w, 3)
        return np.stack([have[pair]["picture"].numpy() for pair in wanted]), not missing

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

        def on_cpu() -> dict[str, torch.Tensor]:
            return {n: t.detach().cpu().contiguous() for n, t in sorted(make().items())}

        return self._kept("weights", config, on_cpu, code)

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
        return self._kept("json", config, lambda: json.loads(canonical(make())), code)

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

    def _kept(
        self,
        kind: str,
        config: Mapping[str, Any],
        make: Callable[[], Any],
        code: Sequence[Callable[..., Any]],
    ) -> tuple[Any, bool]:
        """A value, and whether it was there already."""
        key = self.key(config, code)
        value = self._read(kind, key)
        if known := value is not _MISSING:
            self._count(kind, 1, 0)
        else:
            self._prepare()
            value = make()
            self._file(kind, key, value, config)
            self._count(kind, 0, 1)
        return value, known

    def _path(self, kind: str, key: str) -> Path:
        suffix = "json" if kind == "json" else "safetensors"
        return self.root / kind / key[:2] / f"{key}.{suffix}"

    def _read(self, kind: str, key: str, *, warn: bool = True) -> Any:
        """What was filed under a key; `_MISSING` where nothing was, or it is damaged."""
        path = self._path(kind, key)
        if not path.is_file():
            return _MISSING
        try:
            value, digest, notes = _read_json(path) if kind == "json" else _read_tensors(path)
            if notes["digest"] != digest:
                raise ValueError("its digest does not match its content")
            if notes["key"] != key:  # another file was copied over it
                raise ValueError("it was filed under another key")
            return value
        except PermissionError:
            raise
        except Exception as error:
            # A damaged file can fail anywhere inside JSON or safetensors; whatever went wrong,
            # computing it again is right.
            if warn:
                warnings.warn(
                    f"{path} is damaged and will be computed again ({error})",
                    RuntimeWarning,
                    stacklevel=4,
                )
            return _MISSING

    def _file(self, kind: str, key: str, value: Any, config: Any) -> None:
        write = _write_json if kind == "json" else _write_tensors
        try:
            write_whole(self._path(kind, key), lambda place: write(place, value, config, key))
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


def _read_json(path: Path) -> tuple[Any, str, Mapping[str, str]]:
    """The value of a file, its digest, and what the file says of it."""
    entry = json.loads(path.read_text("utf-8"))
    return entry["value"], text_digest(entry["value"]), entry


def _write_json(path: Path, value: Any, config: Any, key: str) -> None:
    entry = {"config": config, "digest": text_digest(value), "key": key, "value": value}
    path.write_text(canonical(entry), encoding="utf-8")


def _read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], str, Mapping[str, str]]:
    """The tensors of a file, their digest, and what the file says of them."""
    from safetensors import safe_open

    with safe_open(path, "pt") as stream:
        # Copies: a tensor would keep the file mapped, and there are many files of pictures.
        tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}
        return tensors, tensors_digest(tensors), stream.metadata() or {}


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], config: Any, key: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    notes = {"digest": tensors_digest(tensors), "config": canonical(config), "key": key}
    # Clones: neither tensors that share memory nor those with gaps can be saved.
    whole = {name: t.clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    try:
        save_file(whole, path, metadata=notes)
    except SafetensorError as error:  # it wraps a full disk, say
        raise OSError(str(error)) from error
