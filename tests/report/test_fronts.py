from itertools import combinations

import matplotlib as mpl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rbtc.report.fronts import apart, front

mpl.use("Agg")


def test_choices_that_coincide_are_all_seen():
    frame = pd.DataFrame(
        {
            "defence": ["layer", "row", "resampled", "noise"],
            "kept": [0.8, 0.8, 0.8, 1.0],
            "kept_low": [0.4, 0.4, 0.4, 0.5],
            "kept_high": [0.9, 0.9, 0.9, 1.0],
            "back": [0.0, 0.0, 0.0, 0.8],
        }
    )
    figure = front(
        frame, name="defence", y="back", panels={"kept": "others"}, ylabel="attacked",
        ringed=["row"],
    )  # fmt: skip
    FigureCanvasAgg(figure).draw()
    (ax,) = figure.axes
    marks = [container.lines[0] for container in ax.containers]
    places = [(float(mark.get_xdata()[0]), float(mark.get_ydata()[0])) for mark in marks]
    for (x, y), (at, height) in combinations(places, 2):
        assert abs(x - at) > 0.015 and abs(y - height) > 0.01
    assert places[3] == (1.0, 0.8)
    assert max(abs(x - 0.8) for x, _ in places[:3]) < 0.03
    ring = next(line for line in ax.lines if line.get_fillstyle() == "none")
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == places[1]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12))
def test_no_point_hides_another(points):
    heights = [y for _, y in points]
    places = apart([x for x, _ in points], step=0.05, heights=heights, reach=0.1)
    for (x, y), (at, height) in combinations(zip(places, heights, strict=True), 2):
        assert abs(x - at) > 0.049 or abs(y - height) >= 0.1


def test_points_that_touch_none_stay():
    places = apart([0.0, 1.0, 0.0, 1.0], step=0.1, heights=[0.5, 0.5, 0.9, 0.5], reach=0.1)
    assert places == pytest.approx([0.0, 0.95, 0.0, 1.05])
