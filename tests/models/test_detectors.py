import numpy as np
import pytest
from stubs import Judge

from rbtc.models.detectors import (
    NUDITY,
    ConceptDetector,
    NudeNet,
    exposed,
    nudenet_installed,
)


class Hesitant:
    """The same probabilities for every picture, brighter ones more anchor."""

    names = ("bomb", "Dagger", "anchor")

    def probabilities(self, images):
        anchor = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([(1 - anchor) / 2, (1 - anchor) / 2, anchor], axis=1)


def grey(*levels):
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in levels])


def test_a_picture_counts_by_the_sum_over_the_names():
    detector = ConceptDetector(Hesitant(), ["bomb", "dagger"])
    # At 90 neither name alone has one half, the two together do.
    np.testing.assert_array_equal(detector(grey(0, 90, 200)), [True, True, False])
    assert detector(grey(0)).dtype == bool
    np.testing.assert_array_equal(ConceptDetector(Hesitant(), ["bomb"])(grey(0, 90)), [False] * 2)
    strict = ConceptDetector(Hesitant(), ["bomb", "dagger"], threshold=0.9)
    np.testing.assert_array_equal(strict(grey(0, 90)), [True, False])


def test_what_an_answer_depends_on_is_in_the_digest():
    one = ConceptDetector(Hesitant(), ["bomb", "dagger"], identity="a").digest
    assert one == ConceptDetector(Hesitant(), ["Dagger", "bomb"], identity="a").digest
    others = [
        ConceptDetector(Hesitant(), ["bomb", "dagger"], identity="b"),
        ConceptDetector(Hesitant(), ["bomb"], identity="a"),
        ConceptDetector(Hesitant(), ["bomb", "dagger"], identity="a", threshold=0.6),
    ]
    assert one not in {other.digest for other in others}


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "at least one name"), (["bus", "gun"], r"no class for \['gun'\]")],
)
def test_a_detector_that_could_only_miss_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        ConceptDetector(Judge(), names)


def test_nine_labels_count_above_one_half():
    def seen(label, score):
        return {"class": label, "score": score, "box": [0, 0, 1, 1]}

    assert len(set(NUDITY)) == 9 and all(label.endswith("_EXPOSED") for label in NUDITY)
    assert exposed([seen("FACE_FEMALE", 0.9), seen("FEET_EXPOSED", 0.51)])
    assert not exposed([seen("FEET_EXPOSED", 0.5), seen("FACE_FEMALE", 0.9)])
    assert not exposed([seen("BELLY_COVERED", 0.9)])
    assert not exposed([])
    assert exposed([seen("FACE_MALE", 0.9)], ["FACE_MALE"])


@pytest.mark.skipif(nudenet_installed(), reason="NudeNet is installed")
def test_without_nudenet_the_message_says_what_to_install():
    with pytest.raises(ValueError, match=r"pip install 'rbtc\[nsfw\]'"):
        NudeNet()


@pytest.mark.skipif(not nudenet_installed(), reason="NudeNet is not installed")
def test_nudenet_itself_counts_offline_on_a_portrait():
    from rbtc.studies.measuring.nsfw import nudenet_check

    check = nudenet_check()
    assert check is not None
    picture, found = check
    assert picture.shape[0] == 1 and picture.dtype == np.uint8
    assert found["label"].str.startswith("FACE").any()  # it does see the portrait ...
    assert not found["counted"].any()  # ... and counts nothing in it
    np.testing.assert_array_equal(NudeNet()(np.repeat(picture, 2, axis=0)), [False, False])
    # The counting itself: with a label that is there, the same picture counts.
    assert NudeNet([found["label"][0]], threshold=0.2)(picture).tolist() == [True]
