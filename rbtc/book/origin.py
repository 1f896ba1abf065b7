"""What a page was made from: its source, the code it runs, files, model and parameters.

The runner writes it into the page, the gate works it out again: a page that differs in anything
that decides its numbers is out of date, and one that was edited by hand is not what was made.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rbtc
from rbtc.book.pages import source_hash
from rbtc.lab.digests import code_digest, model_digest, used_in
from rbtc.report.outputs import file_digest

FACTS = "facts_sha256"
"""The entry of a page's metadata that holds the digest of the others."""

INJECTED = "injected-parameters"
"""Papermill's tag of the cell that holds the parameters of a run."""


def page_code(source: Path) -> str:
    """Sha256 of the code of this package that a notebook uses, followed through all it calls.

    What only shows the stamp (`rbtc.book`) does not count, nor do comments and docstrings.

    Raises:
        ValueError: the notebook asks for something that the package does not have.
    """
    import jupytext

    cells = jupytext.read(source).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    namespace: dict[str, Any] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and _counts(node.module or ""):
            for alias in node.names:
                namespace[alias.asname or alias.name] = _member(node.module or "", alias.name)
    constants, roots = used_in(text, namespace)
    code = code_digest(*dict.fromkeys(roots))
    return hashlib.sha256(json.dumps([sorted(constants.items()), code]).encode()).hexdigest()


def _counts(module: str) -> bool:
    name = rbtc.__name__
    return f"{module}.".startswith(f"{name}.") and not module.startswith(f"{name}.book")


def _member(module: str, name: str) -> Any:
    try:
        found = importlib.import_module(module)
        if hasattr(found, name):
            return getattr(found, name)
        return importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError as error:
        raise ValueError(f"there is no {module}.{name} ({error})") from error


def page_outputs(notebook: Any) -> str:
    """Sha256 of everything that a page shows: every cell's kind, source, tags and outputs.

    Tags count because they hide cells and outputs from the site, attachments because they are
    pictures in a text.
    """
    shown = [
        {
            "kind": cell.cell_type,
            "source": cell.source,
            "tags": cell.metadata.get("tags", []),
            "attachments": dict(cell.get("attachments", {})),
            "outputs": [_plain(output) for output in cell.get("outputs", ())],
        }
        for cell in notebook.cells
    ]
    text = json.dumps(shown, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def facts_digest(facts: Mapping[str, Any]) -> str:
    """Sha256 of what a page's metadata says of its making, without this digest itself."""
    rest = {key: value for key, value in facts.items() if key != FACTS}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _plain(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output as it reads back from a file: text in one piece, without counters."""
    found = {key: value for key, value in dict(output).items() if key != "execution_count"}
    if isinstance(found.get("text"), list):
        found["text"] = "".join(found["text"])
    if "data" in found:
        found["data"] = {
            kind: "".join(value) if isinstance(value, list) else value
            for kind, value in dict(found["data"]).items()
        }
    return found


def origin(source: Path, shown: Mapping[str, Any]) -> dict[str, Any]:
    """What a page is made from, for its metadata.

    Args:
        source: the notebook's source.
        shown: what the stamp at the foot of the page says it used, see `rbtc.book.stamp.made_with`.
    """
    return {"source_sha256": source_hash(source), "code_sha256": page_code(source), **shown}


def changed(root: Path, source: Path, facts: Mapping[str, Any]) -> list[str]:
    """What is not any more as it was when a page was made; empty if all is.

    Args:
        root: the repository.
        source: the notebook's source.
        facts: the page's metadata.
    """
    found = []
    if facts.get("source_sha256") != source_hash(source):
        found.append("is older than its source")
    try:
        if facts.get("code_sha256") != page_code(source):
            found.append("is older than the code it runs")
    except (ValueError, SyntaxError) as error:
        found.append(f"has a source that cannot be read: {error}")
    files = {**facts.get("inputs", {}), **facts.get("files", {})}
    for name, digest in files.items():
        path = root / name
        if not path.is_file():
            found.append(f"goes with {name}, which is missing")
        elif file_digest(path) != digest:
            found.append(f"goes with another version of {name}")
    for folder, digest in facts.get("models", {}).items():
        try:
            if model_digest(root / folder) != digest:
                found.append(f"was made with another model in {folder}")
        except FileNotFoundError:
            found.append(f"was made with the model in {folder}, which is missing")
    return found
