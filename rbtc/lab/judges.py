"""The judges of a lab: given as objects, or the profile's, loaded when first asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rbtc.lab.digests import model_digest
from rbtc.models.detectors import ConceptDetector, NudeNet
from rbtc.models.evaluate import clip_similarity
from rbtc.models.judges import LenientJudge, StricterJudge, load_clip, load_judge, read_card
from rbtc.models.open_clips import ZERO_SHOT, ZeroShotStyles
from rbtc.models.profiles import Profile

PLACES = {
    "object": "classifier",
    "other object": "other_classifier",
    "style": "style_classifier",
    "clip": "clip",
}
"""Kind of judge -> where a profile's ``evaluation`` names its folder."""

STRICTER, LENIENT = "stricter object", "lenient object"
"""The judge of objects where it is at least half sure, and with the profile's classes alone."""


class Judges:
    """One judge per kind: "object", "style", "clip" and "detector"; and others of objects.

    ``given`` maps a kind to the judge to use instead of the profile's, or None. The profile's
    detector is NudeNet, or looks for its restricted concepts with its judge of objects.

    Attributes:
        given: The kinds whose judge came as an object.
    """

    def __init__(
        self, profile: Profile, device: torch.device, given: Mapping[str, Any | None]
    ) -> None:
        self.profile = profile
        self.device = device
        self.given = {kind for kind, judge in given.items() if judge is not None}
        self._judges = {kind: judge for kind, judge in given.items() if judge is not None}
        self._identities: dict[str, str] = {}

    def get(self, kind: str) -> Any:
        """The judge of a kind, loaded now if it has not been.

        Raises:
            ValueError: the profile has no such judge.
        """
        if kind not in self._judges:
            self._judges[kind] = self._load(kind)
        return self._judges[kind]

    def of_objects(self) -> dict[str, str]:
        """Judges of objects, the usual one first: what a page calls it -> its kind."""
        found = {"usual": "object", "stricter": STRICTER, "more lenient": LENIENT}
        if self.profile.evaluation.other_classifier:
            found["another"] = "other object"
        return found

    def _load(self, kind: str) -> Any:
        if kind == STRICTER:
            return StricterJudge(self.get("object"))
        if kind == LENIENT:
            return LenientJudge(self.get("object"), self._classes())
        if self._zero_shot(kind):
            return ZeroShotStyles(self.get("clip"), self.profile.styles)
        if kind != "detector":
            return (load_clip if kind == "clip" else load_judge)(self._place(kind), self.device)
        if self.profile.evaluation.detector == "nudenet":
            return NudeNet()
        if not self.profile.restricted:
            raise ValueError(f"profile {self.profile.name!r} lists no restricted concepts")
        identity = self.identity("object") or ""
        return ConceptDetector(self.get("object"), self.profile.restricted, identity=identity)

    def _zero_shot(self, kind: str) -> bool:
        ours = self.profile.evaluation.style_classifier
        return kind == "style" and kind not in self.given and ours == ZERO_SHOT

    def _classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.profile.classes.values()))

    def require(self, *kinds: str) -> None:
        """Load judges before anything is pruned or drawn for them.

        Raises:
            FileNotFoundError: a judge is not there, or cannot be fetched.
            ValueError: the profile has no such judge, or it is damaged.
        """
        for kind in kinds:
            self.get(kind)

    def loaded(self, kind: str) -> bool:
        """Whether the judge of a kind is in memory."""
        return kind in self._judges

    def names(self, kind: str) -> tuple[str, ...] | None:
        """The classes a judge tells apart, without loading it; None where that cannot be told.

        A judge that came as an object is asked for its ``names``, a folder's are in its judge.json.

        Raises:
            FileNotFoundError: the judge's folder is not there.
            ValueError: the profile has no such judge, or its judge.json is damaged.
        """
        if kind in self.given:
            names = getattr(self._judges[kind], "names", None)
            return None if names is None else tuple(names)
        if kind in (STRICTER, LENIENT):
            return self.names("object") if kind == STRICTER else self._classes()
        if self._zero_shot(kind):
            return self.profile.styles
        place = self._place(kind)
        if kind == "clip" or not isinstance(place, Path):
            return None  # a CLIP has no classes; a built-in judge's come with its weights
        return tuple(read_card(place, "resnet")["names"])

    def identity(self, kind: str) -> str | None:
        """What a judgement is filed under: a digest of the judge; None where a given one has none.

        Raises:
            ValueError: the profile has no such judge.
        """
        if kind in self.given:
            return getattr(self._judges[kind], "digest", None)
        if kind in (STRICTER, LENIENT):
            usual, more = self.identity("object"), self._classes() if kind == LENIENT else ""
            return None if usual is None else f"{usual} {kind} {list(more)}"
        if kind == "detector":
            detector = self.get(kind)
            by_judge = isinstance(detector, ConceptDetector)
            return None if by_judge and self.identity("object") is None else detector.digest
        if self._zero_shot(kind):
            clip = self.identity("clip")
            return None if clip is None else f"{clip} {ZERO_SHOT} {list(self.profile.styles)}"
        if kind not in self._identities:
            place = self._place(kind)
            self._identities[kind] = model_digest(place) if isinstance(place, Path) else place
        return self._identities[kind]

    def code(self, kind: str) -> tuple[Callable[..., Any], ...]:
        """The code that a judgement depends on; a judge that came as an object answers itself."""
        if kind == "detector" and kind not in self.given:
            if self.profile.evaluation.detector == "nudenet":
                return (NudeNet,)
            return (ConceptDetector, *self.code("object"))
        if kind in (STRICTER, LENIENT):
            own = StricterJudge if kind == STRICTER else LenientJudge
            return (own, *self.code("object"))
        if self._zero_shot(kind):
            return (ZeroShotStyles, *self.code("clip"))
        own = () if kind in self.given else (load_clip if kind == "clip" else load_judge,)
        return (*own, clip_similarity) if kind == "clip" else own

    def _place(self, kind: str) -> Path | str:
        key = PLACES.get(kind, "")
        if not (name := getattr(self.profile.evaluation, key, "")):
            raise ValueError(
                f"profile {self.profile.name!r} has no judge for {kind!r}: name its folder as "
                f"evaluation.{key or kind} in the profile, or give the lab one"
            )
        return self.profile.locate(name)
