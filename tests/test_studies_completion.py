import dataclasses

import numpy as np
import pytest
import torch

from rbtc.charts import curves, heat_maps
from rbtc.completion import complete_all, count_signs
from rbtc.descent import descent
from rbtc.figures import picture_grid
from rbtc.solvers import SOLVERS, column_means
from rbtc.stats import Proportion
from rbtc.studies_alignment import alignment_study
from rbtc.studies_completion import completion_study, paper_sign_accuracy
from rbtc.tables import comparison, records
from rbtc.wording import listing, percent, power, relation


@pytest.fixture(scope="module")
def study(lab):
    return completion_study(lab, ["golf ball", "church"], images=2)


@pytest.fixture(scope="module")
def aligned(lab):
    return alignment_study(lab, ["golf ball", "church"], images=2, shown=(0.2, 1.0))


def test_every_solver_judges_every_cut_weight_once(lab, study):
    for word, label in (("golf flag", "golf ball (golf flag)"), ("church", "church")):
        cut = sum(int(mask.sum()) for mask in lab.masks(word).values())
        for solver in SOLVERS:
            assert study.accuracy(solver, concept=label).n == cut
    assert study.accuracy().n == sum(share.n for share in study.by_concept()["released"].values())


def test_the_released_count_is_that_of_the_completion(lab, study):
    found = complete_all(lab.pruned("church").weights)
    counts = count_signs(found, lab.pretrained.weights).values()
    ours = study.accuracy(concept="church")
    assert (ours.hits, ours.n) == (sum(c.correct for c in counts), sum(c.n for c in counts))
    assert ours == lab.sign_accuracy("church")


def test_only_golf_ball_has_a_number_in_the_paper(study):
    frame = records(study.rows())
    assert frame["paper"].notna().tolist() == [True, False]
    assert study.paper() == {"released": {"golf ball (golf flag)": paper_sign_accuracy()}}
    assert 0.72 < paper_sign_accuracy() < 0.74  # K top + (1 - K) rest, the same on every line


def test_residuals_are_numbered_as_the_release_tests_them(study):
    frame = study.residuals
    layers = study.layers.query("solver == 'released'").set_index(["concept", "short"])
    for layer, own in frame.groupby("layer"):
        assert own["iteration"].min() == 2
        assert own["iteration"].max() == layers.loc[("golf ball (golf flag)", layer), "iterations"]


def test_tables_of_solvers_and_of_layers_are_complete(study):
    table = study.solvers()
    assert list(table.index) == list(SOLVERS)
    assert table.loc["released, one step", "most"] == 1
    assert (table["seconds per model"] > 0).all()
    structure = study.structure()
    assert structure["effective rank / size"].between(0, 1).all()
    gain = structure["nuclear norm, completed"] - structure["nuclear norm, pretrained"]
    assert (gain < 0).all()  # the completion looks for the smallest
    assert set(study.spectrum("pruned")["place"]) <= set(study.spectrum()["place"])


def test_the_outcome_is_worded_from_the_numbers(study):
    text = study.describe()
    assert percent(study.accuracy().value, 1) in text
    assert f"which is {relation(study.accuracy(), 0.5)} a coin" in text
    assert "softimpute" in study.compare_solvers()
    perfect = study.layers.assign(correct=study.layers["n"])
    better = dataclasses.replace(study, layers=perfect)
    assert "all of them are surely over it" in better.describe()
    assert "which is above a coin's half" in better.describe()
    hopeless = dataclasses.replace(study, layers=study.layers.assign(correct=0))
    assert "none is surely over it" in hopeless.describe()


def test_column_means_are_where_the_release_starts():
    weight = torch.tensor([[1.0, 0.0, 0.0], [3.0, -2.0, 0.0], [0.0, -4.0, 0.0]])
    found = column_means(weight)
    assert found.dense(weight).tolist() == [[1, -3, 0], [3, -2, 0], [2, -4, 0]]


def test_pictures_have_a_row_per_concept(study, aligned):
    for each in (study, aligned):
        grid = each.grid()
        assert list(grid) == ["golf ball (golf flag)", "church"]
        assert all(own.shape == (2, 64, 64, 3) for row in grid.values() for own in row.values())
        picture_grid(grid)


def test_the_released_step_is_a_gradient_step(lab):
    found = descent(lab, "church", iterations=4)
    assert found.layer == "mid"
    assert (found.frame["update_error"] < 1e-8).all()
    assert (found.frame["gradient_error"] < 1e-4).all()
    assert (np.diff(found.frame["nuclear_norm"]) < 0).all()
    assert "The nuclear norm fell in 3 of 3 steps" in found.describe()


@pytest.mark.parametrize(
    "options, message", [({"layer": "attic"}, "no layer 'attic'"), ({"iterations": 1}, "at least")]
)
def test_descent_refuses_what_it_cannot_follow(lab, options, message):
    with pytest.raises(ValueError, match=message):
        descent(lab, "church", **options)


def test_alignment_knows_the_paper_and_pools(lab, aligned):
    assert next(iter(aligned.heat_maps())) == "paper, golf ball"
    for matrix in aligned.matrices.values():
        assert matrix.shape == (5, 5)
        assert np.allclose(matrix.sum(axis=1), 1, atol=0.35)  # a remainder is in no group
    assert len(aligned.frame()) == 3 * 25
    frame = records(aligned.rows())
    assert frame["paper"].notna().all() and len(frame) == 2 * 5
    assert aligned.paper_lines()["top K"][0.2] == 0.96
    example = aligned.accuracies[aligned.example]
    everything = aligned.accuracies[aligned.everything]
    assert everything["top K"][0.5].n > example["top K"][0.5].n
    both = example["top K"][0.9] + example["rest"][0.9]
    ours = lab.sign_accuracy("golf flag")
    assert (both.hits, both.n) == (ours.hits, ours.n)
    comparison(aligned.rows())


def test_alignment_words_follow_the_numbers(aligned):
    last = aligned.everything
    sure = {"top K": {0.5: Proportion(90, 100)}, "rest": {0.5: Proportion(50, 100)}}
    text = dataclasses.replace(aligned, accuracies={last: sure}).describe()
    assert "at 1 of 1 values of K (0.5)" in text
    unsure = {"top K": {0.5: Proportion(5, 10)}, "rest": {0.5: Proportion(5, 10)}}
    text = dataclasses.replace(aligned, accuracies={last: unsure}).describe()
    assert "at 0 of 1 values of K." in text


def test_one_concept_and_everything_in_the_last_group(lab):
    study = alignment_study(lab, ["church"], ratios=(1.0,), images=1, shown=(1.0,))
    assert study.example == study.everything == "ours, church"
    shares = study.accuracies["ours, church"]
    # An estimate of exactly zero has no sign to keep, whatever K is.
    assert all(share.hits == 0 for share in shares["rest"].values())
    judged = sum(share.n for of in shares.values() for share in of.values())
    assert judged == lab.sign_accuracy("church").n
    assert "Of the weights" in study.describe()


def test_charts_draw_what_they_are_given(study, aligned):
    figure = curves(
        study.residuals, x="iteration", y="residual", series="layer", log_y=True, level=1e-5
    )
    assert len(figure.axes[0].lines) == 17
    assert len(heat_maps(aligned.heat_maps()).axes) == 4
    with pytest.raises(ValueError, match="at least one curve"):
        curves(study.residuals.iloc[:0], x="iteration", y="residual", series="layer")
    with pytest.raises(ValueError, match="at least one matrix"):
        heat_maps({})


@pytest.mark.parametrize(
    "concepts, message", [([], "one or more"), (["church", "church"], "each once")]
)
def test_concepts_are_needed_and_each_once(lab, concepts, message):
    for study in (completion_study, alignment_study):
        with pytest.raises(ValueError, match=message):
            study(lab, concepts)


def test_words():
    assert relation(Proportion(9, 10), Proportion(1, 10)) == "above"
    assert relation(Proportion(1, 10), 0.9) == "below"
    assert relation(Proportion(5, 10), 0.5) == "not distinguishable from"
    assert listing(["a"]) == "a" and listing(["a", "b"]) == "a and b"
    assert [power(x) for x in (1e-6, 0.1, 1, 0.02)] == ["1e-6", "1e-1", "1e0", "0.02"]
