"""Results of SD v1.5 join a chapter's tables where they exist."""

from __future__ import annotations

from rbtc.report import comparisons
from rbtc.report.beside import beside
from rbtc.stats import Proportion


def rows(label, hits, n=10):
    return [
        comparisons.Row(label, "pruned", 0.08, Proportion(hits, n)),
        comparisons.Row(label, "NMS", 0.82, Proportion(hits + 1, n)),
    ]


def test_a_column_appears_when_results_exist():
    own = rows("golf ball (golf flag)", 3)
    mini = comparisons.comparison(own)
    assert beside(own, None).equals(mini)
    joined = beside(own, rows("golf ball", 250, 500))
    assert [kind for _, kind in joined.columns] == ["paper", "sd15", "emoji-sd"] * 2
    cells = joined.loc["golf ball (golf flag)", "pruned"]
    assert cells["sd15"].startswith("0.50 [0.4") and cells["sd15"].endswith("(n=500)")
    assert cells["emoji-sd"] == mini.loc["golf ball (golf flag)", ("pruned", "ours")]


def test_a_line_that_the_other_model_lacks_is_empty():
    joined = beside(rows("candle", 3), rows("church", 5))
    assert (joined.xs("sd15", axis=1, level=1) == "").all(axis=None)
