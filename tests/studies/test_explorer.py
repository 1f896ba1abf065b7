"""The page of explorers, on a tiny pipeline."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rbtc.studies.measuring import explorer

CHAPTER = "92_explorers"


def test_compare_shows_the_three_models_of_each_concept(lab, study):
    made = study.compare
    church = lab.subject("church")
    assert (made.pictures[0, 0, 0, 0] == lab.measure.shown(lab.pretrained, church, 1)[0]).all()
    revived = lab.measure.shown(lab.revived(church), church, 1)[0]
    assert (made.pictures[0, 0, 2, 0] == revived).all()
    assert not made.facts


def test_keep_counts_the_signs_that_it_keeps(lab, study):
    made = study.keep
    assert made.pictures.shape[:4] == (2, 3, 2, 1) and made.start == 1
    (all_signs,) = made.facts[0, 2, 0]
    right = kept = 0
    for name, found in lab.completions("church").items():
        truth = lab.pretrained.weights[name][found.missing].sign()
        right += int(((found.values.sign() == truth) & (found.values != 0)).sum())
        kept += int((found.values != 0).sum())  # an estimate of zero has no sign to keep
    assert all_signs.value == pytest.approx(right / kept)


def test_ratio_shows_the_next_class_beside_the_erased_one(lab, study):
    made = study.ratio
    pruned, golf = lab.owner.pruned("church", ratio=0.3), lab.subject("golf ball")
    assert (made.pictures[0, 0, 1, 1] == lab.measure.shown(pruned, golf, 1)[0]).all()
    cut = [made.facts[0, 0, step][0].value for step in (0, 1)]
    assert 0 < cut[0] < cut[1]


def test_noise_says_what_the_attackers_find(lab, study):
    made = study.noise
    quiet = {fact.name: fact.value for fact in made.facts[0, 0, 0]}
    assert quiet["threshold attacker finds"] == 1
    cut = np.array([made.bars[0, step].cut for step in (0, 1)])
    assert np.allclose(cut.sum(axis=1), lab.density("church"))
    assert cut[0].argmax() < cut[1].argmax()


def test_the_numbers_of_other_chapters_stand_beside_ours(study):
    swept = {"ratio": 0.1, "concept": "boat", "erased_hits": 1, "erased_n": 2,
             "preserved_hits": 2, "preserved_n": 2}  # fmt: skip
    sweep = pd.DataFrame([swept])
    alone = study.told({}, sweep.iloc[:0])
    assert list(alone) == ["compare", "keep", "ratio", "noise"]
    assert all(facts == () for facts in alone["compare"].facts.values())
    assert alone["noise"].facts == study.noise.facts

    def counted(model, *hits):
        return pd.DataFrame({"concept": "church", "model": model, "classes": "erased", "hit": hits})

    noise = counted("defended, 1e-6", False)
    measured = {
        "08_objects": SimpleNamespace(hits=counted("NMS", True, True, True, False)),
        "04_nms_ablations": SimpleNamespace(hits=counted("NMS, K = 0.6", 1.0, 0.0, 0.0, 0.0)),
        "90_operating_point": SimpleNamespace(hits=counted("pruned, 0.1", True, False)),
        "05_defense": SimpleNamespace(defense=SimpleNamespace(part=lambda half: noise)),
    }
    told = study.told({name: (one, None) for name, one in measured.items()}, sweep)
    places = {"compare": (0, 0, 2), "keep": (0, 2, 1), "ratio": (0, 0, 0), "noise": (0, 0, 0)}
    found = {
        name: [fact.value for fact in told[name].facts[place]][len(alone[name].facts[place]) :]
        for name, place in places.items()
    }
    assert found == {"compare": [0.75], "keep": [0.25], "ratio": [0.5, 0.5, 1.0], "noise": [0.0]}
    assert told["compare"].facts[0, 0, 2][0].text == "0.75 (n=4)"
    assert told["keep"].facts[1, 2, 1] == study.keep.facts[1, 2, 1]


def test_some_concepts_are_shown_in_a_grid(study):
    grid = study.some(["golf ball (golf flag)"])
    assert list(*grid.values()) == list(study.compare.steps)


def test_the_histogram_counts_every_weight_once():
    weights = {"a": torch.tensor([[0.0, 1e-5], [0.5, 100.0]])}
    found = explorer.histogram(weights, {"a": torch.tensor([[True, True], [False, False]])})
    assert sum(found.cut) == sum(found.rest) == 0.5
    assert found.cut[0] == found.rest[-1] == 0.25
