"""The studies of chapters 0, 1 and 4, on a tiny pipeline with a judge that has no skill."""

import numpy as np
import pandas as pd
import pytest
import torch

from rbtc.claims import Claim, claims_table, describe_claims, with_interval
from rbtc.magnitudes import idealised
from rbtc.paper import paper_value
from rbtc.stats import Proportion
from rbtc.studies import Subject, pool, printed, save_picture, subjects
from rbtc.studies_ablation import Ablation, AblationStudy, ablation_study
from rbtc.studies_overview import MODELS, Overview, overview
from rbtc.studies_signs import MAGNITUDE, REFILLS, SIGN, SIGN_AVERAGE, SIGN_MAX, SignStudy, cosine
from rbtc.studies_signs import sign_study as run_sign_study
from rbtc.tables import comparison, records

GOLF = "golf ball (golf flag)"


@pytest.fixture(scope="module")
def whole(lab):
    return overview(lab, ["church", "golf ball"], 3, other_images=2, pictures=2)


@pytest.fixture(scope="module")
def signs(lab):
    return run_sign_study(lab, ["church", "golf ball"], 3, pictures=1, draw_seed=7)


@pytest.fixture(scope="module")
def ablations(lab):
    return ablation_study(lab, ["golf ball", "bus"], 3, keep_ratios=[1.0, 0.5], pictures=1)


# ---- shared --------------------------------------------------------------------------------------


def test_subjects_carry_the_papers_class_and_the_models_word(lab):
    assert subjects(lab, ["golf ball"]) == subjects(lab, ["golf flag"])
    assert [s.label for s in subjects(lab, ["church", "golf flag"])] == ["church", GOLF]
    assert subjects(lab, ["anchor"])[0] == Subject("anchor", None)
    for wrong in ([], ["church", "church"], ["golf ball", "golf flag"]):
        with pytest.raises(ValueError, match="each once"):
            subjects(lab, wrong)


def test_printed_numbers():
    assert printed(3, "top 0.8", "NMS") == paper_value(3, "Top 0.8", "NMS")
    assert printed(3, "Top 0.7", "NMS") is None
    assert printed(1, None, "erased: NMS") is None


def test_a_saved_picture_is_the_same_every_time(tmp_path):
    from rbtc.figures import picture_grid

    images = {"church": {"pruned": np.zeros((1, 8, 8, 3), np.uint8)}}
    first = save_picture(picture_grid(images), tmp_path / "new" / "a.png").read_bytes()
    assert first == save_picture(picture_grid(images), tmp_path / "b.png").read_bytes()
    assert first[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png", "new"]


# ---- claims --------------------------------------------------------------------------------------


def test_claims_are_judged_by_their_intervals():
    high, low, wide = Proportion(90, 100), Proportion(10, 100), Proportion(1, 2)
    found = [Claim("a", "Sec. 1", *pair) for pair in ((high, low), (low, high), (high, wide))]
    assert [claim.outcome for claim in found] == ["holds", "opposite", "undecided"]
    table = claims_table(found)
    assert list(table["here"]) == ["holds", "opposite", "undecided"]
    assert list(table.index) == ["a"] * 3
    text = describe_claims(found)
    assert text.index("as well") < text.index("Not decided") < text.index("opposite")
    assert describe_claims(found[:1]) == "Found here as well: a."
    assert with_interval(high) == "90 % [83, 94]"


# ---- overview ------------------------------------------------------------------------------------


def test_overview_counts_what_the_lab_counts(lab, whole):
    models = {"pretrained": lab.pretrained, "pruned": lab.pruned("golf ball"),
              "revived": lab.revived("golf ball")}  # fmt: skip
    for name, variant in models.items():
        assert whole.erased[name][GOLF] == lab.accuracy(variant, "golf ball", 3)
        assert whole.preserved[name][GOLF] == lab.preserved(variant, "golf ball", 2)
        expected = lab.images(variant, "a golf flag", range(2))
        np.testing.assert_array_equal(whole.grid()[GOLF][name], expected)
    assert list(whole.grid()) == ["church", GOLF]


def test_pictures_of_the_pretrained_model_count_once(whole):
    assert {p.n for p in whole.pooled["erased"].values()} == {6}
    assert whole.pooled["preserved"]["pruned"].n == 2 * 2 * 2  # concepts, other classes, pictures
    assert whole.pooled["preserved"]["pretrained"].n == 3 * 2  # classes, pictures


def test_overview_sets_the_papers_averages_beside_ours(whole):
    rows = {(row.row, row.column): row for row in whole.rows()}
    revived = rows["revived (NMS)", "erased class"]
    printed_ones = [paper_value(1, name, "erased: NMS") for name in ("Church", "Golf Ball")]
    assert revived.paper == pytest.approx(np.mean(printed_ones))
    assert revived.our_baseline == whole.pooled["erased"]["pruned"]
    assert rows["pretrained", "preserved classes"].paper_baseline is None
    assert comparison(whole.rows(), verdicts=True).shape == (3, 6)
    assert len(records(whole.class_rows())) == 2 * 2 * len(MODELS)
    assert whole.paper()["pruned"] == {
        "church": paper_value(1, "Church", "erased: ConceptPrune"),
        GOLF: paper_value(1, "Golf Ball", "erased: ConceptPrune"),
    }


def test_a_concept_that_the_paper_does_not_have(lab):
    found = overview(lab, ["church", "anchor"], 1, other_images=1, pictures=1)
    assert all(row.paper is None for row in found.rows())
    assert list(found.paper()["revived"]) == ["church"]
    assert "in the paper" not in found.describe()


def told(pre, cut, back, other=(90, 90, 90)):
    """An overview of one class with the given hits out of 100."""
    values = {
        model: {"church": Proportion(hits, 100)}
        for model, hits in zip(MODELS, (pre, cut, back), strict=True)
    }
    kept = {
        model: {"church": Proportion(hits, 100)} for model, hits in zip(MODELS, other, strict=True)
    }
    pooled = {
        "erased": {model: pool(of.values()) for model, of in values.items()},
        "preserved": {model: pool(of.values()) for model, of in kept.items()},
    }
    return Overview((Subject("church", "church"),), values, kept, pooled, {}).describe()


def test_the_words_follow_the_numbers():
    good = told(90, 10, 50)
    assert "Pruning erases the concepts" in good and "The attack brings them back" in good
    assert "90 % [83, 94]" in good and "took, 50 % returns; in the paper" in good
    assert "does not change this measurably" in good
    weak = told(90, 85, 88)
    assert "does not show that pruning erases" in weak
    assert "does not show that the attack brings anything back" in weak
    assert "returns" not in weak
    odd = told(50, 90, 10, other=(90, 40, 80))
    assert "it rather strengthens" in odd and "lowers the accuracy further" in odd
    assert "pruning lowers this" in odd and "raises this" in odd


# ---- signs against magnitudes --------------------------------------------------------------------


def test_sign_study_counts_what_the_lab_counts(lab, signs):
    assert list(signs.accuracy) == ["pretrained", "pruned", *REFILLS]
    for name, mode in REFILLS.items():
        variant = lab.idealised("church", mode, 7)
        assert signs.accuracy[name]["church"] == lab.accuracy(variant, "church", 3)
        straight = idealised(lab.pretrained.weights, lab.pruned("church").weights,
                             lab.masks("church"), mode=mode, seed=7)  # fmt: skip
        assert all(torch.equal(variant.weights[n], straight[n]) for n in straight)
    assert signs.pooled()[SIGN].n == 6
    assert [name.replace("\n", " ") for name in signs.grid()[GOLF]] == list(signs.accuracy)


def test_cosines_show_what_was_given_away(signs):
    for label in ("church", GOLF):
        drawn = signs.cosines[MAGNITUDE][label]
        # One size for every weight of a row loses less than a random size.
        assert abs(drawn) < signs.cosines[SIGN][label] < signs.cosines[SIGN_MAX][label] < 1
        assert signs.cosines[SIGN_AVERAGE][label] > signs.cosines[SIGN][label]
    text = signs.summary().loc["pruned", "cosine with the cut weights"]
    assert text == ""  # zeros have no direction


def test_cosine_is_that_of_one_long_vector():
    a = {"x": torch.tensor([[1.0, 2.0]]), "y": torch.tensor([[3.0, 9.0]])}
    b = {"x": torch.tensor([[2.0, 0.0]]), "y": torch.tensor([[1.0, -5.0]])}
    places = {"x": torch.tensor([[True, True]]), "y": torch.tensor([[True, False]])}
    expected = np.dot([1, 2, 3], [2, 0, 1]) / np.linalg.norm([1, 2, 3]) / np.linalg.norm([2, 0, 1])
    assert cosine(a, b, places) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no direction"):
        cosine(a, {name: torch.zeros(1, 2) for name in a}, places)


def test_sign_study_tables_and_words(signs):
    assert signs.table().shape == (6, 2)
    assert set(records(signs.rows())["verdict"]) == {"not in the paper"}
    assert len(signs.claims_table()) == 5
    hits = {"pretrained": 95, "pruned": 30, MAGNITUDE: 5, SIGN: 70, SIGN_MAX: 90, SIGN_AVERAGE: 72}
    accuracy = {name: {"church": Proportion(n, 100)} for name, n in hits.items()}
    cosines = {name: {"church": 0.5} for name in REFILLS}
    study = SignStudy((Subject("church", "church"),), accuracy, cosines, {})
    assert [claim.outcome for claim in study.claims()] == ["holds"] * 5
    assert "*true sign, neuron max*" in study.describe()
    assert "Not decided" not in study.describe()
    level = {name: {"church": Proportion(0, 3)} for name in hits}
    flat = SignStudy(study.subjects, level, cosines, {})
    assert "refills is *true magnitude, drawn sign*, " in flat.describe()  # all four are named
    assert [claim.outcome for claim in flat.claims()] == ["undecided"] * 5


# ---- ablations -----------------------------------------------------------------------------------


def test_ablation_counts_what_the_lab_counts(lab, ablations):
    golf, bus = ablations.ablations
    variant = lab.revived("golf ball", keep_ratio=0.5, strategy="neuron_average")
    assert golf.accuracy["Neuron Average"][0.5] == lab.accuracy(variant, "golf ball", 3)
    assert golf.pruned == lab.accuracy(lab.pruned("golf ball"), "golf ball", 3)
    assert (golf.table_number, bus.table_number) == (3, None)
    assert list(ablations.grid()[GOLF]) == ["pretrained", "pruned", "K = 1", "K = 0.5"]
    shown = ablations.grid()[GOLF]["K = 0.5"]
    np.testing.assert_array_equal(
        shown, lab.images(lab.revived("golf ball", keep_ratio=0.5), "a golf flag", [0])
    )


def test_ablation_tables_figures_and_words(ablations):
    golf, bus = ablations.ablations
    assert golf.paper()["NMS"] == {1.0: paper_value(3, "Top 1.0", "NMS")}
    assert bus.paper() == {}
    tables = ablations.tables()
    assert tables[0].index.name == f"{GOLF}, Table 3" and tables[1].index.name == "school bus (bus)"
    assert tables[0].shape == (2, 9)
    assert isinstance(tables[0], pd.DataFrame)
    frame = records(ablations.rows())
    assert len(frame) == 2 * (2 + 3 * 2) and not frame.duplicated(["row", "column"]).any()
    assert len(ablations.figures()) == 2
    text = ablations.describe()
    assert f"**{GOLF}**" in text and "4 pairs of a concept and a K" in text


def test_ablation_words_follow_the_numbers():
    hits = {"NMS": (20, 90, 50), "Neuron Sample": (10, 10, 10), "Neuron Average": (20, 10, 95)}
    accuracy = {
        name: dict(zip((1.0, 0.6, 0.2), (Proportion(n, 100) for n in of), strict=True))
        for name, of in hits.items()
    }
    one = Ablation(Subject("x", "church"), accuracy, Proportion(95, 100), Proportion(5, 100))
    assert "highest at K = 0.6, 90 % [83, 94], clearly above every other K" in one.describe()
    assert "That is above the pruned model, 5 %" in one.describe()
    assert "The paper's highest is K = 0.6" in one.describe()
    text = AblationStudy((one,), {}).describe()
    assert "*Neuron Average* in 1, clearly below in 1, and they cannot be told apart in 1" in text
    level = {"NMS": dict.fromkeys((1.0, 0.6), Proportion(5, 10))}
    flat = Ablation(Subject("x", None), level, Proportion(9, 10), Proportion(5, 10)).describe()
    assert "no other K can be told from it" in flat
    assert "That is not distinguishable from the pruned model" in flat
    assert "The paper's" not in flat


def test_what_an_ablation_refuses(lab):
    with pytest.raises(ValueError, match="unknown strategies"):
        ablation_study(lab, ["church"], 1, strategies=["Neuron Median"])
    with pytest.raises(ValueError, match="at least one K"):
        ablation_study(lab, ["church"], 1, keep_ratios=[])
