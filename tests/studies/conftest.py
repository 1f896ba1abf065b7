"""One lab for all studies, and each chapter measured on it once."""

from __future__ import annotations

import copy
import dataclasses
import functools

import pytest
from measured import SMALL, WAY, Clip, Features, StyleJudge
from stubs import PROFILE


@pytest.fixture(scope="session")
def lab(tiny_pipeline, tmp_path_factory):
    """A lab on the tiny pipeline, with an empty store and judges that have no skill."""
    from rbtc.lab import Lab

    parts = {**tiny_pipeline.components, "unet": copy.deepcopy(tiny_pipeline.unet)}
    pipe = type(tiny_pipeline)(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    styles = ("openmoji", "twemoji", "noto")
    return Lab(
        dataclasses.replace(PROFILE, restricted=("church", "bus"), styles=styles),
        pipeline=pipe,
        store=tmp_path_factory.mktemp("store"),
        progress=False,
        classifier=Features(),
        style_classifier=StyleJudge(),
        clip=Clip(),
    )


@pytest.fixture(scope="session")
def measured(lab):
    """Chapter -> its study, measured with the parameters of `SMALL` when it is first asked for."""

    @functools.cache
    def made(chapter):
        from rbtc.studies import stronger_point
        from rbtc.studies.measuring import measuring, signed_zeros

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signed_zeros, "PIECE", (4, 8))  # the matrices here are tiny
            patch.setattr(stronger_point, "chosen_way", lambda profile: WAY)
            return measuring(chapter)(lab, **SMALL[chapter])

    return made


@pytest.fixture(scope="module")
def chapter(request, measured):
    """The study of the chapter that the test's module names as ``CHAPTER``."""
    return measured(request.module.CHAPTER)


@pytest.fixture(scope="module")
def study(chapter):
    """The same, where a module looks at no part of it."""
    return chapter
