"""Identities: canonical configurations, and digests of code, tensors and model folders."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import re
import sys
import textwrap
import types
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
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
    waiting = list(roots)
    while waiting:
        item = inspect.unwrap(waiting.pop())
        if not getattr(item, "followed", True):
            continue
        place = (item.__module__, item.__qualname__)
        if place in seen:
            continue
        seen.add(place)
        tree = _bare(ast.parse(textwrap.dedent(inspect.getsource(item))))
        parts.add(f"{item.__qualname__}\n{ast.dump(tree)}")
        for name, value in _named_in(tree, vars(sys.modules[item.__module__])):
            text, used = _plain(value)
            waiting += used
            if text is not None:
                parts.add(f"{name} = {text}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


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
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant("")  # a dataclass field keeps its name and its default
        return node


def _bare(tree: ast.Module) -> ast.Module:
    return ast.fix_missing_locations(_Bare().visit(tree))


def _named_in(tree: ast.Module, namespace: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What the names in a piece of code stand for; local names and builtins are left out."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id.startswith("__"):
            continue  # __file__ is where this machine keeps the module
        if isinstance(node, ast.Name) and node.id in namespace:
            found[node.id] = namespace[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = namespace.get(node.value.id)
            if inspect.ismodule(module) and _is_ours(module.__name__):
                found[node.attr] = getattr(module, node.attr)
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                found[alias.name] = getattr(module, alias.name)
    return sorted(found.items())


def _is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == __name__.partition(".")[0]


def _plain(value: Any) -> tuple[str | None, list[Any]]:
    """A constant as text, None for anything else; and the functions of ours that it is or holds.

    Constants are what Python writes as such, collections and dataclasses of them, arrays, tensors
    and functions with some arguments given.
    """
    if isinstance(value, (type, types.FunctionType)) or hasattr(value, "__wrapped__"):
        return None, [value] if _is_ours(getattr(value, "__module__", None)) else []
    if isinstance(value, re.Pattern):
        return repr((value.pattern, value.flags)), []
    if value is None or isinstance(value, (str, int, float, bool, bytes, torch.dtype)):
        return repr(value), []
    if isinstance(value, Mapping):
        pairs = [(_plain(key), _plain(item)) for key, item in value.items()]
        texts = sorted(f"{key}: {item}" for (key, _), (item, _) in pairs)
        return f"{{{', '.join(texts)}}}", [f for _, (_, used) in pairs for f in used]
    if isinstance(value, (np.ndarray, torch.Tensor)):
        content = np.ascontiguousarray(torch.as_tensor(value).detach().cpu().numpy())
        digest = hashlib.sha256(content.data).hexdigest()
        return f"{content.dtype} {content.shape} {digest}", []
    if isinstance(value, functools.partial):
        text, used = _plain((value.func, value.args, value.keywords))
        return f"partial{text}", used
    if dataclasses.is_dataclass(value):  # an instance: types came first
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        text, used = _plain(fields)
        return f"{type(value).__qualname__}{text}", [*used, *_plain(type(value))[1]]
    if isinstance(value, (tuple, list, set, frozenset)):
        items = [_plain(item) for item in value]
        texts = [str(text) for text, _ in items]
        if isinstance(value, (set, frozenset)):
            texts.sort()
        return f"({', '.join(texts)})", [f for _, used in items for f in used]
    return None, []


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """Public versions of the libraries that decide numbers: part of every result's identity."""
    return {name: importlib.metadata.version(name).partition("+")[0] for name in LIBRARIES}


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
