"""How fast the completion is: the tables that ``benchmarks/completion.py`` wrote, read for a page.

The benchmark takes minutes on a machine that does nothing else, so a chapter does not run it: it
reads the files, and each says on which device it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rbtc.files import read_frame
from rbtc.report.style import house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "python benchmarks/completion.py --growth"
COLUMNS = {
    "benchmark": "task layers device contender note seconds repeats iterations peak_mb "
    "sign_accuracy sign_agreement top_agreement speedup matrices",
    "roofline": "device shape part flops bytes seconds gflop_per_s least_seconds share_of_limit "
    "product_gflop_per_s copy_gb_per_s",
    "growth": "device mode axis rows columns share seconds exponent",
}
LOOP, FAITHFUL, FAST = "released loop (SVD, float64)", "rbtc released", "rbtc released, fast"

SD = "sd-v1.5"
GPU = "completion_gpu.csv"
GPU_BAR = 2.0
"""What the project asks at SD v1.5's shapes on an H100: seconds at most."""
AXES = {"rows": "rows", "columns": "columns", "share": "share of missing entries"}
"""What grows, for a reader."""
BARS = {FAITHFUL: (60.0, 12.0), FAST: (15.0, 50.0)}
"""What the project asks at SD v1.5's shapes on two cores: seconds at most, times the loop."""
MEMORY_BAR = 3.0
"""GB of the process at most."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """The three tables of one run of the benchmark.

    Attributes:
        contenders: one row per task and way to complete: seconds for all layers (median), peak
            memory in MiB, shares of right signs and of agreement with the converged released loop.
        roofline: one row per part of an iteration: operations, bytes, seconds, the least seconds
            that the product and copy rates of the same run allow.
        growth: seconds along one axis at a time, with the fitted exponent of each axis.
        gpu: like ``contenders``, of another run on a GPU; empty where there was none.
    """

    contenders: pd.DataFrame
    roofline: pd.DataFrame
    growth: pd.DataFrame
    gpu: pd.DataFrame

    def task(self, name: str) -> pd.DataFrame:
        """Rows of one set of matrices that were measured, the slowest first.

        Raises:
            ValueError: there is no such set.
        """
        if name not in (known := self.contenders["task"].unique()):
            raise ValueError(f"the benchmark has no task {name!r}, but {', '.join(known)}")
        own = self.contenders[self.contenders["task"] == name]
        return own.dropna(subset=["seconds"]).sort_values("seconds", ascending=False)

    def table(self, name: str) -> pd.DataFrame:
        """One set of matrices for a reader: by contender, in numbers of a sensible length."""
        own = self.task(name)
        return _shown(
            own.assign(gigabytes=own["peak_mb"] / 1024).set_index("contender"),
            {
                "seconds": ("seconds", "{:.3g}"),
                "times faster": ("speedup", "{:.3g}"),
                "iterations": ("iterations", "{:.0f}"),
                "peak memory (GB)": ("gigabytes", "{:.2f}"),
                "right signs": ("sign_accuracy", "{:.3f}"),
                "signs as the loop": ("sign_agreement", "{:.2%}"),
                "Top-0.6 as the loop": ("top_agreement", "{:.2%}"),
            },
        )

    def absent(self) -> pd.DataFrame:
        """Which ways could not be run, and why."""
        gone = self.contenders[self.contenders["seconds"].isna()]
        return gone[["contender", "note"]].drop_duplicates().set_index("contender")

    def bars(self) -> pd.DataFrame:
        """What the faithful and the fast completion take at SD v1.5's shapes, beside what is asked.

        One line per mode on the CPU, and one on the GPU where there was one.
        """
        lines = {}
        for name, (most, times) in BARS.items():
            row = self.task(SD).set_index("contender").loc[name]
            lines[name, row["device"]] = {
                "seconds": f"{row['seconds']:.1f} (asked: {most:.0f})",
                "times the loop's speed": f"{row['speedup']:.0f} (asked: {times:.0f})",
                "peak memory, GB": f"{row['peak_mb'] / 1024:.1f} (asked: {MEMORY_BAR:.0f})",
                "signs as the loop's": f"{row['sign_agreement']:.2%}",
            }
        for row in self.gpu[self.gpu["contender"].isin(list(BARS))].to_dict("records"):
            lines[row["contender"], row["device"]] = {
                "seconds": f"{row['seconds']:.2f} (asked: {GPU_BAR:.0f})",
                "times the loop's speed": f"{row['speedup']:.0f}",
                "peak memory, GB": "",
                "signs as the loop's": f"{row['sign_agreement']:.3%}",
            }
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis(["mode", "on"])

    def limits(self) -> pd.DataFrame:
        """The roofline for a reader, one row per part of an iteration."""
        frame = self.roofline.set_index("part")
        small = frame.assign(flops=frame["flops"] / 1e9, bytes=frame["bytes"] / 1e6)
        times = ["seconds", "least_seconds"]
        small[times] = frame[times] * 1e3
        return _shown(
            small,
            {
                "Gflop": ("flops", "{:.2f}"),
                "MB": ("bytes", "{:.0f}"),
                "ms": ("seconds", "{:.1f}"),
                "least ms": ("least_seconds", "{:.1f}"),
                "share of the limit": ("share_of_limit", "{:.0%}"),
            },
        )


def _shown(frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Heading -> (column, format) as a table of texts."""
    shown = {name: frame[one].map(text.format) for name, (one, text) in columns.items()}
    return pd.DataFrame(shown)


def read_benchmark(folder: str | Path = "results") -> Benchmark:
    """The tables that the benchmark wrote into ``folder``.

    Raises:
        FileNotFoundError: it has not been run.
        ValueError: a file is of another edition.
    """
    frames = {}
    for name, columns in COLUMNS.items():
        path = Path(folder) / f"completion_{name}.csv"
        frames[name] = read_frame(path, columns.split(), COMMAND)
    path = Path(folder) / GPU
    gpu = read_frame(path) if path.is_file() else frames["benchmark"].iloc[:0]
    return Benchmark(frames["benchmark"], frames["roofline"], frames["growth"], gpu)


def race_figure(contenders: pd.DataFrame) -> Figure:
    """Seconds of every way for all layers, one panel per set of matrices, on a logarithmic axis.

    Args:
        contenders: of `Benchmark`; ways that were not measured are left out.
    """
    measured = contenders.dropna(subset=["seconds"])
    groups = list(measured.groupby("task", sort=False))
    heights = [len(own) + 1.5 for _, own in groups]
    with house_style():
        size = (6.9, 0.3 * sum(heights) + 0.5)
        figure, axes = new_figure(len(groups), 1, size, squeeze=False, height_ratios=heights)
        for ax, (name, own) in zip(axes[:, 0], groups, strict=True):
            own = own.sort_values("seconds", ascending=False)
            ours = own["contender"].str.startswith("rbtc")
            colours = ["#0173b2" if mine else "#949494" for mine in ours]
            bars = ax.barh(own["contender"], own["seconds"], color=colours)
            told = [f" {s:,.0f} s" if s >= 100 else f" {s:.3g} s" for s in own["seconds"]]
            ax.bar_label(bars, labels=told, fontsize=8)
            ax.set_xscale("log")
            ax.margins(x=0.2)
            ax.grid(False)
            layers = int(own["layers"].iloc[0])
            ax.set_title(f"{name}, {layers} {'layer' if layers == 1 else 'layers'}", loc="left")
            ax.tick_params("y", labelsize=8)
        axes[-1, 0].set_xlabel("seconds for all layers")
    return figure


def growth_figure(growth: pd.DataFrame) -> Figure:
    """Seconds against rows, columns and missing share, one panel each, both axes logarithmic.

    Args:
        growth: of `Benchmark`.
    """
    axes_of = list(dict.fromkeys(growth["axis"]))
    with house_style():
        figure, axes = new_figure(1, len(axes_of), (6.9, 2.6), sharey=True, squeeze=False)
        for ax, axis in zip(axes[0], axes_of, strict=True):
            for mode, own in growth[growth["axis"] == axis].groupby("mode", sort=False):
                slope = own["exponent"].iloc[0]
                ax.plot(own[axis], own["seconds"], "o-", label=f"{mode}: {slope:.2f}", ms=4)
            ax.set(xscale="log", yscale="log", xlabel=AXES.get(str(axis), str(axis)))
            places = sorted(growth.loc[growth["axis"] == axis, axis].unique())
            ax.set_xticks(places, [f"{place:g}" for place in places], fontsize=7, rotation=45)
            ax.minorticks_off()
            ax.legend(title="exponent", fontsize=8, title_fontsize=8)
        axes[0, 0].set_ylabel("seconds")
    return figure
