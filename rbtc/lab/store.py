"""The store: what was computed once is read, not computed again.

Everything is filed under the sha256 of what it was made from: a configuration, as canonical JSON,
the source of the functions that did the work, and the versions of the libraries that decide
numbers. The configuration holds no times and no paths, so the same request finds the same file
anywhere. The device is left out on purpose: pictures made on a GPU serve a reader without one.

Files are written beside their final place and moved there in one step. A run that is killed loses
the batch it was working on, nothing else, and a second run goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rbtc.files import cache_root, write_whole
from rbtc.lab.digests import canonical, code_digest, library_versions, tensors_digest, text_digest

BLOCK = 8
"""Pictures of one prompt are filed in blocks of this many neighbouring seeds."""


_KINDS = {"images": "pictures", "weights": "sets of tensors", "json": "results"}


class Store:
    """A folder of results, addressed by what they were made from.

    Several processes may share one folder: the worst that can happen is that both compute the same
    thing.

    Args:
        root: the folder; None takes ``runs`` under `cache_root`. It is made at the first write.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root).expanduser() if root is not None else cache_root() / "runs"
        self.reused: Counter[str] = Counter()
        self.computed: Counter[str] = Counter()

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

        A picture is addressed by (config, prompt, seed), so asking for 100 seeds after 24 makes 76.
        Missing pictures of different prompts share batches. Each batch is filed before the next
        one is begun. What a picture shared its batch with can change the rounding of a few of its
        values by one; filed, it stays as it is.

        Args:
            config: what the pictures depend on, apart from prompt and seed.
            prompts: n prompts.
            seeds: n seeds, one per prompt.
            make: turns at most ``batch`` prompts and seeds into uint8 pictures (k, h, w, 3).
            batch: pictures per call of ``make``.
            code: functions whose code the pictures depend on.
            progress: show a bar over the missing pictures.
            label: text before the bar.

        Returns:
            (uint8 pictures (n, h, w, 3) in the order asked for, whether all were there already).

        Raises:
            ValueError: lists that are empty or of unequal length, or pictures of the wrong kind.
        """
        if isinstance(prompts, str) or not 0 < len(prompts) == len(seeds):
            raise ValueError(
                f"give a list of prompts with one seed each, not {len(seeds)} seeds for "
                f"{prompts if isinstance(prompts, str) else len(prompts)!r} prompts"
            )
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        wanted = [(str(p), int(s)) for p, s in zip(prompts, seeds, strict=True)]
        stem = self.key(config, code)
        have: dict[tuple[str, int], np.ndarray] = {}
        for address in dict.fromkeys((p, s // BLOCK) for p, s in wanted):
            have.update(self._read_block(stem, address))
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in have]
        self._count("images", len(set(wanted)) - len(missing), len(missing))
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
                    self._write_block(stem, address, have)
                bar.update(len(part))
        return np.stack([have[pair] for pair in wanted]), not missing  # (n, h, w, 3)

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
        from safetensors import safe_open
        from safetensors.torch import save_file

        path = self._path("weights", self.key(config, code), "safetensors")

        def read() -> dict[str, torch.Tensor]:
            with safe_open(path, "pt") as stream:
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}
                if (stream.metadata() or {}).get("digest") != tensors_digest(tensors):
                    raise ValueError("its digest does not match its content")
            return tensors

        found = self._try(path, read)
        if found is not None:
            self._count("weights", 1, 0)
            return found, True
        made = {n: t.detach().cpu().contiguous() for n, t in sorted(make().items())}
        # Tensors that share memory cannot be saved; clones never do.
        clones = {name: tensor.clone() for name, tensor in made.items()}
        notes = {"digest": tensors_digest(made), "config": canonical(config)}
        write_whole(path, lambda target: save_file(clones, target, metadata=notes))
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
        path = self._path("json", self.key(config, code), "json")

        def read() -> Any:
            entry = json.loads(path.read_text("utf-8"))
            if entry["digest"] != text_digest(entry["value"]):
                raise ValueError("its digest does not match its content")
            return entry

        found = self._try(path, read)
        if found is not None:
            self._count("json", 1, 0)
            return found["value"], True
        value = json.loads(canonical(make()))
        entry = {"config": config, "digest": text_digest(value), "value": value}
        text = canonical(entry)
        write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))
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

    def _try(self, path: Path, read: Callable[[], Any]) -> Any | None:
        """Read a file; None when it is not there, or damaged (which is worth a warning)."""
        try:
            return read() if path.is_file() else None
        except PermissionError:
            raise
        except Exception as error:
            # A damaged file can fail anywhere inside zip, JSON, numpy or safetensors; whatever
            # went wrong, computing it again is right.
            warnings.warn(
                f"{path} is damaged and will be computed again ({error})",
                RuntimeWarning,
                stacklevel=4,
            )
            return None

    def _block_path(self, stem: str, address: tuple[str, int]) -> Path:
        key = hashlib.sha256(canonical([stem, *address]).encode()).hexdigest()
        return self._path("images", key, "npz")

    def _read_block(self, stem: str, address: tuple[str, int]) -> dict[tuple[str, int], np.ndarray]:
        path = self._block_path(stem, address)

        def read() -> dict[tuple[str, int], np.ndarray]:
            with np.load(path, allow_pickle=False) as file:  # zip members carry a checksum
                seeds, images = file["seeds"], file["images"]
            if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(seeds):
                raise ValueError(f"it holds {images.dtype} of shape {images.shape}")
            return {
                (address[0], int(seed)): image for seed, image in zip(seeds, images, strict=True)
            }

        return self._try(path, read) or {}

    def _write_block(
        self,
        stem: str,
        address: tuple[str, int],
        have: Mapping[tuple[str, int], np.ndarray],
    ) -> None:
        prompt, block = address
        seeds = [s for s in range(block * BLOCK, (block + 1) * BLOCK) if (prompt, s) in have]
        content = {
            "seeds": np.array(seeds, dtype=np.int64),
            "images": np.stack([have[prompt, s] for s in seeds]),
        }

        def write(target: Path) -> None:
            with target.open("wb") as stream:
                np.savez_compressed(stream, **content)

        write_whole(self._block_path(stem, address), write)


def _bar(total: int, label: str, shown: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=label, unit="picture", disable=not (shown and total), leave=False)
