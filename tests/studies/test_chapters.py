"""Pages and studies agree: the same parameters, and nothing heavy where a page only reads."""

from __future__ import annotations

import ast
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from stubs import parameter_defaults

from rbtc.results import named
from rbtc.studies.chapters import CHAPTERS, page_defaults, study
from rbtc.studies.measuring import FEWEST, MEASURES, OF_PICTURES, defaults, measuring

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_page_has_the_parameters_of_its_study(chapter):
    cell = parameter_defaults(ROOT / "notebooks" / f"{chapter}.py")
    assert cell == page_defaults(chapter)
    assert cell.pop("profile") == "mini"
    assert cell.pop("live") is False and cell.pop("results") == ""
    assert cell == defaults(chapter)
    kind = named(CHAPTERS[chapter])
    assert typing.get_type_hints(kind)  # what `load` goes by
    assert measuring(chapter).__annotations__["return"] == kind.__name__


def test_the_registry_names_chapters_of_the_book():
    names = {path.stem for path in SOURCES}
    assert set(MEASURES) == set(MEASURES) <= names
    assert {*FEWEST, *OF_PICTURES} <= set(MEASURES)
    with pytest.raises(ValueError, match="no chapter '10_claims' measures anything"):
        study("10_claims", "mini", live=True)


def test_a_page_that_reads_imports_no_torch():
    imports = [
        ast.unparse(node)
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    modules = [f"import {place.partition(':')[0]}" for place in MEASURES.values()]
    code = "\n".join([*dict.fromkeys([*imports, *modules]), "import sys"])
    code += "\nheavy = {'torch', 'diffusers', 'transformers', 'rbtc.lab'} & set(sys.modules)"
    code += "\nassert not heavy, heavy"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_page_reads_a_lab():
    for path in SOURCES:
        assert "rbtc.lab" not in path.read_text(encoding="utf-8"), path.name
