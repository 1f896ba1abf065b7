import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]


def test_the_quick_benchmark_writes_its_tables(tmp_path):
    command = [sys.executable, "benchmarks/completion.py", "--quick", "--growth"]
    done = subprocess.run(
        [*command, "--repeats", "1", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "completion_benchmark.csv").set_index(["task", "contender"])
    assert set(table.index.get_level_values("task")) == {"small", "drawn"}
    assert (table["device"].str.startswith("cpu")).all()
    for task in ("small", "drawn"):
        loop, ours = (table.loc[(task, name)] for name in
                      ("released loop (SVD, float64)", "rbtc released"))  # fmt: skip
        assert loop["sign_agreement"] == 1.0 and loop["top_agreement"] == 1.0
        assert loop["speedup"] == 1.0
        assert ours["iterations"] == loop["iterations"]
        assert ours["sign_agreement"] > 0.99 and ours["seconds"] > 0
        assert table.loc[(task, "rbtc released, fast")]["sign_agreement"] > 0.97
    assert "extrapolated" in table.loc[("drawn", "released loop (SVD, float64)")]["note"]
    missing = table[table["seconds"].isna()]
    assert missing["note"].str.len().gt(0).all()  # whoever did not run says why
    limits = pd.read_csv(tmp_path / "completion_roofline.csv").set_index("part")
    assert limits.loc["whole iteration", "flops"] > limits["flops"].iloc[0]
    exponents = pd.read_csv(tmp_path / "completion_growth.csv")
    assert set(exponents["axis"]) == {"rows", "columns", "share"}
    assert exponents.groupby(["mode", "axis"])["exponent"].nunique().eq(1).all()
    assert (tmp_path / "completion_benchmark.png").stat().st_size > 1000
