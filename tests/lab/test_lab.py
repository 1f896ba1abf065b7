import dataclasses
import json

import numpy as np
import pytest
import stubs
import torch

from rbtc.attack.completion import complete_all
from rbtc.attack.revive import revive
from rbtc.attack.sign_accuracy import count_signs
from rbtc.lab import Lab, Variant
from rbtc.lab.store import Store
from rbtc.layers import prune, read_weights, zero_masks
from rbtc.models.generate import generate
from rbtc.models.judges import build_resnet, save_judge
from rbtc.models.profiles import PruneSettings
from rbtc.stats import Proportion


class Judge(stubs.Judge):
    names = ("church", "star", "bus", "candle")


class Styles(Judge):
    names = tuple(dict.fromkeys(["noto", "fluent", "openmoji", *stubs.PROFILE.styles]))


class OfCandles(Judge):
    names = ("Candle", "candelabra", "spoon")
    digest = "candles"


class TinyClip:
    digest = "tiny"

    def image_features(self, images):
        flat = images.reshape(len(images), -1)[:, ::97].astype(np.float64) + 1
        return flat[:, :4] / np.linalg.norm(flat[:, :4], axis=1, keepdims=True)

    def text_features(self, prompts):
        rows = np.array([[len(p), p.count("a"), p.count("e"), 1] for p in prompts], dtype=float)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Nothing:
    """Stands where the attacker must not look."""

    def __getattr__(self, name):
        raise AssertionError(f"the attack touched the model ({name})")


PROFILE = dataclasses.replace(
    stubs.PROFILE,
    conceptprune=PruneSettings(ratio=0.1, calls=2),
    classes={"church": "church", "starfish": "star", "school bus": "bus", "candle": "candle"},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def new_lab(pipeline, store, **options):
    options = {"classifier": Judge(), "style_classifier": Styles(), "clip": TinyClip()} | options
    return Lab(PROFILE, pipeline=pipeline, store=store, progress=False, **options)


@pytest.fixture
def lab(pipeline, folder):
    """A lab on the module's store; leaves the pipeline as it was trained."""
    lab = new_lab(pipeline, folder)
    yield lab
    lab.restore()


def judged_by(**places):
    """The profile with other judges."""
    evaluation = dataclasses.replace(PROFILE.evaluation, **places)
    return dataclasses.replace(PROFILE, evaluation=evaluation)


CARD = {"kind": "resnet", "names": ["churches", "star"], "layers": [1, 1, 1, 1]}


@pytest.fixture
def judge_folder(tmp_path):
    save_judge(build_resnet(2), CARD, tmp_path / "judge")
    return tmp_path / "judge"


def same(a, b):
    assert list(a) == list(b)
    return all(torch.equal(a[name], b[name]) for name in a)


# ---- variants ------------------------------------------------------------------------------------


def test_pruned_weights_are_zero_and_the_others_untouched(lab):
    assert lab.subject("school bus").word == lab.subject(lab.subject("bus")).word == "bus"
    masks, pruned = lab.owner.masks("church"), lab.owner.pruned("church")
    assert 0 < lab.density("church") < 0.2
    for name, weight in lab.pretrained.weights.items():
        assert not pruned.weights[name][masks[name]].any()
        assert torch.equal(pruned.weights[name][~masks[name]], weight[~masks[name]])


def test_masks_depend_on_every_setting(lab):
    base = lab.owner.masks("church")
    for change in ({"ratio": 0.2}, {"calls": 1}, {"reference": "objects"}):
        assert not same(base, lab.owner.masks("church", **change))
        assert lab.owner.pruned("church").key != lab.owner.pruned("church", **change).key
    assert not same(base, lab.owner.masks(lab.subject("fluent", "style")))
    assert not same(base, lab.owner.masks("candle"))
    # The union over the first calls can only grow.
    assert all((lab.owner.masks("church", calls=1)[n] <= base[n]).all() for n in base)


def test_activations_are_shared_between_settings_and_concepts(pipeline, tmp_path):
    lab = new_lab(pipeline, tmp_path)
    lab.owner.masks("church")
    assert lab.report() == "reused 0 of 2 sets of tensors"
    lab.owner.masks("church", ratio=0.2, calls=1)
    lab.owner.masks("candle")  # only its target prompts are new
    assert lab.report() == "reused 3 of 6 sets of tensors"
    lab.owner.masks("candle")  # remembered without a look at the store
    assert lab.report() == "reused 3 of 6 sets of tensors"


def test_a_second_lab_reads_what_the_first_computed(lab, pipeline, folder):
    first = lab.revived("church").weights
    lab.restore()
    other = new_lab(pipeline, folder)
    assert same(other.revived("church").weights, first)
    assert not other.store.computed.total()


def test_revived_is_the_attack_of_the_other_modules(lab):
    expected = revive(lab.owner.pruned("church").weights, keep_ratio=0.5, strategy="neuron_average")
    got = lab.revived("church", keep_ratio=0.5, strategy="neuron_average")
    assert same(got.weights, expected.weights)
    exact = {name: weight.double() for name, weight in lab.owner.pruned("church").weights.items()}
    found, straight = lab.completions("church"), complete_all(exact)  # as the profile asks
    for name, completion in straight.items():
        assert torch.equal(found[name].values, completion.values)
        assert torch.equal(found[name].missing, completion.missing)
        for part in ("residuals", "iterations", "converged", "algorithm"):
            assert getattr(found[name], part) == getattr(completion, part)


def test_completion_options_reach_the_completion_and_the_key(lab):
    short = lab.completions("church", max_iterations=1)
    assert {c.iterations for c in short.values()} == {1}
    assert lab.revived("church", max_iterations=1).key != lab.revived("church").key
    other = lab.completions("church", algorithm="svt", max_iterations=2)
    assert {c.algorithm for c in other.values()} == {"svt"}
    with pytest.raises(ValueError, match="nonsense is no option"):
        lab.revived("church", nonsense=1)


def test_every_variant_has_its_own_key_and_finite_weights(lab):
    owner, revived = lab.owner, lab.revived
    variants = [
        *(lab.pretrained, owner.pruned("church"), owner.pruned("candle")),
        *(revived("church"), revived("church", keep_ratio=0.3)),
        *(revived("church", strategy="neuron_sample", seed=seed) for seed in (1, 2)),
        *(owner.quantized("church", group_size=size) for size in (None, 16)),
        owner.idealised("church", "pretrained_sign_neuron_max", 1),
        owner.idealised("church", "pretrained_magnitude_random_sign", 1),
        *(owner.obfuscated("church", sigma=1e-3, seed=seed) for seed in (0, 1)),
        owner.obfuscated("church", variance=1e-2),
    ]
    assert len({v.key for v in variants}) == len(variants)
    assert len({v.label for v in variants}) > 6
    for variant in variants:
        assert list(variant.weights) == list(lab.pretrained.weights)
        assert all(w.isfinite().all() for w in variant.weights.values())


def test_a_defended_model_is_attacked_where_the_guess_says(lab):
    defended = lab.owner.obfuscated("church", sigma=1e-3)
    small = lab.attacker.guess(defended, share=0.05)
    below = lab.attacker.guess(defended, attacker="threshold", threshold=5e-3)
    first, second = (lab.attacker.attack_guessed(defended, g) for g in (small, below))
    assert first.key != second.key
    for name, weight in defended.weights.items():
        assert torch.equal(first.weights[name][~small[name]], weight[~small[name]])
    # A row that a guess names as a whole is left alone.
    name = next(iter(small))
    whole = {**small, name: small[name].clone()}
    whole[name][0] = True
    spared = lab.attacker.attack_guessed(defended, whole).weights[name]
    assert torch.equal(spared[0], defended.weights[name][0])


def test_custom_variants_are_identified_by_their_weights(lab):
    union = {
        name: mask | lab.owner.masks("candle")[name]
        for name, mask in lab.owner.masks("church").items()
    }
    both = lab.owner.custom("two concepts", prune(lab.pretrained.weights, union))
    assert both.key == lab.owner.custom("another name", both.weights).key
    assert both.key != lab.owner.custom("two concepts", lab.owner.pruned("church").weights).key
    found = revive(both.weights, keep_ratio=lab.profile.revive.keep_ratio)
    assert same(lab.attacker.attack(both).weights, found.weights)
    places = zero_masks(both.weights)
    assert same(lab.attacker.attack(both, missing=places).weights, found.weights)


# ---- the attack sees nothing but the pruned weights ----------------------------------------------


def test_the_attack_needs_no_model_at_all(lab, tmp_path):
    pruned, revived = lab.owner.pruned("church"), lab.revived("church")
    stranger = Lab(PROFILE, pipeline=Nothing(), device="cpu", store=tmp_path, progress=False)
    assert same(stranger.attacker.attack(pruned).weights, revived.weights)
    guess = stranger.attacker.guess(lab.owner.obfuscated("church", sigma=1e-3), share=0.05)
    assert guess.keys() == pruned.weights.keys()


def test_the_pretrained_values_of_cut_weights_do_not_matter(lab, pipeline, tmp_path, monkeypatch):
    masks, clean = lab.owner.masks("church"), lab.revived("church")
    poisoned = new_lab(pipeline, Store(tmp_path))
    poisoned.pretrained  # noqa: B018 - reads the weights, before they are poisoned
    for name, mask in masks.items():
        poisoned.pipeline_state.weights[name][mask] = 1e6 * torch.randn(int(mask.sum()))
    # The places stay those of the clean model.
    monkeypatch.setattr(poisoned.owner, "_conceptprune", lab.owner._conceptprune)
    assert not same(poisoned.pretrained.weights, lab.pretrained.weights)
    assert same(poisoned.revived("church").weights, clean.weights)
    assert poisoned.store.computed["weights"] == 1  # completed anew, not read


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda lab: lab.attacker.attack(lab.pretrained), "pretrained model is not pruned"),
        (lambda lab: lab.attacker.attack(noisy(lab)).weights, "not pruned"),
        (
            lambda lab: lab.attacker.attack(lab.owner.custom("whole", lab.pretrained.weights)),
            "not pruned",
        ),
        (lambda lab: lab.attacker.guess(noisy(lab), attacker="oracle"), "attacker must be"),
        (lambda lab: lab.attacker.guess(noisy(lab), attacker="threshold"), "needs a threshold"),
        (lambda lab: lab.owner.obfuscated("church"), "sigma"),
        (lambda lab: lab.measure.images(lab.pretrained, ["a", "b"], range(3)), "2 prompts but 3"),
        (lambda lab: lab.measure.images(lab.pretrained, "a church", []), "0 seeds were given"),
        (lambda lab: lab.measure.images(lab.pretrained, "a", [0.5]), r"whole numbers, not 0\.5"),
        (lambda lab: accuracy(lab, "church", 2, first_seed=0.5), r"whole numbers, not 0\.5"),
        (lambda lab: accuracy(lab, "church", 0), "images must be at least 1"),
        (lambda lab: accuracy(lab, lab.subject("nudity", "nudity"), 2), "accuracy is measured for"),
        (lambda lab: accuracy(lab, lab.subject("rococo", "style"), 2), "unknown style 'rococo'"),
    ],
)
def test_what_cannot_be_asked(lab, ask, told):
    with pytest.raises(ValueError, match=told):
        ask(lab)


def noisy(lab):
    return lab.owner.obfuscated("church", sigma=1e-3)


def accuracy(lab, *asked, **options):
    return lab.measure.accuracy(lab.pretrained, *asked, **options)


# ---- pictures ------------------------------------------------------------------------------------


def test_the_right_weights_are_in_the_pipeline(lab, pipeline, tmp_path):
    lab.measure.store = Store(tmp_path)
    variants = [lab.pretrained, lab.owner.pruned("church"), lab.revived("church"), lab.pretrained]
    pictures = []
    for variant in variants:
        pictures.append(lab.measure.images(variant, "a church", range(2)))
        assert same(read_weights(lab.apply(variant).unet), variant.weights)
    np.testing.assert_array_equal(pictures[0], pictures[3])
    assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()
    straight = generate(lab.apply(lab.owner.pruned("church")), ["a church"] * 2, [0, 1], steps=2,
                        guidance=2.0)  # fmt: skip
    np.testing.assert_array_equal(pictures[1], straight)
    assert pictures[0].dtype == np.uint8 and pictures[0].shape == (2, 64, 64, 3)


def test_a_write_that_failed_is_not_taken_for_done(lab):
    lab.restore()
    wrong = Variant("wrong", {"kind": "wrong"}, {"unknown": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="unknown"):
        lab.apply(wrong)
    assert same(read_weights(lab.apply(lab.pretrained).unet), lab.pretrained.weights)


def test_a_variant_of_some_layers_leaves_the_others_pretrained(lab):
    name, weight = next(iter(lab.pretrained.weights.items()))
    part = lab.owner.custom("one layer", {name: weight * 2})
    lab.apply(lab.owner.pruned("church"))
    expected = {**lab.pretrained.weights, name: weight * 2}
    assert same(read_weights(lab.apply(part).unet), expected)


def test_pictures_are_kept_by_prompt_and_seed(lab, pipeline, tmp_path, monkeypatch):
    made = []

    def count(pipe, prompts, seeds, **options):
        made.append(len(prompts))
        return generate(pipe, prompts, seeds, **options)

    monkeypatch.setattr("rbtc.lab.pipeline_state.generate", count)
    lab.measure.store = Store(tmp_path)
    few = lab.measure.images(lab.pretrained, "a church", range(3))
    more = lab.measure.images(lab.pretrained, "a church", range(5))
    np.testing.assert_array_equal(few, more[:3])
    assert made == [3, 2]
    asked = [("a church", seed) for seed in range(4)] + [("a star", 7)]
    asked += [("a bus", seed) for seed in range(8)]
    lab.measure.images(lab.pretrained, [p for p, _ in asked], [seed for _, seed in asked])
    assert made == [3, 2, 8, 1]  # the star and the buses share batches of 8
    assert lab.measure.store.report() == "reused 7 of 21 pictures"
    # Another sampler setting is another picture.
    other = new_lab(pipeline, lab.measure.store)
    other.measure.profile = dataclasses.replace(PROFILE, guidance=5.0)
    assert (other.measure.images(other.pretrained, "a church", range(3)) != few).any()
    assert made[-1] == 3


def test_a_run_cut_off_between_batches_goes_on_where_it_was(lab, tmp_path, monkeypatch):
    made = []

    def fail_once(pipe, prompts, seeds, **options):
        if len(made) == 1:
            made.append([])
            raise KeyboardInterrupt
        made.append(list(seeds))
        return np.zeros((len(seeds), 64, 64, 3), np.uint8)

    monkeypatch.setattr("rbtc.lab.pipeline_state.generate", fail_once)
    lab.measure.store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        lab.measure.images(lab.pretrained, "a church", range(20))
    lab.measure.images(lab.pretrained, "a church", range(20))
    assert made == [list(range(8)), [], list(range(8, 16)), list(range(16, 20))]


# ---- judgements ----------------------------------------------------------------------------------


def test_accuracy_counts_the_judges_hits(lab):
    pictures = lab.measure.images(lab.pretrained, "a church", range(6))
    hits = sum(name == "church" for name in Judge().predict(pictures))
    assert lab.measure.accuracy(lab.pretrained, "church", 6) == Proportion(hits, 6)
    assert lab.measure.accuracy(lab.pretrained, "church", 2, first_seed=4).n == 2


def test_preserved_is_about_the_other_classes(lab):
    found = lab.measure.preserved(lab.pretrained, "starfish", 3)
    parts = [lab.measure.accuracy(lab.pretrained, c, 3) for c in ("church", "bus", "candle")]
    assert found == sum(parts[1:], parts[0])
    # A concept that is none of the classes has all of them to preserve.
    assert lab.measure.preserved(lab.pretrained, "anchor", 1).n == 4
    styles = lab.measure.preserved(lab.pretrained, lab.subject("fluent", "style"), 1)
    assert styles.n == len(PROFILE.styles) - 1


def test_predictions_are_kept_for_judges_of_known_identity(lab, pipeline, folder):
    first = lab.measure.predictions(lab.pretrained, "a star", range(3))
    again = new_lab(pipeline, folder)
    assert again.measure.predictions(again.pretrained, "a star", range(3)) == first
    assert again.judges.get("object").seen == 0
    unknown = Judge()
    unknown.digest = None
    third = new_lab(pipeline, folder, classifier=unknown)
    assert third.measure.predictions(third.pretrained, "a star", range(3)) == first
    assert unknown.seen == 3


def test_styles(lab):
    found = lab.measure.accuracy(lab.pretrained, lab.subject("Noto", "style"), 3)
    prompts = [f"a {thing} in the style of noto" for thing in PROFILE.prompts.things[:3]]
    pictures = lab.measure.images(lab.pretrained, prompts, range(3))
    assert found == Proportion(sum(n == "noto" for n in Styles().predict(pictures)), 3)


def test_clip_score_of_the_pretrained_model_is_zero(lab):
    fluent = lab.subject("fluent", "style")
    score = lab.measure.clip_score
    assert score(lab.pretrained, lab.pretrained, fluent, 4) == Proportion(0, 4)
    assert score(lab.owner.pruned(fluent), lab.pretrained, fluent, 4).n == 4
    cosines = lab.measure.similarity(lab.pretrained, "a cat", range(2))
    assert cosines.shape == (2,) and (np.abs(cosines) <= 1).all()


def test_the_profiles_own_judge_is_loaded_when_something_is_to_be_judged(
    pipeline, folder, judge_folder
):
    profile = judged_by(style_classifier=str(judge_folder))
    asked = ("a church", range(3), "style")
    first = Lab(profile, pipeline=pipeline, store=folder, progress=False)
    found = first.measure.predictions(first.pretrained, *asked)
    again = Lab(profile, pipeline=pipeline, store=folder, progress=False)
    assert again.measure.predictions(again.pretrained, *asked) == found
    assert not again.judges.loaded("style")  # its word was on file


def test_a_concept_the_judge_does_not_know_is_refused_before_anything_is_drawn(
    monkeypatch, pipeline, tmp_path, judge_folder
):
    draw = "rbtc.lab.pipeline_state.generate"
    monkeypatch.setattr(draw, lambda *args, **options: pytest.fail("a picture was drawn"))
    given = new_lab(pipeline, tmp_path / "s", classifier=OfCandles())
    asked = [(given.subject(word), 3) for word in ("candle", "church", "bus")]
    with pytest.raises(ValueError, match=r"object judge has no class for 'church', 'bus': "):
        given.measure.hits(given.pretrained, asked)
    profile = judged_by(classifier=str(judge_folder))
    own = Lab(profile, pipeline=pipeline, store=tmp_path / "s", progress=False)
    with pytest.raises(ValueError, match=r"no class for 'church': did you mean 'churches'"):
        own.measure.accuracy(own.pretrained, "church", 3)
    assert not own.judges.loaded("object")


def test_names_of_judges_are_known_without_their_weights(judge_folder):
    from rbtc.lab.judges import Judges

    (judge_folder / "model.safetensors").write_bytes(b"never read")
    profile = judged_by(classifier=str(judge_folder), style_classifier="resnet50-imagenet1k-v2")
    cpu = torch.device("cpu")
    judges = Judges(profile, cpu, {"object": None})
    assert judges.names("object") == tuple(CARD["names"])
    assert judges.names("style") is None and judges.names("clip") is None
    assert not judges.loaded("object")
    assert Judges(profile, cpu, {"object": OfCandles()}).names("object") == OfCandles.names
    assert Judges(profile, cpu, {"object": object()}).names("object") is None
    (judge_folder / "judge.json").write_text(json.dumps({**CARD, "names": "church"}))
    with pytest.raises(ValueError, match="names must be a list"):
        judges.names("object")


def test_a_judge_that_is_not_there_is_named(pipeline, folder):
    profile = judged_by(style_classifier="", classifier="models/no-judge")
    bare = Lab(profile, pipeline=pipeline, store=folder, progress=False)
    with pytest.raises(ValueError, match="has no judge for 'style'"):
        bare.measure.accuracy(bare.pretrained, bare.subject("fluent", "style"), 2)
    with pytest.raises(FileNotFoundError, match="no-judge does not exist"):
        bare.measure.accuracy(bare.pretrained, "church", 2)


# ---- signs, and what a page says -----------------------------------------------------------------


def test_sign_accuracy_and_density_agree_with_the_layers(lab):
    pooled = lab.sign_accuracy("church")
    signs = count_signs(lab.completions("church"), lab.pretrained.weights)
    weights = lab.owner.pruned("church").weights
    assert len(signs) == len(weights) == 16
    found = signs.values()
    assert pooled == Proportion(sum(one.correct for one in found), sum(one.n for one in found))
    assert pooled.n == sum(int(mask.sum()) for mask in lab.owner.masks("church").values())
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    count = sum(weight.numel() for weight in weights.values())
    assert zeros / count == pytest.approx(lab.density("church"))


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda lab: lab.revived("church", keep_ratio=2), "keep_ratio"),
        (lambda lab: lab.revived("church", strategy="other"), "strategy"),
        (lambda lab: lab.owner.obfuscated("church", sigma=0.0), "sigma"),
    ],
)
def test_options_are_refused_before_anything_is_pruned(pipeline, tmp_path, ask, told):
    with pytest.raises(ValueError, match=told):
        ask(new_lab(pipeline, tmp_path))
    assert not list(tmp_path.iterdir())


def test_info_and_report(lab):
    info = lab.info()
    assert info["profile"] == "mini" and info["device"] == "cpu" and info["steps"] == 2
    assert info["model_digest"] == lab.digest and len(lab.digest) == 64
    assert info["reuse"] == lab.report()


# ---- the profile's own model ---------------------------------------------------------------------


def test_a_lab_loads_its_model_when_it_is_needed(tiny_pipeline_folder, tmp_path, lab):
    profile = dataclasses.replace(PROFILE, model=str(tiny_pipeline_folder))
    own = Lab(profile, store=tmp_path, device="cpu", progress=False, classifier=Judge())
    assert own.subject("school bus").word == "bus"
    assert "pipeline_state" not in own.__dict__
    assert same(own.pretrained.weights, lab.pretrained.weights)
    ours = own.measure.images(own.pretrained, "a church", [0]).astype(int)
    # The other lab's picture may come from a fuller batch: equal up to rounding.
    assert abs(ours - lab.measure.images(lab.pretrained, "a church", [0])).max() <= 1
    assert own.info()["model"] == str(tiny_pipeline_folder)


def test_what_a_lab_refuses(pipeline):
    with pytest.raises(FileNotFoundError, match="unknown profile"):
        Lab("maxi")
    with pytest.raises(FileNotFoundError, match="not-there does not exist"):
        Lab(PROFILE, device="cpu").pretrained  # noqa: B018
    with pytest.raises(ValueError, match="unet is NoneType"):
        Lab(PROFILE, pipeline=object(), device="cpu").pretrained  # noqa: B018
    with pytest.raises(ValueError, match="unknown concept 'curch'"):
        profile = dataclasses.replace(PROFILE, concepts=("church",))
        Lab(profile, pipeline=pipeline).owner.pruned("curch")
