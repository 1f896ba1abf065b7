"""How the cost grows with rows, columns and the missing share, with fitted exponents."""

from pathlib import Path

import numpy as np
import pandas as pd
from matrices import realistic, row_wise_mask
from measure import median
from tqdm import tqdm

from rbtc.attack.completion import complete

_BASE = {"rows": 320, "columns": 1280, "share": 0.03}
_RANGES = {
    "rows": [160, 320, 640, 960, 1280],
    "columns": [1280, 2560, 3840, 5120],
    "share": [0.005, 0.01, 0.02, 0.04, 0.08, 0.2],
}
_QUICK = {"rows": [16, 32], "columns": [64, 128], "share": [0.02, 0.1]}
_STEPS = 10


def growth(*, device: str = "cpu", repeats: int = 5, quick: bool = False) -> pd.DataFrame:
    """Time complete() along one axis at a time, the others at their base value.

    Columns: mode ("released": `_STEPS` steps, start included; "fast": until the signs are at
    rest), axis, rows, columns, share, seconds, iterations, and the exponent of the axis, the slope
    of log seconds over log value by least squares. Matrices wider than tall throughout: the rows
    axis is measured at 1280 columns.
    """
    ranges = _QUICK if quick else _RANGES
    base = {"rows": 16, "columns": 64, "share": 0.03} if quick else _BASE
    modes = {
        "released": {"max_iterations": _STEPS, "tolerance": 0.0},
        "fast": {"fast": True},
    }
    jobs = [(mode, axis, value) for mode in modes for axis in ranges for value in ranges[axis]]
    rows = []
    for mode, axis, value in tqdm(jobs, desc="growth", unit="case"):
        case = {**base, axis: value}
        weight = realistic(int(case["rows"]), int(case["columns"])).to(device)
        missing = row_wise_mask(weight, case["share"])

        def work(weight=weight, missing=missing, mode=mode):
            return complete(weight, missing, **modes[mode])

        iterations = work().iterations
        rows.append(
            {"mode": mode, "axis": axis, **case, "seconds": median(work, device, repeats),
             "iterations": iterations}
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    frame["exponent"] = 0.0
    for axis, mode in {(axis, mode) for mode, axis, _ in jobs}:
        own = frame[(frame["mode"] == mode) & (frame["axis"] == axis)]
        slope = np.polyfit(np.log(own[axis].astype(float)), np.log(own["seconds"]), 1)[0]
        frame.loc[own.index, "exponent"] = slope
    frame.insert(0, "device", device)
    return frame


def write_growth(out: Path, **options) -> Path:
    """Measure the growth and write `completion_growth.csv` into `out`."""
    path = out / "completion_growth.csv"
    growth(**options).to_csv(path, index=False)
    return path
