import subprocess
import sys
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rbtc.report import charts as figures
from rbtc.report import pictures as plates

mpl.use("Agg")


@dataclass(frozen=True)
class Share:
    value: float
    low: float
    high: float
    n: int = 100


VALUES = {
    "pruned": {0.2: Share(0.1, 0.05, 0.2), 0.6: Share(0.15, 0.1, 0.2)},
    "revived": {0.2: Share(0.4, 0.3, 0.5), 0.6: 0.8},
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
        "assert 'matplotlib' not in sys.modules and 'seaborn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    plt.close("all")
    figures.bars_with_intervals(VALUES)
    assert plt.get_fignums() == [], "a notebook would show the figure twice"
    with figures.house_style():
        assert mpl.rcParams["figure.facecolor"] == "white"
    assert dict(mpl.rcParams) == before


def test_picture_grid_layout():
    images = {
        "church": {"pretrained": pictures(2, 10), "pruned": pictures(2, 20)},
        "bus": {"pretrained": pictures(1, 30), "revived": pictures(6, 40)},
    }
    figure = plates.picture_grid(images, title="three models")
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
    figure = figures.bars_with_intervals(VALUES, paper=PAPER, title="t", limits=(0, 1))
    (ax,) = figure.axes
    heights = [[bar.get_height() for bar in group] for group in ax.containers[:2]]
    assert heights == [[0.1, 0.15], [0.4, 0.8]]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(legend) == ["paper", "pruned", "revived"]
    # The mark of the paper sits on the middle of its bar.
    marks = [line for line in ax.lines if line.get_marker() == "D"]
    bars = list(ax.containers[1])
    for mark, bar in zip(marks, bars, strict=True):
        assert mark.get_xdata()[0] == pytest.approx(bar.get_x() + bar.get_width() / 2)
    colour = mpl.colors.to_hex(bars[0].get_facecolor())
    assert colour != mpl.colors.to_hex(next(iter(ax.containers[0])).get_facecolor())
    drawn(figure)


def test_bars_with_a_hole_and_many_labels():
    labels = [f"a long label {n}" for n in range(8)]
    values = {"one": dict.fromkeys(labels, 0.5), "two": {labels[0]: 0.4}}
    drawn(figures.bars_with_intervals(values))


def test_lines():
    figure = figures.lines_with_intervals(VALUES, paper=PAPER, xlabel="K", log_x=True)
    (ax,) = figure.axes
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "K"
    assert len(ax.collections) == 2, "one band per series"
    dashed = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in dashed] == [[0.26, 0.71]]
    assert dashed[0].get_color() == figures.COLOURS["revived"]
    drawn(figure)


def test_points_that_coincide_have_marks_of_their_own():
    figure = figures.lines_with_intervals({"a": {0: 1.0, 1: 1.0}, "b": {0: 1.0, 1: 1.0}})
    (ax,) = figure.axes
    drawn = [line for line in ax.lines if len(line.get_xdata())]
    marks = {line.get_marker() for line in drawn}
    assert len(marks) == 2


def test_surface():
    x, y = np.logspace(-6, -1, 12), np.linspace(0.01, 0.1, 7)
    figure = figures.surface(x, y, np.outer(y, x) * 100, log_x=True, zlabel="p", title="t")
    assert figure.axes[0].get_xscale() == "log" and len(figure.axes) == 2
    drawn(figure)
    drawn(figures.surface(x, y, np.full((7, 12), 0.5)))
    with pytest.raises(ValueError, match=r"\(7, 12\).*\(12, 7\)"):
        figures.surface(x, y, np.zeros((12, 7)))


def test_long_form():
    frame = figures.long_form(VALUES)
    assert list(frame.columns) == ["series", "x", "value", "low", "high", "n"]
    assert frame["n"].tolist()[:3] == [100] * 3 and frame["n"].isna().tolist()[3]
    with pytest.raises(ValueError, match="at least one"):
        figures.long_form({"a": {}})


def test_more_series_than_colours():
    series = [f"s{n}" for n in range(25)]
    assert list(figures._palette(series, {"s3": "#123456"})) == series
