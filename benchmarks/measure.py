"""Clocks, memory and the share of the hardware's limit that an iteration reaches."""

import contextlib
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from contenders import column_means
from matrices import realistic, row_wise_mask

from rbtc.solvers.polar import InverseRoot, PartlyKnown


def seconds(work: Callable[[], object], device: str) -> float:
    """Return the wall time of one call, with the device's queue empty before and after."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def median(work: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median wall time of `repeats` calls after one that is not counted."""
    work()
    return statistics.median(seconds(work, device) for _ in range(repeats))


def reset_peak(device: str) -> None:
    """Start a new high-water mark of the memory, where the system can."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes(device: str) -> float:
    """Return the peak of the device's memory, or of the whole process on a CPU, since the reset.

    Where the mark cannot be reset it is that of the process since its start.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    found = high_water("self")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 if found is None else found


def high_water(process: int | str) -> float | None:
    """Return the peak memory of a running process in megabytes; None where the system hides it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def roofline(
    rows: int, columns: int, *, device: str, repeats: int, share: float = 0.03
) -> pd.DataFrame:
    """Compare the faithful iteration with a matrix product and a copy timed in the same run.

    One row per part of the iteration: floating-point operations, bytes that have to move at least
    (every operand read once, every result written once; the sparse products read a row of Z per
    missing entry), seconds, and the least time that the measured product and copy rates allow.
    """
    m, n = rows, columns
    weight = realistic(m, n).to(device)
    missing = row_wise_mask(weight, share)
    places = missing.flatten().nonzero().flatten()
    matrix = PartlyKnown(column_means(weight, missing), places)
    root, k = InverseRoot(matrix), len(places)

    def iteration() -> None:
        """A step whose inverse root is computed, not forecast."""
        root.refill(matrix.values - root.smallest() * matrix.sample(root()))
        root.update()

    for _ in range(5):  # past the first, largest steps
        iteration()
    w, size = root(), weight.element_size()
    product = 2 * m * m * n / median(lambda: w @ weight, device, repeats)
    copy = 2 * weight.numel() * size / median(lambda: weight.clone(), device, repeats)

    counted, bases = root.products, root.bases
    timed = []
    for _ in range(repeats):
        timed.append(seconds(iteration, device))
    squares = (root.products - counted) / repeats
    reads = k * m * size if matrix.sparse else n * m * size
    work = 2 * k * m if matrix.sparse else 2 * m * m * n
    parts = [
        ("sampled product", work, reads + m * m * size, lambda: matrix.sample(w)),
        ("Gram update", work, reads + m * m * size, lambda: matrix.refill(matrix.values)),
        ("product of (m, m)", 2 * m**3, 3 * m * m * size, lambda: w @ root.gram),
        ("smallest singular value", 8 * 24 * m * m, 4 * m * m * size, root.smallest),
    ]
    table = [(name, f, b, median(job, device, repeats)) for name, f, b, job in parts]
    flops = 2 * work + squares * 2 * m**3 + parts[3][1]
    moved = 2 * parts[0][2] + squares * parts[2][2] + parts[3][2]
    table.append(("computed iteration", flops, moved, statistics.median(timed)))
    frame = pd.DataFrame(table, columns=["part", "flops", "bytes", "seconds"])
    frame["gflop_per_s"] = frame["flops"] / frame["seconds"] / 1e9
    frame["least_seconds"] = np.maximum(frame["flops"] / product, frame["bytes"] / copy)
    frame["share_of_limit"] = frame["least_seconds"] / frame["seconds"]
    frame["product_gflop_per_s"], frame["copy_gb_per_s"] = product / 1e9, copy / 1e9
    frame["products_per_iteration"], frame["new_bases"] = squares, root.bases - bases
    frame.insert(0, "shape", f"{m}x{n}")
    return frame
