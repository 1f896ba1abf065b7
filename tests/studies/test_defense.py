import dataclasses
import math

import numpy as np
import pytest
import torch
from round_trip import assert_reads_back

from rbtc.defense.detection import spare_whole_rows
from rbtc.defense.gaussian import pooled_sigma, standard_deviation
from rbtc.paper import wide_table
from rbtc.report.charts import lines_with_intervals
from rbtc.report.comparisons import comparison, records
from rbtc.report.curves import surface
from rbtc.report.pictures import picture_grid
from rbtc.studies.defense import attacked, defended, table_12_column
from rbtc.studies.measuring.defense import defense_study, measure
from rbtc.studies.measuring.detection import _shape, detection_study

SIGMAS = (1e-6, 1e-2, 1e-1)


@pytest.fixture(scope="module")
def study(lab):
    return defense_study(
        lab, ["golf ball", "church"], sigmas=SIGMAS, variances=(1e-2,), images=3, preserved=1,
        shown=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(lab):
    return detection_study(lab, "church", sigmas=SIGMAS)


def test_the_chapter_reads_back(lab, tmp_path):
    few = {"sigmas": SIGMAS, "variances": (1e-2,), "attack_sigmas": (1e-2,), "images": 1}
    found = measure(lab, ["golf ball", "church"], **few)
    assert_reads_back(found, tmp_path)
    # The page shows the pictures of half of the classes, and tells of detection for the first.
    golf = found.defense.subjects[0]
    assert list(found.defense.images) == [golf.label] and found.defense.example == golf
    assert found.detection.subject == golf
    assert found.detection.points["sigma"].tolist() == list(SIGMAS)


def test_without_attacks_nothing_was_guessed(lab, tmp_path):
    study = defense_study(
        lab, ["church"], sigmas=(1e-2,), attack_sigmas=(), images=1, preserved=1, shown=1
    )
    assert study.attack_rows() == [] and study.resistance() == {}
    assert_reads_back(study, tmp_path)


def test_a_variance_is_the_same_noise_as_its_root(study):
    assert standard_deviation(1e-6) == 1e-3
    assert standard_deviation(1e-2) == 1e-1
    with pytest.raises(ValueError, match="positive"):
        standard_deviation(0)
    # 1e-2 read as a variance is the 1e-1 of the sweep, and is not measured twice.
    assert study.variances == {1e-2: 1e-1} and study.levels() == sorted(SIGMAS)
    assert sorted(study.hits["sigma"].dropna().unique()) == sorted(SIGMAS)


def test_every_accuracy_has_its_pictures(study):
    for subject in study.subjects:
        for model in ("pretrained", "pruned", "revived", defended(1e-2)):
            assert study.accuracy(model, "erased", subject).n == 3
            assert study.accuracy(model, "preserved", subject).n == 2
    assert study.sweep()["erased"][1e-6] == study.accuracy(defended(1e-6))
    assert set(study.costs("preserved")) == {"sigma_M = 1e-6", "sigma_M = 1e-2", "sigma_M = 1e-1"}
    assert study.summary().shape == (3, 6)
    lines_with_intervals(study.sweep(), paper=study.paper_sweep(), log_x=True)


def test_a_picture_stands_there_once(study):
    keys = ["concept", "model", "classes", "asked", "seed"]
    assert not study.hits.duplicated(keys).any()


def test_table_12_is_beside_ours_under_both_readings(study):
    frame = records(study.rows()).set_index(["row", "column"])["paper"]
    assert frame["golf ball (golf flag)", "sigma 1e-6"] == 0.16
    assert frame["church", "sigma 1e-1"] == 0.00
    assert frame["all 2", "sigma 1e-6"] == pytest.approx((0.16 + 0.08) / 2)
    together = records(study.rows(together=True))
    assert together["column"].unique().tolist() == ["all 2"]
    assert together["row"].tolist() == ["sigma 1e-6", "sigma 1e-2", "sigma 1e-1"]
    other = records(study.rows("variance"))
    assert other["column"].unique().tolist() == ["variance 1e-2"]
    assert other["paper"].tolist()[0] == 0.15  # its 1e-2, beside our noise of 1e-1
    ours = study.accuracy(defended(0.1), "erased", study.subjects[0])
    assert other["ours"].tolist()[0] == ours.value
    attacks = records(study.attack_rows())
    printed = attacks[attacks["paper"].notna()]["column"].unique().tolist()
    assert printed == ["budget, 1e-6", "budget, 1e-2", "density, 1e-6", "density, 1e-2"]
    comparison(study.rows())


def test_the_faintest_noise_of_table_12_repeats_the_pruned_model():
    # The chapter's argument for reading the paper's levels as standard deviations.
    pruned, faint = wide_table(1)["erased: ConceptPrune"], wide_table(12)["defended: 1e-6"]
    assert pruned.to_dict() == faint.to_dict()


def test_the_attackers_find_tiny_noise(study):
    tiny = study.guesses[study.guesses["sigma"] == 1e-6].groupby("attacker").first()
    assert tiny.loc["threshold", "recall"] == 1 and tiny.loc["threshold", "precision"] > 0.99
    assert tiny.loc["budget", "precision"] == 1
    assert tiny.loc["budget", "named"] == pytest.approx(0.02, abs=1e-3)  # less than was cut
    assert tiny.loc["budget", "recall"] < tiny.loc["threshold", "recall"]
    assert tiny.loc["density", "recall"] > 0.99  # as many as were cut, and all of them smaller
    assert len(study.guesses) == 2 * 2 * 3


def test_an_attacker_who_names_everything_has_nothing_to_complete(lab):
    study = defense_study(
        lab, ["church"], sigmas=(0.5,), attack_sigmas=(0.5,), images=1, preserved=1
    )
    threshold = study.guesses[study.guesses["attacker"] == "threshold"].iloc[0]
    assert threshold["named"] > 0.5 and not threshold["possible"]
    assert study.guess_table().loc["threshold, 0.5", "possible"] == "0 of 1"
    assert "threshold, 0.5" not in study.resistance()
    rows = {row.row: row for row in study.attack_rows(together=True)}
    assert rows["threshold, 0.5"].ours is None and rows["threshold, 0.5"].verdict == ""
    comparison(study.attack_rows())


def test_rows_named_as_a_whole_are_left_alone():
    guess = {"a": torch.tensor([[True, True], [True, False]])}
    assert spare_whole_rows(guess)["a"].tolist() == [[False, False], [True, False]]


def test_pictures_show_defence_and_attacks(study):
    grid = study.images
    assert list(grid) == [subject.label for subject in study.subjects]
    for row in grid.values():
        assert {"pretrained", "pruned", "revived", "defended\n1e-6", "budget\n1e-2"} <= set(row)
        assert all(own.shape == (2, 64, 64, 3) for own in row.values())
    picture_grid(grid)


def test_a_noise_level_must_be_one(lab):
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive finite"):
            defense_study(lab, ["church"], sigmas=(wrong,), attack_sigmas=())


def test_only_swept_noise_is_attacked(lab):
    with pytest.raises(ValueError, match="not among sigmas"):
        defense_study(lab, ["church"], sigmas=(1e-3,), attack_sigmas=(1e-2,))


def test_both_readings_are_a_curve_over_the_levels_as_printed(study):
    golf = study.subjects[0]
    curve, paper = study.sweep("variance", golf), study.paper_sweep("variance", golf)
    assert list(curve["erased"]) == [1e-2]  # of standard deviation 1e-1
    assert curve["erased"][1e-2] == study.accuracy(defended(1e-1), "erased", golf)
    assert paper["erased"] == {1e-2: 0.15}
    # Without noise the paper prints the preserved accuracy as well.
    assert paper["preserved, no noise"] == {1e-2: 0.88}
    assert set(study.sweep("sigma", golf)["preserved"]) == set(SIGMAS)


def test_other_classes_are_drawn_for_some_concepts_only(lab):
    study = defense_study(
        lab, ["golf ball", "church"], sigmas=(1e-2,), attack_sigmas=(), images=1, preserved=1,
        shown=1, preserved_for=["church"],
    )  # fmt: skip
    golf, church = study.subjects
    assert study.part("preserved", golf).empty and not study.part("preserved", church).empty
    assert "preserved" not in study.sweep(subject=golf)
    assert study.accuracy("pruned", "preserved") == study.accuracy("pruned", "preserved", church)
    assert study.summary().loc[golf.label, ("preserved", "pruned")] == ""
    with pytest.raises(ValueError, match="not among"):
        defense_study(lab, ["church"], sigmas=(1e-2,), attack_sigmas=(), preserved_for=["candle"])


def test_the_spread_is_over_classes(study):
    table = study.spread()
    own = [study.accuracy("pruned", "erased", subject).value for subject in study.subjects]
    assert table.loc["pruned", "classes"] == 2
    assert table.loc["pruned", "ours, mean"] == pytest.approx(np.mean(own))
    assert table.loc["pruned", "ours, highest"] == max(own)
    assert table.loc["pruned", "paper, lowest"] == 0.08  # of the golf ball's 0.16 and the church's
    assert table.loc[defended(1e-1), "paper, highest"] == 0.00
    assert table.loc[attacked("budget", 1e-6), "paper, mean"] == pytest.approx((0.08 + 0.06) / 2)
    if attacked("threshold", 1e-6) in table.index:
        assert math.isnan(table.loc[attacked("threshold", 1e-6), "paper, mean"])


def test_resistance_is_against_the_attack_on_the_pruned_model(study):
    found = study.resistance()
    assert found["budget, 1e-6"] == study.change("revived", "budget, 1e-6")
    # With tiny noise the threshold attacker finds nearly the pruned model again.
    assert "threshold, 1e-6" in found
    table = study.guess_table()
    assert table.index.tolist()[:2] == ["budget, 1e-6", "budget, 1e-2"]
    assert table.loc["threshold, 1e-6", "possible"] == "2 of 2"


def test_columns_of_table_12():
    assert table_12_column("defended", 1e-5) == "defended: 1e-5"
    assert table_12_column("attacked", 1e-2) == "attacked: 1e-2"
    assert table_12_column("attacked", 1e-3) is None


# ---- detection -----------------------------------------------------------------------------------


def test_sigma_of_all_survivors_is_that_of_their_values(lab, found):
    masks, weights = lab.owner.masks("church"), lab.owner.pruned("church").weights
    kept = torch.cat([weights[name][~masks[name]] for name in weights]).double().numpy()
    assert found.sigma_unmodified == pytest.approx(kept.std(), rel=1e-6)
    assert pooled_sigma(found.layers) == found.sigma_unmodified
    assert found.half_width == pytest.approx(0.1 * kept.std(), rel=1e-6)


def test_detection_follows_the_noise(found):
    points = found.points.set_index("sigma")
    assert points.loc[1e-6, "auc"] > 0.99 and points.loc[1e-6, "threshold_recall"] == 1
    assert points["auc"].is_monotonic_decreasing
    assert points["auc_gaussian"].is_monotonic_decreasing
    assert points["eq7"].is_monotonic_decreasing
    assert points["posterior_at_0"].between(0, 1).all()
    assert (points["modified_near"] <= points["near"]).all()


def test_auc_of_two_gaussians_is_the_arctangent(found):
    rng = np.random.default_rng(0)
    m, u = rng.normal(0, 2.0, 20000), rng.normal(0, 3.0, 20000)
    wins = (np.abs(m) < np.abs(u)).mean()
    assert 2 / math.pi * math.atan2(3.0, 2.0) == pytest.approx(wins, abs=0.02)


def test_the_surface_is_eq_7_at_the_measured_width(lab, found):
    whole = found.surfaces[f"all layers, sigma_U = {found.sigma_unmodified:.3g}"]
    assert whole.shape == (len(found.noises), len(found.alphas))
    one = detection_study(lab, "church", sigmas=(1e-2,), alphas=(found.alpha,), noises=(1e-2,))
    assert next(iter(one.surfaces.values()))[0, 0] == pytest.approx(one.points["eq7"].iloc[0])
    frame = found.surface_frame()
    assert frame.loc[1, "alpha"] == found.alphas[1] and frame.loc[1, "sigma"] == found.noises[0]
    assert len(frame) == 3 * whole.size
    surface(found.alphas, found.noises, whole, log_y=True)


def test_figures_and_tables_of_detection(found):
    assert "share within w" in found.measures()
    lines_with_intervals(found.measures(), log_x=True)
    assert found.posteriors.groupby("sigma").size().tolist() == [200, 200, 200]
    assert found.posteriors["posterior"].between(0, 1).all()
    assert found.attackers().index.name == "sigma_M"
    hidden = dataclasses.replace(found, points=found.points.assign(auc=[0.9, 0.55, 0.45]))
    assert hidden.crossings() == [(1e-2, 1e-1)]


def test_every_layer_has_its_own_sigma_and_share(lab, found):
    masks, weights = lab.owner.masks("church"), lab.owner.pruned("church").weights
    line = found.layers.iloc[0]
    own = weights[line["name"]][~masks[line["name"]]].double()
    assert line["sigma"] == pytest.approx(float(own.std(correction=0)), rel=1e-6)
    assert line["alpha"] == pytest.approx(float(masks[line["name"]].double().mean()))
    wide, narrow = found.layers["sigma"].max(), found.layers["sigma"].min()
    _, narrowest, widest = found.surfaces.values()
    # The wider the survivors, the fewer of them are near zero.
    assert narrow < wide and (narrowest <= widest).all()
    sums = found.by_layer.groupby("sigma")[["near", "modified_near"]].sum()
    assert sums["near"].tolist() == found.points.sort_values("sigma")["near"].tolist()


def test_layer_by_layer_eq_7_is_the_expected_share(found):
    # Independent: draw from each layer's two Gaussians and count within w.
    rng = np.random.default_rng(0)
    sigma = 1e-2
    near = hidden = 0
    for line in found.layers.to_dict("records"):
        total = round(line["count"] / (1 - line["alpha"]))
        modified = total - line["count"]
        for width, count, own in ((sigma, modified, True), (line["sigma"], line["count"], False)):
            inside = int((np.abs(rng.normal(0, width, 20 * count)) <= found.half_width).sum())
            near += inside
            hidden += inside * own
    expected = found.points.set_index("sigma").loc[sigma, "eq7_layers"]
    assert hidden / near == pytest.approx(expected, abs=0.03)


def test_a_wide_interval_says_nothing(found):
    last = found.over_width.groupby("sigma", sort=False)["eq7"].last()
    assert last.to_numpy() == pytest.approx(found.alpha, rel=0.05)


def test_the_shape_tells_a_gaussian_from_what_is_none():
    draws = np.random.default_rng(0)
    of = {
        "gaussian": draws.normal(0, 0.02, 50_000),
        "laplace": draws.laplace(0, 0.02, 50_000),
        "two peaks": np.concatenate([draws.normal(m, 0.3, 25_000) for m in (-1, 1)]),
        "shifted": draws.normal(0.5, 1, 50_000),
    }
    found = {name: _shape(torch.tensor(x)) for name, x in of.items()}
    plain = found["gaussian"]
    assert plain["distance"] < 0.01 and abs(plain["kurtosis"]) < 0.1 and plain["valleys"] < 0.005
    assert plain["tail"] == pytest.approx(0.0027, abs=0.001) and abs(plain["imbalance"]) < 0.01
    # Laplace: excess kurtosis 3, exp(-3 sqrt 2) beyond three standard deviations.
    assert found["laplace"]["kurtosis"] == pytest.approx(3, abs=0.5)
    assert found["laplace"]["tail"] == pytest.approx(np.exp(-3 * np.sqrt(2)), abs=0.002)
    assert found["laplace"]["distance"] > 0.05 and found["laplace"]["valleys"] < 0.005
    assert found["two peaks"]["valleys"] > 0.2
    assert found["shifted"]["imbalance"] > 0.15 and found["shifted"]["distance"] > 0.15
    assert np.isnan(list(_shape(torch.zeros(3)).values())).all()
