"""Which operations keep the sign of a zero, and which lose it: tried, not looked up.

Ways to cut are given a weight and its mask, and judged by what their zeros say of the weight. What
happens to a file afterwards is given a matrix that was cut by multiplication.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rbtc.audit.signed_zeros import prune_by_multiplying, read_signs
from rbtc.layers import canonicalise_zeros, prune
from rbtc.studies.signed_zeros import KEEPS, LOSES

FORMATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The number formats that checkpoints of diffusion models come in."""

IN_PART, UNKNOWN = "in part", "not here"


def _torch_pruning(weight: Tensor, mask: Tensor) -> Tensor:
    from torch.nn.utils import prune as torch_prune

    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    torch_prune.custom_from_mask(layer, "weight", ~mask)
    torch_prune.remove(layer, "weight")
    return layer.weight.detach()


def _assigned(weight: Tensor, mask: Tensor) -> Tensor:
    cut = weight.clone()
    cut[mask] = 0
    return cut


CUTS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "w * (1 - mask)": lambda w, mask: prune_by_multiplying({"w": w}, {"w": mask})["w"],
    "w * ~mask": lambda w, mask: w * ~mask,
    "torch.nn.utils.prune": _torch_pruning,
    "w * (1 - mask) + 0.0": lambda w, mask: w * (1 - mask.to(w)) + 0.0,
    "w - w * mask": lambda w, mask: w - w * mask.to(w),
    "w[mask] = 0": _assigned,
    "torch.where(mask, 0, w)": lambda w, mask: torch.where(mask, 0.0, w),
    "w.masked_fill(mask, 0)": lambda w, mask: w.masked_fill(mask, 0.0),
    "rbtc.layers.prune": lambda w, mask: prune({"w": w}, {"w": mask})["w"],
}
"""Ways to set weights to zero, by what one would write."""


def _as_csv(weight: Tensor) -> Tensor:
    text = io.StringIO()
    np.savetxt(text, weight.double().numpy(), delimiter=",")
    text.seek(0)
    return torch.from_numpy(np.loadtxt(text, delimiter=",", ndmin=2))


def _as_npy(weight: Tensor) -> Tensor:
    data = io.BytesIO()
    np.save(data, weight.float().numpy())
    data.seek(0)
    return torch.from_numpy(np.load(data, allow_pickle=False))


def _as_safetensors(weight: Tensor) -> Tensor:
    from safetensors.torch import load, save

    return load(save({"w": weight.contiguous()}))["w"]


def _as_pt(weight: Tensor) -> Tensor:
    data = io.BytesIO()
    torch.save({"w": weight}, data)
    data.seek(0)
    return torch.load(data, weights_only=True)["w"]


def _whole_numbers(weight: Tensor) -> Tensor:
    scale = weight.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127  # (rows, 1)
    levels = torch.round(weight.float() / scale).to(torch.int8)
    return levels.float() * scale


def _through_a_module(weight: Tensor) -> Tensor:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    layer.load_state_dict({"weight": weight})
    return layer.state_dict()["weight"]


LATER: Mapping[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "safetensors, saved and loaded": ("storing", _as_safetensors),
    "torch.save, loaded": ("storing", _as_pt),
    "NumPy .npy": ("storing", _as_npy),
    "text (CSV)": ("storing", _as_csv),
    "load_state_dict of a module": ("storing", _through_a_module),
    "half()": ("converting", lambda w: w.half()),
    "bfloat16()": ("converting", lambda w: w.bfloat16()),
    "float()": ("converting", lambda w: w.float()),
    "float8 (e4m3fn)": ("converting", lambda w: w.to(torch.float8_e4m3fn).float()),
    "float8 (e4m3fnuz)": ("converting", lambda w: w.to(torch.float8_e4m3fnuz).float()),
    "8-bit whole numbers and a scale": ("converting", _whole_numbers),
    "to_sparse(), to_dense()": ("converting", lambda w: w.to_sparse().to_dense()),
    "times 0.5": ("computing", lambda w: w * 0.5),
    "mean of two such models": ("computing", lambda w: (w + w) / 2),
    "mean with one cut to +0.0": ("computing", lambda w: (w + canonicalise_zeros(w)) / 2),
    "plus 0.0": ("computing", lambda w: w + 0.0),
    "abs()": ("computing", lambda w: w.abs()),
    "rbtc.layers.read_weights": ("computing", canonicalise_zeros),
}
"""What may happen to a file after it was cut: name -> its kind, and the operation."""


def cutting_table(weight: Tensor, mask: Tensor) -> pd.DataFrame:
    """One line per way to cut, one column per number format: whether its zeros tell the signs.

    Args:
        weight: (rows, columns), before it is cut.
        mask: bool of the same shape, True = cut.
    """
    lines = {name: _fates(weight, mask, lambda w, cut=cut: cut(w, mask))
             for name, cut in CUTS.items()}  # fmt: skip
    return pd.DataFrame.from_dict(lines, orient="index")


def handling_table(weight: Tensor, mask: Tensor) -> pd.DataFrame:
    """One line per operation on a matrix that was cut by multiplication; arguments as above.

    Columns: kind, and one per number format that the operation starts from.
    """

    def cut(w: Tensor) -> Tensor:
        return prune_by_multiplying({"w": w}, {"w": mask})["w"]

    lines = {
        name: {"kind": kind, **_fates(weight, mask, lambda w, work=work: work(cut(w)))}
        for name, (kind, work) in LATER.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")


def _fates(weight: Tensor, mask: Tensor, work: Callable[[Tensor], Tensor]) -> dict[str, str]:
    return {title: _fate(weight.to(dtype), mask, work) for title, dtype in FORMATS.items()}


def _fate(weight: Tensor, mask: Tensor, work: Callable[[Tensor], Tensor]) -> str:
    truth = torch.sign(weight)
    judged = mask & (truth != 0)  # too small for the format: no sign to keep
    try:
        signs = read_signs(work(weight))
    except (RuntimeError, NotImplementedError, AttributeError):
        return UNKNOWN  # a format that this release of torch lacks
    if bool((signs[judged].to(truth) == truth[judged]).all()):
        return KEEPS
    return IN_PART if bool((signs[judged] == -1).any()) else LOSES
