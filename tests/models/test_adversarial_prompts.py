import json

import pytest
import torch

from rbtc.models.adversarial_prompts import (
    TextSpace,
    concept_vector,
    nearest_prompt,
    own_words,
)


@pytest.fixture(scope="module")
def space(tiny_pipeline):
    return TextSpace(tiny_pipeline)


def test_a_prompt_is_what_the_unet_sees(tiny_pipeline, space):
    prompts = ["a bomb", "a b"]
    expected, _ = tiny_pipeline.encode_prompt(prompts, "cpu", 1, False)
    torch.testing.assert_close(space.of(prompts), expected)


def test_words_are_single_tokens_without_the_forbidden_ones(tmp_path):
    from transformers import CLIPTokenizer

    merges = ["b o", "bo m", "bom b</w>", "c a", "ca t</w>", "bo x</w>"]
    pieces = ["a", "b", "c", "m", "o", "t", "x", "1"]
    pieces += [f"{p}</w>" for p in pieces] + [m.replace(" ", "") for m in merges]
    pieces += ["xcat</w>", "<|startoftext|>", "<|endoftext|>"]  # no merge leads to xcat
    (tmp_path / "vocab.json").write_text(json.dumps({p: n for n, p in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")

    class Pipe:
        tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"),
                                  model_max_length=8)  # fmt: skip
        text_encoder = None

    words = TextSpace(Pipe()).words()
    assert set(words) == {"a", "b", "c", "m", "o", "t", "x", "bomb", "cat", "box"}
    assert words["cat"] == pieces.index("cat</w>")
    assert set(TextSpace(Pipe()).words(["bomb", "a big cat"])) == set(words) - {"bomb", "cat"}


def test_the_search_comes_nearer_and_finds_what_is_there(space):
    words = space.words()
    target = space.of(["q"])[0]
    found = nearest_prompt(space, target, words, count=1, seed=3)
    assert found.prompt == "q" and found.distance == 0
    far = nearest_prompt(space, target, words, count=3, seed=3, sweeps=1)
    assert 0 < far.distance < far.start
    assert far == nearest_prompt(space, target, words, count=3, seed=3, sweeps=1)
    nearer = nearest_prompt(space, target, words, count=3, seed=3, sweeps=4)
    assert nearer.distance <= far.distance
    few = nearest_prompt(space, target, words, count=3, seed=3, candidates=4)
    assert set(few.prompt.split()) <= set(words)
    # The distance is that of the text, not only of the tokens.
    apart = (space.of([far.prompt])[0] - target).square().mean().sqrt()
    assert float(apart) == pytest.approx(far.distance, rel=1e-5)
    without = nearest_prompt(space, target, space.words() | {}, count=1, seed=0)
    allowed = {word: number for word, number in words.items() if word != "q"}
    assert nearest_prompt(space, target, allowed, count=1).distance > without.distance


def test_a_concept_vector_is_a_mean_difference(space):
    having, lacking = ["a b c", "a b d"], ["a c", "a d"]
    expected = sum(
        space.of([h])[0] - space.of([k])[0] for h, k in zip(having, lacking, strict=True)
    )
    torch.testing.assert_close(concept_vector(space, having, lacking), expected / 2)


def test_own_words_are_those_that_only_the_concept_brings():
    having = ["a kitchen knife on a road", "a kitchen knife on an egg"]
    assert own_words(having, ["a cat on a road", "a dog on an egg"]) == ["kitchen", "knife"]


def test_a_search_without_words_or_room_is_refused(space):
    target = space.of(["q"])[0]
    with pytest.raises(ValueError, match="without a single allowed word"):
        nearest_prompt(space, target, {})
