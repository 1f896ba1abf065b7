"""The art chapter with judges that answer from the pixels."""

import dataclasses

import numpy as np
import pytest
from round_trip import assert_reads_back
from stubs import PROFILE, Judge

from rbtc.lab import Lab
from rbtc.models import distances
from rbtc.models.distances import frechet
from rbtc.report.comparisons import comparison, records
from rbtc.stats import change_of
from rbtc.studies import art as effects
from rbtc.studies.art import CHANGES, MODELS
from rbtc.studies.measuring.art import DRAWS, art_study, neutral_pairs, read_prompts

STYLES = ["openmoji", "twemoji"]


class StyleJudge(Judge):
    names = tuple(PROFILE.styles)


class Features(Judge):
    def features(self, images):
        return images.reshape(len(images), -1)[:, ::1500].astype(np.float32) / 255


class Clip:
    digest = "pixels"

    def image_features(self, images):
        rows = images.reshape(len(images), -1)[:, ::900].astype(float) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def text_features(self, prompts):
        rows = np.array([np.random.default_rng(len(p)).random(14) for p in prompts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def art(pipeline, tmp_path_factory):
    return Lab(
        dataclasses.replace(PROFILE, styles=("openmoji", "twemoji", "noto")),
        pipeline=pipeline,
        store=tmp_path_factory.mktemp("store"),
        progress=False,
        classifier=Features(),
        style_classifier=StyleJudge(),
        clip=Clip(),
    )


@pytest.fixture(scope="module")
def study(art):
    return art_study(art, STYLES, 3, neutral_images=4, pictures=1)


def test_the_frame_holds_every_picture(art, study):
    assert len(study.erased) == len(STYLES) * len(MODELS) * 3
    assert len(study.preserved) == len(STYLES) * len(MODELS) * 2
    assert len(study.neutral) == len(STYLES) * len(MODELS) * 4
    assert set(study.erased["prompt"]) >= {"a cat in the style of openmoji"}
    assert not study.erased["similarity"].isna().any()
    style = study.styles[0]
    found = study.by_style(effects.SCORE)["NMS"][style.word].value
    revived = art.revived(style)
    assert found == art.measure.clip_score(revived, art.pretrained, style, 3).value
    shown = study.pictures[style.word]["NMS"]
    prompt = "a cat in the style of openmoji"
    np.testing.assert_array_equal(shown, art.measure.images(revived, prompt, [0]))


def test_the_pretrained_model_has_a_score_of_zero(study):
    plain = study.erased[study.erased["model"] == "pretrained"]
    assert not plain["below"].any()


def test_it_reads_back_as_it_was_measured(study, tmp_path):
    assert_reads_back(study, tmp_path)


def test_distances_are_those_of_the_fast_function(art, study):
    prompts, seeds = neutral_pairs("emoji/neutral_prompts.txt", 4)

    def features(variant, first_seed=0):
        return Features().features(
            art.measure.images(variant, prompts, [seed + first_seed for seed in seeds])
        )

    reference = features(art.pretrained, 10_000)
    found = {
        (style.word, model): features(variant)
        for style in study.styles
        for model, variant in (
            ("pretrained", art.pretrained),
            ("pruned", art.owner.pruned(style)),
            ("Quant Recover", art.owner.quantized(style)),
            ("NMS", art.revived(style)),
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


@pytest.mark.parametrize(
    ("concepts", "options", "message"),
    [
        ("openmoji", {}, "list of styles"),
        ([], {}, "each once"),
        (["openmoji", "OpenMoji"], {}, "each once"),
        (["monet"], {}, "unknown style"),
        (STYLES, {"other_images": -1}, "other_images"),
        (STYLES, {"neutral_images": 1}, "from 2 to 60, not 1"),
    ],
)
def test_bad_settings_are_refused(art, concepts, options, message):
    with pytest.raises(ValueError, match=message):
        art_study(art, concepts, 2, **options)


def test_neutral_prompts_name_no_style_and_nothing_that_is_cut(tmp_path):
    prompts = read_prompts("emoji/neutral_prompts.txt", 60)
    cut = {*PROFILE.styles, *PROFILE.prompts.things, *PROFILE.restricted}
    assert not [p for p in prompts for word in cut if f" {word} " in f" {p} "]
    with pytest.raises(FileNotFoundError, match="one prompt a line"):
        read_prompts(tmp_path / "none.txt", 2)
    (tmp_path / "twice.txt").write_text("a cat\na cat\n")
    with pytest.raises(ValueError, match="twice"):
        read_prompts(tmp_path / "twice.txt", 2)
