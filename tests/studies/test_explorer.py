"""The page of explorers, on a tiny pipeline."""

import numpy as np
import pytest
import torch

from rbtc.report.chapters import Chapters
from rbtc.studies import explorer

CONCEPTS = ["church", "golf ball"]


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    return Chapters(tmp_path_factory.mktemp("results"))


def test_compare_shows_the_three_models_of_each_concept(lab, nothing):
    made = explorer.compare(lab, CONCEPTS, 5, chapters=nothing)
    church = lab.subject("church")
    assert (made.pictures[0, 0, 0, 0] == lab.measure.shown(lab.pretrained, church, 1, 5)[0]).all()
    revived = lab.measure.shown(lab.revived(church), church, 1, 5)[0]
    assert (made.pictures[0, 0, 2, 0] == revived).all()
    assert all(facts == () for facts in made.facts.values())
    grid = explorer.opening(lab, made, ["golf ball"])
    assert list(grid) == ["golf ball (golf flag)"] and list(*grid.values()) == list(made.steps)
    with pytest.raises(ValueError, match="not among"):
        explorer.opening(lab, made, ["school bus"])


def test_keep_counts_the_signs_that_it_keeps(lab, nothing):
    made = explorer.keep(lab, CONCEPTS, [1.0, 0.4], chapters=nothing)
    assert made.pictures.shape[:4] == (2, 3, 2, 1) and made.start == 1
    (all_signs,) = made.facts[0, 2, 0]
    right = kept = 0
    for name, found in lab.completions("church").items():
        truth = lab.pretrained.weights[name][found.missing].sign()
        right += int(((found.values.sign() == truth) & (found.values != 0)).sum())
        kept += int((found.values != 0).sum())  # an estimate of zero has no sign to keep
    assert all_signs.value == pytest.approx(right / kept)
    with pytest.raises(ValueError, match="keep_ratio"):
        explorer.keep(lab, CONCEPTS, [1.5], chapters=nothing)


def test_ratio_shows_the_next_class_beside_the_erased_one(lab, nothing):
    made = explorer.prune_ratio(lab, CONCEPTS, [0.1, 0.3], chapters=nothing)
    pruned, golf = lab.owner.pruned("church", ratio=0.3), lab.subject("golf ball")
    assert (made.pictures[0, 0, 1, 1] == lab.measure.shown(pruned, golf, 1)[0]).all()
    cut = [made.facts[0, 0, step][0].value for step in (0, 1)]
    assert 0 < cut[0] < cut[1]
    with pytest.raises(ValueError, match="two concepts"):
        explorer.prune_ratio(lab, ["church"], [0.1], chapters=nothing)


def test_noise_says_what_the_attackers_find(lab, nothing):
    made = explorer.noise(lab, CONCEPTS, [1e-6, 1.0], chapters=nothing)
    quiet = {fact.name: fact.value for fact in made.facts[0, 0, 0]}
    assert quiet["threshold attacker finds"] == 1
    cut = np.array([made.bars[0, step].cut for step in (0, 1)])
    assert np.allclose(cut.sum(axis=1), lab.density("church"))
    assert cut[0].argmax() < cut[1].argmax()


def test_the_histogram_counts_every_weight_once():
    weights = {"a": torch.tensor([[0.0, 1e-5], [0.5, 100.0]])}
    found = explorer.histogram(weights, {"a": torch.tensor([[True, True], [False, False]])})
    assert sum(found.cut) == sum(found.rest) == 0.5
    assert found.cut[0] == found.rest[-1] == 0.25
