"""The transcription is checked by the paper's own arithmetic."""

import numpy as np
import pandas as pd
import pytest

from rbtc import paper

TABLES = range(1, 13)
SHAPES = {1: (13, 12), 2: (6, 16), 3: (5, 3), 4: (13, 6), 5: (5, 5), 6: (5, 2), 7: (5, 3),
          8: (5, 3), 9: (5, 3), 10: (5, 3), 11: (13, 6), 12: (13, 8)}  # fmt: skip
# (table, column) -> what the printed values average to; everywhere else print and average agree.
WRONG_AVERAGES = {(1, "erased: pretrained"): 0.9165, (2, "ConceptPrune: COCO FID"): 21.614}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_complete(table):
    frame = paper.load_table(table)
    wide = paper.wide_table(table)
    assert wide.shape == SHAPES[table] and len(frame) == np.prod(SHAPES[table])
    assert not frame.duplicated(["row", "column"]).any()
    assert (frame["table"] == table).all()
    blank = frame[frame["value"].isna()]
    assert (blank["printed"] == "").all() and (blank["note"] != "").all()
    assert len(blank) == (12 if table == 2 else 0)
    if table not in (2, 7):
        assert frame["value"].between(0, 1).all()


@pytest.mark.parametrize("table", [1, 2, 4, 11, 12])
def test_printed_averages(table):
    wide, both = paper.wide_table(table), paper.averages(table)
    assert list(both.index) == list(wide)
    for column, values in wide.items():
        mean, printed = values.drop("Average").mean(), values["Average"]
        assert both.loc[column, "printed average"] == printed
        assert both.loc[column, "mean of printed values"] == pytest.approx(mean, abs=1e-6)
        if (table, column) in WRONG_AVERAGES:
            assert mean == pytest.approx(WRONG_AVERAGES[table, column])
            assert abs(mean - printed) > 0.01
            notes = paper.load_table(table).query("row == 'Average'").set_index("column")["note"]
            assert "average" in notes[column]
        else:
            assert abs(mean - printed) <= 0.005 + 1e-9, column


def test_a_table_without_averages_is_refused():
    with pytest.raises(ValueError, match="table 5 prints no averages"):
        paper.averages(5)


def test_tables_4_and_11_are_one():
    four, eleven = paper.wide_table(4), paper.wide_table(11)
    assert np.array_equal(four, eleven)
    differing = set(four.index) ^ set(eleven.index)
    assert differing == {"Rocket", "Racket"}


def test_overlapping_tables():
    one, three, twelve = (paper.wide_table(n) for n in (1, 3, 12))
    # The smallest noise changes nothing: the whole column repeats ConceptPrune's.
    assert one["erased: ConceptPrune"].equals(twelve["defended: 1e-6"])
    methods = ["Neuron Sample", "Neuron Average", "NMS"]
    golf = one.loc["Golf Ball", [f"erased: {method}" for method in methods]]
    assert list(golf) == list(three.loc["Top 0.6", methods])
    for table, name in ((8, "Parachute"), (9, "Church"), (10, "Gas Pump")):
        again = paper.wide_table(table).loc["Top 0.6", methods]
        first = one.loc[name, [f"erased: {method}" for method in methods]]
        assert np.abs(again.to_numpy(float) - first.to_numpy(float)).max() <= 0.01 + 1e-9


def test_alignment_sums():
    five = paper.wide_table(5)  # shares of five equal groups, truncated to two decimals
    assert five.sum(axis=0).between(0.94, 1.0 + 1e-9).all()
    assert five.sum(axis=1).between(0.97, 1.0).all()


def test_sign_accuracies_imply_one_overall_accuracy():
    six = paper.wide_table(6)
    share = six.index.astype(float)
    overall = share * six["Top-K"] + (1 - share) * six["Rest"]
    assert overall.between(0.725, 0.731).all()


def test_printed_digits_are_kept():
    frame = paper.load_table(1).set_index(["row", "column"])
    assert frame.loc[("Gas Pump", "erased: pretrained"), "printed"] == "0.828"
    assert frame.loc[("Starfish", "erased: pretrained"), "printed"] == "1.00"
    assert pd.api.types.is_float_dtype(frame["value"])


def test_paper_value():
    assert paper.paper_value(1, "Church", "erased: NMS") == 0.63
    assert paper.paper_value(1, "church", "ERASED: nms") == 0.63
    assert paper.paper_value(7, "Top-0.6", "MMA") == 173
    assert paper.paper_value(12, "Average", "attacked: 1e-2") == 0.11


def test_unknown_names_list_close_matches():
    with pytest.raises(ValueError, match=r"Church"):
        paper.paper_value(1, "Chruch", "erased: NMS")
    with pytest.raises(ValueError, match=r"erased: NMS"):
        paper.paper_value(1, "Church", "erased NMS")
    with pytest.raises(ValueError, match="known"):
        paper.paper_value(6, "zebra", "Rest")
    with pytest.raises(ValueError, match=r"no table 13.*1, 2"):
        paper.load_table(13)
    with pytest.raises(ValueError, match=r"prints no value.*Monet"):
        paper.paper_value(2, "Dali", "pretrained: COCO FID")


def test_missing_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RBTC_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="RBTC_DATA"):
        paper.load_table(1)
