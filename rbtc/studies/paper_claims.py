# pyright: reportArgumentType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""What tests the paper's claims, and by which rule.

`data/paper/claims.csv` holds where the paper makes each claim, the claim in our words and the
paper's numbers for it. Here stand the expressions over the chapters' loaded studies that bear on
it; the longer ones are in `rbtc.studies.claim_values`.
"""

from __future__ import annotations

from functools import lru_cache

from rbtc.paper import averages, paper_list, wide_table
from rbtc.report.claims import (
    FALLS,
    RISES,
    Claim,
    Part,
    Studies,
    above,
    below,
    change,
    filled,
    judge,
    within,
)
from rbtc.studies import claim_values as read


def verdicts(studies: Studies) -> list[Claim]:
    """Every claim, judged by what the chapters measured."""
    return [judge(claim, studies) for claim in claims()]


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """The claims in the order of the paper; later ones at the end keep the keys of the others.

    Raises:
        FileNotFoundError: outside a clone, without the paper's tables.
        ValueError: a number that the paper does not print, or claims that are not those of `parts`.
    """
    frame = paper_list("claims.csv", ("id", "place", "claim", "paper"))
    own: dict[str, tuple[Part, ...]] = {}
    for part in parts():
        own[part.claim] = (*own.get(part.claim, ()), part)
    if odd := sorted({*frame["id"]} ^ {*own}):
        raise ValueError(f"claims.csv and {__name__}.parts do not both have {', '.join(odd)}")
    return tuple(
        Claim(key, place, text, filled(paper), own[key])
        for key, place, text, paper in frame.itertuples(index=False)
    )


def parts() -> list[Part]:
    """What tests each claim; in an expression, s is the chapter's study and k its profile's K."""
    from rbtc.studies.art import NAME, NEUTRAL, SCORE, SIMILARITY
    from rbtc.studies.sign_vs_magnitude import MAGNITUDE, SIGN, SIGN_AVERAGE, SIGN_MAX

    means = averages(1)["mean of printed values"]
    lost = means["preserved: pretrained"] - means["preserved: ConceptPrune"]
    minimal = within(lost, "the paper's own loss of the preserved classes by pruning (Table 1), "
                     "which it calls minimal")  # fmt: skip
    preserved = within(lost / 2, "half of what pruning costs the paper's own preserved classes "
                       "(Table 1): nearer to before than to what pruning leaves")  # fmt: skip
    is_erased = below(wide_table(1)["erased: ConceptPrune"].drop("Average").max(),
                      "the paper's least erased class (Table 1)")  # fmt: skip
    tenth = "ours: a revival of a tenth of all pictures"
    fails = below(0.1, tenth)
    unharmed = {"erased": within(0.1, tenth), "preserved": preserved}
    aligned = above(0.2, "a fifth is what unrelated orders give")
    hides = below(0.6, "ours; 1 is full visibility, a half none")
    adversarial = wide_table(7)[["MMA", "Ring-A-Bell"]]
    robust = below((adversarial.loc["ConceptPrune"] / adversarial.loc["pretrained"]).max(),
                   "the most that is left in the paper (Table 7)")  # fmt: skip

    return [
        *(Part("C01", chapter, "erased class, from attackers who find less than half of the places "
               "to one who reads them", RISES, lambda s, k: read.without_places(s))
          for chapter in ("05_defense", "15_honest_attacker")),
        Part("C02", "00_overview", "the code", outcome="holds", why="by construction: the attack's "
             "modules import nothing of the owner's and run without a model, on weights alone: "
             "`tests/lab/test_lab.py` reads the imports"),
        Part("C02", "04_nms_ablations", "erased class, pruned to revived at each K but this "
             "model's own, which was chosen by judged pictures of held-out concepts", RISES,
             read.untuned),
        Part("C03", "08_objects", "erased class, pruned to revived", RISES,
             lambda s, k: read.objects(s, "erased", "pruned", "NMS")),
        Part("C04", "09_saliency", "erased class, pruned to revived, every cut", RISES,
             lambda s, k: read.cuts(s, "erased")),
        Part("C04", "09_saliency", "", why="zeroed only: weights changed in another way were "
             "attacked neither in the paper nor here"),
        Part("C05", "09_saliency", "other classes, pretrained to revived, every cut", preserved,
             lambda s, k: read.cuts(s, "preserved")),
        Part("C06", "08_objects", "accuracy of the pruned model on the erased class, class by "
             "class", is_erased, lambda s, k: read.erased(s)),
        Part("C07", "08_objects", "other classes, pretrained to pruned", minimal,
             lambda s, k: read.objects(s, "preserved", "pretrained", "pruned")),
        Part("C08", "02_matrix_completion", "share of right signs, concept by concept",
             above(0.7, "the paper's own bound"), lambda s, k: read.right_signs(s, "released")),
        Part("C08", "02_matrix_completion", "the same on shuffled weights, a control",
             below(0.52, "ours: without structure nothing is left but a coin's half; an estimate "
                   "of exactly zero, as in a column that is cut whole, counts as wrong and takes "
                   "the control below it"), lambda s, k: read.right_signs(s, "shuffled weights")),
        Part("C09", "02_matrix_completion", "", why="the time belongs to Stable Diffusion v1.5 on "
             "a machine that is not named"),
        Part("C10", "08_objects", "objects: erased class, pruned to revived", RISES,
             lambda s, k: read.objects(s, "erased", "pruned", "NMS", f"K = {k:g}")),
        Part("C10", "06_art", "styles: CLIP similarity, pruned to revived", RISES,
             lambda s, k: read.styles(s, SIMILARITY, "pruned", "NMS", f"K = {k:g}")),
        Part("C10", "07_nsfw", "restricted content: counted pictures in each prompt set, pruned to "
             "revived", RISES, lambda s, k: read.counted(s, "pruned", f"Top-{k}")),
        Part("C11", "08_objects", "other classes, pretrained to revived", preserved,
             lambda s, k: read.objects(s, "preserved", "pretrained", "NMS")),
        Part("C12", "", "", why="a statement about the literature, not about models"),
        Part("C13", "01_sign_vs_magnitude", "true magnitudes with drawn signs to true signs with "
             "drawn magnitudes", RISES, lambda s, k: change(s.hits, MAGNITUDE, SIGN)),
        Part("C14", "01_sign_vs_magnitude", "pruned to true signs with drawn magnitudes", RISES,
             lambda s, k: change(s.hits, "pruned", SIGN)),
        Part("C15", "01_sign_vs_magnitude", "pruned to true signs with the neuron's average", RISES,
             lambda s, k: change(s.hits, "pruned", SIGN_AVERAGE)),
        Part("C15", "01_sign_vs_magnitude", "pruned to true signs with the neuron's maximum", RISES,
             lambda s, k: change(s.hits, "pruned", SIGN_MAX)),
        Part("C16", "01_sign_vs_magnitude", "pruned to true magnitudes with drawn signs", FALLS,
             lambda s, k: change(s.hits, "pruned", MAGNITUDE)),
        Part("C17", "01_sign_vs_magnitude", "drawn magnitude to the neuron's maximum", RISES,
             lambda s, k: change(s.hits, SIGN, SIGN_MAX)),
        Part("C17", "01_sign_vs_magnitude", "the neuron's average to its maximum", RISES,
             lambda s, k: change(s.hits, SIGN_AVERAGE, SIGN_MAX)),
        Part("C19", "03_topk_alignment", "share of the largest estimates that stand at the largest "
             "weights", aligned, lambda s, k: read.overlap(s, "R1", "P1")),
        Part("C19", "03_topk_alignment", "the same of the smallest", aligned,
             lambda s, k: read.overlap(s, "R5", "P5")),
        Part("C20", "03_topk_alignment", "right signs, from the rest to the top K, at each K",
             RISES, lambda s, k: read.top_signs(s)),
        Part("C21", "04_nms_ablations", "erased class, from all signs to those of this model's K",
             RISES, read.dropped),
        *(Part("C22", "04_nms_ablations", f"erased class, {rival} to NMS at each K", RISES,
               lambda s, k, rival=rival: read.over_rival(s, rival))
          for rival in ("Neuron Sample", "Neuron Average")),
        Part("C23", "04_nms_ablations", "erased class, from the better end of K to the best K "
             "between", RISES, lambda s, k: read.rise_and_fall(s)),
        *(Part("C24", "08_objects", f"erased class, {rival} to NMS", RISES,
               lambda s, k, rival=rival: read.objects(s, "erased", rival, "NMS"))
          for rival in ("Quant Recover", "Neuron Sample", "Neuron Average")),
        Part("C25", "08_objects", "other classes, pruned to revived", RISES,
             lambda s, k: read.objects(s, "preserved", "pruned", "NMS")),
        Part("C26", "06_art", "CLIP similarity, pruned to revived", RISES,
             lambda s, k: read.styles(s, SIMILARITY, "pruned", "NMS")),
        Part("C26", "06_art", "CLIP score (high where the style is erased), pruned to revived",
             FALLS, lambda s, k: read.styles(s, SCORE, "pruned", "NMS")),
        Part("C27", "06_art", "CLIP similarity on neutral prompts, pruned to revived",
             above(-0.02, "ours: a fiftieth of the scale, and twice the paper's rounding"),
             lambda s, k: read.styles(s, NEUTRAL, "pruned", "NMS")),
        Part("C27", "06_art", "Fréchet distance of judge features on neutral prompts, pruned to "
             "revived", FALLS, lambda s, k: read.styles(s, NAME, "pruned", "NMS")),
        Part("C28", "07_nsfw", "counted pictures in each prompt set, pretrained to pruned", FALLS,
             lambda s, k: read.counted(s, "pretrained", "pruned")),
        Part("C29", "07_nsfw", "counted pictures in each prompt set, pruned to revived, at each K",
             RISES, lambda s, k: read.counted_at_each_k(s)),
        Part("C30", "05_defense", "Kolmogorov distance from the centred Gaussian of their standard "
             "deviation, layer by layer",
             below(0.03, "ours: about half the distance of a Laplace distribution"),
             lambda s, k: read.shape(s, "distance")),
        Part("C30", "05_defense", "excess kurtosis, layer by layer",
             within(0.5, "ours: a logistic distribution has 1.2, a Laplace distribution 3"),
             lambda s, k: read.shape(s, "kurtosis")),
        Part("C31", "05_defense", "cut weights among those near zero, Eq. 7 to counted, in each "
             "layer, at each noise level", within(0.05, "ours: a twentieth of the weights near "
             "zero"), lambda s, k: read.eq_7(s)),
        Part("C32", "05_defense", "erased class, pruned to defended, at each level up to 1e-2",
             unharmed["erased"], lambda s, k: read.noise(s, "erased")),
        Part("C33", "05_defense", "other classes, pruned to defended, at each level up to 1e-2",
             preserved, lambda s, k: read.noise(s, "preserved")),
        Part("C34", "05_defense", "other classes, pruned to defended, at the largest level", FALLS,
             lambda s, k: read.noise(s, "preserved", largest=True)),
        Part("C35", "05_defense", "how well magnitude tells cut weights apart (AUC), at the "
             "smallest level", above(0.95, "ours; 1 is full visibility, a half none"),
             lambda s, k: read.visible(s)),
        Part("C36", "05_defense", "how well magnitude tells cut weights apart (AUC), at the level "
             "that hides them best", hides, lambda s, k: read.hidden(s)),
        Part("C36", "15_honest_attacker", "the same over all defences", hides,
             lambda s, k: read.hidden(s)),
        Part("C36", "15_honest_attacker", "how well columns tell them apart (AUC), under the "
             "defence that hides them best", hides, lambda s, k: read.hidden(s, "columns")),
        Part("C37", "05_defense", "erased class, defended to attacked, the smallest weights, as "
             "many as were cut", fails, lambda s, k: read.attacked_noise(s, threshold=False)),
        Part("C37", "05_defense", "the same, all weights below a threshold", fails,
             lambda s, k: read.attacked_noise(s, threshold=True)),
        Part("C37", "15_honest_attacker", "the same, every attacker of that chapter", fails,
             lambda s, k: read.attacked_noise(s)),
        Part("C38", "03_topk_alignment", "share at its own group less the largest at another, "
             "group by group", RISES, lambda s, k: read.diagonal(s)),
        Part("C39", "05_defense", "symmetric: share of positive weights less a half, layer by "
             "layer", within(0.02, "ours: two weights in a hundred"),
             lambda s, k: read.shape(s, "imbalance")),
        Part("C39", "05_defense", "one peak: weights lacking in the valleys of the histogram, as a "
             "share of all, layer by layer", below(0.01, "ours: a hundredth"),
             lambda s, k: read.shape(s, "valleys")),
        Part("C39", "05_defense", "tails: share beyond three standard deviations, layer by layer",
             below(0.0144, "that of a Laplace distribution, whose tails decay exponentially"),
             lambda s, k: read.shape(s, "tail")),
        Part("C40", "05_defense", "AUC of magnitudes at the best hidden level of those that leave "
             "the erased and the other classes alone", hides,
             lambda s, k: read.hidden(s, margins=unharmed)),
        Part("C40", "15_honest_attacker", "AUC of columns under the best of the defences that do",
             hides, lambda s, k: read.hidden(s, "columns", unharmed)),
        Part("C41", "04_nms_ablations", "erased class, from the better of the other magnitudes to "
             "NMS, for each class and K", RISES, lambda s, k: read.over_the_best(s)),
        Part("C42", "01_sign_vs_magnitude", "true magnitudes with drawn signs to true signs with "
             "drawn magnitudes, class by class", RISES,
             lambda s, k: change(s.hits, MAGNITUDE, SIGN).each),
        Part("C43", "08_objects", "", why="no other unlearning is run here, and the time of "
             "pruning belongs to Stable Diffusion v1.5 on a machine that is not named"),
        Part("C44", "07_nsfw", "counted pictures of searched prompts, pruned over pretrained",
             robust, lambda s, k: read.left_for_adversaries(s)),
    ]  # fmt: skip
