"""The study of Table 1, on a tiny pipeline with a judge that has no skill."""

from pathlib import Path

import numpy as np
import pytest
from round_trip import assert_reads_back
from stubs import parameter_defaults

from rbtc.models.profiles import load_profile
from rbtc.paper import paper_value
from rbtc.report.comparisons import comparison, records
from rbtc.report.spread import verdict_counts
from rbtc.studies.measuring.objects import following, object_study
from rbtc.studies.objects import MODELS

GOLF = "golf ball (golf flag)"
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture(scope="module")
def study(lab):
    return object_study(
        lab, ["church", "golf ball"], 3, other_images=2, other_classes=1, draw_seeds=[1, 2]
    )


def test_counts_what_the_lab_counts(lab, study):
    variants = {"Quant Recover": lab.owner.quantized("golf ball"), "NMS": lab.revived("golf ball"),
                "pretrained": lab.pretrained}  # fmt: skip
    erased = study.part("erased").groupby(["concept", "model"])["hit"].mean()
    for name, variant in variants.items():
        expected = lab.measure.accuracy(variant, "golf ball", 3).value
        assert erased[GOLF, name] == expected
        shown = study.pictures[GOLF][name.replace(" ", "\n")]
        np.testing.assert_array_equal(shown, lab.measure.images(variant, "a golf flag", [0]))
    assert len(study.pictures[GOLF]) == len(MODELS)
    for half in ("erased", "preserved"):
        assert list(dict.fromkeys(study.part(half)["model"])) == list(MODELS)


def test_it_reads_back_as_it_was_measured(study, tmp_path):
    assert_reads_back(study, tmp_path)


def test_draws_are_one_trial(lab, study):
    draws = [lab.revived("church", strategy="neuron_sample", seed=seed) for seed in (1, 2)]
    expected = np.mean([lab.measure.accuracy(one, "church", 3).value for one in draws])
    own = study.part("erased").query("concept == 'church' and model == 'Neuron Sample'")
    assert own["hit"].mean() == pytest.approx(expected)
    assert study.accuracy("erased", "Neuron Sample").n == 6
    assert study.step("erased", "pruned", "Neuron Sample").n == 6
    assert len(study.hits) == 2 * 7 * (3 + 2)


def test_other_classes_follow_in_turn(lab, study):
    church, golf = study.subjects
    assert [one.word for one in following(lab, church, 1)] == ["golf flag"]
    assert [one.word for one in following(lab, golf, 2)] == ["bus", "church"]
    assert len(following(lab, golf, 0)) == 2
    own = study.hits[study.hits["classes"] == "preserved"]
    assert own.groupby("concept")["asked"].unique().map(list).to_dict() == {
        "church": ["golf flag"], GOLF: ["bus"],
    }  # fmt: skip
    assert study.accuracy("preserved", "NMS").clusters == 4


def test_the_papers_table_stands_beside_ours(study):
    rows = {(row.row, row.column): row for row in study.rows()}
    assert len(rows) == 6 * 2
    nms = rows["NMS", "preserved classes"]
    printed = [paper_value(1, name, "preserved: NMS") for name in ("Church", "Golf Ball")]
    assert nms.paper == pytest.approx(np.mean(printed))
    assert nms.change == study.step("preserved", "pruned", "NMS")
    assert rows["pretrained", "erased class"].verdict == ""
    one = {(row.row, row.column): row for row in study.class_rows("erased")}
    assert one[GOLF, "Quant Recover"].paper == paper_value(1, "Golf Ball", "erased: Quant Recover")
    assert one[GOLF, "NMS"].paper_from == paper_value(1, "Golf Ball", "erased: ConceptPrune")
    assert comparison(study.class_rows("preserved"), counts=False).shape == (2, 6 * 2)
    assert len(records(study.class_rows("erased"))) == 2 * 6
    counted = verdict_counts(study.class_rows("erased"))
    assert counted.sum(axis=1).to_dict() == dict.fromkeys(list(MODELS)[1:], 2)


def test_a_class_that_the_paper_does_not_have(lab):
    found = object_study(lab, ["church", "anchor"], 1, other_classes=1)
    assert found.paper_means("erased") == {}
    assert list(found.paper("erased")["NMS"]) == ["church"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"other_images": 0}, "other_images must be"),
        ({"other_classes": -1}, "other_classes must be"),
        ({"draw_seeds": []}, "draw seeds"),
        ({"draw_seeds": [3, 3]}, "each once"),
    ],
)
def test_bad_settings_are_refused_before_any_work(lab, options, message):
    with pytest.raises(ValueError, match=message):
        object_study(lab, ["church"], 1, **options)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("01_sign_vs_magnitude", "concepts"), ("04_nms_ablations", "sweep"),
     ("08_objects", "concepts")],
)  # fmt: skip
def test_chapters_cover_every_class_of_the_profile(name, parameter):
    defaults = parameter_defaults(NOTEBOOKS / f"{name}.py")
    assert sorted(defaults[parameter]) == sorted(load_profile("mini").classes)
