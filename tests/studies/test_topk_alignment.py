import numpy as np
import pytest
from round_trip import assert_reads_back

from rbtc.report.comparisons import comparison, records
from rbtc.report.heat import heat_maps
from rbtc.report.pictures import picture_grid
from rbtc.stats import pool
from rbtc.studies.measuring.topk_alignment import alignment_study

GOLF = "golf ball (golf flag)"


@pytest.fixture(scope="module")
def study(lab):
    return alignment_study(lab, ["golf ball", "church"], images=2, shown=(0.2, 1.0))


def test_the_study_reads_back(study, tmp_path):
    assert_reads_back(study, tmp_path)


def test_alignment_knows_the_paper_and_pools(lab, study):
    assert list(study.heat_maps()) == ["paper, golf ball", f"ours, {GOLF}", "ours, all 2 concepts"]
    for matrix in study.matrices.values():
        assert matrix.shape == (5, 5)
        assert np.allclose(matrix.sum(axis=1), 1, atol=0.35)  # a remainder is in no group
    assert 0 <= study.on_diagonal() <= 1
    assert len(study.frame()) == 3 * 25
    frame = records(study.rows())
    assert frame["paper"].notna().all() and len(frame) == 2 * 5
    assert set(frame.loc[frame["column"] == "rest", "verdict"]) == {""}
    assert "" not in set(frame.loc[frame["column"] == "top K", "verdict"])
    assert study.paper_lines()["top K"][0.2] == 0.96
    example, everything = study.shares(study.subjects[0]), study.shares()
    assert everything["top K"][0.5].n > example["top K"][0.5].n
    both = pool([example["top K"][0.9], example["rest"][0.9]])
    assert both == lab.sign_accuracy("golf flag")
    comparison(study.rows())


def test_the_change_is_paired_over_layers(study):
    wide = study.signs.query("ratio == 0.5").assign(share=lambda f: f["correct"] / f["n"])
    wide = wide.pivot(index=["concept", "layer"], columns="series", values="share")
    assert study.change(0.5).n == len(wide) == 32
    assert list(study.changes()) == ["K = 0.2", "K = 0.3", "K = 0.5", "K = 0.7", "K = 0.9"]
    assert study.changes()["K = 0.5"] == study.change(0.5)
    assert study.change(0.5).value == pytest.approx((wide["top K"] - wide["rest"]).mean())


def test_one_concept_and_everything_in_the_last_group(lab):
    study = alignment_study(lab, ["church"], ratios=(1.0,), images=1, shown=(1.0,))
    assert list(study.matrices) == ["church"]
    shares = study.shares()
    # An estimate of exactly zero has no sign to keep, whatever K is.
    assert all(share.hits == 0 for share in shares["rest"].values())
    judged = sum(share.n for of in shares.values() for share in of.values())
    assert judged == lab.sign_accuracy("church").n
    assert records(study.rows())["change"].isna().all()  # nothing is left to be the rest


def test_figures(study):
    assert len(heat_maps(study.heat_maps()).axes) == 4
    picture_grid(study.images)
    with pytest.raises(ValueError, match="at least one matrix"):
        heat_maps({})
