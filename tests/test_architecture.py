"""The order of the modules, read from their imports."""

from __future__ import annotations

import ast
import dataclasses
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from round_trip import assert_reads_back

import rbtc
from rbtc.layers import prune
from rbtc.models.subjects import Subject
from rbtc.report.tables import effect
from rbtc.studies.measuring.common import Tally

ROOT = Path(rbtc.__file__).parent
FLOORS = (
    {"layers", "matrices", "intervals", "stats", "files", "writing", "command", "solvers"},
    {"paper", "results", "saving", "models"},
    {"attack", "defense"},
    {"pruning", "audit"},
    {"lab", "report"},
    {"studies", "emoji"},
    {"book", "cli"},
)
"""Packages and modules of ``rbtc``, lowest first; each imports from its own floor and below."""

PAGES = sorted((ROOT.parent / "notebooks").glob("*.py"))

MOST_LINES = {"": 1100, "10_claims": 1930, "11_contradictions": 1200}
"""Page -> lines of code of ``rbtc`` that its imports load; "" for all others."""

OWNER = {"rbtc.pruning", "rbtc.lab", "rbtc.models", "rbtc.studies"}
"""What the attack must do without: whoever pruned, and the original model."""

TWICE = {
    *"Finding Row accuracy_table article attacked audit check choose counts".split(),
    *"harden long_form measure measured model_name noise paired prune records report".split(),
    *"revive run save scan setup share summary texts together verdict watch write".split(),
}
"""Public names that two modules define, so that a reader has to ask which is meant; none is added,
and one that was renamed comes off."""

ATTACKER = "rbtc.lab.attacker"
"""The attack on a lab's variants; of the lab it needs the variants and where results are kept."""


def _modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("rbtc", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = _modules()
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def _imports(node: ast.AST) -> Iterator[str]:
    """Modules of rbtc that are imported anywhere below a node, for annotations alone left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "rbtc":
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield whole if whole in MODULES else str(child.module)
        elif isinstance(child, ast.Import):
            yield from (a.name for a in child.names if a.name.split(".")[0] == "rbtc")
        yield from _imports(child)


IMPORTS = {name: set(_imports(tree)) for name, tree in TREES.items()}


def _loaded(tree: ast.Module) -> Iterator[str]:
    """Modules of rbtc that a module or page imports when it is loaded."""
    plain = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for name in _imports(ast.Module(plain, [])):
        parts = name.split(".")
        yield from (".".join(parts[: n + 1]) for n in range(len(parts)))  # with its packages


LOADED = {name: set(_loaded(ast.parse(path.read_text("utf-8")))) for name, path in MODULES.items()}


def _code_lines(path: Path) -> int:
    """Lines that are neither blank nor a comment nor documentation."""
    source = path.read_text("utf-8")
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
               tokenize.ENDMARKER}  # fmt: skip
    lines = {
        number
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in skipped
        for number in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_part_has_a_floor():
    parts = {_part(name) for name in MODULES} - {"", "__main__"}
    assert parts == set().union(*FLOORS)
    assert len([p for p in ROOT.glob("*.py") if not p.name.startswith("__")]) <= 10


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name):
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    if (own := _part(name)) in ("", "__main__"):
        return
    above = {one for one in IMPORTS[name] if one != "rbtc" and floor[_part(one)] > floor[own]}
    assert not above


def test_no_part_needs_itself_through_another():
    needs = {
        part: {_part(one) for name in MODULES if _part(name) == part for one in IMPORTS[name]}
        - {part, ""}
        for part in set().union(*FLOORS)
    }

    def reached(part: str, seen: frozenset[str] = frozenset()) -> set[str]:
        new = needs[part] - seen
        return new.union(*(reached(one, seen | new) for one in new))

    assert not {part for part in needs if part in reached(part)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_reader_can_read_what_a_page_rests_on(page):
    seen, waiting = set(), set(_loaded(ast.parse(page.read_text("utf-8"))))
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= LOADED.get(name, set()) - seen
    lines = {name: _code_lines(MODULES[name]) for name in seen & MODULES.keys()}
    assert sum(lines.values()) <= MOST_LINES.get(page.stem, MOST_LINES[""]), lines


def test_a_public_name_is_defined_once():
    homes = defaultdict(set)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                homes[node.name].add(module)
    twice = {name for name, modules in homes.items() if len(modules) > 1 and name[0] != "_"}
    assert twice - TWICE - {"main"} == set(), "give the newer one another name"
    assert TWICE - twice == set(), "defined once by now: take it off the list"


def test_the_attack_sees_nothing_of_the_owner():
    seen, waiting = set(), {n for n in MODULES if n.startswith("rbtc.attack.")} | {ATTACKER}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= IMPORTS.get(name, set()) - seen
    owners = {name for name in seen if any(name.startswith(one) for one in OWNER)}
    assert owners <= {ATTACKER, "rbtc.lab.digests", "rbtc.lab.store", "rbtc.lab.variant"}


# ---- the ways to add something, as book/architecture.md describes them ---------------------------


def test_a_pruner_returns_masks(lab):
    weights = lab.pretrained.weights
    masks = {name: weight.abs() > 2 * weight.abs().mean() for name, weight in weights.items()}
    variant = lab.owner.custom("largest", prune(weights, masks))
    found = lab.attacker.attack(variant)
    assert any(bool((found.weights[name][mask] != 0).any()) for name, mask in masks.items())
    assert len(lab.measure.hits(variant, [(lab.subject("church"), 2)])) == 2


def test_an_attack_and_a_defence_return_weights(lab):
    pruned, masks = lab.owner.pruned("church"), lab.owner.masks("church")

    def row_means(weight, missing):
        mean = weight.abs().sum(1, keepdim=True) / (~missing).sum(1, keepdim=True).clamp(min=1)
        return torch.where(missing, mean, weight)

    filled = {name: row_means(w, masks[name]) for name, w in pruned.weights.items()}
    variant = lab.owner.custom("row means", filled)
    assert len(lab.measure.hits(variant, [(lab.subject("church"), 2)])) == 2
    guess = lab.attacker.guess(variant, attacker="budget", share=0.02)
    assert set(guess) == set(masks)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """What a new chapter would measure."""

    subjects: tuple[Subject, ...]
    hits: pd.DataFrame


def test_a_chapter_is_a_study_that_reads_back(lab, tmp_path):
    subject = lab.subject("church")
    tally = Tally(lab, 2)
    tally.add(subject, "pretrained", lab.pretrained)
    tally.add(subject, "pruned", lab.owner.pruned(subject))
    study = Study((subject,), tally.hits)
    assert_reads_back(study, tmp_path)
    assert effect(study.hits, "pretrained", "pruned").n == 2


def test_the_threat_model_prints_itself(lab):
    told = lab.attacker.overview()
    assert set(told["the attacker"]) == {"sees", "does not see"}
