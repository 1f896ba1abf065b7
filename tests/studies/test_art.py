"""The art chapter with judges that answer from the pixels."""

import dataclasses

import numpy as np
import pytest
from measured import Features
from stubs import PROFILE

from rbtc.lab import Lab
from rbtc.models import distances
from rbtc.models.distances import frechet
from rbtc.report.comparisons import comparison, records
from rbtc.stats import change_of
from rbtc.studies import art as effects
from rbtc.studies.art import CHANGES, MODELS
from rbtc.studies.measuring.art import DRAWS, art_study, neutral_pairs

CHAPTER = "06_art"

STYLES = ["openmoji", "twemoji"]


def test_the_frame_holds_every_picture(lab, study):
    assert len(study.erased) == len(STYLES) * len(MODELS) * 3
    assert len(study.preserved) == len(STYLES) * len(MODELS) * 2
    assert len(study.neutral) == len(STYLES) * len(MODELS) * 4
    assert set(study.erased["prompt"]) >= {"a cat in the style of openmoji"}
    assert not study.erased["similarity"].isna().any()
    style = study.styles[0]
    found = study.by_style(effects.SCORE)["NMS"][style.word].value
    revived = lab.revived(style)
    assert found == lab.measure.clip_score(revived, lab.pretrained, style, 3).value
    shown = study.pictures[style.word]["NMS"]
    prompt = "a cat in the style of openmoji"
    np.testing.assert_array_equal(shown, lab.measure.images(revived, prompt, [0]))


def test_the_pretrained_model_has_a_score_of_zero(study):
    plain = study.erased[study.erased["model"] == "pretrained"]
    assert not plain["below"].any()


def test_distances_are_those_of_the_fast_function(lab, study):
    prompts, seeds = neutral_pairs("emoji/neutral_prompts.txt", 4)

    def features(variant, first_seed=0):
        return Features().features(
            lab.measure.images(variant, prompts, [seed + first_seed for seed in seeds])
        )

    reference = features(lab.pretrained, 10_000)
    found = {
        (style.word, model): features(variant)
        for style in study.styles
        for model, variant in (
            ("pretrained", lab.pretrained),
            ("pruned", lab.owner.pruned(style)),
            ("Quant Recover", lab.owner.quantized(style)),
            ("NMS", lab.revived(style)),
        )
    }
    for line in study.distances.itertuples():
        fast = frechet(found[line.concept, line.model], reference)
        assert line.distance == pytest.approx(fast, abs=1e-3)
        assert line.n == 4
    same = study.distances[study.distances["model"] == "pretrained"]["distance"]
    assert same.nunique() == 1
    means = study.distances.groupby("model")["distance"].mean()
    for before, after in CHANGES:

        def change(places, before=before, after=after):
            own = reference[places]
            return np.mean([
                frechet(found[word, after][places], own) - frechet(found[word, before][places], own)
                for word in STYLES
            ])  # fmt: skip

        expected = change_of(change, means[after] - means[before], 4, resamples=DRAWS)
        assert study.distance_change(before, after) == expected


def test_the_papers_table_stands_beside_ours(study):
    rows = study.rows()
    frame = records(rows).set_index(["row", "column"])
    assert frame.loc[(effects.SCORE, "NMS"), "paper"] == 0.51
    assert frame.loc[(effects.SCORE, "pruned"), "verdict"] == ""
    assert "FID" not in " ".join(frame.index.get_level_values("row"))
    assert effects.NAME == distances.NAME
    assert (effects.NAME, "pruned") in frame.index
    assert comparison(rows, verdicts=True).shape == (4, 3 * 4)
    # The paper's printed change of the neutral similarity is no more than rounding.
    assert frame.loc[(effects.NEUTRAL, "NMS"), "verdict"] == "no effect printed"
    assert len(study.contrasts()) == 5
    spread = study.spread()
    assert (spread["least"] <= spread["most"]).all() and set(spread["styles"]) == {2}
    assert list(study.distance_table()["n"]) == [4, 4]


def test_missing_judges_are_named_together_before_anything_is_drawn(pipeline, tmp_path):
    ours = dataclasses.replace(
        PROFILE.evaluation, style_classifier="models/no-style", clip="models/no-clip"
    )
    profile = dataclasses.replace(PROFILE, evaluation=ours)
    store = tmp_path / "store"
    lab = Lab(profile, pipeline=pipeline, store=store, progress=False, classifier=Features())
    with pytest.raises(FileNotFoundError, match=r"(?s)nothing was drawn.*no-style.*no-clip"):
        art_study(lab, STYLES, 2)
    assert not store.exists()


def test_neutral_prompts_name_no_style_and_nothing_that_is_cut(tmp_path):
    prompts, _ = neutral_pairs("emoji/neutral_prompts.txt", 60)
    cut = {*PROFILE.styles, *PROFILE.prompts.things, *PROFILE.restricted}
    assert not [p for p in prompts for word in cut if f" {word} " in f" {p} "]
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        neutral_pairs(tmp_path / "none.txt", 2)
    (tmp_path / "twice.txt").write_text("a cat\na cat\n")
    with pytest.raises(ValueError, match="twice"):
        neutral_pairs(tmp_path / "twice.txt", 2)
