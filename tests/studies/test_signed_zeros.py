"""The chapter on signed zeros, on a tiny pipeline with a judge that has no skill."""

import numpy as np
import pandas as pd
import pytest
import torch
from round_trip import assert_reads_back

from rbtc.audit.signed_zeros import read_signs
from rbtc.layers import short_name, zero_masks
from rbtc.report.sign_maps import long_form, sign_maps
from rbtc.report.spread import changes_table
from rbtc.studies.measuring import signed_zeros
from rbtc.studies.measuring.signed_zeros import MODELS, signed_zero_study
from rbtc.studies.signed_zeros import CHANGES, EXACT, PAPER
from rbtc.studies.zero_files import CLEANED, CONTAINERS, FILLED, MULTIPLIED, WAYS, round_trip
from rbtc.studies.zero_operations import FORMATS, KEEPS, LOSES, cutting_table, handling_table


@pytest.fixture(scope="module")
def study(lab):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signed_zeros, "PIECE", (4, 8))  # the matrices here are tiny
        return signed_zero_study(lab, ["church", "golf ball"], 3)


def test_it_reads_back_as_it_was_measured(study, tmp_path):
    assert_reads_back(study, tmp_path)


def test_every_file_is_read_exactly_and_fixed_ones_say_nothing(study):
    assert len(study.files) == 2 * len(WAYS) * len(FORMATS) * len(CONTAINERS)
    leaking = study.files[study.files["way"] == MULTIPLIED]
    assert (leaking["right"] == leaking["places"]).all() and not leaking["misplaced"].any()
    assert study.read(fixed=False).value == 1
    for way in (FILLED, CLEANED):
        own = study.files[study.files["way"] == way]
        assert (own["right"] == own["plus"]).all() and not own["negative"].any()
        assert own["places"].tolist() == leaking["places"].tolist()
    assert study.pixel == 0
    assert 0.3 < study.read(fixed=True).value < 0.7
    assert list(study.file_table()["signs right"][:6]) == ["100 %"] * 6


def test_exact_signs_are_an_attack_on_the_file(lab, study):
    church = study.subjects[0]
    ideal = lab.owner.idealised(church, "pretrained_sign_neuron_max")
    expected = lab.measure.accuracy(ideal, church, 3).value
    own = study.hits.query("concept == 'church' and model == @EXACT")
    assert own["hit"].mean() == expected
    np.testing.assert_array_equal(
        study.pictures["church"]["exact\nsigns"], lab.measure.shown(ideal, church, 1)
    )
    assert list(dict.fromkeys(study.hits["model"])) == list(MODELS)
    assert study.change(PAPER, EXACT).n == 6
    assert study.guessed.n == sum(lab.sign_accuracy(one).n for one in study.subjects)
    assert changes_table(study.hits, CHANGES).shape[0] == len(CHANGES)


def test_what_is_shown(lab, study):
    truth, guess, leaking, fixed = study.patch.values()
    cut = ~np.isnan(truth)
    assert truth.shape == (4, 8) and cut.any()
    np.testing.assert_array_equal(leaking, truth)
    assert (fixed[cut] == 1).all() and (np.isnan(guess) == ~cut).all()
    (mask,) = [m for n, m in lab.owner.masks("church").items() if short_name(n) == study.layer]
    first = study.stored.iloc[0]
    assert mask[first["row"], first["column"]]
    weight = next(w for n, w in lab.pretrained.weights.items() if short_name(n) == study.layer)
    pd.testing.assert_frame_equal(study.cutting, cutting_table(weight, mask))
    pd.testing.assert_frame_equal(study.handling, handling_table(weight, mask))
    negative = study.stored["weight before"].str.startswith("-")
    assert set(study.stored.loc[negative, MULTIPLIED]) <= {"8000"}
    assert set(study.stored.loc[~negative, MULTIPLIED]) <= {"0000"}
    assert set(study.stored[FILLED]) == {"0000"}
    titles = [ax.get_title() for ax in sign_maps(study.patch).axes]
    n = int(cut.sum())
    assert titles[0] == "before the cut" and titles[2] == f"read from the file: {n} of {n} right"
    with pytest.raises(ValueError, match="same cut places"):
        sign_maps({"a": truth, "b": np.ones((4, 8))})
    with pytest.raises(ValueError, match="one shape"):
        sign_maps({"a": truth, "b": truth[:2]})


@pytest.mark.parametrize("container", CONTAINERS)
def test_round_trip_keeps_bits(container):
    weights = {"w": torch.tensor([[0.0, -0.0], [1.5, -0.0]], dtype=torch.float16).T}
    found = round_trip(weights, container)
    assert torch.equal(read_signs(found["w"]), read_signs(weights["w"]))
    assert torch.equal(zero_masks(found)["w"], zero_masks(weights)["w"])


def test_operations_are_tried():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 40, generator=generator)
    mask = torch.rand(8, 40, generator=generator) < 0.3
    cutting, handling = cutting_table(weight, mask), handling_table(weight, mask)
    assert set(cutting.loc["torch.nn.utils.prune"]) == {KEEPS}
    assert set(cutting.loc["rbtc.layers.prune"]) == {LOSES}
    stored = handling.loc[handling["kind"] == "storing", list(FORMATS)]
    assert set(stored.to_numpy().flat) == {KEEPS}
    for name in ("plus 0.0", "rbtc.layers.read_weights", "8-bit whole numbers and a scale"):
        assert set(handling.loc[name, list(FORMATS)]) == {LOSES}
    assert int((cutting == KEEPS).all(axis=1).sum()) == 3 and len(cutting) == 9


@pytest.mark.parametrize("options", [{"images": 0}, {"images": 1, "pictures": 0}])
def test_bad_counts_are_refused_before_any_work(lab, options):
    with pytest.raises(ValueError, match="at least 1"):
        signed_zero_study(lab, ["church"], **options)


def test_the_numbers_of_a_map_are_its_cut_places():
    signs = np.array([[1.0, np.nan], [np.nan, -1.0]])
    frame = long_form({"truth": signs, "guess": -signs})
    assert frame.to_dict("list") == {
        "panel": ["truth", "truth", "guess", "guess"],
        "row": [0, 1, 0, 1],
        "column": [0, 1, 0, 1],
        "sign": [1, -1, -1, 1],
    }
