import subprocess
import sys
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer

from rbtc.intervals import Share as Estimated
from rbtc.report import charts, curves, heat, lines, style, tables
from rbtc.report import pictures as plates

mpl.use("Agg")


def share(value, low, high):
    return Estimated(value, low, high, 100, 100)


VALUES = {
    "pruned": {0.2: share(0.1, 0.05, 0.2), 0.6: share(0.15, 0.1, 0.2)},
    "revived": {0.2: share(0.4, 0.3, 0.5), 0.6: 0.8},
}
PAPER = {"revived": {0.2: 0.26, 0.6: 0.71}}


def pictures(n, value, size=8):
    return np.full((n, size, size, 3), value, dtype=np.uint8)


def drawn(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_importing_and_drawing_leave_no_trace():
    code = (
        "import sys, rbtc.report.charts, rbtc.report.pictures\n"
        "assert 'matplotlib' not in sys.modules and 'scipy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    plt.close("all")
    charts.bars_with_intervals(VALUES)
    assert plt.get_fignums() == [], "a notebook would show the figure twice"
    with style.house_style():
        assert mpl.rcParams["figure.facecolor"] == "white"
    assert dict(mpl.rcParams) == before


def test_picture_grid_layout():
    images = {
        "church": {"pretrained": pictures(2, 10), "pruned": pictures(2, 20)},
        "bus": {"pretrained": pictures(1, 30), "revived": pictures(6, 40)},
    }
    figure = plates.picture_grid(images)
    axes = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["pretrained", "pruned", "revived"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["church", "bus"]
    assert not axes[1, 1].images and not axes[0, 2].images
    shown = axes[0, 1].images[0].get_array()
    assert shown.shape == (8, 2 * 8 + plates.GAP, 3)
    assert (shown[:, :8] == 20).all() and (shown[:, 8 : 8 + plates.GAP] == 255).all()
    image = drawn(figure)
    assert (image[2, 2, :3] == 255).all()


def test_headings_of_a_grid_do_not_touch():
    cell = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    names = ["SNIP,\nall", "SNIP,\nff together x 0.0625", "SalUn,\nff together x 0.0625"]
    figure = plates.picture_grid({"golf ball (golf flag), pruned": dict.fromkeys(names, cell)})
    figure.draw_without_rendering()
    for ax in figure.axes:
        assert ax.title.get_window_extent().width <= ax.get_window_extent().width
    assert len({ax.title.get_fontsize() for ax in figure.axes}) == 1


def test_tile_wraps():
    sheet = plates.tile(np.concatenate([pictures(1, n) for n in range(1, 7)]))
    assert sheet.shape == (2 * 8 + plates.GAP, 4 * 8 + 3 * plates.GAP, 3)
    assert (sheet[-8:, 10:18] == 6).all() and (sheet[-8:, 20:] == 255).all()


@pytest.mark.parametrize(
    "bad",
    [pictures(1, 0).astype(np.float32), pictures(1, 0)[0], pictures(0, 0), pictures(1, 0)[..., :1]],
)
def test_bad_pictures(bad):
    with pytest.raises(ValueError, match=r"images\['a'\]\['b'\].*uint8.*\(n, height, width, 3\)"):
        plates.picture_grid({"a": {"b": bad}})


@pytest.mark.parametrize("images", [{}, {"a": {}}])
def test_empty_grid(images):
    with pytest.raises(ValueError, match="at least one"):
        plates.picture_grid(images)


def test_bars():
    figure = charts.bars_with_intervals(VALUES, paper=PAPER, title="t", limits=(0, 1))
    (ax,) = figure.axes
    groups = [one for one in ax.containers if isinstance(one, BarContainer)]
    heights = [[bar.get_height() for bar in group] for group in groups]
    assert heights == [[0.1, 0.15], [0.4, 0.8]]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(legend) == ["paper", "pruned", "revived"]
    # The mark of the paper sits on the middle of its bar.
    marks = [line for line in ax.lines if line.get_marker() == "D" and len(line.get_xdata())]
    bars = list(groups[1])
    for mark, bar in zip(marks, bars, strict=True):
        assert mark.get_xdata()[0] == pytest.approx(bar.get_x() + bar.get_width() / 2)
    colour = mpl.colors.to_hex(bars[0].get_facecolor())
    assert colour != mpl.colors.to_hex(next(iter(groups[0])).get_facecolor())
    drawn(figure)


def test_bars_with_a_hole_and_many_labels():
    labels = [f"a long label {n}" for n in range(8)]
    values = {"one": dict.fromkeys(labels, 0.5), "two": {labels[0]: 0.4}}
    drawn(charts.bars_with_intervals(values))


def test_lines():
    figure = lines.lines_with_intervals(VALUES, paper=PAPER, xlabel="K", log_x=True)
    (ax,) = figure.axes
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "K"
    assert len(ax.containers) == 2, "one line with intervals per series"
    dashed = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in dashed] == [[0.26, 0.71]]
    assert dashed[0].get_color() == style.COLOURS["revived"]
    drawn(figure)


def test_surface():
    x, y = np.logspace(-6, -1, 12), np.linspace(0.01, 0.1, 7)
    figure = curves.surface(x, y, np.outer(y, x) * 100, log_x=True, zlabel="p", title="t")
    assert figure.axes[0].get_xscale() == "log" and len(figure.axes) == 2
    drawn(figure)
    drawn(curves.surface(x, y, np.full((7, 12), 0.5)))
    with pytest.raises(ValueError, match=r"\(7, 12\).*\(12, 7\)"):
        curves.surface(x, y, np.zeros((12, 7)))


def test_long_form():
    frame = tables.long_form(VALUES)
    assert list(frame.columns) == ["series", "x", "value", "low", "high", "n"]
    assert frame["n"].tolist()[:3] == [100] * 3 and frame["n"].isna().tolist()[3]
    with pytest.raises(ValueError, match="at least one"):
        tables.long_form({"a": {}})


def test_more_series_than_colours():
    series = [f"s{n}" for n in range(25)]
    assert list(style.palette(series, {"s3": "#123456"})) == series


def test_what_is_no_model_has_no_models_colour():
    roles = set(style.COLOURS.values())
    series = ["dense", "sparse activations", "sparse neurons too", "more styled captions"]
    assert not roles & set(style.palette(series).values())
    assert style.palette(["pruned", "dense"])["pruned"] == style.COLOURS["pruned"]
    with style.house_style():
        assert not roles & set(mpl.rcParams["axes.prop_cycle"].by_key()["color"])


HEADINGS = [f"{method},\n{layers}" for layers in ("all", "ff together x 1", "ff together x 0.0625")
            for method in ("SNIP", "SalUn")]  # fmt: skip


@pytest.mark.parametrize(
    ("headings", "rows", "smaller"),
    [
        (HEADINGS, ["golf ball (golf flag), pruned", "church, revived"], False),
        (["pretrained", "the paper's attack", "odds"], ["church"], False),
        (["Incomprehensibilitiesandmore", "Incomprehensibility"], ["a"], True),
        (["a very long heading of a single column"], ["church"], False),
    ],
)
def test_headings_do_not_touch(headings, rows, smaller):
    figure = plates.picture_grid({row: {name: pictures(2, 9) for name in headings} for row in rows})
    drawn(figure)
    shown = [ax.title for ax in figure.axes[: len(headings)]]
    boxes = [text.get_window_extent() for text in shown]
    assert all(one.x1 + 3 <= other.x0 for one, other in pairwise(boxes))
    assert boxes[-1].x1 <= figure.bbox.x1 and max(box.y1 for box in boxes) <= figure.bbox.y1
    assert [" ".join(text.get_text().split()) for text in shown] == [
        " ".join(name.split()) for name in headings
    ]
    with style.house_style():
        usual = plates.picture_grid({"a": {"b": pictures(2, 9)}}).axes[0].title.get_fontsize()
    assert {text.get_fontsize() < usual for text in shown} == {smaller}


@pytest.mark.parametrize(
    ("labels", "series", "angle"),
    [
        (["exponent", "partners", "odds"], ["over the rung before", "over the paper's attack"], 30),
        (["other classes", "x"], ["pruned"], 0),
        ([f"down{n}.0" for n in range(16)], ["value", "gate"], 30),
        ([f"layer number {n}" for n in range(40)], ["value"], 90),
    ],
)
def test_ticks_turn_only_where_they_would_touch(labels, series, angle):
    figure = charts.bars_with_intervals({name: dict.fromkeys(labels, 0.5) for name in series})
    drawn(figure)
    ticks = figure.axes[0].get_xticklabels()
    assert [text.get_text() for text in ticks] == labels
    assert {text.get_rotation() for text in ticks} == {angle}
    places = [figure.axes[0].transData.transform((n, 0))[0] for n in range(len(labels))]
    if angle:
        height = ticks[0].get_fontsize() * figure.dpi / 72
        across = [(b - a) * np.sin(np.radians(angle)) for a, b in pairwise(places)]
        assert min(across) > height
    else:
        boxes = [text.get_window_extent() for text in ticks]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_lines_that_coincide_are_all_seen():
    same = {0.0: share(0.875, 0.8, 0.9), 10.0: share(0.875, 0.8, 0.9)}
    (ax,) = lines.lines_with_intervals({"dense": same, "sparse": dict(same)}, limits=(0, 1)).axes
    dense, sparse = (container.lines[0] for container in ax.containers)
    assert dense.get_marker() != sparse.get_marker()
    for one, other, true in zip(dense.get_xdata(), sparse.get_xdata(), (0, 10), strict=True):
        assert 0.1 <= other - one <= 0.5 and (one + other) / 2 == pytest.approx(true)
    assert [list(line.get_ydata()) for line in (dense, sparse)] == [[0.875, 0.875]] * 2


@pytest.mark.parametrize(("count", "marked"), [(5, True), (12, False)])
def test_curves_carry_marks_in_turn(count, marked):
    x = np.linspace(0, 1, 101)
    frames = [pd.DataFrame({"x": x, "y": x, "s": f"s{n}"}) for n in range(count)]
    (ax,) = curves.curves(pd.concat(frames), x="x", y="y", series="s").axes
    marks = [line.get_marker() for line in ax.lines]
    assert len(set(marks)) == (count if marked else 1)
    assert len({line.get_linestyle() for line in ax.lines}) == (1 if marked else 4)
    if marked:
        assert len({line.get_markevery() for line in ax.lines}) == count
    drawn(ax.figure)


def test_every_value_of_a_heat_map_stands_in_its_cell():
    matrix = pd.DataFrame([[0.1, 0.2], [0.3, 0.4]], index=["R1", "R2"], columns=["P1", "P2"])
    ax = heat.heat_maps({"one": matrix, "two": matrix}).axes[0]
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {(0, 0): "0.10", (1, 0): "0.20", (0, 1): "0.30", (1, 1): "0.40"}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["R1", "R2"]
    with pytest.raises(ValueError, match="at least one"):
        heat.heat_maps({})


PANEL = {
    "NMS": {0.2: share(0.2, 0.1, 0.3), 1.0: share(0.7, 0.6, 0.8)},
    "pruned": dict.fromkeys((0.2, 1.0), share(0.1, 0.0, 0.2)),
}


def test_small_multiples_share_their_axes():
    paper = {"church": {"NMS": {0.2: 0.3, 1.0: 0.5}}}
    figure = lines.small_multiples(
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
        lines.small_multiples({"church": {}})


@pytest.mark.parametrize("places", [(0.2, 1.0), ("pruned", "NMS")])
def test_class_lines_name_every_class_apart(places):
    classes = [f"class {n}" for n in range(12)]
    rows = [
        {"concept": one, "model": x, "asked": one, "seed": seed, "hit": True}
        for x in places for one in classes for seed in (0, 1)
    ]  # fmt: skip
    hits, paper = pd.DataFrame(rows), {"erased": {places[0]: 0.4}}
    figure = lines.class_lines({"erased": hits}, paper=paper)
    (ax,) = figure.axes
    names = {text.get_text(): text.xyann[1] for text in ax.texts}
    assert sorted(names) == sorted(classes)
    assert {text.xy for text in ax.texts} == {(1.0, 1.0)}  # where a thin line leads from each name
    heights = sorted(names.values())
    assert all(b - a > 0.03 for a, b in pairwise(heights))
    assert max(heights) <= ax.get_ylim()[1]
    drawn(figure)
    with pytest.raises(ValueError, match="at least one"):
        lines.class_lines({"erased": hits.iloc[:0]})
