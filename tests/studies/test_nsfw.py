import dataclasses

import numpy as np
import pytest
import torch
from measured import SMALL
from stubs import Judge

from rbtc.lab.judges import Judges
from rbtc.models.detectors import nudenet_installed
from rbtc.models.profiles import load_profile
from rbtc.paper import paper_value
from rbtc.report.comparisons import comparison
from rbtc.studies.measuring.nsfw import measure
from rbtc.studies.nsfw_prompts import ordinary_prompts, read_prompts, restricted_subjects

CHAPTER = "07_nsfw"

FEW = {"keep_ratios": [0.6], "prompts": 1, "words": 1, "candidates": 2}


@pytest.fixture(scope="module")
def study(chapter):
    return chapter.restricted


def test_all_concepts_are_cut_from_one_model(lab, study):
    together = lab.owner.pruned_together(["church", "bus"])
    masks = [lab.owner.masks(word) for word in ("church", "bus")]
    for name, weight in together.weights.items():
        cut = masks[0][name] | masks[1][name]
        expected = torch.where(cut, 0.0, lab.pretrained.weights[name])
        assert torch.equal(weight, expected)
    assert study.density > lab.density("church")
    assert lab.owner.pruned_together(["bus"]).key == lab.owner.pruned("bus").key
    other = lab.owner.pruned_together(["church", "golf ball"])
    assert len({together.key, other.key, lab.owner.pruned("church").key}) == 3


def test_every_list_is_drawn_by_every_model_and_counted(lab, study):
    assert study.models == ["pretrained", "pruned", "Top-0.6"]
    assert study.sets == ["I2P", "MMA", "Ring-A-Bell"]
    assert len(study.hits) == 3 * 3 * 2 * 3
    assert study.hits.groupby(["set", "asked"])["prompt"].nunique().max() <= 2
    own = study.hits[study.hits["model"] == "pruned"]
    pruned = lab.owner.pruned_together(["church", "bus"])
    images = lab.measure.images(pruned, list(own["prompt"]), list(own["seed"]))
    seen = [name in ("church", "bus") for name in Judge().predict(images)]
    assert list(own["hit"]) == seen
    assert study.pictures["MMA"]["pruned"].shape == (2, 64, 64, 3)
    assert set(study.others["asked"]) == {"golf flag"}
    assert study.survivors()["pruned"].n == 1


def test_prompts_are_what_their_role_says(study):
    prompts = study.prompts.set_index(["set", "concept"])
    plain = list(prompts.loc[("I2P", "church"), "prompt"])
    assert plain == ["a church", "a church in the style of openmoji"]
    assert list(study.asked().columns) == ["prompt", "distance", "start"]
    assert study.asked().loc[("I2P", "bus"), "distance"].eq("").all()
    searched = study.prompts[study.prompts["set"] != "I2P"]
    assert (searched["distance"] <= searched["start"]).all()
    assert (searched["prompt"].str.split().str.len() == 2).all()


def test_table_7_stands_beside_ours(study):
    rows = {(row.row, row.column): row for row in study.rows()}
    whole = paper_value(7, "pretrained", "MMA")
    attack = rows["Top-0.6", "MMA"]
    assert attack.paper == paper_value(7, "Top-0.6", "MMA") / whole
    assert attack.paper_from == paper_value(7, "ConceptPrune", "MMA") / whole
    assert attack.paper_images == whole
    assert rows["pruned", "I2P"].paper_from == 1
    assert comparison(study.rows(), verdicts=True).shape == (2, 12)
    counted = study.counts()
    ours = study.hits[(study.hits["model"] == "pretrained") & (study.hits["set"] == "I2P")]
    assert counted.loc["pretrained", ("I2P", "ours")] == f"{ours['hit'].sum()} of 6"
    assert counted.loc["pretrained", ("I2P", "paper")] == "461"


def test_a_list_without_a_picture_before_has_no_share(study):
    none = study.hits["hit"] & (study.hits["set"] != "MMA")
    nothing = dataclasses.replace(study, hits=study.hits.assign(hit=none))
    assert all("MMA" not in of for of in nothing.relative().values())
    row = next(r for r in nothing.rows() if (r.row, r.column) == ("pruned", "MMA"))
    assert row.ours is None and row.verdict == "undecided"


def test_a_second_run_reads_the_searches_and_the_answers(lab, study):
    before = dict(lab.store.computed)
    again = measure(lab, **SMALL["07_nsfw"])
    assert dict(lab.store.computed) == before
    np.testing.assert_array_equal(again.restricted.hits["hit"], study.hits["hit"])
    assert (again.nudenet is not None) == nudenet_installed()


def test_lists_from_files_take_the_place_of_ours(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare.csv"
    bare.write_text('"a boat,\nat sea"\na bus\n\n')
    named = tmp_path / "named.csv"
    named.write_text("case_number,Prompt\n0,a road\n1,\n")
    with pytest.raises(ValueError, match=r"named\.csv, line 3: the prompt is empty"):
        read_prompts(named)
    named.write_text("case_number,Prompt\n0,a road\n")
    assert read_prompts(bare) == ["a boat,\nat sea", "a bus"]
    assert read_prompts(named) == ["a road"]
    found = measure(lab, ["bus"], 2, prompt_files=[f"I2P={bare}", f"MMA={named}"], **FEW).restricted
    own = found.hits[found.hits["model"] == "pretrained"].set_index("set")["prompt"]
    assert list(own["I2P"]) == read_prompts(bare) and own["MMA"] == "a road"
    empty = tmp_path / "empty.csv"
    empty.write_text("prompt\n")
    for path, error in ((empty, ValueError), (tmp_path / "none.csv", FileNotFoundError)):
        with pytest.raises(error, match=path.name):
            read_prompts(path)


def test_nudity_has_prompts_about_adults_only():
    profile = load_profile("sd15")
    (subject,) = restricted_subjects(profile)
    assert subject.kind == "nudity" and profile.evaluation.detector == "nudenet"
    assert len(ordinary_prompts(profile, subject)) == len(profile.prompts.people)


def test_answers_are_kept_only_of_a_detector_that_can_be_told_apart(lab):
    cpu, profile = torch.device("cpu"), lab.profile

    class Nameless(Judge):
        digest = None

    assert Judges(profile, cpu, {"object": Nameless()}).identity("detector") is None
    known = Judges(profile, cpu, {"object": Judge()})
    assert Judge.digest in known.identity("detector") and "church" in known.identity("detector")
    given = Judges(profile, cpu, {"detector": lambda images: images.any(axis=(1, 2, 3))})
    assert given.identity("detector") is None and given.code("detector") == ()
    empty = dataclasses.replace(profile, restricted=())
    with pytest.raises(ValueError, match="no restricted concepts"):
        Judges(empty, cpu, {"object": Judge()}).get("detector")
