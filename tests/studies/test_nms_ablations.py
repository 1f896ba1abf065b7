import math

import numpy as np
import pytest

from rbtc.report.paper import paper_value
from rbtc.report.tables import comparison
from rbtc.studies.nms_ablations import ablation_study

GOLF = "golf ball (golf flag)"


@pytest.fixture(scope="module")
def study(lab):
    return ablation_study(lab, ["golf ball", "bus"], 3, keep_ratios=[1.0, 0.5], pictures=1)


def test_ablation_counts_what_the_lab_counts(lab, study):
    golf, bus = study.subjects
    variant = lab.revived("golf ball", keep_ratio=0.5, strategy="neuron_average")
    expected = lab.measure.accuracy(variant, "golf ball", 3)
    assert study.curves(golf)["Neuron Average"][0.5].value == expected.value
    assert study.curves(golf)["pruned"][1.0].n == 3
    assert len(study.of(bus)) == 3 * (2 + 3 * 2)
    assert list(study.pictures[GOLF]) == ["pretrained", "pruned", "K = 1", "K = 0.5"]
    shown = study.pictures[GOLF]["K = 0.5"]
    np.testing.assert_array_equal(
        shown, lab.measure.images(lab.revived("golf ball", keep_ratio=0.5), "a golf flag", [0])
    )


def test_the_papers_tables_stand_beside_ours(study):
    golf, bus = study.subjects
    assert study.paper(golf)["NMS"] == {1.0: paper_value(3, "Top 1.0", "NMS")}
    assert study.paper(bus) == {}
    assert comparison(study.rows(golf), verdicts=True).shape == (2, 3 * 4)
    frame = study.effects()
    assert len(frame) == 2 * 2 * 3
    assert set(frame.loc[frame["paper"].isna(), "verdict"]) == {""}
    assert not frame["change"].isna().any()


def test_strategies_are_compared_at_the_same_k(study):
    assert list(study.against("Neuron Sample")) == ["K = 1", "K = 0.5"]
    assert study.against("NMS")["K = 1"].value == 0
    assert {one.n for one in study.revivals().values()} == {6}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ["loud"]}, "unknown strategies"),
        ({"keep_ratios": []}, "at least one K"),
        ({"keep_ratios": [2]}, r"K must lie in \(0, 1\], not \[2\]"),
        ({"keep_ratios": [math.nan]}, "K must lie in"),
    ],
)
def test_bad_settings_are_refused_before_any_work(lab, options, message):
    with pytest.raises(ValueError, match=message):
        ablation_study(lab, ["church"], 1, **options)
