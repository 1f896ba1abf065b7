"""The benchmark's tables as a page shows them."""

import pandas as pd
import pytest

from rbtc.studies import completion_benchmark as speed


def contender(name, seconds, *, task="sd-v1.5", loop=1000.0, memory=1024.0):
    return {
        "task": task, "layers": 16, "device": "cpu, 2 threads", "contender": name, "note": "",
        "seconds": seconds, "repeats": 5, "iterations": 300, "peak_mb": memory,
        "sign_accuracy": 0.9, "sign_agreement": 0.999, "top_agreement": 0.995,
        "speedup": loop / seconds if seconds else None, "matrices": "drawn",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    rows = [
        contender(speed.LOOP, 1000.0),
        contender(speed.FAITHFUL, 40.0),
        contender(speed.FAST, 16.0),
        {**contender("sklearn KNNImputer", None, task="small"), "note": "ImportError: none"},
        contender(speed.FAITHFUL, 0.5, task="small"),
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "completion_benchmark.csv", index=False)
    part = {
        "device": "cpu", "shape": "1280x5120", "part": "computed iteration", "flops": 2e9,
        "bytes": 3e7, "seconds": 0.05, "gflop_per_s": 40, "least_seconds": 0.02,
        "share_of_limit": 0.4, "product_gflop_per_s": 100, "copy_gb_per_s": 10,
    }  # fmt: skip
    pd.DataFrame([part]).to_csv(tmp_path / "completion_roofline.csv", index=False)
    growth = [
        {"device": "cpu", "mode": mode, "axis": axis, "rows": n, "columns": n, "share": 0.1 * n,
         "seconds": 0.1 * n, "exponent": 1.0}
        for mode in ("released", "fast") for axis in ("rows", "columns", "share") for n in (1, 2)
    ]  # fmt: skip
    pd.DataFrame(growth).to_csv(tmp_path / "completion_growth.csv", index=False)
    return tmp_path


def test_what_was_measured_stands_beside_what_is_asked(folder):
    bars = speed.read_benchmark(folder).bars()
    assert list(bars.index.get_level_values("mode")) == [speed.FAITHFUL, speed.FAST]
    assert list(bars["seconds"]) == ["40.0 (asked: 60)", "16.0 (asked: 15)"]
    assert bars["times the loop's speed"].iloc[0].startswith("25 (asked")


def test_tables_are_short_and_leave_out_what_was_not_measured(folder):
    made = speed.read_benchmark(folder)
    assert list(made.table("small").index) == [speed.FAITHFUL]
    assert made.table("sd-v1.5").loc[speed.FAITHFUL, "times faster"] == "25"
    assert made.absent()["note"].to_dict() == {"sklearn KNNImputer": "ImportError: none"}
    assert made.limits().loc["computed iteration", "share of the limit"] == "40%"
    with pytest.raises(ValueError, match=r"no task 'big', but sd-v1\.5, small"):
        made.task("big")


def test_figures(folder):
    made = speed.read_benchmark(folder)
    assert len(speed.race_figure(made.contenders).axes) == 2
    assert [ax.get_xlabel() for ax in speed.growth_figure(made.growth).axes] == [
        "rows", "columns", "share of missing entries",
    ]  # fmt: skip


def test_missing_and_other_editions(folder, tmp_path):
    (folder / "completion_growth.csv").write_text("device\ncpu\n")
    with pytest.raises(ValueError, match="lacks the columns"):
        speed.read_benchmark(folder)
    (folder / "completion_growth.csv").unlink()
    with pytest.raises(FileNotFoundError, match="is missing: run"):
        speed.read_benchmark(folder)


def test_a_run_on_a_gpu_is_told_where_there_is_one(folder):
    assert len(speed.read_benchmark(folder).bars()) == 2
    rows = [contender(speed.FAITHFUL, 1.5), contender(speed.FAST, 2.5)]
    frame = pd.DataFrame(rows).assign(device="NVIDIA X")
    frame.to_csv(folder / speed.GPU, index=False)
    bars = speed.read_benchmark(folder).bars().xs("NVIDIA X", level="on")
    assert list(bars["seconds"]) == ["1.50 (asked: 2)", "2.50 (asked: 2)"]
