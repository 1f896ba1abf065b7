"""Several and unknown concepts, on a tiny pipeline with judges that answer from the pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from round_trip import assert_reads_back
from stubs import PROFILE, Judge, parameter_defaults

from rbtc.attack.concept_identification import feature_change
from rbtc.lab import Lab
from rbtc.layers import density
from rbtc.models.profiles import load_profile
from rbtc.report.guesses import guess_map
from rbtc.report.pictures import picture_grid
from rbtc.stats import Proportion
from rbtc.studies.measuring.concept_sets import drawn_order, nested_sets
from rbtc.studies.measuring.several_concepts import several_study
from rbtc.studies.measuring.unknown_concept import (
    GAIN,
    JUDGED,
    STEADY,
    drawn_words,
    guessed_cases,
    unknown_study,
)
from rbtc.studies.several_concepts import CUT, SIGNS, UNRELATED, SeveralChapter
from rbtc.studies.unknown_concept import ALONE, CHANGE, UnknownStudy

CLASSES = ["church", "golf ball", "school bus"]
NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "16_several_concepts.py"


class Features(Judge):
    def features(self, images):
        return images.reshape(len(images), -1)[:, ::1500].astype(np.float32) / 255 + 1


class Clip:
    digest = "pixels"

    def image_features(self, images):
        rows = images.reshape(len(images), -1)[:, ::900].astype(float) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def text_features(self, prompts):
        rows = np.array([np.random.default_rng(len(p)).random(14) for p in prompts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def seeing(pipeline, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    judges = {"classifier": Features(), "clip": Clip()}
    return Lab(PROFILE, pipeline=pipeline, store=store, progress=False, **judges)


@pytest.fixture(scope="module")
def study(seeing):
    return several_study(seeing, CLASSES, 2, counts=(1, 2), sets=2)


@pytest.fixture(scope="module")
def unknown(seeing, study):
    cases = guessed_cases(study.cases, study.order, 3)
    words = drawn_words(seeing, study.order, 0, 0)
    return unknown_study(seeing, cases, words, 2, coins=True)


def test_sets_are_nested_and_start_apart(lab):
    order = drawn_order(lab, CLASSES, 1)
    assert order == drawn_order(lab, CLASSES[::-1], 1)
    assert {tuple(drawn_order(lab, CLASSES, seed)) for seed in range(9)} != {tuple(order)}
    cases = nested_sets(order, (1, 2), 3)
    assert [case.count for case in cases] == [1, 2] * 3
    assert [case.concepts[0] for case in cases[::2]] == order
    assert cases[5].concepts == (order[2], order[0])
    assert all(cases[i + 1].concepts[:1] == cases[i].concepts for i in (0, 2, 4))


@pytest.mark.parametrize(
    ("counts", "sets", "message"),
    [
        ((1, 3), 1, "counts must grow"),  # none would be preserved
        ((2, 1), 1, "counts must grow"),
        ((), 1, "counts must grow"),
        ((0, 1), 1, "whole number"),
        ((1,), 4, "at most 3 sets"),
    ],
)
def test_impossible_sets_are_refused_before_any_work(lab, counts, sets, message):
    with pytest.raises(ValueError, match=message):
        several_study(lab, CLASSES, 1, counts=counts, sets=sets)


def test_counts_what_the_lab_counts(seeing, study):
    case = study.cases[1]
    pruned = seeing.owner.pruned_together(case.concepts)
    models = {"pruned": pruned, "revived": seeing.attacker.attack(pruned)}
    for model, variant in models.items():
        own = study.hits[
            (study.hits["model"] == model)
            & (study.hits["concept"] == case.name)
            & (study.hits["count"] == 2)
        ]
        for one in study.order:
            asked = own[own["asked"] == one.word]
            erased = one in case.concepts
            assert set(asked["classes"]) == {"erased" if erased else "preserved"}
            found = seeing.measure.accuracy(variant, one, 2 if erased else 1)
            assert Proportion.of(asked["hit"]) == found
    first = study.hits[study.hits["position"] == 1]
    assert set(zip(first["concept"], first["asked"], strict=True)) == {
        (one.name, one.words[0]) for one in study.cases
    }


def test_densities_and_signs_are_those_of_the_union(seeing, study):
    case = study.cases[1]
    masks = [seeing.owner.masks(one) for one in case.concepts]
    own = study.matrices[
        (study.matrices["concept"] == case.name) & (study.matrices["count"] == case.count)
    ]
    name = sorted(masks[0])[0]
    either, both = masks[0][name] | masks[1][name], masks[0][name] & masks[1][name]
    assert own["cut"].iloc[0] == pytest.approx(float(either.float().mean()))
    shares = [density({name: mask[name]}) for mask in masks]
    assert own["unrelated"].iloc[0] == pytest.approx(sum(shares) - shares[0] * shares[1])
    assert own["cut"].iloc[0] == pytest.approx(sum(shares) - float(both.float().mean()))
    assert own["n"].sum() == sum(int((a | b).sum()) for a, b in zip(
        masks[0].values(), masks[1].values(), strict=True))  # fmt: skip
    weights = study.weights()
    assert list(weights) == [CUT, UNRELATED, SIGNS]
    assert weights[CUT][2].value > weights[CUT][1].value
    assert weights[CUT][1].value == pytest.approx(weights[UNRELATED][1].value)


def test_company_is_judged_on_the_first_concept_and_on_who_is_never_erased(study):
    changes = study.changes()
    assert changes["the first concept, revived"].n == 2 * 2
    # Two sets, one class each that is preserved at both counts.
    assert changes["preserved classes, pruned"].n == 2
    assert len(changes) == 4
    table = study.returned()
    assert table["erased concepts, over all sets"].to_dict() == {1: 2, 2: 4}
    parts = table[["come back", "undecided", "fall further"]].sum(axis=1)
    assert list(parts) == [2, 4]


def test_the_plate_frames_what_was_erased(study):
    assert list(study.pictures) == ["pretrained", "1 erased", "2 erased"]
    cells = {(row, column) for row, of in study.pictures.items() for column in of}
    assert len(study.lost) == 1 + 2 and set(study.lost) <= cells
    figure = picture_grid(study.pictures, framed=study.lost)
    framed = [ax for ax in figure.axes if ax.spines["left"].get_visible()]
    assert len(framed) == 3


def test_the_attacker_sees_pruned_and_revived_pictures_only(seeing, study, unknown):
    case = study.cases[0]
    pruned = seeing.owner.pruned(case.concepts[0])
    revived = seeing.attacker.attack(pruned)
    first, second = (seeing.measure.images(one, "a golf flag", [0, 1]) for one in (pruned, revived))
    clip = seeing.judges.get("clip")
    moved = feature_change(clip.image_features(first), clip.image_features(second)).mean()
    line = unknown.scores[
        (unknown.scores["case"] == case.name) & (unknown.scores["word"] == "golf flag")
    ].set_index("measure")["score"]
    assert line[CHANGE] == pytest.approx(moved)
    assert list(line.index) == [CHANGE, JUDGED, GAIN, ALONE, STEADY]
    assert unknown.measures[0] == CHANGE


def test_hits_are_counted_over_the_models(unknown):
    assert len(unknown.ranks(CHANGE)) == 3  # every class alone, two of them from the sets
    assert set(unknown.recall(CHANGE)) == {1, 2}
    assert unknown.recall(CHANGE)[2].n == 4 and unknown.recall(CHANGE)[2].clusters == 2
    assert unknown.hit(CHANGE, 3) == Proportion(3, 3)  # three words
    assert unknown.hit_table().shape == (6, 3)
    assert list(unknown.hit_table().iloc[-1]) == ["0.33", "1.00", "2"]  # blind among three words
    assert list(unknown.recall_table().index) == [1, 2]
    assert unknown.against(CHANGE, ALONE, 1).n == 3


def test_the_chapter_reads_back_as_it_was_measured(study, unknown, tmp_path):
    assert_reads_back(SeveralChapter(study, unknown), tmp_path)


def made_up(scores):
    """Two models: of 'a' and of 'b'; scores[measure][case] in the order of the words."""
    lines = [
        {"case": case, "count": 1, "measure": measure, "word": word, "score": score,
         "erased": word == case}
        for measure, cases in scores.items()
        for case, values in cases.items()
        for word, score in zip("abc", values, strict=True)
    ]  # fmt: skip
    return UnknownStudy(("a", "b", "c"), pd.DataFrame(lines))


def test_ranks_and_the_map_show_who_was_right():
    right = {"a": [0.9, 0.1, 0.5], "b": [0.2, 0.8, 0.2]}
    wrong = {"a": [0.1, 0.9, 0.5], "b": [0.9, 0.1, 0.2]}
    study = made_up({CHANGE: right, ALONE: wrong})
    assert study.ranks(CHANGE) == {"a": 1, "b": 1} and study.ranks(ALONE) == {"a": 3, "b": 3}
    assert study.hit(CHANGE, 1) == Proportion(2, 2) and study.hit(ALONE, 1).hits == 0
    assert study.against(CHANGE, ALONE, 1).value == 1
    values, truth = study.map()
    assert truth == [("a", "a"), ("b", "b")]
    np.testing.assert_allclose(values.loc["a"], [1, 0, 0.5])
    np.testing.assert_allclose(values.loc["b"], [0, 1, 0])
    figure = guess_map(values, truth)
    assert len(figure.axes[0].patches) == 2
    with pytest.raises(ValueError, match="no cell"):
        guess_map(values, [("a", "d")])


def test_cases_and_words_of_the_attacker(seeing, study):
    cases = guessed_cases(study.cases, study.order, 2)
    assert cases == list(study.cases)
    with pytest.raises(ValueError, match="guesses must lie"):
        guessed_cases(study.cases, study.order, 4)
    more = drawn_words(seeing, study.order, 4, 0)
    assert len(set(more)) == 3 + 4 and more == drawn_words(seeing, study.order, 4, 0)
    with pytest.raises(ValueError, match="other words"):
        drawn_words(seeing, study.order, 10_000, 0)
    for words in (["church"], [*more, more[0]]):
        with pytest.raises(ValueError, match="each word once"):
            unknown_study(seeing, cases, words, 1)


def test_the_chapter_covers_every_class_of_the_profile():
    defaults = parameter_defaults(NOTEBOOK)
    assert sorted(defaults["concepts"]) == sorted(load_profile("mini").classes)
