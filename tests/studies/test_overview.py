"""What the studies share, and the overview, on a tiny pipeline with a judge that has no skill."""

import numpy as np
import pandas as pd
import pytest
from round_trip import assert_reads_back

from rbtc.models.subjects import Subject
from rbtc.paper import paper_value, printed
from rbtc.report.comparisons import comparison
from rbtc.report.pictures import picture_grid, save_picture
from rbtc.report.tables import counts
from rbtc.studies.measuring.common import judged, subjects
from rbtc.studies.measuring.overview import overview, watch

GOLF = "golf ball (golf flag)"


@pytest.fixture(scope="module")
def whole(lab):
    return overview(lab, ["church", "golf ball"], 3, other_images=2, pictures=2)


def test_the_study_reads_back(whole, tmp_path):
    assert_reads_back(whole, tmp_path)


def test_watched_is_what_the_overview_counts(lab, whole, monkeypatch):
    monkeypatch.setattr("rbtc.lab.Lab", lambda profile, store: lab)
    found = watch("mini", "golf ball", 3)
    own = whole.hits.query("concept == @GOLF and classes == 'erased'")
    pd.testing.assert_frame_equal(found.hits, own.reset_index(drop=True))
    assert list(found.pictures[GOLF]) == ["pretrained", "pruned", "revived"]
    titles = list(found.counted(found.subjects[0])[GOLF])
    hits = own[own["model"] == "pruned"]["hit"].sum()
    assert titles[1] == f"pruned\n{hits} of 3 recognised"
    with pytest.raises(ValueError, match="images must be a whole number"):
        watch("mini", "golf ball", 0)


def test_subjects_carry_the_papers_class_and_the_models_word(lab):
    assert subjects(lab, ["golf ball"]) == subjects(lab, ["golf flag"])
    assert [s.label for s in subjects(lab, ["church", "golf flag"])] == ["church", GOLF]
    assert subjects(lab, ["anchor"])[0] == Subject("anchor", None)
    for wrong in ([], ["church", "church"], ["golf ball", "golf flag"]):
        with pytest.raises(ValueError, match="each once"):
            subjects(lab, wrong)
    with pytest.raises(ValueError, match="must be a list of names"):
        subjects(lab, "church")


def test_printed_numbers():
    assert printed(3, "top 0.8", "NMS") == paper_value(3, "Top 0.8", "NMS")
    assert printed(3, "Top 0.7", "NMS") is None
    assert printed(1, None, "erased: NMS") is None


def test_a_saved_picture_is_the_same_every_time(tmp_path):
    images = {"church": {"pruned": np.zeros((1, 8, 8, 3), np.uint8)}}
    first = save_picture(picture_grid(images), tmp_path / "new" / "a.png").read_bytes()
    assert first == save_picture(picture_grid(images), tmp_path / "b.png").read_bytes()
    assert first[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png", "new"]


def test_a_frame_has_a_line_per_picture(lab):
    church = lab.subject("church")
    models = [({"model": "pruned", "ratio": 0.2}, lab.owner.pruned(church))]
    frame = judged(lab, church, models, 3, other_images=2, first_seed=5)
    assert len(frame) == 3 + 2 * 2
    assert list(frame)[:4] == ["concept", "model", "ratio", "classes"]
    own = frame[frame["classes"] == "erased"]
    assert own["seed"].tolist() == [5, 6, 7] and set(own["asked"]) == {"church"}
    found = lab.measure.accuracy(lab.owner.pruned(church), church, 3, 5)
    assert own["hit"].sum() == found.hits
    summed = counts(frame)
    assert summed["n"].sum() == 7 and summed["hits"].sum() == frame["hit"].sum()


def test_overview_counts_what_the_lab_counts(lab, whole):
    models = {"pretrained": lab.pretrained, "pruned": lab.owner.pruned("golf ball"),
              "revived": lab.revived("golf ball")}  # fmt: skip
    for name, variant in models.items():
        own = whole.hits[(whole.hits["concept"] == GOLF) & (whole.hits["model"] == name)]
        kinds = own.groupby("classes")["hit"].agg(["sum", "size"])
        erased = lab.measure.accuracy(variant, "golf ball", 3)
        others = lab.measure.preserved(variant, "golf ball", 2)
        assert tuple(kinds.loc["erased"]) == (erased.hits, 3)
        assert tuple(kinds.loc["preserved"]) == (others.hits, others.n)
        expected = lab.measure.images(variant, "a golf flag", range(2))
        np.testing.assert_array_equal(whole.pictures[GOLF][name], expected)
    assert list(whole.pictures) == ["church", GOLF]


def test_trials_shared_by_models_and_concepts_count_once(whole):
    # Two concepts, two other classes each, two seeds: the bus is another class of both.
    assert whole.accuracy("preserved", "pruned").n == 8
    assert whole.accuracy("preserved", "pruned").clusters == 6
    assert whole.step("preserved", "pretrained", "pruned").clusters == 6
    assert whole.accuracy("erased", "pruned").clusters == 6


def test_overview_sets_the_papers_averages_beside_ours(whole):
    rows = {(row.row, row.column): row for row in whole.rows()}
    revived = rows["revived (NMS)", "erased class"]
    printed_ones = [paper_value(1, name, "erased: NMS") for name in ("Church", "Golf Ball")]
    assert revived.paper == pytest.approx(np.mean(printed_ones))
    assert revived.change == whole.step("erased", "pruned", "revived")
    assert rows["pretrained", "preserved classes"].verdict == ""  # no step leads to it
    assert comparison(whole.rows(), verdicts=True).shape == (3, 8)
    assert whole.paper()["pruned"] == {
        "church": paper_value(1, "Church", "erased: ConceptPrune"),
        GOLF: paper_value(1, "Golf Ball", "erased: ConceptPrune"),
    }
    assert list(whole.steps("revived")) == ["church", GOLF]


def test_a_concept_that_the_paper_does_not_have(lab):
    found = overview(lab, ["church", "anchor"], 1, other_images=1, pictures=1)
    assert all(row.paper is None and row.verdict == "" for row in found.rows())
    assert list(found.paper()["revived"]) == ["church"]
