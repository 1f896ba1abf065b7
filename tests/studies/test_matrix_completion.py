import numpy as np
import pytest
import torch

from rbtc.attack.completion import column_means, complete_all
from rbtc.attack.sign_accuracy import count_signs
from rbtc.attack.spectrum import effective_rank, spectrum
from rbtc.report.comparisons import records
from rbtc.report.curves import curves
from rbtc.report.pictures import picture_grid
from rbtc.studies.matrix_completion import paper_sign_accuracy
from rbtc.studies.measuring.descent import descent
from rbtc.studies.measuring.matrix_completion import SOLVERS

CHAPTER = "02_matrix_completion"


@pytest.fixture(scope="module")
def study(chapter):
    return chapter.completion


def test_every_solver_judges_every_cut_weight_once(lab, study):
    for word, label in (("golf flag", "golf ball (golf flag)"), ("church", "church")):
        cut = sum(int(mask.sum()) for mask in lab.owner.masks(word).values())
        for solver in SOLVERS:
            assert study.accuracy(solver, concept=label).n == cut
    assert study.accuracy().n == sum(share.n for share in study.by_concept()["released"].values())


def test_the_released_count_is_that_of_the_completion(lab, study):
    found = complete_all(lab.owner.pruned("church").weights)
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
    table = study.race()
    assert list(table.index) == list(SOLVERS)
    assert table.loc["released, one step", "most"] == 1
    assert (table["seconds per model"] > 0).all()
    structure = study.structure()
    assert structure["effective rank / size"].between(0, 1).all()
    gain = structure["nuclear norm, completed"] - structure["nuclear norm, pretrained"]
    assert (gain < 0).all()  # the completion looks for the smallest
    assert set(study.spectrum("pruned")["place"]) <= set(study.spectrum()["place"])


def test_solvers_are_compared_layer_by_layer(study):
    change = study.change("released", "shuffled weights")
    frame = study.layers.assign(share=study.layers["correct"] / study.layers["n"])
    means = frame.groupby("solver")["share"].mean()
    assert change.n == 2 * 16
    assert change.value == pytest.approx(means["shuffled weights"] - means["released"])
    assert study.change("released", "released").direction == "undecided"
    assert study.over_chance().value == pytest.approx(means["released"] - 0.5)


def test_column_means_are_where_the_release_starts():
    weight = torch.tensor([[1.0, 0.0, 0.0], [3.0, -2.0, 0.0], [0.0, -4.0, 0.0]])
    found = column_means(weight)
    assert found.dense(weight).tolist() == [[1, -3, 0], [3, -2, 0], [2, -4, 0]]


def test_pictures_have_a_row_per_concept(study):
    assert list(study.images) == ["golf ball (golf flag)", "church"]
    assert all(own.shape == (2, 64, 64, 3) for row in study.images.values() for own in row.values())
    picture_grid(study.images)


def test_the_released_step_is_a_gradient_step(chapter):
    found = chapter.descent
    assert found.layer == "mid"
    assert (found.frame["update_error"] < 1e-8).all()
    assert (found.frame["gradient_error"] < 1e-4).all()
    assert (np.diff(found.frame["nuclear_norm"]) < 0).all()
    assert found.falls == 3 and 0 < found.fallen < 1


def test_descent_refuses_a_layer_that_is_not_there(lab):
    with pytest.raises(ValueError, match="no layer 'attic'"):
        descent(lab, "church", layer="attic")


def test_charts_draw_what_they_are_given(study):
    figure = curves(
        study.residuals, x="iteration", y="residual", series="layer", log_y=True, level=1e-5
    )
    assert len(figure.axes[0].lines) == 17
    with pytest.raises(ValueError, match="at least one curve"):
        curves(study.residuals.iloc[:0], x="iteration", y="residual", series="layer")


def test_the_effective_rank_counts_equal_directions():
    assert effective_rank(np.array([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    frame = spectrum(torch.diag(torch.tensor([3.0, 1.0])))
    assert frame["place"].tolist() == [0.5, 1.0]
    assert frame["value"].tolist() == pytest.approx([1, 1 / 3])
