import math
from dataclasses import dataclass

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbtc.tables import (
    Row,
    cell,
    comparison,
    interval,
    records,
    save_csv,
    save_snippet,
    verdict,
)


@dataclass(frozen=True)
class Share:
    value: float
    low: float
    high: float
    n: int = 100


def test_agrees_inside_the_interval_and_half_a_printed_unit_around_it():
    ours = Share(0.54, 0.44, 0.63)
    assert verdict(0.44, ours) == "agrees"
    assert verdict(0.635, ours) == "agrees"
    assert verdict(0.64, ours) == "below"
    assert verdict(0.40, ours) == "above"
    assert verdict(0.54, 0.5449) == "agrees"
    assert verdict(0.54, 0.56) == "above"


def test_direction_is_judged_against_the_baselines():
    revived, pruned = Share(0.9, 0.85, 0.95), Share(0.3, 0.2, 0.4)
    options = {"paper_baseline": 0.08, "our_baseline": pruned}
    assert verdict(0.54, revived, **options) == "same direction"
    assert verdict(0.54, Share(0.1, 0.05, 0.15), **options) == "opposite direction"
    assert verdict(0.70, Share(0.45, 0.35, 0.55), **options) == "undecided"
    assert verdict(0.54, revived, paper_baseline=0.54, our_baseline=pruned) == "undecided"
    # Without one of the two there is no effect to speak of.
    assert verdict(0.54, revived, paper_baseline=0.08) == "above"


@pytest.mark.parametrize("paper", [None, math.nan])
def test_nothing_to_compare_with(paper):
    assert verdict(paper, 0.5) == "not in the paper"
    assert verdict(0.5, paper) == "not in the paper"


@given(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 1))
def test_verdict_is_antisymmetric(value, half, paper):
    ours = Share(value, value - half, value + half)
    mirrored = Share(1 - value, 1 - value - half, 1 - value + half)
    if abs(abs(value - paper) - half - 0.005) < 1e-9:
        return  # on the edge, where rounding decides
    swap = {"above": "below", "below": "above", "agrees": "agrees"}
    assert verdict(1 - paper, mirrored) == swap[verdict(paper, ours)]


def rows():
    return [
        Row("church", "pruned", 0.08, Share(0.1, 0.05, 0.2)),
        Row("church", "revived", 0.63, Share(0.9, 0.83, 0.94), 0.08, Share(0.1, 0.05, 0.2)),
        Row("bus", "pruned", None, 0.25),
        Row("bus", "revived", 0.6, None),
    ]


def test_comparison():
    table = comparison(rows(), verdicts=True)
    assert list(table.index) == ["church", "bus"]
    assert list(dict.fromkeys(table.columns.get_level_values(0))) == ["pruned", "revived"]
    assert table.loc["church", ("pruned", "paper")] == "0.08"
    assert table.loc["church", ("pruned", "ours")] == "0.10 [0.05, 0.20] (n=100)"
    assert table.loc["church", ("revived", "verdict")] == "same direction"
    assert table.loc["bus", ("pruned", "paper")] == ""
    assert table.loc["bus", ("pruned", "ours")] == "0.25"
    assert table.loc["bus", ("revived", "ours")] == ""
    assert "verdict" not in comparison(rows()).columns.get_level_values(1)
    assert "0.90 [0.83, 0.94]" in comparison(rows()).to_html()


def test_uneven_rows():
    table = comparison([Row("a", "x", 1, 2.0), Row("b", "y", 3, 4.0)])
    assert table.loc["a", ("y", "ours")] == "" and table.loc["b", ("y", "ours")] == "4.00"


def test_records_keep_every_digit():
    frame = records(rows())
    assert list(frame.columns) == ["row", "column", "paper", "ours", "low", "high", "n", "verdict"]
    assert frame["n"].tolist()[:2] == [100, 100] and frame["n"].isna().tolist()[2:] == [True, True]
    assert frame.loc[2, "low"] == frame.loc[2, "high"] == 0.25


def test_bad_rows():
    with pytest.raises(ValueError, match="at least one"):
        comparison([])
    with pytest.raises(ValueError, match=r"twice.*church"):
        comparison([*rows(), rows()[0]])


def test_cell_and_interval():
    assert cell(Share(1 / 3, 0.25, 0.5, 7), digits=3) == "0.333 [0.250, 0.500] (n=7)"
    assert cell(None) == cell(math.nan) == ""
    assert interval(2) == (2.0, 2.0, 2.0)


def test_the_statistics_of_the_library_fit():
    from rbtc.stats import Proportion, bootstrap_mean

    share = Proportion(54, 100)
    assert verdict(0.54, share) == "agrees"
    assert cell(share) == str(share)
    assert cell(bootstrap_mean([0.1, 0.2, 0.3])).endswith("(n=3)")


def test_save_csv(tmp_path):
    path = save_csv(records(rows()), "table_01", tmp_path / "new")
    assert path == tmp_path / "new" / "table_01.csv"
    again = pd.read_csv(path)
    assert again["ours"].tolist()[:3] == [0.1, 0.9, 0.25] and "Unnamed: 0" not in again
    save_csv(pd.DataFrame({"a": [1]}, index=["x"]), "table_01", tmp_path / "new")
    assert pd.read_csv(path, index_col=0).loc["x", "a"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["table_01.csv"]
    for name in ("", "a/b", "x.csv"):
        with pytest.raises(ValueError, match="plain file name"):
            save_csv(again, name, tmp_path)


def test_a_snippet_holds_the_text_and_the_table(tmp_path):
    frame = pd.DataFrame({"ours": [0.5]}, index=["pruned"])
    path = save_snippet("A sentence.", frame, tmp_path / "new" / "snippet.md")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("A sentence.\n\n<table")
    assert "<td>0.5</td>" in text and text.count("\n") == 3
    assert [f.name for f in path.parent.iterdir()] == ["snippet.md"]
