"""What a variant does: its pictures, what the judges say of them, and how many signs come back.

Everything goes through the lab's store, so a second run reads instead of computing. The functions
that take a lab are methods of `rbtc.lab.Lab`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rbtc import layers
from rbtc.completion import SignAccuracy, count_signs, sign_accuracy_by_layer
from rbtc.generate import generate
from rbtc.prompts import Kind, concept_name, evaluation_prompt, style_prompts
from rbtc.stats import Proportion
from rbtc.variants import Variant, split_options

if TYPE_CHECKING:
    from rbtc.lab import Lab


# ---- pictures ------------------------------------------------------------------------------------


def images(
    lab: Lab, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
) -> np.ndarray:
    """Pictures of a variant, uint8 (n, h, w, 3).

    Args:
        variant: whose pictures.
        prompts: one prompt for all seeds, or one per seed.
        seeds: n seeds.
    """
    prompts, seeds = _one_each(prompts, seeds)
    images, _ = lab.store.images(
        _image_config(lab, variant),
        prompts,
        seeds,
        lambda p, s: _generate(lab, variant, p, s),
        lab.profile.batch_size,
        modules=("generate",),
        progress=lab.progress,
        label=variant.label,
    )
    return images


def images_many(
    lab: Lab, variant: Variant, requests: Sequence[tuple[str, Sequence[int]]]
) -> list[np.ndarray]:
    """Pictures for several (prompt, seeds); those to be made fill whole batches together."""
    pairs = [(prompt, seed) for prompt, seeds in requests for seed in seeds]
    images = lab.images(variant, [p for p, _ in pairs], [s for _, s in pairs])
    ends = np.cumsum([len(seeds) for _, seeds in requests])
    return np.split(images, ends[:-1])


def _image_config(lab: Lab, variant: Variant) -> dict[str, Any]:
    return {
        "model": lab.digest,
        "variant": variant.config,
        "sampler": lab.model.sampler(lab.profile),
    }


def _generate(lab: Lab, variant: Variant, prompts: list[str], seeds: list[int]) -> np.ndarray:
    return generate(
        lab.apply(variant),
        prompts,
        seeds,
        batch_size=lab.profile.batch_size,
        steps=lab.profile.steps,
        guidance=lab.profile.guidance,
    )


def _one_each(prompts: str | Sequence[str], seeds: Sequence[int]) -> tuple[list[str], list[int]]:
    """One prompt per seed; a single prompt serves all seeds."""
    seeds = [int(seed) for seed in seeds]
    prompts = [prompts] * len(seeds) if isinstance(prompts, str) else list(prompts)
    if len(prompts) != len(seeds):
        raise ValueError(
            f"{len(prompts)} prompts but {len(seeds)} seeds were given: give one prompt for all "
            "seeds, or one per seed"
        )
    return prompts, seeds


# ---- judgements ----------------------------------------------------------------------------------


def predictions(
    lab: Lab,
    variant: Variant,
    prompts: str | Sequence[str],
    seeds: Sequence[int],
    kind: Kind = "object",
) -> list[str]:
    """What the judge sees in each picture: the names of its best classes."""
    prompts, seeds = _one_each(prompts, seeds)

    def make() -> list[str]:
        judge, images = lab.judges.get(kind), lab.images(variant, prompts, seeds)
        size = lab.profile.batch_size
        parts = [images[i : i + size] for i in range(0, len(images), size)]
        return [str(name) for part in parts for name in judge.predict(part)]

    return _judged(lab, "predictions", kind, variant, prompts, seeds, make)


def accuracy(
    lab: Lab,
    variant: Variant,
    concept: str,
    images: int = 100,
    first_seed: int = 0,
    *,
    kind: Kind = "object",
) -> Proportion:
    """Share of pictures of a concept that the judge recognises (paper Sec. 5.1).

    Objects are asked for in one sentence with seeds ``first_seed`` and up; styles with every
    thing of the profile in turn.
    """
    return _accuracy(lab, variant, [_task(lab, concept, kind, images, first_seed)], kind)


def preserved(
    lab: Lab,
    variant: Variant,
    concept: str,
    images: int = 10,
    first_seed: int = 0,
    *,
    kind: Kind = "object",
) -> Proportion:
    """Accuracy on the profile's other classes (or styles), ``images`` pictures of each."""
    word = concept_name(lab.profile, concept, kind)
    names = lab.profile.styles if kind == "style" else lab.profile.classes.values()
    others = [name for name in dict.fromkeys(names) if name != word]
    if not others:
        raise ValueError(f"profile {lab.profile.name!r} has nothing besides {word!r}")
    tasks = [_task(lab, name, kind, images, first_seed) for name in others]
    return _accuracy(lab, variant, tasks, kind)


def _task(
    lab: Lab, concept: str, kind: Kind, images: int, first_seed: int
) -> tuple[str, list[str], list[int]]:
    """(label, prompts, seeds) of an accuracy."""
    if images < 1:
        raise ValueError(f"images must be at least 1, not {images}")
    seeds = list(range(first_seed, first_seed + images))
    if kind == "style":
        prompts = style_prompts(lab.profile, concept)
        word = concept_name(lab.profile, concept, kind)
        return word, [prompts[s % len(prompts)] for s in seeds], seeds
    if kind != "object":
        raise ValueError(f'accuracy is measured for kind "object" or "style", not {kind!r}')
    return lab.concept(concept), [evaluation_prompt(lab.profile, concept)] * images, seeds


def _accuracy(
    lab: Lab, variant: Variant, tasks: list[tuple[str, list[str], list[int]]], kind: Kind
) -> Proportion:
    labels = [label for label, _, seeds in tasks for _ in seeds]
    prompts = [prompt for _, of, _ in tasks for prompt in of]
    seeds = [seed for _, _, of in tasks for seed in of]
    seen = lab.predictions(variant, prompts, seeds, kind)
    hits = sum(a.casefold() == b.casefold() for a, b in zip(seen, labels, strict=True))
    return Proportion(hits, len(labels))


def similarity(
    lab: Lab, variant: Variant, prompts: str | Sequence[str], seeds: Sequence[int]
) -> np.ndarray:
    """CLIP cosine of each picture with its own prompt, (n,) floats (paper Sec. 5.2)."""
    prompts, seeds = _one_each(prompts, seeds)

    def make() -> list[float]:
        from rbtc.evaluate import clip_similarity

        images = lab.images(variant, prompts, seeds)
        return [float(x) for x in clip_similarity(images, prompts, lab.judges.get("clip"))]

    return np.array(_judged(lab, "similarity", "clip", variant, prompts, seeds, make))


def clip_score(
    lab: Lab, variant: Variant, style: str, images: int = 50, first_seed: int = 0
) -> Proportion:
    """Share of pictures in a style that fit their prompt less well than the pretrained model's.

    The same prompts and seeds for both: 0 for the pretrained model itself, high when the style
    is erased, low again when it is revived (paper Table 2).
    """
    from rbtc import evaluate

    _, prompts, seeds = _task(lab, style, "style", images, first_seed)
    return evaluate.clip_score(
        lab.similarity(variant, prompts, seeds),
        lab.similarity(lab.pretrained, prompts, seeds),
    )


def _judged(
    lab: Lab,
    what: str,
    kind: str,
    variant: Variant,
    prompts: list[str],
    seeds: list[int],
    make: Callable[[], list[Any]],
) -> list[Any]:
    identity = lab.judges.identity(kind)
    if identity is None:  # a judge of unknown identity: its word is not kept
        return make()
    config = {
        "kind": what,
        "judge": identity,
        "images": _image_config(lab, variant),
        "prompts": prompts,
        "seeds": seeds,
    }
    modules = ["generate", "evaluate"]
    if kind not in lab.judges.given:
        modules.append("judges")
    return lab.store.json(config, make, modules=modules)[0]


# ---- signs ---------------------------------------------------------------------------------------


def density(lab: Lab, concept: str, **pruning: Any) -> float:
    """Share of the candidate weights that ConceptPrune cuts."""
    return layers.density(lab.masks(concept, **pruning))


def sign_accuracy(
    lab: Lab, concept: str, algorithm: str = "released", **options: Any
) -> Proportion:
    """Share of the cut weights whose sign the completion finds, pooled over the layers."""
    found = lab.completions(concept, algorithm, **options)
    counts = count_signs(found, lab.pretrained.weights).values()
    pooled = sum(counts, SignAccuracy(0, 0))
    return Proportion(pooled.correct, pooled.n)


def layer_frame(
    lab: Lab, concept: str, algorithm: str = "released", **options: Any
) -> pd.DataFrame:
    """One row per layer: shape, density, sign accuracy, iterations of the completion."""
    pruning, _ = split_options(options)
    found = lab.completions(concept, algorithm, **options)
    signs = sign_accuracy_by_layer(found, lab.pretrained.weights)
    signs = signs.drop(columns="short").assign(
        iterations=[found[name].iterations for name in signs["name"]],
        converged=[found[name].converged for name in signs["name"]],
    )
    table = layers.layer_table(lab.pruned(concept, **pruning).weights)
    return table.merge(signs, on="name", how="left")
