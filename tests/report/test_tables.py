import math

import numpy as np
import pandas as pd
import pytest

from rbtc.report.comparisons import Row, cell, comparison, records, verdict
from rbtc.report.tables import (
    accuracies,
    accuracy_table,
    effect,
    effects,
    effects_table,
    nested,
    percent,
    power,
    save_csv,
)
from rbtc.stats import Difference, Proportion, interval, paired


def change(value, half=0.1):
    return Difference(value, value - half, value + half, 100, 100, 0.5)


def hits():
    """Two concepts, three models; the pretrained pictures of the other class are shared."""
    lines = []
    for concept, other in (("church", "bus"), ("bus", "church")):
        for model, own, rest in (("pretrained", 10, 9), ("pruned", 2, 9), ("revived", 8, 9)):
            for asked, right in ((concept, own), (other, rest)):
                for seed in range(10):
                    place = {"concept": concept, "model": model, "asked": asked, "seed": seed}
                    lines.append({**place, "hit": seed < right})
    return pd.DataFrame(lines)


# ---- from pictures to numbers -------------------------------------------------------------------


def test_accuracies_and_their_tables():
    found = accuracies(hits(), ["concept", "model"])
    assert found["church", "pruned"].value == (2 + 9) / 20
    both = nested(hits(), "model", "concept")
    assert list(both) == ["pretrained", "pruned", "revived"]
    assert both["revived"]["bus"] == found["bus", "revived"]
    table = accuracy_table(hits(), "model", "concept")
    assert table.loc["pruned", "church"] == str(found["church", "pruned"])
    # asked for bus: once as the erased concept, once as the other class; the same ten seeds
    assert accuracies(hits(), ["asked"])["bus"].clusters == 10


def test_an_effect_is_paired():
    own = hits().query("concept == asked")
    fall = effect(own, "pretrained", "pruned")
    assert (fall.value, fall.n) == (-0.8, 20) and fall.direction == "falls"
    assert effects(own, "pruned", "revived", "concept")["bus"].value == pytest.approx(0.6)
    other = effect(hits().query("concept != asked"), "pretrained", "pruned")
    assert other.value == 0 and other.direction == "undecided" and other.clusters == 20
    shown = effects_table({"all": fall}, "pruned")
    assert shown.loc["all", "change"] == str(fall) and shown.loc["all", "outcome"] == "falls"
    with pytest.raises(ValueError, match="share no picture"):
        effect(own, "pruned", "quantised")
    with pytest.raises(ValueError, match="not unique"):
        effect(pd.concat([own, own]), "pretrained", "pruned")


# ---- verdicts -----------------------------------------------------------------------------------


def test_a_verdict_is_about_an_effect():
    assert verdict(0.08, 0.54, change(0.4)) == "same direction"
    assert verdict(0.08, 0.54, change(-0.4)) == "opposite direction"
    assert verdict(0.08, 0.54, change(0.05)) == "undecided"
    assert verdict(0.54, 0.08, change(-0.4)) == "same direction"


def test_heights_are_never_judged():
    # 0.80 -> 0.12 here is no agreement with 0.08 -> 0.11 in the paper, wherever 0.11 lies.
    fell = paired([1] * 80 + [0] * 20, [1] * 12 + [0] * 88)
    assert verdict(0.08, 0.11, fell) == "no effect printed"
    assert verdict(0.08, 0.20, fell) == "opposite direction"
    assert verdict(None, 0.9, fell) == verdict(0.9, None, fell) == verdict(0.1, 0.9, None) == ""
    # One hit in two says nothing.
    assert verdict(0.08, 0.54, paired([0, 0], [0, 1])) == "undecided"


def test_a_printed_step_within_its_own_sampling_error_is_no_direction():
    assert verdict(0.80, 0.83, change(0.4)) == "no effect printed"
    assert verdict(0.80, 0.83, change(0.4), images=5000) == "same direction"


@pytest.mark.parametrize("missing", [None, math.nan, np.float32("nan"), np.float64("nan")])
def test_nothing_to_compare_with(missing):
    assert verdict(missing, 0.5, change(0.4)) == verdict(0.5, missing, change(0.4)) == ""
    assert cell(missing) == ""


# ---- tables -------------------------------------------------------------------------------------


def rows():
    return [
        Row("church", "pruned", 0.08, Proportion(10, 100)),
        Row("church", "revived", 0.63, Proportion(90, 100), change(0.8), 0.08),
        Row("bus", "pruned", None, 0.25),
        Row("bus", "revived", 0.6, None),
    ]


def test_comparison():
    table = comparison(rows(), verdicts=True)
    assert list(table.index) == ["church", "bus"]
    assert list(dict.fromkeys(table.columns.get_level_values(0))) == ["pruned", "revived"]
    assert table.loc["church", ("pruned", "paper")] == "0.08"
    assert table.loc["church", ("pruned", "ours")] == str(Proportion(10, 100))
    assert table.loc["church", ("pruned", "verdict")] == ""
    assert table.loc["church", ("revived", "verdict")] == "same direction"
    assert table.loc["church", ("revived", "change")] == "+0.80 [+0.70, +0.90]"
    assert table.loc["bus", ("pruned", "paper")] == ""
    assert table.loc["bus", ("pruned", "ours")] == "0.25"
    assert table.loc["bus", ("revived", "ours")] == ""
    assert set(comparison(rows()).columns.get_level_values(1)) == {"paper", "ours"}


def test_uneven_rows():
    table = comparison([Row("a", "x", 1, 2.0), Row("b", "y", 3, 4.0)])
    assert table.loc["a", ("y", "ours")] == "" and table.loc["b", ("y", "ours")] == "4.00"


def test_records_keep_every_digit():
    frame = records(rows())
    assert frame["n"].tolist()[:2] == [100, 100] and frame["n"].isna().tolist()[2:] == [True, True]
    assert frame.loc[2, "low"] == frame.loc[2, "high"] == 0.25
    assert frame.loc[1, "change"] == 0.8 and math.isnan(frame.loc[0, "change"])


def test_bad_rows():
    with pytest.raises(ValueError, match="at least one"):
        comparison([])
    with pytest.raises(ValueError, match=r"twice.*church"):
        comparison([*rows(), rows()[0]])


def test_cell_and_interval():
    assert cell(Proportion(1, 3), digits=3).startswith("0.333 [")
    assert interval(2) == (2.0, 2.0, 2.0)


def two_models(label, hits, n=10):
    return [
        Row(label, "pruned", 0.08, Proportion(hits, n)),
        Row(label, "NMS", 0.82, Proportion(hits + 1, n)),
    ]


def test_a_column_appears_when_results_exist():
    own = two_models("golf ball (golf flag)", 3)
    mini = comparison(own)
    assert comparison(own, None).equals(mini)
    joined = comparison(own, two_models("golf ball", 250, 500))
    assert [kind for _, kind in joined.columns] == ["paper", "sd15", "emoji-sd"] * 2
    cells = joined.loc["golf ball (golf flag)", "pruned"]
    assert cells["sd15"].startswith("0.50 [0.4") and cells["sd15"].endswith("(n=500)")
    assert cells["emoji-sd"] == mini.loc["golf ball (golf flag)", ("pruned", "ours")]


def test_a_line_that_the_other_model_lacks_is_empty():
    joined = comparison(two_models("candle", 3), two_models("church", 5))
    assert (joined.xs("sd15", axis=1, level=1) == "").all(axis=None)


# ---- files and words ----------------------------------------------------------------------------


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


def test_words():
    assert [power(x) for x in (1e-6, 0.1, 1, 0.02)] == ["1e-6", "1e-1", "1e0", "0.02"]
    assert percent(0.9989) == "99.9 %" and percent(0.00001) == "0.001 %"
    assert percent(1) == "100 %" and percent(0) == "0 %"


def test_a_list_drawn_from_one_seed_is_paired_by_prompt_and_place():
    frame = pd.DataFrame(
        {
            "asked": "any",
            "prompt": ["a", "a", "b"] * 2,
            "repeat": [0, 1, 0] * 2,
            "seed": 0,
            "model": ["pruned"] * 3 + ["NMS"] * 3,
            "hit": [False, False, False, True, True, False],
        }
    )
    change = effect(frame, "pruned", "NMS")
    assert change.n == 3 and change.value == pytest.approx(0.5)
    assert change.clusters == 2  # the prompt that stands there twice is one picture
