import pandas as pd
import pytest

from rbtc.report.spread import changes_table, over_classes, spread_table

RIGHT = {"pruned": {"a": 2, "b": 10, "c": 3}, "NMS": {"a": 18, "b": 10, "c": 17}}
HITS = pd.DataFrame(
    [
        {"concept": concept, "model": model, "asked": concept, "seed": seed, "hit": seed < right}
        for model, of in RIGHT.items()
        for concept, right in of.items()
        for seed in range(20)
    ]
)


def test_tables():
    table = spread_table(HITS, "model", paper={"NMS": {"a": 0.5, "b": 0.7}})
    assert table.loc["pruned", "lowest class"] == "0.10 a"
    assert table.loc["pruned", "highest class"] == "0.50 b"
    assert table.loc["NMS", "paper, mean ± spread"] == "0.60 ± 0.14"
    assert table.loc["pruned", "paper, mean ± spread"] == ""
    changes = changes_table(HITS, {"attack": ("pruned", "NMS")})
    assert changes.loc["attack", ["classes that rise", "fall", "undecided"]].tolist() == [2, 0, 1]
    assert changes.loc["attack", "outcome"] == "rises"
    shared = HITS.assign(hit=HITS["seed"] < 5)
    table = spread_table(shared, "model", intervals=False)
    assert set(table["lowest class"]) == {"0.25 3 classes"}
    assert list(table) == ["ours, mean ± spread", "lowest class", "highest class"]


def test_classes_are_fewer_than_pictures():
    change = over_classes(HITS, "pruned", "NMS")
    assert change is not None and change.n == 3
    assert change.value == pytest.approx(0.5)
    assert change.low < 0 < change.high  # three classes, one of which did not move
    assert over_classes(HITS[HITS["concept"] == "a"], "pruned", "NMS") is None
    assert over_classes(HITS.assign(hit=True), "pruned", "NMS") is None  # no class says how far
