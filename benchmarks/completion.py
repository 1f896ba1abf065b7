"""Compare ways to complete pruned weights, side by side in one run.

    python benchmarks/completion.py [--repeats 5] [--quick] [--out results]
    python benchmarks/completion.py --device cuda

writes completion_benchmark.csv, completion_benchmark.png, completion_roofline.csv and, with
--growth, completion_growth.csv. On a GPU only SD v1.5's shapes are completed, by the released loop
and by ours, and completion_gpu.csv is written. Every number is the median of `repeats` runs over
all layers of a task. Two exceptions, both named in the columns `repeats` and `note`: the released
loop on large matrices is timed step by step and multiplied by the number of steps that it takes,
and whatever needs longer than --patience for one run is not repeated.
"""

from __future__ import annotations

if __name__ == "__main__":
    from rbtc import command

    command.loading()

import argparse
import math
import statistics
from pathlib import Path

import pandas as pd
import torch
from contenders import (
    EVERYWHERE,
    FAITHFUL,
    FAST,
    LOOP,
    SMALL_ONLY,
    Contender,
    column_means,
    one_by_one,
    released_loop,
)
from growth import write_growth
from matrices import QUICK_SHAPES, SD_SHAPES, SMALL_SHAPES, SPECTRUM, Task, drawn, emoji
from measure import peak_megabytes, reset_peak, roofline, seconds
from tqdm import tqdm

from rbtc import command
from rbtc.attack.completion import complete
from rbtc.files import check_writable
from rbtc.solvers.released import exchanged, largest_set, released_exact
from rbtc.studies.completion_benchmark import race_figure
from rbtc.studies.measuring.common import at_least_one

Values = dict[str, torch.Tensor]


TASKS = ("small", "sd-v1.5", "emoji-sd")
"""Sets of matrices; the rows of one are always of one run."""


def duration(seconds: float) -> str:
    """`75.2` -> `"1 min 15 s"`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def converged(task: Task) -> tuple[Values, dict[str, int]]:
    """Return where the released loop ends on every layer, and after how many steps.

    Computed in float64 by `rbtc.solvers.released.released_exact`, which the tests hold to the loop
    as written within 1e-8.
    """
    values, steps = {}, {}
    for name, weight in tqdm(task.pruned.items(), desc=f"{task.name}: reference", unit="layer"):
        missing = task.missing[name]
        tall = weight.shape[0] > weight.shape[1]
        filled = column_means(weight.double(), missing)
        filled, mask = (filled.mT, missing.mT) if tall else (filled, missing)
        places = mask.flatten().nonzero().flatten()
        found = released_exact(filled.contiguous(), places, max_iterations=500, tolerance=1e-5)
        full = torch.zeros(mask.shape, dtype=torch.float64, device=weight.device)
        full.view(-1)[places] = found.values
        values[name], steps[name] = (full.mT if tall else full)[missing], found.iterations
    return values, steps


def quality(task: Task, values: Values, reference: Values) -> dict[str, float]:
    """Pool sign accuracy and the agreement with the converged released loop over the layers."""
    right = same = moved = n = 0.0
    for name, found in values.items():
        truth = torch.sign(task.original[name][task.missing[name]])
        count = len(found)
        right += float((torch.sign(found).to(truth) == truth).sum())
        same += float((torch.sign(found).double() == torch.sign(reference[name])).sum())
        moved += count * exchanged(largest_set(found.double()), largest_set(reference[name]))
        n += count
    return {"sign_accuracy": right / n, "sign_agreement": same / n, "top_agreement": 1 - moved / n}


def run(
    task: Task, contender: Contender, *, device: str, repeats: int, patience: float
) -> tuple[Values, dict]:
    """Complete all layers `repeats` times; return the values and the row's measurements."""
    values: Values = {}
    steps: list[int] = []
    pruned = task.pruned

    def work() -> None:
        found = contender(pruned, task.missing)
        values.update({name: estimate for name, (estimate, _) in found.items()})
        steps[:] = [iterations for _, iterations in found.values()]

    reset_peak(device)
    times = [seconds(work, device)]
    while len(times) < repeats and times[0] < patience:
        times.append(seconds(work, device))
    row = {
        "seconds": statistics.median(times),
        "repeats": len(times),
        "iterations": sum(steps),
        "peak_mb": peak_megabytes(device),
    }
    return values, row


def loop_extrapolated(task: Task, steps: dict[str, int], *, device: str, repeats: int) -> dict:
    """Time single steps of the released loop, one layer per shape, and multiply by the steps."""
    pruned, by_shape, total = task.pruned, {}, 0.0
    reset_peak(device)
    for name, weight in tqdm(pruned.items(), desc=f"{task.name}: {LOOP}", unit="layer"):
        shape, missing = tuple(weight.shape), task.missing[name]
        if shape not in by_shape:
            by_shape[shape] = statistics.median(
                seconds(lambda w=weight, m=missing: released_loop(w, m, limit=1), device)
                for _ in range(repeats)
            )
        total += by_shape[shape] * steps[name]
    return {
        "seconds": total,
        "repeats": repeats,
        "iterations": sum(steps.values()),
        "peak_mb": peak_megabytes(device),
        "note": f"extrapolated from {repeats} single steps per shape",
    }


def benchmark(
    task: Task,
    *,
    small: bool,
    device: str,
    repeats: int,
    patience: float,
    others: bool = True,
) -> pd.DataFrame:
    """Return one row per contender; without `others`, of the released loop and ours alone."""
    reference, steps = converged(task)
    entries = {name: way for name, way in EVERYWHERE.items() if others or name in (FAITHFUL, FAST)}
    if small:
        entries = {LOOP: one_by_one(released_loop), **entries, **SMALL_ONLY}
        rows = []
    else:
        loop = loop_extrapolated(task, steps, device=device, repeats=repeats)
        rows = [{"contender": LOOP, **loop, **quality(task, reference, reference)}]
    # The first call of every kernel pays for its setup.
    name = next(iter(task.pruned))
    complete(task.pruned[name], task.missing[name], max_iterations=2)
    for name, contender in (bar := tqdm(entries.items(), unit="contender")):
        bar.set_description(f"{task.name}: {name}")
        row: dict = {"contender": name, "note": ""}
        try:
            values, measured = run(
                task, contender, device=device, repeats=repeats, patience=patience
            )
        except Exception as error:  # an optional package that is missing, or no longer works
            if contender not in SMALL_ONLY.values():
                raise
            row["note"] = f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"
        else:
            row |= measured | quality(task, values, reference)
        rows.append(row)
    frame = pd.DataFrame(rows)
    loop_seconds = float(frame.loc[frame["contender"] == LOOP, "seconds"].iloc[0])
    frame["speedup"] = loop_seconds / frame["seconds"]
    frame.insert(0, "task", task.name)
    frame.insert(1, "layers", len(task.original))
    return frame


def device_name(device: str) -> str:
    """Return the device with what tells two of a kind apart."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device))
    return f"cpu, {torch.get_num_threads()} threads"


def main(arguments: list[str] | None = None) -> None:
    """Run everything and write the tables and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny shapes, a smoke test")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--patience", type=float, default=60.0, help="seconds; longer runs once")
    parser.add_argument(
        "--only", choices=TASKS, help="renew one task's rows of a table made before"
    )
    parser.add_argument("--growth", action="store_true", help="also time growing matrices")
    chosen = parser.parse_args(arguments)
    options = {"device": chosen.device, "repeats": chosen.repeats}
    at_least_one(repeats=chosen.repeats)
    if math.isnan(chosen.patience) or chosen.patience < 0:
        raise ValueError(f"--patience must be a number of seconds from 0, not {chosen.patience}")
    command.check_device(chosen.device)
    check_writable(chosen.out).mkdir(parents=True, exist_ok=True)

    if torch.device(chosen.device).type != "cpu":
        if chosen.only or chosen.growth:
            parser.error("--only and --growth are for the tables of a CPU")
        name, shapes = ("drawn", QUICK_SHAPES) if chosen.quick else ("sd-v1.5", SD_SHAPES)
        task = drawn(name, shapes, chosen.device)
        table = benchmark(task, small=False, patience=chosen.patience, others=False, **options)
        table.insert(2, "device", device_name(chosen.device))
        table["matrices"] = SPECTRUM
        table.to_csv(chosen.out / "completion_gpu.csv", index=False)
        print(table.drop(columns=["matrices"]).to_string(index=False, float_format="%.4g"))
        return
    path = chosen.out / "completion_benchmark.csv"
    if chosen.only and not path.is_file():
        parser.error(f"--only renews rows of {path}, which is missing: run without it first")
    small, large = (SMALL_SHAPES, SD_SHAPES)
    if chosen.quick:
        small, large = [(16, 64)], QUICK_SHAPES
    makers = {
        "small": lambda: drawn("small", small, chosen.device),
        "sd-v1.5": lambda: drawn("drawn" if chosen.quick else "sd-v1.5", large, chosen.device),
        "emoji-sd": lambda: None if chosen.quick else emoji(chosen.device),
    }
    tables = []
    for name, make in makers.items():
        if chosen.only in (None, name) and (task := make()) is not None:
            tables.append(
                benchmark(task, small=name == "small", patience=chosen.patience, **options)
            )
    table = pd.concat(tables, ignore_index=True)
    table.insert(2, "device", device_name(chosen.device))
    table["matrices"] = ["as trained" if task == "emoji-sd" else SPECTRUM for task in table["task"]]
    if chosen.only:
        before = pd.read_csv(path)
        parts = [table if name == chosen.only else before[before["task"] == name] for name in TASKS]
        pd.concat(parts, ignore_index=True).to_csv(path, index=False)
        return
    table.to_csv(chosen.out / "completion_benchmark.csv", index=False)
    race_figure(table).savefig(chosen.out / "completion_benchmark.png", dpi=150)

    shape = (32, 128) if chosen.quick else (1280, 5120)
    limits = roofline(*shape, **options)
    limits.insert(0, "device", device_name(chosen.device))
    limits.to_csv(chosen.out / "completion_roofline.csv", index=False)
    if chosen.growth:
        write_growth(chosen.out, quick=chosen.quick, **options)
    columns = ["task", "contender", "seconds", "repeats", "iterations", "peak_mb", "sign_accuracy",
               "sign_agreement", "top_agreement", "speedup"]  # fmt: skip
    print(table[columns].to_string(index=False, float_format="%.4g"))
    print(limits.drop(columns=["device"]).to_string(index=False, float_format="%.3g"))
    faithful = table[table["contender"] == FAITHFUL]
    for name, spent in zip(faithful["task"], faithful["seconds"], strict=True):
        print(f"{name}: {FAITHFUL} in {duration(spent)}")


if __name__ == "__main__":
    command.run(main)
