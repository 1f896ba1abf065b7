import pytest
import torch
from measured import SMALL

from rbtc.lab import Lab
from rbtc.layers import density, zero_masks
from rbtc.matrices import ALL_KINDS, find_matrices
from rbtc.paper import paper_value
from rbtc.report.charts import bars_with_intervals
from rbtc.report.comparisons import comparison
from rbtc.studies.measuring.saliency import saliency_study
from rbtc.studies.saliency import FF, METHODS, model_name
from rbtc.studies.saliency_cuts import ALL, missing_places, together

CHAPTER = "09_saliency"

GOLF = "golf ball (golf flag)"


def test_the_methods_cut_alike(lab, study):
    own = study.cuts.set_index(["layers", "method", "concept"])
    assert len(own) == 2 * (3 + 2 + 2)
    for subject in study.subjects:
        masks = lab.owner.masks(subject)
        expected = sum(int(mask.sum()) for mask in masks.values())
        plain = own.loc[(FF, "ConceptPrune", subject.label)]
        assert plain["cut"] == plain["shared"] == expected
        for method in ("SNIP", "SalUn"):
            near = own.loc[(FF, method, subject.label), "cut"]
            assert abs(near - expected) <= len(masks) / 2  # each layer rounds
            exact = own.loc[(together(0.25), method, subject.label), "cut"]
            assert exact == round(expected / 4)
            everything = own.loc[(ALL, method, subject.label)]
            assert everything["weights"] > plain["weights"] and everything["cut"] > 0
    assert (study.cuts["right"] <= study.cuts["signs"]).all()
    assert (study.cuts["signs"] <= study.cuts["cut"]).all()
    assert study.cut_table().shape == (7, 5)
    assert study.others and list(study.others) == list(study.pictures)


def test_the_totals_name_every_model_once(study):
    names = ["pretrained"]
    for layers in (FF, ALL, together(0.25)):
        for method in METHODS if layers == FF else ["SNIP", "SalUn"]:
            names += [model_name(stage, method, layers) for stage in ("pruned", "revived")]
    assert list(study.totals().index) == list(study.summary().index) == names
    assert (study.totals()["n"] == 2 * 2).all() and (study.totals()["n preserved"] == 2 * 2).all()
    erased = study.part("erased")
    own = erased[erased["model"] == "revived, SalUn, ff"]
    assert study.totals().loc["revived, SalUn, ff", "erased class"] == own["hit"].mean()


def test_the_papers_numbers_stand_beside_ours(lab, study):
    golf = study.subjects[0]
    expected = paper_value(4, "Golf Ball", "Scissorhands: NMS")
    assert study.paper("SNIP")["revived"][golf.label] == expected
    bars_with_intervals(study.curves("SNIP"), paper=study.paper("SNIP"))
    one = {**SMALL["09_saliency"], "concepts": ["golf ball"], "wide": False, "budgets": []}
    alone = saliency_study(lab, **one)
    rows = {(row.row, row.column): row for row in alone.rows()}
    assert len(rows) == 9 and comparison(rows.values(), verdicts=True).shape == (3, 12)
    assert rows["SalUn", "pruned"].paper == paper_value(11, "Golf Ball", "SalUn: unlearned")
    assert rows["SalUn", "revived"].paper_from == rows["SalUn", "pruned"].paper
    assert set(alone.effects()["column"]) == {
        model_name(stage, method, "ff") for stage in ("pruned", "revived") for method in METHODS
    }
    assert set(alone.revivals()) == set(alone.costs()) == {f"{method}, ff" for method in METHODS}
    assert alone.others == {} and list(alone.pictures) == [f"{GOLF}, pruned", f"{GOLF}, revived"]


def test_a_cut_is_the_same_every_time_and_depends_on_every_setting(lab, pipeline, tmp_path):
    options = {"pictures": 2, "passes": 1}
    first = lab.owner.salient("church", "snip", **options)
    fresh = Lab(lab.profile, pipeline=pipeline, store=tmp_path, progress=False)
    again = fresh.owner.salient("church", "snip", **options)
    assert fresh.store.computed["weights"] and again.key == first.key
    assert all(torch.equal(again.weights[n], first.weights[n]) for n in first.weights)
    assert not torch.signbit(torch.cat([w[w == 0] for w in first.weights.values()])).any()
    assert density(zero_masks(first.weights)) == pytest.approx(lab.density("church"), abs=0.01)
    keys = {first.key}
    for change in (
        {"share": 0.05},
        {"seed": 1},
        {"passes": 2},
        {"kinds": ["attention"]},
        {"per": "all"},
    ):
        keys.add(lab.owner.salient("church", "snip", **{**options, **change}).key)
    keys.add(lab.owner.salient("church", "salun", **options).key)
    keys.add(lab.owner.salient("bus", "snip", **options).key)
    assert len(keys) == 8


def test_other_layers_are_cut_written_and_put_back(lab):
    unet = lab.pipeline.unet
    lab.restore()
    before = {name: p.detach().clone() for name, p in find_matrices(unet, ALL_KINDS).items()}
    cut = lab.owner.salient("church", "salun", kinds=ALL_KINDS, share=0.01, pictures=2, passes=1)
    assert list(cut.weights) == list(before)
    lab.apply(cut)
    for name, parameter in find_matrices(unet, ALL_KINDS).items():
        assert torch.equal(parameter.detach().flatten(1), cut.weights[name])
    assert any(bool((unet.get_parameter(n) == 0).any()) for n in before if before[n].ndim == 4)
    lab.apply(lab.owner.pruned("church"))  # names the feed-forward layers only
    for name, parameter in find_matrices(unet, ["attention", "convolution"]).items():
        assert torch.equal(parameter, before[name])
    lab.restore()
    assert all(torch.equal(unet.get_parameter(n), before[n]) for n in before)


def test_rows_cut_as_a_whole_are_left_alone():
    weights = {"a": torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "b": torch.ones(1, 2)}
    places = missing_places(weights)
    assert places is not None
    assert places["a"].tolist() == [[False, False], [False, True]] and not places["b"].any()
    assert missing_places({"a": torch.tensor([[1.0, 0.0]])}) is None


def test_bad_cuts_are_refused(lab):
    for options, message in (
        ({"score": "loud"}, "score must be one of"),
        ({"score": "snip", "share": 0.0}, "share must lie between"),
        ({"score": "snip", "kinds": ["head"]}, "kinds must be some of"),
        ({"score": "snip", "kinds": "attention"}, "must be a list"),
        ({"score": "snip", "per": "row"}, "per must be one of"),
        ({"score": "snip", "colour": 1}, "unknown saliency options"),
    ):
        with pytest.raises(ValueError, match=message):
            lab.owner.salient("church", **options)
