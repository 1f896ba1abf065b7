"""Results of SD v1.5 join a chapter's tables where they exist."""

from __future__ import annotations

import pytest

from rbtc.report import tables
from rbtc.report.beside import beside
from rbtc.stats import Proportion


def rows(label, hits, n=10):
    return [
        tables.Row(label, "pruned", 0.08, Proportion(hits, n)),
        tables.Row(label, "NMS", 0.82, Proportion(hits + 1, n)),
    ]


def test_a_column_appears_when_results_exist(tmp_path):
    mini = tables.comparison(rows("golf ball (golf flag)", 3))
    assert beside(mini, "08", folder=tmp_path) is mini
    tables.save_csv(tables.records(rows("golf ball", 250, 500)), "08", tmp_path)
    joined = beside(mini, "08", folder=tmp_path)
    assert [kind for _, kind in joined.columns] == ["paper", "sd15", "emoji-sd"] * 2
    cells = joined.loc["golf ball (golf flag)", "pruned"]
    assert cells["sd15"].startswith("0.50 [0.4") and cells["sd15"].endswith("(n=500)")
    assert cells["emoji-sd"] == mini.loc["golf ball (golf flag)", ("pruned", "ours")]
    assert beside(mini, "08", profile="sd15", folder=tmp_path) is mini


def test_a_line_that_the_other_model_lacks_is_empty(tmp_path):
    tables.save_csv(tables.records(rows("church", 5)), "08", tmp_path)
    joined = beside(tables.comparison(rows("candle", 3)), "08", folder=tmp_path)
    assert (joined.xs("sd15", axis=1, level=1) == "").all(axis=None)
    (tmp_path / "09.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"09.csv has no column \['column'"):
        beside(tables.comparison(rows("candle", 3)), "09", folder=tmp_path)
