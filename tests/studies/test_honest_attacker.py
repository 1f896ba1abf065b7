import dataclasses
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from round_trip import assert_reads_back

from rbtc.defense.fills import Fill
from rbtc.report.comparisons import comparison, records
from rbtc.report.curves import curves
from rbtc.report.fronts import front as front_figure
from rbtc.report.pictures import picture_grid
from rbtc.report.tables import effects_table
from rbtc.studies.honest_attacker import TOLD, attacked, noise
from rbtc.studies.measuring.honest_attacker import HIDINGS as ALL
from rbtc.studies.measuring.honest_attacker import honest_study

HIDINGS = ("layer", "correlated")


@pytest.fixture(scope="module")
def study(lab):
    return honest_study(
        lab, ["golf ball", "church"], sigmas=(1e-6, 1e-2), hidings=HIDINGS, images=2,
        other_classes=1, shown=1,
    )  # fmt: skip


def test_every_defence_meets_its_attackers(study):
    assert get_args(Fill) == ALL
    assert study.defences == ("noise 1e-6", "noise 1e-2", *HIDINGS)
    each = study.guesses.groupby("defence")["attacker"].apply(set).to_dict()
    assert each["layer"] == {"columns"}  # there is no sigma_M for the others to know
    assert each["noise 1e-6"] == {"budget", "threshold", "columns"}
    keys = ["concept", "model", "classes", "asked", "seed"]
    assert not study.hits.duplicated(keys).any()
    for defence in study.defences:
        assert study.accuracy(defence).n == study.accuracy(attacked(defence)).n == 4
        assert study.accuracy(defence, "preserved").n == 2


def test_tiny_noise_is_inferred_without_knowing_it(study):
    own = study.guesses[study.guesses["defence"] == noise(1e-6)].groupby("attacker")
    assert own["recall"].min()["columns"] > 0.9 and own["precision"].min()["columns"] > 0.9
    assert own["recall"].max()["budget"] < own["recall"].min()["columns"]
    assert study.auc(noise(1e-6)) > 0.99
    assert study.auc("layer", "magnitudes") == pytest.approx(0.5, abs=0.1)
    fitted = study.estimates[study.estimates["defence"] == noise(1e-6)]
    ratio = fitted["sigma_unmodified"] / fitted["true_sigma_unmodified"]
    assert ratio.median() == pytest.approx(1, abs=0.05)


def test_an_attack_that_names_nothing_changes_nothing(lab):
    study = honest_study(
        lab, ["church"], sigmas=(1e-2,), hidings=(), images=1, other_classes=1, cutoff=1.0
    )
    own = study.guesses[study.guesses["attacker"] == "columns"].iloc[0]
    assert not own["possible"] and own["named"] == 0
    assert study.change(noise(1e-2), attacked(noise(1e-2))).value == 0


def test_table_12_has_the_paper_beside_its_own_attacker_only(study):
    frame = records(study.table_12()).set_index(["row", "column"])
    assert frame.loc[(TOLD["budget"], "noise 1e-6"), "paper"] == pytest.approx((0.08 + 0.06) / 2)
    assert frame.loc[TOLD["columns"], "paper"].isna().all()
    comparison(study.table_12(), verdicts=True)
    assert len(effects_table(study.gains())) == 4


def test_tables_and_figures_can_be_drawn(study):
    assert study.fit().shape == (4, 3) and study.visibility().shape == (4, 2)
    sweep = study.sweep_table()
    assert sweep.index.tolist() == list(study.defences)
    recall = sweep["recall"]
    assert (np.diff(recall.to_numpy(), axis=1) <= 1e-12).all()  # a higher cutoff finds no more
    for evidence in ("magnitudes", "columns"):
        own = study.mean_curves(evidence)
        assert len(own) == 4 * 101
        curves(own, x="false_positive", y="true_positive", series="defence")
    plate = study.plate()
    assert list(plate) == ["none", *study.defences] and len(plate["layer"]) == 4
    picture_grid(plate)


def test_the_study_reads_back_as_it_was_measured(study, tmp_path):
    assert_reads_back(study, tmp_path)


def scored(study, values):
    """The study with made-up hits: model -> (erased, preserved), ten pictures of each concept."""
    lines = []
    for subject in study.subjects:
        for model, shares in values.items():
            for classes, share in zip(("erased", "preserved"), shares, strict=True):
                for seed in range(100):
                    lines.append((subject.label, model, classes, classes, seed, seed < 100 * share))
    columns = ["concept", "model", "classes", "asked", "seed", "hit"]
    return dataclasses.replace(study, hits=pd.DataFrame(lines, columns=columns))


def test_the_rule_excludes_cost_then_takes_the_least_revival_then_the_least_auc(study):
    values = {
        "pretrained": (1.0, 1.0), "pruned": (0.1, 0.9), "revived": (0.7, 0.9),
        "noise 1e-6": (0.1, 0.9), attacked("noise 1e-6"): (0.7, 0.9),
        "noise 1e-2": (0.1, 0.5), attacked("noise 1e-2"): (0.0, 0.5),  # the others are lost
        "layer": (0.1, 0.9), attacked("layer"): (0.2, 0.9),
        "correlated": (0.1, 0.9), attacked("correlated"): (0.2, 0.9),
    }  # fmt: skip
    seen = study.seen.copy()
    seen.loc[seen["defence"] == "correlated", "auc"] = 0.6
    seen.loc[seen["defence"] == "layer", "auc"] = 0.7
    made = dataclasses.replace(scored(study, values), seen=seen)
    choice = made.choose()
    assert choice.name == "correlated" and choice.tied == ("correlated", "layer")
    assert choice.costly == ("noise 1e-2",)
    assert choice.chosen_on == made.subjects[:1] and choice.tried_on == made.subjects[1:]
    assert set(choice.doubtful) <= set(choice.costly)
    line = made.tried_table(choice).loc["correlated"]
    assert line["tried on"] == made.subjects[1].label and line["AUC, columns"] == "0.600"
    harmful = scored(study, {**values, **{name: (0.9, 0.9) for name in study.defences}})
    assert harmful.choose().name is None
    assert harmful.tried_table(harmful.choose()).empty
    with pytest.raises(ValueError, match="margin"):
        made.choose(margin=0)


def test_the_front_has_a_mark_per_defence(study):
    frame = study.front()
    assert frame["defence"].tolist() == list(study.defences)
    assert (frame["revived_low"] <= frame["revived"]).all()
    assert study.front_table().shape[0] == 4
    figure = front_figure(
        frame, name="defence", y="revived", panels={"auc": "AUC", "preserved": "others"},
        ylabel="revived", levels=study.levels(), ringed=["layer"],
    )  # fmt: skip
    assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="at least one"):
        front_figure(frame, name="defence", y="revived", panels={}, ylabel="")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"sigmas": (0.0,)}, "positive"),
        ({"sigmas": ()}, "noise levels"),
        ({"hidings": ("deep",)}, "deep"),
        ({"cutoff": 0.0}, "cutoff"),
        ({"images": 0}, "images"),
    ],
)
def test_bad_settings_are_refused_before_any_work(lab, wrong, match):
    with pytest.raises(ValueError, match=match):
        honest_study(lab, ["church"], **wrong)
