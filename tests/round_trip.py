"""Whether a study that was saved reads back as what was measured, field by field."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from rbtc import results, saving


def run_of(chapter: str, **more) -> results.Run:
    """A record of a measurement, for tests."""
    facts = {
        "profile": "mini", "parameters": {}, "pictures": 0, "command": "", "commit": "0",
        "dirty": False, "date": "2026-01-01", "device": "CPU", "seconds": 1.0,
    }  # fmt: skip
    return results.Run(chapter=chapter, **{**facts, **more})


def assert_same(first, second, where: str = "study") -> None:
    assert type(first) is type(second) or isinstance(first, Mapping), where
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True, obj=where)
    elif isinstance(first, np.ndarray):
        np.testing.assert_array_equal(first, second, err_msg=where, strict=True)
    elif dataclasses.is_dataclass(first):
        for field in dataclasses.fields(first):
            name = field.name
            assert_same(getattr(first, name), getattr(second, name), f"{where}.{name}")
    elif isinstance(first, Mapping):
        assert list(first) == list(second), where
        for key in first:
            assert_same(first[key], second[key], f"{where}[{key!r}]")
    elif isinstance(first, tuple | list):
        assert len(first) == len(second), where
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    else:
        assert first == second or (first != first and second != second), where


def assert_reads_back(study, folder) -> None:
    """Save, read, compare."""
    place = saving.save(study, folder / "00_chapter", run_of("00_chapter"))
    assert results.read_run(place).files
    assert_same(study, results.load(type(study), place))
