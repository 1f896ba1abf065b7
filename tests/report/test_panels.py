from itertools import pairwise

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rbtc.report.panels import class_lines

from rbtc.report.charts import small_multiples
from rbtc.stats import Share as Estimated

mpl.use("Agg")


def share(value, low, high):
    return Estimated(value, low, high, 10, 10)


def drawn(figure):
    FigureCanvasAgg(figure).draw()


PANEL = {
    "NMS": {0.2: share(0.2, 0.1, 0.3), 1.0: share(0.7, 0.6, 0.8)},
    "pruned": dict.fromkeys((0.2, 1.0), share(0.1, 0.0, 0.2)),
}


def test_small_multiples_share_their_axes():
    paper = {"church": {"NMS": {0.2: 0.3, 1.0: 0.5}}}
    figure = small_multiples(
        {name: PANEL for name in ("church", "bus", "star")}, paper=paper, levels=["pruned"]
    )
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["church", "bus", "star"]
    assert len({ax.get_ylim() for ax in shown}) == 1
    dashed = [[line for line in ax.lines if line.get_linestyle() == "--"] for ax in shown]
    assert [len(lines) for lines in dashed] == [1, 0, 0]
    assert [len(ax.containers) for ax in shown] == [1, 1, 1], "a level has no interval"
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert sorted(texts) == ["NMS", "NMS, paper", "pruned"]
    drawn(figure)
    with pytest.raises(ValueError, match="at least one"):
        small_multiples({"church": {}})


@pytest.mark.parametrize("places", [(0.2, 1.0), ("pruned", "NMS")])
def test_class_lines_name_every_class_apart(places):
    classes = [f"class {n}" for n in range(12)]
    values = {x: dict.fromkeys(classes, 1.0) for x in places}
    means = {x: share(0.5, 0.4, 0.6) if x == places[0] else share(0.7, 0.6, 0.8) for x in places}
    figure = class_lines({"erased": values}, {"erased": means}, paper={"erased": {places[0]: 0.4}})
    (ax,) = figure.axes
    names = {text.get_text(): text.xyann[1] for text in ax.texts}
    assert sorted(names) == sorted(classes)
    assert {text.xy for text in ax.texts} == {(1.0, 1.0)}  # where a thin line leads from each name
    heights = sorted(names.values())
    assert all(b - a > 0.03 for a, b in pairwise(heights))
    assert max(heights) <= ax.get_ylim()[1]
    drawn(figure)
    with pytest.raises(ValueError, match="at least one"):
        class_lines({}, {})
