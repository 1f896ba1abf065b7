"""Explorers: every picture is where the page's script looks for it, and so are the numbers."""

import dataclasses
import json

import numpy as np
import pytest

from rbtc.report.sprites import Bars, Explorer, Fact, save

SHAPE = (2, 3, 4, 2)  # concepts, kinds, steps, views


def explorer(**changes):
    numbers = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(*SHAPE, 1, 1, 1)
    pictures = np.broadcast_to(numbers, (*SHAPE, 5, 6, 3)).copy()
    made = Explorer(
        "keep", "K", ("1", "2", "3", "4"), ("a", "b", "c"), ("left", "right"), ("church", "star"),
        pictures, {(0, 1, 2): (Fact("seen", 0.5, "0.50 (n=2)"),), (0, 0, 0): ()},
        {(1, 3): Bars((0.5, 0.25), (0.125, 0.125))},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def test_a_picture_lies_where_the_script_looks_for_it():
    one = explorer()
    sheet, (width, height) = one.sheet(), one.data()["size"]
    assert (height, width) == (5, 6)
    for concept, kind, step, view in np.ndindex(SHAPE):
        row = (concept * len(one.kinds) + kind) * len(one.views) + view  # as in explorer.js
        found = sheet[row * height : (row + 1) * height, step * width : (step + 1) * width]
        assert (found == one.pictures[concept, kind, step, view]).all()


def test_numbers_are_filed_under_concept_choice_and_step():
    data = json.loads(json.dumps(explorer().data()))
    assert data["facts"] == {"0,1,2": [["seen", 0.5, "0.50 (n=2)"]]}
    assert data["bars"] == {"1,3": [[0.5, 0.25], [0.125, 0.125]]}
    (line,) = explorer().frame().to_dict("records")
    assert (line["concept"], line["choice"], line["step"]) == ("church", "b", "3")


def test_the_markup_cannot_be_broken_out_of_and_has_a_fallback():
    text = explorer(concepts=("</script><b>", "star")).markup()
    assert text.count("</script>") == 1 and "<b>" not in text.split("<noscript>")[1]
    inside = text.split('json">')[1].split("</script>")[0]
    assert json.loads(inside)["concepts"][0] == "</script><b>"
    assert '<img src="../_static/explorer/keep.webp" alt=' in text


def test_equal_explorers_make_equal_files(tmp_path):
    first = [path.read_bytes() for path in save([explorer()], tmp_path / "a")]
    assert first == [path.read_bytes() for path in save([explorer()], tmp_path / "b")]
    assert first[0][8:12] == b"WEBP" and "keep" in json.loads(first[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"pictures": np.zeros((2, 3, 4, 1, 5, 6, 3), np.uint8)},
        {"pictures": np.zeros((*SHAPE, 5, 6, 3), float)},
        {"name": "../keep"},
        {"start": 4},
    ],
)
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(ValueError, match="explorer"):
        explorer(**changes)
