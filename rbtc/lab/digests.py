"""Identities: canonical configurations, and digests of code, tensors and model folders."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from rbtc.files import file_digest

LIBRARIES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "tokenizers",
    "open_clip_torch",
    "numpy",
    "scipy",
)
"""Whose version is part of every result's identity: they draw, judge, compare or fit."""


def canonical(config: Any) -> str:
    """JSON text that equal configurations share, whatever the order of their keys.

    Raises:
        ValueError: something in it has no exact JSON form (a tensor, a path, a date, NaN).
    """

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Mapping):
            return dict(value)
        raise TypeError(f"{type(value).__name__} has no exact JSON form")

    try:
        return json.dumps(
            config, sort_keys=True, separators=(",", ":"), allow_nan=False, default=plain
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"this configuration cannot be filed: {error}") from error


@lru_cache(maxsize=64)
def code_digest(*roots: Any) -> str:
    """Sha256 of the source of functions and classes, and of all they use of this package.

    Names are followed: what a root calls, what that calls, and the module constants they read.
    Comments, docstrings, annotations, the wording of errors and warnings, layout and the module a
    function lives in do not count. A function with the attribute ``followed = False`` is left out
    with all it calls: its caller names what was chosen. Other libraries count by
    `library_versions`.
    """
    parts: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [
        (item.__module__, item.__qualname__.partition(".")[0])
        for item in map(inspect.unwrap, roots)
    ]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        module = importlib.import_module(place[0])
        names = _definitions(module)
        found = names.get(place[1])
        if isinstance(found, tuple):
            waiting.append(found)
        elif found is not None and getattr(vars(module).get(place[1]), "followed", True):
            parts.add(ast.dump(found))
            waiting += _used_in(found, place[0], names)
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


@cache
def _definitions(module: ModuleType) -> dict[str, ast.stmt | tuple[str, str]]:
    """Name -> the statement that defines it, or the (module, name) of ours that it is taken from.

    Imports count wherever they stand.
    """
    tree = _Bare().visit(ast.parse(inspect.getsource(module)))
    found: dict[str, ast.stmt | tuple[str, str]] = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and _is_ours(node.module or "")
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found |= {n.id: node for n in _names(target)}
    return found


def _names(target: ast.expr) -> list[ast.Name]:
    """The names that an assignment binds."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return [name for item in target.elts for name in _names(item)]
    return [target] if isinstance(target, ast.Name) else []


def _used_in(
    tree: ast.AST, module: str, names: Mapping[str, ast.stmt | tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """(module, name) of what a piece of code uses of this package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            yield module, node.id
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            source = names.get(owner)
            owner = ".".join(source) if isinstance(source, tuple) else owner
            if owner in sys.modules and _is_ours(owner):
                yield owner, node.attr


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


class _Bare(ast.NodeTransformer):
    """Drops docstrings, annotations, and what errors and warnings say."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant):
            return None
        if isinstance(value, ast.Call) and ast.unparse(value.func) in ("warn", "warnings.warn"):
            return ast.Pass()
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(kind, None)  # the kind of error, without its words

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant("")  # a dataclass field keeps its name and its default
        return node


@cache
def library_versions() -> dict[str, str]:
    """Public versions of the libraries that decide numbers: part of every result's identity.

    Of those that are installed: pruning needs no judges.
    """
    found = {}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name).partition("+")[0]
    return found


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Sha256 of names, dtypes, shapes and bytes; the device does not count."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def model_digest(folder: str | Path) -> str:
    """Sha256 of a model folder: every safetensors, JSON and text file below it, by relative path.

    Raises:
        FileNotFoundError: no folder, or no such file in it.
    """
    folder = Path(folder)
    suffixes = {".safetensors", ".json", ".txt"}  # .txt: the tokenizer's merges
    files = sorted(p for p in folder.rglob("*") if p.suffix in suffixes and p.is_file())
    if not files:
        what = "holds no safetensors or JSON file" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"the model folder {folder} {what}")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()


def text_digest(value: Any) -> str:
    """Sha256 of a value's canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
