"""The chapter on the audit without the original, on a tiny pipeline."""

import numpy as np
import pandas as pd
import pytest
from round_trip import assert_reads_back

from rbtc.report.calibration import calibration
from rbtc.studies.audit import CHOICES, REASONS, AuditStudy
from rbtc.studies.measuring.audit import audit_study


@pytest.fixture(scope="module")
def study(lab):
    return audit_study(lab, ["church", "golf ball"], factors=(0.5, 1.0), share=0.1)


def test_truth_is_what_the_attack_finds(lab, study):
    own = study.own("any").query("concept == 'church' and ratio == 0.2")
    assert len(own) == 16
    expected = lab.sign_accuracy("church")
    assert own["cut"].sum() == expected.n
    assert (own["true"] * own["cut"]).sum() == pytest.approx(expected.hits)
    models = study.models("any").set_index(["concept", "ratio"])
    assert models.loc[("church", 0.2), "true"] == pytest.approx(expected.value)
    for choice in CHOICES:  # all choices are held against the same truth
        assert study.own(choice)["true"].tolist() == study.own("any")["true"].tolist()
    assert (study.lines["error"] == study.lines["estimated"] - study.lines["true"]).all()


def test_what_is_hidden(study):
    means = study.lines.groupby("choice")[["size", "gap", "crowding"]].mean()
    assert means["size"].idxmax() == "largest in the row"
    assert abs(means.loc["like the cut", "gap"]) < abs(means.loc["any", "gap"])
    assert (study.lines["hidden"] > 0).all() and study.lines["density"].between(0, 1).all()


def made(slope: float, shift: float = 0.0) -> AuditStudy:
    """A study whose estimates are slope * truth + shift, but for the choice that comes first."""
    rng = np.random.default_rng(0)
    lines = []
    for choice in CHOICES:
        for concept in "abcd":
            for layer in "uvwxyz":
                true = rng.uniform(0.5, 0.9)
                estimated = 1.0 if choice == next(iter(CHOICES)) else slope * true + shift
                lines.append(
                    {"concept": concept, "ratio": 0.1, "layer": layer, "choice": choice,
                     "estimated": estimated, "true": true, "error": estimated - true,
                     "hidden": 10, "cut": 10, "density": true, **dict.fromkeys(REASONS, true)}
                )  # fmt: skip
    return AuditStudy(("a", "b", "c", "d"), pd.DataFrame(lines))


def test_a_perfect_and_a_useless_estimate():
    good, bad = made(1.0), made(-1.0, 1.4)
    best = good.best()
    assert good.score(best, "correlation").value == pytest.approx(1)
    assert bad.score(bad.best(), "correlation").value == pytest.approx(-1)


def test_tables_and_figure(study):
    assert list(study.score_table().index) == list(CHOICES)
    assert len(study.by("layer", "any")) == 16 and len(study.by("ratio", "any")) == 2
    assert list(study.reason_table().index) == list(REASONS.values())
    assert len(study.model_table()) == len(CHOICES) * 2
    figure = calibration(study.panels(), legend="ratio")
    assert [ax.get_title() for ax in figure.axes] == list(CHOICES)
    with pytest.raises(ValueError, match="one or more panels"):
        calibration({"a": study.lines[:0]})


def test_the_study_reads_back_as_it_was_measured(study, tmp_path):
    assert_reads_back(study, tmp_path)


@pytest.mark.parametrize(
    ("concepts", "options", "message"),
    [
        (["church"], {}, "at least two concepts"),
        (["church", "school bus"], {"factors": ()}, "factors above 0"),
        (["church", "school bus"], {"factors": (1, 1)}, "each once"),
        (["church", "school bus"], {"factors": (0,)}, "factors above 0"),
        (["church", "school bus"], {"repeats": 0}, "repeats must be"),
    ],
)
def test_bad_settings_are_refused_before_any_work(lab, concepts, options, message):
    with pytest.raises(ValueError, match=message):
        audit_study(lab, concepts, **options)
