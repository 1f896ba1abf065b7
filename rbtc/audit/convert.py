"""The tensors of a pickle as a safetensors file, without running what the pickle says.

``torch.load(weights_only=True)`` reads tensors, numbers and plain containers, and refuses every
other class; nothing is added to what it allows. It runs in a process of its own, whose memory is
limited: a small file can ask for any amount.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rbtc.files import check_new, write_whole

_WRAPPERS = ("state_dict", "model", "module", "unet")
"""Keys below which trainers keep the weights, in the order in which they are opened."""


@dataclass(frozen=True)
class Converted:
    """What was written: the layout by its names, tensors, and what is no tensor and was dropped."""

    layout: str
    tensors: int
    dropped: list[str]


def convert_pickle(source: Path, target: Path, memory: float | None = None) -> Converted:
    """Write the tensors of a file of torch's as safetensors; names and dtypes stay.

    Args:
        source: what torch.save made, of the zip or the old form.
        target: a new file, ending in .safetensors.
        memory: limit in GB; thrice the file and a GB without it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds more than tensors, naming the class; it needs more memory; it is no
            such file; or the target is there already.
    """
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    if target.suffix != ".safetensors":
        raise ValueError(f"{target} must be a new file that ends in .safetensors")
    with source.open("rb") as stream:
        if stream.read(9)[8:] == b"{":
            raise ValueError(f"{source} is a safetensors file already")
    if memory is not None and not memory > 0:
        raise ValueError(f"memory is {memory}, expected GB above 0")
    check_new(target)
    limit = int(memory * 1e9) if memory else 3 * source.stat().st_size + 10**9
    found: dict[str, Any] = {}

    def write(place: Path) -> None:
        words = [sys.executable, "-m", __name__, str(source), str(place), str(limit)]
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        child = subprocess.run(words, capture_output=True, text=True,
                               env={**os.environ, "PYTHONPATH": path})  # fmt: skip
        if child.returncode > 0:
            raise ValueError(f"{source} cannot be read: {child.stderr[-300:]}")
        # A process that was killed for memory says nothing.
        found.update(json.loads(child.stdout) if child.returncode == 0 else {"error": "memory"})
        if error := found.get("error"):
            few = f"needs more than {limit / 1e9:.1f} GB of memory: allow more (--memory)"
            raise ValueError(f"{source} {few if error == 'memory' else error}")

    write_whole(target, write)
    return Converted(**found)


def tensors(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names joined by dots, and what lies there, of nested dictionaries and lists."""
    if isinstance(found, dict | list | tuple):
        items = found.items() if isinstance(found, dict) else enumerate(found)
        for key, value in items:
            own = ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
            yield from tensors(value, f"{name}.{own}" if name else own)
    else:
        yield name, found


_LAYOUTS = {
    r"[\d.]+": "masks or saliencies without names of layers: keep them to yourself",
    r"first_stage_model\..*": "a whole model in one file",
    r"model\.diffusion_model\..*": "a UNet in the naming of one file",
    r"text_(encoder|model)\..*": "a text encoder",
    r"conv_out\..*": "a UNet of diffusers",
    r"(down|mid|up)_blocks?\..*": "a part of a UNet: the rest is the base model's",
}
"""Pattern of a name -> what a file with such a name holds; the first that fits."""


def layout(found: dict[str, Tensor]) -> str:
    """What a file holds, by the names and values of its tensors."""
    if all(bool(((one == 0) | (one == 1)).all()) for one in found.values()):
        return "masks by name of layer: keep them to yourself"
    bare = [re.sub(r"^(?:_orig_mod\.|module\.|unet\.)+", "", name) for name in found]
    fits = (what for form, what in _LAYOUTS.items() if any(re.fullmatch(form, n) for n in bare))
    return next(fits, "tensors in no layout that is known")


def _load(source: Path) -> Any:
    """What the file holds, if that is nothing but tensors and plain containers."""
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        try:
            unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(str(source))
        except Exception:  # of another form: the error itself says it
            unsafe = re.findall(r"GLOBAL ([\w.]+)", str(error))
        what = ", ".join(unsafe[:3]) or str(error).partition("\n")[0][:200]
        raise ValueError(
            f"holds more than tensors ({what}), and loading that runs code: nothing was loaded. "
            "Ask its author for safetensors, or for torch.save(model.state_dict(), FILE)"
        ) from error


def _main(source: Path, target: Path, limit: int) -> dict[str, Any]:
    """In the process of its own: load, sort out, write."""
    from safetensors.torch import save_file

    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    except (ImportError, OSError, ValueError):
        pass  # a system without such limits
    try:
        found, dropped = _load(source), []
        for key in _WRAPPERS:
            if isinstance(found, dict) and isinstance(found.get(key), dict):
                dropped += [str(other) for other in found if other != key]
                found = found[key]
        kept: dict[str, Tensor] = {}
        for name, value in tensors(found):
            plain = isinstance(value, Tensor) and value.layout is torch.strided
            if not plain or value.is_quantized:
                dropped.append(name)
            elif name in kept:
                return {"error": f"holds two tensors called {name}"}
            else:
                kept[name] = value.detach().clone(memory_format=torch.contiguous_format)
        if not kept:
            return {"error": "holds no tensor"}
        save_file(kept, target, metadata={"format": "pt"})
        return {"layout": layout(kept), "tensors": len(kept), "dropped": dropped}
    except MemoryError:
        return {"error": "memory"}
    except Exception as error:  # whatever a damaged or hostile file makes of the loader
        told = " ".join(str(error).split())
        if "allocat" in told:
            return {"error": "memory"}
        return {"error": told if isinstance(error, ValueError) else f"cannot be read: {told[:300]}"}


if __name__ == "__main__":
    print(json.dumps(_main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
