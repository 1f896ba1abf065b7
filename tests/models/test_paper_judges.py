"""The paper's own judges, with random weights: shapes, names and settings, never their skill."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from stubs import PROFILE
from torch import nn

from rbtc.lab.judges import Judges
from rbtc.models.distances import fid
from rbtc.models.evaluate import Classifier, Clip
from rbtc.models.judges import ImageNetJudge, load_clip
from rbtc.models.open_clips import NAME, ZERO_SHOT, OpenClipJudge, ZeroShotStyles, load_open_clip
from rbtc.models.profiles import load_profile

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


class TinyClip(nn.Module):
    """What open_clip's models can do, with hardly any weights."""

    def __init__(self):
        super().__init__()
        self.picture, self.text = nn.Linear(3, 4), nn.Embedding(100, 4)

    def encode_image(self, x):
        return self.picture(x.mean(dim=(2, 3)))

    def encode_text(self, tokens):
        return self.text(tokens).mean(dim=1)


@pytest.fixture
def clip():
    torch.manual_seed(0)

    def preprocess(picture):
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255

    def tokenizer(prompts):
        return torch.tensor([[len(prompt) % 100, ord(prompt[-1]) % 100] for prompt in prompts])

    return OpenClipJudge(TinyClip(), preprocess, tokenizer)


def test_the_judge_of_objects_is_resnet50_with_its_own_transforms():
    from torchvision.models import ResNet50_Weights, resnet50

    weights = ResNet50_Weights.IMAGENET1K_V2
    names = weights.meta["categories"]
    judge = ImageNetJudge(resnet50(weights=None), weights.transforms(), names)
    assert isinstance(judge, Classifier)
    assert judge.probabilities(PICTURES[:1]).shape == (1, 1000)
    assert judge.features(PICTURES[:1]).shape == (1, 2048)
    assert judge._inputs(PICTURES[:1]).shape == (1, 3, 224, 224)
    known = {name.casefold() for name in names}
    assert {word.casefold() for word in load_profile("sd15").classes.values()} <= known


def test_clip_embeds_to_unit_length(clip):
    assert isinstance(clip, Clip)
    found = [clip.image_features(PICTURES, batch=2), clip.text_features(["a bus", "a road"], 1)]
    assert [each.shape for each in found] == [(3, 4), (2, 4)]
    for each in found:
        np.testing.assert_allclose(np.linalg.norm(each, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(clip.image_features(PICTURES), found[0], rtol=1e-5)


def test_the_papers_clip_is_asked_for_by_name(monkeypatch):
    import open_clip

    asked = []

    def create(name, pretrained, device):
        asked.append((name, pretrained))
        raise RuntimeError("no route to host")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched by open_clip.*no route"):
        load_clip(NAME)
    assert asked == [("ViT-B-32-quickgelu", "openai")]
    assert load_profile("sd15").evaluation.clip == NAME


def test_the_real_architecture_takes_pictures_and_prompts():
    judge = load_open_clip(weights=None)
    assert judge.image_features(PICTURES[:1]).shape == (1, 512)
    assert judge.text_features(["a church " * 100]).shape == (1, 512)


def test_painters_are_told_apart_by_clip(clip):
    judge = ZeroShotStyles(clip, ["Monet", "Van Gogh"])
    assert isinstance(judge, Classifier)
    shares = judge.probabilities(PICTURES)
    assert shares.shape == (3, 2)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    assert judge.predict(PICTURES) == [judge.names[i] for i in shares.argmax(1)]
    with pytest.raises(ValueError, match=r"at least one style"):
        ZeroShotStyles(clip, [])


def test_the_lab_makes_the_judge_of_painters_from_its_clip(clip):
    evaluation = dataclasses.replace(PROFILE.evaluation, style_classifier=ZERO_SHOT)
    profile = dataclasses.replace(PROFILE, styles=("Monet", "Dali"), evaluation=evaluation)
    judges = Judges(profile, torch.device("cpu"), {"clip": clip})
    judges.require("style")
    assert judges.names("style") == ("Monet", "Dali")
    assert isinstance(judges.get("style"), ZeroShotStyles)
    assert judges.identity("style") is None  # a given CLIP has no digest
    named = Judges(profile, torch.device("cpu"), {})
    other = Judges(dataclasses.replace(profile, styles=("Dali",)), torch.device("cpu"), {})
    assert named.identity("style") and named.identity("style") != other.identity("style")
    assert ZeroShotStyles in named.code("style")


class Channels(nn.Module):
    """Mean colours in Inception's place."""

    num_features = 3

    def forward(self, pictures):
        return pictures.float().mean(dim=(2, 3))


def test_fid_says_all_it_depends_on():
    pytest.importorskip("torchmetrics")
    other = (255 - PICTURES // 2).astype(np.uint8)
    same = fid([PICTURES, other], [PICTURES, other], extractor=Channels())
    far = fid([other], [PICTURES[:2], PICTURES[2:]], extractor=Channels())
    assert same.value == pytest.approx(0, abs=1e-3)
    assert far.value > 1
    assert (far.layer, far.n, far.n_reference, far.biased) == (3, 3, 3, True)
    assert far.row["library"].startswith("torchmetrics ") and "Channels" in far.row["library"]
    assert set(far.row) == {"FID", "layer", "n", "n_reference", "library", "biased"}
    with pytest.raises(ValueError, match=r"two pictures or more"):
        fid([PICTURES[:1]], [PICTURES], extractor=Channels())
    with pytest.raises(ValueError, match=r"uint8"):
        fid([PICTURES.astype(float)], [PICTURES], extractor=Channels())
