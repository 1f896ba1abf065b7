"""Signs against magnitudes: which half of a weight carries a concept (paper Sec. 3, App. A).

The cut weights are refilled with one half of the truth, their pretrained sign or their pretrained
magnitude, and the other half drawn or borrowed from the row's survivors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rbtc.claims import Claim, claims_table, describe_claims
from rbtc.claims import with_interval as show
from rbtc.lab import Lab, Variant
from rbtc.layers import Masks, Weights
from rbtc.magnitudes import IdealMode
from rbtc.stats import Proportion
from rbtc.studies import Accuracies, Pictures, Subject, judge, pool, subjects
from rbtc.tables import Row, cell
from rbtc.wording import listing

MAGNITUDE = "true magnitude, drawn sign"
SIGN = "true sign, drawn magnitude"
SIGN_MAX = "true sign, neuron max"
SIGN_AVERAGE = "true sign, neuron average"
REFILLS: dict[str, IdealMode] = {
    MAGNITUDE: "pretrained_magnitude_random_sign",
    SIGN: "pretrained_sign_random_magnitude",
    SIGN_MAX: "pretrained_sign_neuron_max",
    SIGN_AVERAGE: "pretrained_sign_neuron_average",
}


@dataclass(frozen=True)
class SignStudy:
    """What one half of the truth is worth (paper Sec. 3, Fig. 2, App. A).

    accuracy: `[strategy][label]`, on the erased class.
    cosines: `[strategy][label]`, between the refilled and the true values of the cut weights.
    """

    subjects: tuple[Subject, ...]
    accuracy: Accuracies
    cosines: Mapping[str, Mapping[str, float]]
    pictures: Pictures

    def grid(self) -> Pictures:
        """Pictures for `rbtc.figures.picture_grid`, the long names in two lines."""
        return {
            label: {name.replace(", ", ",\n"): images for name, images in of.items()}
            for label, of in self.pictures.items()
        }

    def rows(self) -> list[Row]:
        """Every class and strategy; the paper prints no numbers for this study."""
        return [
            Row(label, strategy, None, ours)
            for strategy, of in self.accuracy.items()
            for label, ours in of.items()
        ]

    def table(self) -> pd.DataFrame:
        """Strategies down, classes across."""
        return pd.DataFrame(
            {
                s.label: {name: cell(of[s.label]) for name, of in self.accuracy.items()}
                for s in self.subjects
            }
        )

    def pooled(self) -> dict[str, Proportion]:
        """Accuracy of each strategy over all classes."""
        return {strategy: pool(of.values()) for strategy, of in self.accuracy.items()}

    def summary(self) -> pd.DataFrame:
        """Per strategy the pooled accuracy and the mean cosine with the cut weights."""
        cosines = {name: np.mean(list(of.values())) for name, of in self.cosines.items()}
        return pd.DataFrame(
            {
                "accuracy on the erased class": {n: cell(p) for n, p in self.pooled().items()},
                "cosine with the cut weights": {
                    name: cell(float(cosines[name])) if name in cosines else ""
                    for name in self.accuracy
                },
            }
        )

    def claims(self) -> list[Claim]:
        """What the paper says about this study, and our pooled numbers for it."""
        ours = self.pooled()
        return [
            Claim("true signs are worth more than true magnitudes", "Sec. 3, Fig. 2",
                  ours[SIGN], ours[MAGNITUDE]),
            Claim("true signs with drawn magnitudes revive the concept", "App. A",
                  ours[SIGN], ours["pruned"]),
            Claim("true magnitudes with drawn signs do worse than leaving the zeros", "App. A",
                  ours["pruned"], ours[MAGNITUDE]),
            Claim("with true signs, the neuron's maximum does better than a draw", "Sec. 4.3",
                  ours[SIGN_MAX], ours[SIGN]),
            Claim("with true signs, the neuron's maximum does better than its average", "Sec. 4.3",
                  ours[SIGN_MAX], ours[SIGN_AVERAGE]),
        ]  # fmt: skip

    def claims_table(self) -> pd.DataFrame:
        """The claims beside our numbers."""
        return claims_table(self.claims())

    def describe(self) -> str:
        """State the outcome."""
        ours = self.pooled()
        highest = max(ours[name].value for name in REFILLS)
        best = [name for name in REFILLS if ours[name].value == highest]
        return (
            f"The pretrained model is recognised in {show(ours['pretrained'])} of its pictures, "
            f"the pruned model in {show(ours['pruned'])}. With the true signs and drawn "
            f"magnitudes it is {show(ours[SIGN])}, with the true magnitudes and drawn signs "
            f"{show(ours[MAGNITUDE])}; the highest of the four refills is "
            f"{listing(f'*{name}*' for name in best)} with {show(ours[best[0]])}. "
            f"{describe_claims(self.claims())}"
        )


def sign_study(
    lab: Lab,
    concepts: Sequence[str],
    images: int,
    *,
    pictures: int = 2,
    first_seed: int = 0,
    draw_seed: int = 2021,
) -> SignStudy:
    """Refill the cut weights with true signs or true magnitudes, and count.

    ``draw_seed`` is that of the drawn signs and magnitudes, which share their draws; the other
    arguments are those of `overview`.
    """
    chosen = subjects(lab, concepts)
    accuracy: dict[str, dict[str, Proportion]] = {}
    cosines: dict[str, dict[str, float]] = {}
    shown = {}
    for subject in chosen:
        masks = lab.masks(subject.word)

        def variants(word: str = subject.word) -> Iterator[tuple[str, Variant]]:
            yield "pretrained", lab.pretrained
            yield "pruned", lab.pruned(word)
            for name, mode in REFILLS.items():
                yield name, lab.idealised(word, mode, draw_seed)

        counted, shown[subject.label] = judge(
            lab, subject, variants(), images, pictures, first_seed
        )
        for name, ours in counted.items():
            accuracy.setdefault(name, {})[subject.label] = ours
        for name, mode in REFILLS.items():
            refilled = lab.idealised(subject.word, mode, draw_seed).weights
            cosines.setdefault(name, {})[subject.label] = cosine(
                refilled, lab.pretrained.weights, masks
            )
    return SignStudy(tuple(chosen), accuracy, cosines, shown)


def cosine(a: Weights, b: Weights, places: Masks) -> float:
    """Cosine of two models' weights at the given places, all layers taken as one vector.

    Raises:
        ValueError: one of them is zero at every place.
    """
    dot = aa = bb = 0.0
    for name, mask in places.items():
        x, y = a[name][mask].double(), b[name][mask].double()
        dot, aa, bb = dot + float(x @ y), aa + float(x @ x), bb + float(y @ y)
    if not aa or not bb:
        raise ValueError("weights that are zero at every place have no direction to compare")
    return dot / math.sqrt(aa * bb)
