import pytest
from hits import pictures

from rbtc.report.spread import changes_table, over_classes, spread_table

HITS = pictures({"pruned": {"a": 0.1, "b": 0.5, "c": 0.15}, "NMS": {"a": 0.9, "b": 0.5, "c": 0.85}})


def test_tables():
    table = spread_table(HITS, "model", paper={"NMS": {"a": 0.5, "b": 0.7}})
    assert list(table.loc["pruned"])[1:] == ["", "0.25 ± 0.22", "0.10 a", "0.50 b"]
    assert table.loc["NMS", "paper, mean ± spread"] == "0.60 ± 0.14"
    changes = changes_table(HITS, {"attack": ("pruned", "NMS")})
    assert changes.loc["attack"].tolist()[2:] == ["rises", 2, 0, 1]
    table = spread_table(HITS.assign(hit=HITS["seed"] < 10), "model", intervals=False)
    assert set(table["lowest class"]) == {"0.25 3 classes"} and table.shape == (2, 3)


def test_classes_are_fewer_than_pictures():
    change = over_classes(HITS, "pruned", "NMS")
    assert (change.n, change.value) == (3, pytest.approx(0.5))
    assert change.low < 0 < change.high  # three classes, one of which did not move
    for none in (HITS[HITS["concept"] == "a"], HITS.assign(hit=True)):  # nothing says how far
        assert over_classes(none, "pruned", "NMS") is None
