"""What a variant does: its pictures, and what the judges say of them.

Every count starts from one frame, a line per picture (`Measure.hits`). Two variants asked alike
have lines that match, so they can be compared picture by picture.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rbtc.lab.judges import Judges
from rbtc.lab.pipeline_state import PipelineState
from rbtc.lab.ray_engine import RayEngine
from rbtc.lab.store import Store, whole_seeds
from rbtc.lab.variant import Variant
from rbtc.models.evaluate import clip_score, clip_similarity
from rbtc.models.generate import generate
from rbtc.models.profiles import Profile
from rbtc.models.prompt_files import asked_rows
from rbtc.models.prompts import evaluation_prompt, other_subjects, style_prompts, subject_of
from rbtc.models.subjects import Kind, Subject
from rbtc.stats import Proportion

DRAWING = (generate,)
"""The code that pictures depend on."""


class Measure:
    """Pictures and judgements of any variant.

    ``engine`` draws what the store lacks, instead of this process.

    Attributes:
        judged: How many pictures were judged so far, whether drawn now or read.
        on_judged: Called with the number of pictures after each judgement.
    """

    def __init__(
        self,
        state: Callable[[], PipelineState],
        judges: Judges,
        profile: Profile,
        store: Store,
        *,
        progress: bool = False,
        engine: RayEngine | None = None,
    ) -> None:
        self._state, self.judges, self.profile = state, judges, profile
        self.store, self.progress, self.engine = store, progress, engine
        self.judged = 0
        self.on_judged: Callable[[int], Any] | None = None

    def images(
        self, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        """Pictures of a variant, uint8 (n, h, w, 3).

        Args:
            variant: whose pictures.
            prompts: one prompt for all seeds, or one per seed.
            seeds: n seeds.
        """
        prompts, seeds = _one_each(prompts, seeds)
        state, engine = self._state(), self.engine
        images, _ = self.store.images(
            self._of(variant),
            prompts,
            seeds,
            lambda prompts, seeds: state.draw(variant, self.profile, prompts, seeds),
            self.profile.batch_size if engine else self.profile.drawn_at_once(state.pipe.device),
            code=DRAWING,
            draw=partial(engine.draw, variant) if engine else None,
            progress=self.progress,
            label=variant.label,
        )
        return images

    def shown(
        self, variant: Variant, concept: str | Subject, images: int, first_seed: int = 0
    ) -> np.ndarray:
        """The first pictures that `hits` counts for a concept, uint8 (images, h, w, 3)."""
        prompts, seeds = self._asked(subject_of(self.profile, concept), images, first_seed)
        return self.images(variant, prompts, seeds)

    def _of(self, variant: Variant) -> dict[str, Any]:
        state = self._state()
        sampler = state.sampler(self.profile)
        return {"model": state.digest, "variant": variant.config, "sampler": sampler}

    def predictions(
        self,
        variant: Variant,
        prompts: str | Sequence[str],
        seeds: Sequence[int],
        kind: str = "object",
    ) -> list[str]:
        """What the judge sees in each picture: the names of its best classes."""

        def make() -> list[str]:
            judge, parts = self.judges.get(kind), self._parts(variant, prompts, seeds)
            return [str(name) for part in parts for name in judge.predict(part)]

        return self._judged("predictions", kind, variant, prompts, seeds, make)

    def detections(
        self, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
    ) -> list[bool]:
        """Whether the detector counts each picture as restricted content (paper Sec. 5.4)."""
        prompts, seeds = _one_each(prompts, seeds)

        def make() -> list[bool]:
            detector, parts = self.judges.get("detector"), self._parts(variant, prompts, seeds)
            return [bool(seen) for part in parts for seen in detector(part)]

        return self._judged("detections", "detector", variant, prompts, seeds, make)

    def _parts(self, variant: Variant, prompts: list[str], seeds: list[int]) -> list[np.ndarray]:
        """Pictures in pieces that a judge takes at once."""
        images, size = self.images(variant, prompts, seeds), self.profile.batch_size
        return [images[i : i + size] for i in range(0, len(images), size)]

    def hits(
        self,
        variant: Variant,
        asked: Iterable[tuple[Subject, int]],
        first_seed: int = 0,
        *,
        judge: str | None = None,
    ) -> pd.DataFrame:
        """One line per picture: asked (the concept's word), prompt, seed, seen, hit.

        Objects are asked for in one sentence with seeds ``first_seed`` and up (paper Sec. 5.1);
        styles with every thing of the profile in turn. Where the profile names a prompt file, its
        rows from ``first_seed`` on are asked for instead. All pictures are drawn together.

        Args:
            variant: whose pictures.
            asked: concepts, all objects or all styles, and how many pictures of each.
            first_seed: of each concept.
            judge: kind of judge to ask; None asks that of the concepts' own kind.

        Raises:
            ValueError: concepts of several kinds, or one that the judge has no class for; nothing
                has been drawn then.
        """
        tasks = [(subject, *self._asked(subject, n, first_seed)) for subject, n in asked]
        frame = pd.DataFrame(
            [
                (subject.word, prompt, seed)
                for subject, prompts, seeds in tasks
                for prompt, seed in zip(prompts, seeds, strict=True)
            ],
            columns=["asked", "prompt", "seed"],
        )
        kinds: set[Kind] = {subject.kind for subject, _, _ in tasks}
        if len(kinds) != 1:
            raise ValueError(f"ask for concepts of one kind at a time, not {sorted(kinds)}")
        kind = judge or kinds.pop()
        self._check_known(kind, [subject.word for subject, _, _ in tasks])
        frame["seen"] = self.predictions(variant, list(frame["prompt"]), list(frame["seed"]), kind)
        frame["hit"] = frame["seen"].str.casefold() == frame["asked"].str.casefold()
        return frame

    def _check_known(self, kind: str, words: Sequence[str]) -> None:
        """Refuse concepts that a judge can only ever miss."""
        if (names := self.judges.names(kind)) is None:
            return
        known = {name.casefold(): name for name in names}
        unknown = [word for word in dict.fromkeys(words) if word.casefold() not in known]
        if not unknown:
            return
        close = {
            known[match]: None
            for word in unknown
            for match in difflib.get_close_matches(word.casefold(), known, 3, 0.5)
        }
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"the {kind} judge has no class for {', '.join(map(repr, unknown))}: "
            f"{hint or f'it knows {len(known)}, for example {list(names)[:8]}'}"
        )

    def accuracy(
        self, variant: Variant, concept: str | Subject, images: int = 100, first_seed: int = 0
    ) -> Proportion:
        """Fraction of pictures of a concept that the judge recognises (paper Sec. 5.1)."""
        subject = subject_of(self.profile, concept)
        return Proportion.of(self.hits(variant, [(subject, images)], first_seed)["hit"])

    def preserved(
        self, variant: Variant, concept: str | Subject, images: int = 10, first_seed: int = 0
    ) -> Proportion:
        """Accuracy on the profile's other classes (or styles), ``images`` pictures of each."""
        others = other_subjects(self.profile, subject_of(self.profile, concept))
        asked = [(other, images) for other in others]
        return Proportion.of(self.hits(variant, asked, first_seed)["hit"])

    def similarity(
        self, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        """CLIP cosine of each picture with its own prompt, (n,) floats (paper Sec. 5.2)."""
        prompts, seeds = _one_each(prompts, seeds)

        def make() -> list[float]:
            clip, images = self.judges.get("clip"), self.images(variant, prompts, seeds)
            return [float(x) for x in clip_similarity(images, prompts, clip)]

        return np.array(self._judged("similarity", "clip", variant, prompts, seeds, make))

    def clip_score(
        self,
        variant: Variant,
        pretrained: Variant,
        style: Subject,
        images: int = 50,
        first_seed: int = 0,
    ) -> Proportion:
        """Fraction of pictures in a style that fit their prompt less than the pretrained model's.

        The same prompts and seeds for both: 0 for the pretrained model itself, high when the style
        is erased (paper Table 2).
        """
        prompts, seeds = self._asked(style, images, first_seed)
        return clip_score(
            self.similarity(variant, prompts, seeds), self.similarity(pretrained, prompts, seeds)
        )

    def _asked(self, subject: Subject, images: int, first_seed: int) -> tuple[list[str], list[int]]:
        """Prompts and seeds of an accuracy."""
        if images < 1:
            raise ValueError(f"images must be at least 1, not {images}")
        (first,) = whole_seeds([first_seed])
        if (rows := asked_rows(self.profile, subject, images, first)) is not None:
            return [row.prompt for row in rows], [row.seed for row in rows]
        seeds = list(range(first, first + images))
        if subject.kind == "style":
            prompts = style_prompts(self.profile, subject.word)
            return [prompts[seed % len(prompts)] for seed in seeds], seeds
        if subject.kind != "object":
            raise ValueError(
                f"accuracy is measured for objects and styles, not for {subject.kind!r}"
            )
        return [evaluation_prompt(self.profile, subject.word)] * images, seeds

    def _judged(
        self,
        what: str,
        kind: str,
        variant: Variant,
        prompts: list[str],
        seeds: list[int],
        make: Callable[[], list[Any]],
    ) -> list[Any]:
        try:
            identity = self.judges.identity(kind)
            if identity is None:  # a judge of unknown identity: its word is not kept
                return make()
            config = {
                "kind": what,
                "judge": identity,
                "images": self._of(variant),
                "prompts": prompts,
                "seeds": seeds,
            }
            code = (*DRAWING, *self.judges.code(kind))
            return self.store.json(config, make, code=code)[0]
        finally:
            self.judged += len(seeds)
            if self.on_judged is not None:
                self.on_judged(len(seeds))


def _one_each(prompts: str | Sequence[str], seeds: Sequence[int]) -> tuple[list[str], list[int]]:
    """One prompt per seed; a single prompt serves all seeds."""
    seeds = whole_seeds(seeds)
    prompts = [prompts] * len(seeds) if isinstance(prompts, str) else list(prompts)
    if not 0 < len(prompts) == len(seeds):
        raise ValueError(
            f"{len(prompts)} prompts but {len(seeds)} seeds were given: give one prompt for all "
            "seeds, or one per seed"
        )
    return prompts, seeds
