import numpy as np
import pytest
import torch

from rbtc.attack.idealised import idealised
from rbtc.attack.sign_accuracy import cosine
from rbtc.paper import paper_value
from rbtc.report.comparisons import comparison
from rbtc.studies.sign_vs_magnitude import MAGNITUDE, REFILLS, SIGN, SIGN_AVERAGE, SIGN_MAX

CHAPTER = "01_sign_vs_magnitude"


def test_sign_study_counts_what_the_lab_counts(lab, study):
    assert list(dict.fromkeys(study.hits["model"])) == ["pretrained", "pruned", *REFILLS]
    hits = study.hits.groupby(["concept", "model"])["hit"].sum()
    for name, mode in REFILLS.items():
        variant = lab.owner.idealised("church", mode, 7)
        assert hits["church", name] == lab.measure.accuracy(variant, "church", 3).hits
        straight = idealised(lab.pretrained.weights, lab.owner.pruned("church").weights,
                             lab.owner.masks("church"), mode=mode, seed=7)  # fmt: skip
        assert all(torch.equal(variant.weights[n], straight[n]) for n in straight)
    assert len(study.hits) == 2 * 6 * 3
    assert len(study.pictures["church"]) == 6


def test_cosines_show_what_was_given_away(study):
    wide = study.cosines.pivot(index="concept", columns="model", values="cosine")
    for _, row in wide.iterrows():
        # One size for every weight of a row loses less than a random size.
        assert abs(row[MAGNITUDE]) < row[SIGN] < row[SIGN_MAX] < 1
        assert row[SIGN_AVERAGE] > row[SIGN]
    summary = study.summary()
    assert summary.loc["pruned", "cosine with the cut weights"] == ""  # zeros have no direction
    assert list(summary.index) == ["pretrained", "pruned", *REFILLS]


def test_the_announced_table_stands_beside_what_the_paper_prints(study):
    rows = {(row.row, row.column): row for row in study.rows()}
    assert len(rows) == 2 * 6
    golf = "golf ball (golf flag)"
    assert rows[golf, "pruned"].paper == paper_value(1, "Golf Ball", "erased: ConceptPrune")
    assert rows[golf, "pruned"].paper_from == paper_value(1, "Golf Ball", "erased: pretrained")
    assert rows[golf, "pretrained"].change is None
    assert all(rows[golf, name].paper is None and rows[golf, name].change for name in REFILLS)
    table = comparison(study.rows(), counts=False)
    assert table.shape == (2, 6 + 2)  # the refills have no column of the paper's
    assert "n=" not in table.to_string()
    assert list(study.changes().index) == list(REFILLS)


def test_cosine_is_that_of_one_long_vector():
    a = {"x": torch.tensor([[1.0, 2.0]]), "y": torch.tensor([[3.0, 9.0]])}
    b = {"x": torch.tensor([[2.0, 0.0]]), "y": torch.tensor([[1.0, -5.0]])}
    places = {"x": torch.tensor([[True, True]]), "y": torch.tensor([[True, False]])}
    expected = np.dot([1, 2, 3], [2, 0, 1]) / np.linalg.norm([1, 2, 3]) / np.linalg.norm([2, 0, 1])
    assert cosine(a, b, places) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no direction"):
        cosine(a, {name: torch.zeros(1, 2) for name in a}, places)


def test_contrasts_follow_the_pictures(study):
    order = {"pretrained": 95, "pruned": 30, MAGNITUDE: 5, SIGN: 60, SIGN_MAX: 90, SIGN_AVERAGE: 65}
    lines = [
        {"concept": "church", "model": name, "asked": "church", "seed": seed, "hit": seed < right}
        for name, right in order.items()
        for seed in range(100)
    ]
    hits = type(study.hits)(lines)
    study = type(study)(study.subjects, hits, study.cosines, {})
    expected = ["rises", "rises", "falls", "rises", "rises"]
    assert [change.direction for change in study.contrasts().values()] == expected
    level = type(study)(study.subjects, hits.assign(hit=False), study.cosines, {})
    assert {change.direction for change in level.contrasts().values()} == {"undecided"}
