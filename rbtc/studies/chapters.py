"""The chapters' measurements, read for their pages or made by them.

The study of chapter ``08_objects`` is a frozen dataclass in `rbtc.studies.objects`; what measures
it is in `rbtc.studies.measuring`.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

from rbtc.results import Run, folder_of, load, read_run


def study(
    chapter: str,
    profile: str,
    *,
    live: bool = False,
    results: str | Path = "",
    **parameters: Any,
) -> tuple[Any, Run]:
    """A chapter's study: read from its folder, or measured now with the page's parameters.

    Args:
        chapter: name of the chapter.
        profile: name of the profile.
        live: measure now instead of reading; nothing is written.
        results: a folder like ``results``; "" takes the repository's.
        parameters: of the page. Read measurements have parameters of their own: one that is neither
            theirs nor the page's default is refused.

    Returns:
        The study, and how it was measured.

    Raises:
        FileNotFoundError: nothing has been measured for this profile.
        ValueError: a parameter that only a measurement can answer to, or a damaged measurement.
    """
    if live:
        from rbtc.lab import Lab
        from rbtc.studies.measuring import measured

        return measured(chapter, Lab(profile), parameters)
    folder = folder_of(chapter, profile, results)
    run = read_run(folder)
    others = {name for name, value in parameters.items() if value != run.parameters.get(name)}
    usual = page_defaults(chapter) if others else {}
    for name in others:
        if parameters[name] != usual.get(name):
            raise ValueError(
                f"{name} = {parameters[name]!r} asks for another measurement than the one in "
                f"{folder} ({name} = {run.parameters.get(name)!r}): set live = True to measure it "
                "now"
            )
    return read(folder), run


def read(folder: Path) -> Any:
    """The study in a chapter's folder.

    Raises:
        ValueError: there is no such chapter, or the measurement is damaged.
    """
    try:
        module = importlib.import_module(f"rbtc.studies.{folder.name[3:]}")
    except ModuleNotFoundError as error:
        raise ValueError(f"no chapter {folder.name!r} measures anything") from error
    return load(module, folder)


class Measured:
    """What the chapters measured for a profile, read when it is asked for and kept.

    Args:
        profile: its name.
        results: a folder like ``results``; "" takes the repository's.
    """

    def __init__(self, profile: str = "mini", results: str | Path = "") -> None:
        self.profile, self.results = profile, results
        self._found: dict[str, tuple[Any, Run]] = {}

    def __getitem__(self, chapter: str) -> tuple[Any, Run]:
        """A chapter's study, and how it was measured.

        Raises:
            LookupError: it was not measured.
            ValueError: a damaged measurement.
        """
        if chapter not in self._found:
            try:
                self._found[chapter] = study(chapter, self.profile, results=self.results)
            except FileNotFoundError:
                where = f"no measurement of {chapter} with the profile {self.profile}"
                raise LookupError(where) from None
        return self._found[chapter]


def beside(chapter: str, profile: str, results: str | Path = "") -> Any:
    """The same chapter on Stable Diffusion v1.5, for a page of another profile; None without it."""
    folder = folder_of(chapter, "sd15", results)
    if profile == "sd15" or not folder.is_dir():
        return None
    return study(chapter, "sd15", results=results)[0]


def page_defaults(chapter: str) -> dict[str, Any]:
    """The parameters of a chapter's page, as its source has them."""
    source = Path(__file__).resolve().parents[2] / "notebooks" / f"{chapter}.py"
    cell = source.read_text(encoding="utf-8").partition('tags=["parameters"]\n')[2]
    try:
        lines: Any = ast.parse(cell.partition("\n# %%")[0]).body
        return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(f"{source}: its parameters are no NAME = VALUE lines: {error}") from error
