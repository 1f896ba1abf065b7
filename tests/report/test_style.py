import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbtc.report.style import DASHES, apart, dashes, run_together

SHARE = st.floats(0, 1)


@given(st.lists(st.dictionaries(SHARE, SHARE, max_size=4), max_size=5))
def test_no_point_hides_another(series):
    lines = dict(enumerate(series))
    places = apart(lines, step=0.05, reach=0.1)
    assert {name: set(own) for name, own in places.items()} == {n: set(o) for n, o in lines.items()}
    points = [(places[name][x], lines[name][x]) for name in lines for x in lines[name]]
    for (x, y), (at, height) in combinations(points, 2):
        assert abs(x - at) > 0.049 or abs(y - height) >= 0.1


def test_points_that_touch_none_stay():
    lines = {"a": {0.0: 0.5, 1.0: 0.5}, "b": {0.0: 0.9, 1.0: 0.5}}
    places = apart(lines, step=0.1, reach=0.1)
    assert places["a"] == {0.0: 0.0, 1.0: 0.95} and places["b"] == {0.0: 0.0, 1.0: 1.05}


def test_decades():
    places = apart({"a": {100.0: 0.5}, "b": {100.0: 0.5}}, step=1.0, log=True)
    assert [math.log10(places[name][100.0]) for name in "ab"] == pytest.approx([1.5, 2.5])


def test_a_crossing_is_no_stretch():
    rising, falling = {0.0: 0.0, 0.5: 0.5, 1.0: 1.0}, {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}
    assert not run_together(rising, falling, 0.05)
    assert run_together(rising, {0.2: 0.2, 0.8: 0.8}, 0.05)
    assert not run_together(rising, {2.0: 0.5}, 0.05) and not run_together(rising, {}, 0.05)


def test_dashes_differ_where_lines_run_together():
    level = dict.fromkeys((0.0, 1.0), 0.5)
    lines = {"a": level, "b": level, "alone": dict.fromkeys((0.0, 1.0), 0.9), "c": level}
    assert list(dashes(lines, reach=0.02).values()) == [DASHES[0], DASHES[1], DASHES[0], DASHES[2]]
