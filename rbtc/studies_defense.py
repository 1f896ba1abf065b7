"""The Gaussian defence at work: what it costs, and whether it stops the attack.

Paper Sec. 4.4 and 5.5, Fig. 6 and Table 12. Which noise can be seen is in
`rbtc.studies_detection`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rbtc.defense_outcome import (
    MODELS,
    MOST_NAMED,
    Attacked,
    Attacker,
    Defended,
    DefenseStudy,
    standard_deviation,
)
from rbtc.detection import detection
from rbtc.lab import Lab, Variant
from rbtc.layers import Masks
from rbtc.masks import prune
from rbtc.studies import Subject, pictures, subjects
from rbtc.wording import power


def defense_study(
    lab: Lab,
    concepts: Sequence[str],
    *,
    sigmas: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    variances: Sequence[float] = (),
    attack_sigmas: Sequence[float] = (1e-6, 1e-2),
    share: float = 0.02,
    threshold_sigmas: float = 5.0,
    images: int = 100,
    preserved: int = 2,
    shown: int = 4,
    seed: int = 0,
    noise_seed: int = 0,
) -> DefenseStudy:
    """Hide the cut weights of several concepts at several noise levels, and attack the result.

    Args:
        lab: where models come from.
        concepts: paper classes or words of the model, at least one.
        sigmas: noise levels, standard deviations.
        variances: further noise levels, as variances.
        attack_sigmas: at which standard deviations to attack; they have to be among `sigmas`.
        share: budget of the first attacker, the paper's: the smallest weights, this share of all.
        threshold_sigmas: the second attacker takes all weights below this many sigma_M.
        images: pictures of the erased concept per model.
        preserved: pictures of each other class per model.
        shown: pictures per model in the picture grid.
        seed: first seed of the pictures.
        noise_seed: of the noise.

    Raises:
        ValueError: no concept, an unknown one, or a noise level to attack that is not swept.
    """
    if strangers := [sigma for sigma in attack_sigmas if sigma not in sigmas]:
        raise ValueError(f"attack_sigmas holds {strangers}, which are not among sigmas {sigmas}")
    chosen = subjects(lab, concepts)
    levels = sorted({*map(float, sigmas), *map(standard_deviation, variances)})
    shown = min(shown, images)
    plain, defended, attacked, grid = {}, [], [], {}
    for subject in chosen:
        word = subject.word
        models = (lab.pretrained, lab.pruned(word), lab.revived(word))
        for model, variant in zip(MODELS, models, strict=True):
            plain[subject.label, model] = (
                lab.accuracy(variant, word, images, seed),
                lab.preserved(variant, word, preserved, seed),
            )
        row = pictures(lab, subject, dict(zip(MODELS, models, strict=True)), images=shown,
                       seed=seed)  # fmt: skip
        for sigma in levels:
            variant = lab.obfuscated(word, sigma=sigma, seed=noise_seed)
            defended.append(
                Defended(
                    subject,
                    sigma,
                    lab.accuracy(variant, word, images, seed),
                    lab.preserved(variant, word, preserved, seed),
                )
            )
            if sigma not in attack_sigmas:
                continue
            outcomes = {"defended": variant}
            for attacker in ("budget", "threshold"):
                result, after = _attack(
                    lab, subject, sigma, variant, attacker, share, threshold_sigmas * sigma,
                    images, seed,
                )  # fmt: skip
                attacked.append(result)
                if after is not None:
                    outcomes[attacker] = after
            made = pictures(lab, subject, outcomes, images=shown, seed=seed)
            row |= {f"{name}\n{power(sigma)}": own for name, own in made.items()}
        grid[subject.label] = row
    return DefenseStudy(
        tuple(chosen), plain, tuple(defended), tuple(attacked), tuple(map(float, sigmas)),
        tuple(map(float, variances)), grid,
    )  # fmt: skip


def _attack(
    lab: Lab,
    subject: Subject,
    sigma: float,
    variant: Variant,
    attacker: Attacker,
    share: float,
    threshold: float,
    images: int,
    seed: int,
) -> tuple[Attacked, Variant | None]:
    """One attack on a defended model: what it found, and the model it made, if any."""
    masks = lab.masks(subject.word)
    guess = lab.guess(variant, attacker=attacker, share=share, threshold=threshold)
    found = detection(guess, masks)
    named = found.guessed / sum(mask.numel() for mask in masks.values())
    usable = spare_whole_rows(guess)
    after = revived = None
    if named <= MOST_NAMED and any(bool(mask.any()) for mask in usable.values()):
        zeroed = lab.custom(f"re-pruned ({attacker})", prune(variant.weights, usable))
        after = lab.attack(zeroed)
        revived = lab.accuracy(after, subject.word, images, seed)
    return Attacked(subject, sigma, attacker, found, named, revived), after


def spare_whole_rows(guess: Masks) -> Masks:
    """The guess without the rows it names as a whole: nothing would be left to complete them."""
    return {name: mask & ~mask.all(dim=1, keepdim=True) for name, mask in guess.items()}
