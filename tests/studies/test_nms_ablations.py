import math

import numpy as np
import pytest
from round_trip import assert_reads_back

from rbtc.paper import paper_value
from rbtc.report.comparisons import comparison
from rbtc.report.spread import changes_table
from rbtc.studies.measuring.nms_ablations import ablation_study

GOLF, BUS = "golf ball (golf flag)", "school bus (bus)"


@pytest.fixture(scope="module")
def study(lab):
    return ablation_study(
        lab, ["golf ball", "bus"], 3, sweep=["church", "bus"], keep_ratios=[1.0, 0.5], pictures=1
    )


def test_the_study_reads_back(study, tmp_path):
    assert_reads_back(study, tmp_path)


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
    table = study.compact()
    assert list(table.index) == [
        (f"{other} to NMS", k)
        for other in ("pruned", "Neuron Sample", "Neuron Average")
        for k in ("1", "0.5")
    ]
    assert set(table["paper"]) == {""} == set(table["verdict"])  # it has no table for the bus
    assert study.change("pruned", 0.5).n == 6
    assert study.change("NMS", 1.0).value == 0


def test_the_sweep_has_its_own_concepts_and_draws_nothing_twice(lab, study):
    church = "church"
    assert study.hits[study.hits["concept"] == church].groupby("model").ngroups == 1 + 2
    assert not study.hits.duplicated(["concept", "model", "seed"]).any()
    assert set(study.sweep["concept"]) == {church, BUS} != set(study.tables["concept"])
    variant = lab.revived("church", keep_ratio=0.5)
    expected = lab.measure.accuracy(variant, "church", 3).value
    assert study.sweep_values()[0.5][church] == expected
    assert list(study.rival_pairs(0.5)) == ["K = 1"] and study.rival_pairs(0.6) == {}
    assert changes_table(study.sweep, study.sweep_pairs()).shape == (2, 6)


def test_drawn_magnitudes_are_averaged_over_their_seeds(lab):
    few = {"sweep": [], "keep_ratios": [1.0], "pictures": 1}
    both = ablation_study(lab, ["golf ball"], 2, draw_seeds=[1, 2], **few).hits
    one = [ablation_study(lab, ["golf ball"], 2, draw_seeds=[s], **few).hits for s in (1, 2)]
    drawn = both["model"] == "Neuron Sample, K = 1"
    assert set(both.loc[drawn, "draws"]) == {2} and set(both.loc[~drawn, "draws"]) == {1}
    mean = (one[0]["hit"] + one[1]["hit"]) / 2
    assert list(both["hit"]) == list(mean) and len(both) == len(one[0])


def test_effects_against_the_papers_means(lab):
    one = ablation_study(lab, ["golf ball"], 1, sweep=[], keep_ratios=[1.0], pictures=1)
    line = one.compact().loc[("Neuron Sample to NMS", "1")]
    change = paper_value(3, "Top 1.0", "NMS") - paper_value(3, "Top 1.0", "Neuron Sample")
    assert line["paper"] == f"{change:+.2f}" and line["verdict"] == "undecided"
    assert one.swept == one.subjects


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ["loud"]}, "unknown strategies"),
        ({"keep_ratios": []}, "at least one K"),
        ({"strategies": ["Neuron Sample"]}, "NMS among"),
        ({"sweep": ["bus", "bus"]}, "each once"),
        ({"draw_seeds": []}, "one or more draw seeds"),
        ({"draw_seeds": [1, 1]}, "each once"),
        ({"keep_ratios": [2]}, r"K must lie in \(0, 1\], not \[2\]"),
        ({"keep_ratios": [math.nan]}, "K must lie in"),
    ],
)
def test_bad_settings_are_refused_before_any_work(lab, options, message):
    with pytest.raises(ValueError, match=message):
        ablation_study(lab, ["church"], 1, **options)
