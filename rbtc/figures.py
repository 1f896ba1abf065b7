"""The book's figures, in one style: picture grids, bars, lines and a surface.

Every function returns a `matplotlib` Figure that is closed for pyplot, so a notebook shows it
once, as the value of its cell. The style holds only inside `house_style()`; importing this module
changes nothing. Figures are white, so they read the same on a light and on a dark page.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc.tables import Estimate, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One colour per role in the whole book, told apart also without colour vision.
COLOURS = {
    "pretrained": "#949494",
    "pruned": "#d55e00",
    "revived": "#0173b2",
    "defended": "#029e73",
    "paper": "#1b1b1b",
}
GAP = 2  # white pixels between the pictures of one cell

Values = Mapping[Any, Mapping[Any, Estimate | float]]


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """The book's look for everything drawn inside; the settings before are put back after."""
    import matplotlib as mpl
    import seaborn as sns
    from cycler import cycler

    style: dict[Any, Any] = {
        **sns.axes_style("whitegrid"),
        **sns.plotting_context("notebook", font_scale=0.9),
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.dpi": 110,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=sns.color_palette("colorblind")),
    }
    with mpl.rc_context(style):
        yield


def picture_grid(
    images: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str | None = None,
    cell_width: float | None = None,
) -> "Figure":
    """Rows of concepts, columns of models: `images[row][column]` is (n, h, w, 3) uint8.

    The n pictures of a cell stand side by side, at most four to a line. Columns keep the order of
    their first appearance; a cell that is not there stays empty. `cell_width` in inches, by
    default as wide as the pictures of a line need.
    """
    rows = list(images)
    columns = list(dict.fromkeys(column for row in images.values() for column in row))
    if not rows or not columns:
        raise ValueError("a picture grid needs at least one row and one column, got none")
    tiles = {
        (row, column): tile(images[row][column], what=f"images[{row!r}][{column!r}]")
        for row in rows
        for column in images[row]
    }
    # Height over width of the tallest cell of each row, so that no row wastes paper.
    shapes = [
        max(t.shape[0] / t.shape[1] for (r, _), t in tiles.items() if r == row)
        if images[row]
        else 1.0
        for row in rows
    ]
    if cell_width is None:
        across = max(min(len(cell), 4) for row in images.values() for cell in row.values())
        cell_width = max(1.4, 0.8 * across)
    size = (cell_width * len(columns) + 0.9, cell_width * sum(shapes) + (0.8 if title else 0.4))
    with house_style():
        figure, axes = _figure(len(rows), len(columns), size, squeeze=False, height_ratios=shapes)
        for number, row in enumerate(rows):
            for place, column in enumerate(columns):
                ax = axes[number, place]
                ax.grid(False)
                ax.set(xticks=[], yticks=[])
                for spine in ax.spines.values():
                    spine.set_visible(False)
                if (row, column) in tiles:
                    ax.imshow(tiles[row, column])
                if number == 0:
                    ax.set_title(column)
                if place == 0:
                    ax.set_ylabel(row, rotation=0, ha="right", va="center")
        if title:
            figure.suptitle(title, weight="bold")
    return figure


def tile(images: np.ndarray, *, per_line: int = 4, what: str = "images") -> np.ndarray:
    """Set (n, h, w, 3) uint8 pictures side by side, `per_line` to a line, on white.

    Raises ValueError for another shape or dtype; `what` names the pictures in the message.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            f"{what}: expected uint8 pictures of shape (n, height, width, 3) with n > 0, "
            f"got {images.dtype} {images.shape}"
        )
    n, height, width, _ = images.shape
    across = min(n, per_line)
    lines = -(-n // across)
    sheet = np.full(
        (lines * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, dtype=np.uint8
    )
    for number, picture in enumerate(images):
        top, left = number // across * (height + GAP), number % across * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def bars_with_intervals(
    values: Values,
    *,
    paper: Mapping[Any, Mapping[Any, float]] | None = None,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "accuracy",
    colours: Mapping[Any, str] | None = None,
    limits: tuple[float, float] | None = None,
) -> "Figure":
    """Grouped bars: `values[series][label]`, with the 95 % interval of each estimate.

    `paper[series][label]` draws the printed number as a black mark on the same bar.
    """
    import seaborn as sns

    frame = long_form(values)
    series, labels = list(values), list(dict.fromkeys(frame["x"]))
    with house_style():
        figure, ax = _figure(1, 1, (max(4.5, 0.32 * len(series) * len(labels) + 2), 3.4))
        sns.barplot(
            frame,
            x="x",
            y="value",
            hue="series",
            order=labels,
            hue_order=series,
            palette=_palette(series, colours),
            saturation=1,
            errorbar=None,
            ax=ax,
        )
        # Drawn by hand: seaborn would compute intervals of its own from the one value it has.
        width = 0.8 / len(series)
        marked = False
        for number, name in enumerate(series):
            shift = (number + 0.5) * width - 0.4
            for place, label in enumerate(labels):
                if label in values[name]:
                    value, low, high = interval(values[name][label])
                    if high > low:
                        error = [[max(value - low, 0)], [max(high - value, 0)]]
                        ax.errorbar(
                            place + shift,
                            value,
                            error,
                            fmt="none",
                            ecolor="#1b1b1b",
                            elinewidth=1,
                            capsize=2,
                        )
                printed = (paper or {}).get(name, {}).get(label)
                if printed is not None:
                    ax.plot(
                        place + shift,
                        printed,
                        "D",
                        color=COLOURS["paper"],
                        markersize=4,
                        label=None if marked else "paper",
                    )
                    marked = True
        _finish(ax, title, xlabel, ylabel, limits)
        if len(labels) > 6 or max(len(str(label)) for label in labels) > 10:
            ax.tick_params("x", rotation=30)
            for text in ax.get_xticklabels():
                text.set_horizontalalignment("right")
    return figure


def lines_with_intervals(
    values: Values,
    *,
    paper: Mapping[Any, Mapping[Any, float]] | None = None,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "accuracy",
    colours: Mapping[Any, str] | None = None,
    limits: tuple[float, float] | None = None,
    log_x: bool = False,
) -> "Figure":
    """Lines over a number: `values[series][x]`, each with a band for its 95 % intervals.

    `paper[series][x]` is drawn dashed in the series' colour.
    """
    import seaborn as sns

    frame = long_form(values)
    series = list(values)
    palette = _palette(series, colours)
    with house_style():
        figure, ax = _figure(1, 1, (5.5, 3.4))
        sns.lineplot(
            frame,
            x="x",
            y="value",
            hue="series",
            hue_order=series,
            palette=palette,
            marker="o",
            errorbar=None,
            ax=ax,
        )
        for name in series:
            own = frame.loc[frame["series"] == name].sort_values(by="x")
            ax.fill_between(
                own["x"].to_numpy(float),
                own["low"].to_numpy(float),
                own["high"].to_numpy(float),
                color=palette[name],
                alpha=0.18,
                linewidth=0,
            )
            printed = (paper or {}).get(name)
            if printed:
                x = sorted(printed)
                ax.plot(
                    x,
                    [printed[key] for key in x],
                    "--",
                    color=palette[name],
                    marker="D",
                    markersize=4,
                    label=f"{name}, paper",
                )
        if log_x:
            ax.set_xscale("log")
        _finish(ax, title, xlabel, ylabel, limits)
    return figure


def surface(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    z: np.ndarray,
    *,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    zlabel: str = "",
    log_x: bool = False,
    log_y: bool = False,
    levels: int = 10,
    limits: tuple[float, float] = (0.0, 1.0),
) -> "Figure":
    """A function of two numbers as a filled contour map with labelled lines (the paper's Fig. 7).

    `z` is (len(y), len(x)); `limits` are the ends of the colour scale, cut into `levels` steps.
    """
    x, y, z = (np.asarray(values, dtype=float) for values in (x, y, z))
    if x.ndim != 1 or y.ndim != 1 or z.shape != (len(y), len(x)):
        raise ValueError(
            f"expected z of shape (len(y), len(x)) = ({y.size}, {x.size}), got {z.shape}"
        )
    steps = np.linspace(*limits, levels + 1)
    with house_style():
        figure, ax = _figure(1, 1, (5.5, 4))
        inside = limits[0] <= np.nanmin(z) and np.nanmax(z) <= limits[1]
        filled = ax.contourf(
            x, y, z, levels=steps, cmap="cividis", extend="neither" if inside else "both"
        )
        if np.nanmin(z) < np.nanmax(z):
            with warnings.catch_warnings():
                # A map without a crossing of some level is no fault of the caller's.
                warnings.filterwarnings("ignore", message="No contour levels were found")
                lines = ax.contour(x, y, z, levels=steps, colors="white", linewidths=0.6)
                ax.clabel(lines, fmt="%.2g", fontsize=7)
        figure.colorbar(filled, ax=ax, label=zlabel)
        ax.grid(False)
        if log_x:
            ax.set_xscale("log")
        if log_y:
            ax.set_yscale("log")
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if title:
            ax.set_title(title)
    return figure


def long_form(values: Values) -> pd.DataFrame:
    """`values[series][x]` as a table: series, x, value, low, high, n. The numbers of a figure."""
    lines = [
        {
            "series": name,
            "x": x,
            **dict(zip(("value", "low", "high"), interval(ours), strict=True)),
            "n": getattr(ours, "n", None),
        }
        for name, own in values.items()
        for x, ours in own.items()
    ]
    if not lines:
        raise ValueError("a figure needs at least one value, got none")
    frame = pd.DataFrame(lines)
    frame["n"] = frame["n"].astype("Int64")
    return frame


def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple:
    """A new figure that pyplot has already let go of, and its axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
    plt.close(figure)
    return figure, axes


def _palette(series: Sequence[Any], colours: Mapping[Any, str] | None) -> dict[Any, Any]:
    """Colour per series: the given ones, the role's, else the next of the palette."""
    import seaborn as sns

    known = {**COLOURS, **(colours or {})}
    taken = {known[name] for name in series if name in known}
    others = [c for c in sns.color_palette("colorblind").as_hex() if c not in taken]
    rest = (others * (1 + len(series) // len(others)))[: len(series)]
    spare = iter(rest)
    return {name: known[name] if name in known else next(spare) for name in series}


def _finish(
    ax: "Axes", title: str | None, xlabel: str, ylabel: str, limits: tuple[float, float] | None
) -> None:
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if limits is not None:
        ax.set_ylim(*limits)
    if title:
        ax.set_title(title)
    # Beside the axes: over the data it would hide an interval sooner or later.
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=None)
