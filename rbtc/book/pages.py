"""The book's files: notebook sources, their parameters, and the executed pages.

A chapter is three files: `notebooks/NAME.py` (the source), `notebooks/NAME.ipynb` (its un-executed
twin, which papermill reads) and `book/notebooks/NAME.ipynb` (the executed page that is published).
"""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AT_LEAST_ONE = (
    "images", "neutral_images", "word_images", "pictures", "preserved", "prompts", "sets", "shown",
    "forget", "iterations", "passes", "words", "candidates", "guesses", "repeats",
)  # fmt: skip
"""Parameters that count something that a page cannot do without."""


@dataclass(frozen=True)
class Book:
    """Where the book's files lie, below `root`."""

    root: Path

    def source(self, name: str) -> Path:
        """The py:percent source of chapter `name`."""
        return self.root / "notebooks" / f"{name}.py"

    def twin(self, name: str) -> Path:
        """The un-executed notebook paired with the source."""
        return self.source(name).with_suffix(".ipynb")

    def page(self, name: str) -> Path:
        """The executed notebook."""
        return self.root / "book" / "notebooks" / f"{name}.ipynb"

    def names(self) -> list[str]:
        """Names of all chapters with a source, sorted. FileNotFoundError if there is none."""
        names = sorted(path.stem for path in (self.root / "notebooks").glob("*.py"))
        if not names:
            raise FileNotFoundError(
                f"no notebooks/*.py in {self.root}: run in a clone of the repository, "
                "or name one with --root"
            )
        return names


def source_hash(path: Path) -> str:
    """Sha-256 of a source, independent of the platform's line ends."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def fit_parameters(given: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> dict:
    """The `given` parameters, checked against the defaults' names and types.

    Strings (from the command line) are read as the default's type: a list may be written
    `church,star`. Raises ValueError for a name that the notebook does not have and for a value of
    another type, or a count below one.
    """
    if unknown := sorted(set(given) - set(defaults)):
        raise ValueError(
            f"notebook {name} has no parameter {', '.join(unknown)}; "
            f"it takes {', '.join(defaults) or 'none'}"
        )
    fitted = {key: _fit(value, defaults[key], f"{name}: {key}") for key, value in given.items()}
    for key, value in fitted.items():
        _check_count(value, key, name)
    return fitted


def _fit(value: Any, default: Any, what: str) -> Any:
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            names = {"true": True, "false": False, "none": None, "null": None}
            value = names.get(value.lower(), value)
        if isinstance(default, list) and not isinstance(value, list):
            value = list(value) if isinstance(value, tuple) else str(value).split(",")
            value = [item.strip() if isinstance(item, str) else item for item in value]
    if default is None or value is None:
        return value
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
        raise ValueError(
            f"{what} = {value!r} is a {type(value).__name__}, "
            f"expected a {type(default).__name__} like {default!r}"
        )
    return value


def _check_count(value: Any, name: str, chapter: str) -> None:
    """Refuse a count below one, and a whole number below zero that is no seed."""
    if not isinstance(value, int) or isinstance(value, bool) or name.endswith("seed"):
        return
    if value < (least := int(name in AT_LEAST_ONE)):
        raise ValueError(f"{chapter}: {name} must be at least {least}, not {value}")


def read_page(path: Path) -> Any:
    """An executed page.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no notebook; the message names it.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the page {path} is damaged ({why}): make it again with rbtc book run "
            f"{path.stem}, or bring it back from git"
        ) from error


def replaced(text: str, begin: str, end: str, part: str, page: str) -> str:
    """`text` with `part`, which brings the markers with it, in place of what stands between them.

    Raises:
        ValueError: the markers are not there once each; `page` is named.
    """
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must hold {begin} and {end} once each")
    head, rest = text.split(begin)
    return head + part + rest.split(end)[1]
