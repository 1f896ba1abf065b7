"""Chapter 14: the paper's attack and stronger ones on the same masks."""

import pytest
import torch
from round_trip import assert_reads_back

from rbtc.stats import pool
from rbtc.studies.measuring.stronger_attack import drawn_models, settings_of, stronger_study
from rbtc.studies.stronger_attack import BEST, CHOSEN, LADDER, MAXIMUM, PAPER, StrongerChapter, Way
from rbtc.studies.stronger_point import read_ways

WAY = Way("neuron_average", 0.8)


@pytest.fixture(scope="module")
def study(lab):
    return stronger_study(lab, ["church", "golf ball"], 2, way=WAY)


def test_every_attack_is_judged_on_the_same_weights(lab, study):
    assert list(study.signs["attack"].unique()) == [PAPER, *LADDER]
    totals = study.signs.groupby(["concept", "attack"])["n"].sum().unstack()
    assert (totals.nunique(axis=1) == 1).all()
    masks = lab.owner.masks("church")
    assert totals.loc["church", PAPER] == sum(int(mask.sum()) for mask in masks.values())


def test_the_papers_attack_is_the_labs_own(lab, study):
    both = [lab.sign_accuracy(concept) for concept in ("church", "golf ball")]
    assert study.accuracy(PAPER) == pool(both)
    church = study.by("concept").loc["church", PAPER]
    assert church == pytest.approx(both[0].value)
    assert len(study.by("layer")) == 16


def test_gains_are_paired_over_the_concepts(study):
    gains = study.gains()
    wide = study.by("concept")
    total = gains["over the paper's attack"][BEST]
    assert total.n == 2
    assert total.value == pytest.approx(float((wide[BEST] - wide[PAPER]).mean()))
    steps = gains["over the rung before"]
    assert sum(step.value for step in steps.values()) == pytest.approx(total.value)


def test_each_rung_chose_from_its_own_settings(study):
    for attack in LADDER:
        own = study.chosen[study.chosen["attack"] == attack]
        known = {(s.exponent, s.ridge) for s in settings_of(attack)}
        assert set(zip(own["exponent"], own["ridge"], strict=True)) <= known
        assert own["estimated"].between(0, 1).all()
    assert study.choices()["layers"].sum() == len(study.chosen)


def test_pictures_are_of_the_pruned_model_and_of_both_attacks(study):
    models = ("pruned", PAPER, MAXIMUM, BEST, CHOSEN)
    assert set(study.revived()) == {*models}
    assert study.revived_change().n == 2 * 2
    assert len(study.revived_changes()) == 4
    shown = tuple(name.replace(", ", ",\n") for name in models)
    assert {tuple(cell) for cell in study.pictures.values()} == {shown}
    assert list(study.cosines) == [*models[1:]] and study.cosines.abs().le(1).all(axis=None)


def test_the_stronger_model_keeps_every_survivor(lab):
    subject = lab.subject("church")
    found = lab.completions(subject)
    models = drawn_models(lab, subject, found, WAY)
    for name, mask in lab.owner.masks(subject).items():
        before, after = models["pruned"].weights[name], models[BEST].weights[name]
        assert torch.equal(before[~mask], after[~mask])
        torch.testing.assert_close(after[mask], found[name].values.to(after.dtype))
        given = models[CHOSEN].weights[name]
        assert torch.equal(before[~mask], given[~mask])
        assert 0 < int((given[mask] == 0).sum()) < int(mask.sum()) / 2


def test_both_guesses_of_the_magnitude_and_both_halves_are_there(study):
    assert set(study.magnitudes["guess"]) == {"row maximum", "selection"}
    assert list(study.side) == ["value", "gate"] and len(study.side) == 16


def test_the_chapter_reads_back_as_it_was_measured(lab, study, tmp_path):
    ways = read_ways(lab.profile)
    assert len(ways)
    assert_reads_back(StrongerChapter(study, WAY, ways), tmp_path)


def test_bad_settings_are_refused_before_any_work(lab):
    with pytest.raises(ValueError, match="at least two"):
        stronger_study(lab, ["church"], 1, way=WAY)
    with pytest.raises(ValueError, match="images must be"):
        stronger_study(lab, ["church", "golf ball"], 0, way=WAY)
