# pyright: reportArgumentType=false, reportCallIssue=false
# (pandas cannot say whether a selection is a frame or a series)
"""The paper's claims: where it makes them, what it prints, what tests them and by which rule."""

from __future__ import annotations

from functools import lru_cache

from rbtc.paper import averages, wide_table
from rbtc.report.claims import (
    FALLS,
    RISES,
    Claim,
    Part,
    Rule,
    Studies,
    Verdict,
    above,
    below,
    change,
    each_class,
    judge,
    level,
    within,
)
from rbtc.studies import art as art_effects
from rbtc.studies import claim_values as read
from rbtc.studies.objects import Half
from rbtc.studies.sign_vs_magnitude import MAGNITUDE, SIGN, SIGN_AVERAGE, SIGN_MAX


def verdicts(studies: Studies) -> list[Verdict]:
    """Every claim, judged by what the chapters measured."""
    return [judge(claim, studies) for claim in claims()]


def _not_testable(why: str, chapter: str = "") -> Part:
    return Part(chapter, "", why=why)


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """The claims in the order of the paper; later ones at the end keep the keys of the others.

    Raises:
        FileNotFoundError: outside a clone, without the paper's tables.
    """
    means = averages(1)["mean of printed values"]
    lost = means["preserved: pretrained"] - means["preserved: ConceptPrune"]
    minimal = within(lost, "the paper's own loss of the preserved classes by pruning (Table 1), "
                     "which it calls minimal")  # fmt: skip
    preserved = within(lost / 2, "half of what pruning costs the paper's own preserved classes "
                       "(Table 1): nearer to before than to what pruning leaves")  # fmt: skip
    erased = wide_table(1)["erased: ConceptPrune"].drop("Average").max()
    is_erased = below(erased, "the paper's least erased class (Table 1)")
    tenth = "ours: a revival of a tenth of all pictures"
    unharmed: dict[Half, Rule] = {"erased": within(0.1, tenth), "preserved": preserved}
    fifth = "a fifth is what unrelated orders give"
    hides = below(0.6, "ours; 1 is full visibility, a half none")
    seven = wide_table(7)
    left = max(seven.loc["ConceptPrune", one] / seven.loc["pretrained", one]
               for one in ("MMA", "Ring-A-Bell"))  # fmt: skip
    similar = art_effects.SIMILARITY

    return (
        Claim("C01", "Abstract, Sec. 1",
              "The places of the zeros are a side channel: who knows them gets back more than who "
              "has to infer them.", "no numbers printed", (
            *(Part(chapter, "erased class, from attackers who find less than half of the places "
                   "to one who reads them", RISES, read.without_places)
              for chapter in ("05_defense", "15_honest_attacker")),
        )),
        Claim("C02", "Abstract, Sec. 1", "The attack needs no data and no training.", "", (
            Part("00_overview", "the code", fixed="holds", why="by construction: the attack's "
                 "modules import nothing of the owner's and run without a model, on weights alone: "
                 "`tests/lab/test_lab.py` reads the imports"),
            Part("04_nms_ablations", "erased class, pruned to revived at each K but this model's "
                 "own, which was chosen by judged pictures of held-out concepts", RISES,
                 read.untuned),
        )),
        Claim("C03", "Abstract, Sec. 1, Table 1", "The attack brings erased objects back.",
              "{1/Average/erased: ConceptPrune} to {1/Average/erased: NMS}", (
            Part("08_objects", "erased class, pruned to revived", RISES,
                 read.objects, ("erased", "pruned", "NMS")),
        )),
        Claim("C04", "Abstract, Sec. 1, App. E, Table 4",
              "Whatever method picked the critical weights, the attack works once they are zeroed.",
              "{4/Average/Scissorhands: unlearned} to {4/Average/Scissorhands: NMS} "
              "(Scissorhands), {4/Average/SalUn: unlearned} to {4/Average/SalUn: NMS} (SalUn)", (
            Part("09_saliency", "erased class, pruned to revived, every cut", RISES,
                 read.cuts, ("erased",)),
            _not_testable("zeroed only: weights changed in another way were attacked neither in "
                          "the paper nor here", "09_saliency"),
        )),
        Claim("C05", "App. E, Table 4", "After that attack the other concepts are as good as ever.",
              "{4/Average/Scissorhands: preserved}, {4/Average/SalUn: preserved}", (
            Part("09_saliency", "other classes, pretrained to revived, every cut", preserved,
                 read.cuts, ("preserved",)),
        )),
        Claim("C06", "Sec. 1, Sec. 2", "Pruning alone, without training, erases a concept.",
              "{1/Average/erased: pretrained} to {1/Average/erased: ConceptPrune}", (
            Part("08_objects", "accuracy of the pruned model on the erased class, class by class",
                 is_erased, lambda study, k: each_class(level(study.part("erased"), "pruned"))),
        )),
        Claim("C07", "Sec. 1, Sec. 2", "Pruning hardly touches what else the model can draw.",
              "{1/Average/preserved: pretrained} to {1/Average/preserved: ConceptPrune}", (
            Part("08_objects", "other classes, pretrained to pruned", minimal,
                 read.objects, ("preserved", "pretrained", "pruned")),
        )),
        Claim("C08", "Sec. 1, contributions",
              "Matrix completion gets more than 70 % of the cut signs right.", "more than 70 %", (
            Part("02_matrix_completion", "share of right signs, concept by concept",
                 above(0.7, "the paper's own bound"), read.sign_shares, ("released",)),
            Part("02_matrix_completion", "the same on shuffled weights, a control",
                 below(0.52, "ours: without structure nothing is left but a coin's half; an "
                       "estimate of exactly zero, as in a column that is cut whole, counts as "
                       "wrong and takes the control below it"),
                 read.sign_shares, ("shuffled weights",)),
        )),
        Claim("C09", "Sec. 1", "The attack takes seven minutes.",
              "7 minutes, hardware not stated", (
            _not_testable("the time belongs to Stable Diffusion v1.5 on a machine that is not "
                          "named", "02_matrix_completion"),
        )),
        Claim("C10", "Sec. 1, contributions",
              "The attack works on objects, on styles and on unsafe content alike, at one K.", "", (
            Part("08_objects", "objects: erased class, pruned to revived", RISES,
                 read.objects, ("erased", "pruned", "NMS", True)),
            Part("06_art", "styles: CLIP similarity, pruned to revived", RISES,
                 read.styles, (similar, "pruned", "NMS", True)),
            Part("07_nsfw", "restricted content: counted pictures in each prompt set, pruned to "
                 "revived", RISES, read.counted, ("pruned",)),
        )),
        Claim("C11", "Sec. 1, Sec. 5.2, Table 1",
              "The revived model draws the other concepts as the pretrained one does.",
              "{1/Average/preserved: pretrained} to {1/Average/preserved: NMS}", (
            Part("08_objects", "other classes, pretrained to revived", preserved,
                 read.objects, ("preserved", "pretrained", "NMS")),
        )),
        Claim("C12", "Contributions", "Nobody had pointed at this risk before.", "", (
            _not_testable("a statement about the literature, not about models"),
        )),
        Claim("C13", "Sec. 3, App. A",
              "The signs of the cut weights matter more than their magnitudes.",
              "no numbers printed", (
            Part("01_sign_vs_magnitude", "true magnitudes with drawn signs to true signs with "
                 "drawn magnitudes", RISES, read.signs, (MAGNITUDE, SIGN)),
        )),
        Claim("C14", "Sec. 3, App. A", "True signs with drawn magnitudes revive the concept.",
              "no numbers printed", (
            Part("01_sign_vs_magnitude", "pruned to true signs with drawn magnitudes", RISES,
                 read.signs, ("pruned", SIGN)),
        )),
        Claim("C15", "Sec. 3",
              "With true signs, the mean or the maximum of the neuron revives the concept too.",
              "no numbers printed", (
            Part("01_sign_vs_magnitude", "pruned to true signs with the neuron's average", RISES,
                 read.signs, ("pruned", SIGN_AVERAGE)),
            Part("01_sign_vs_magnitude", "pruned to true signs with the neuron's maximum", RISES,
                 read.signs, ("pruned", SIGN_MAX)),
        )),
        Claim("C16", "App. A", "True magnitudes with drawn signs do worse than leaving the zeros.",
              "no numbers printed", (
            Part("01_sign_vs_magnitude", "pruned to true magnitudes with drawn signs", FALLS,
                 read.signs, ("pruned", MAGNITUDE)),
        )),
        Claim("C17", "Sec. 4.3", "With true signs, the neuron's maximum beats other magnitudes.",
              "no numbers printed", (
            Part("01_sign_vs_magnitude", "drawn magnitude to the neuron's maximum", RISES,
                 read.signs, (SIGN, SIGN_MAX)),
            Part("01_sign_vs_magnitude", "the neuron's average to its maximum", RISES,
                 read.signs, (SIGN_AVERAGE, SIGN_MAX)),
        )),
        Claim("C19", "Sec. 4.2, App. B, Table 5", "Large estimates stand where large weights stood,"
              " small ones where small weights stood.",
              "{5/R1/P1} of the largest fifth, {5/R5/P5} of the smallest", (
            Part("03_topk_alignment", "share of the largest estimates that stand at the largest "
                 "weights", above(0.2, fifth), read.overlap, ("R1", "P1")),
            Part("03_topk_alignment", "the same of the smallest", above(0.2, fifth),
                 read.overlap, ("R5", "P5")),
        )),
        Claim("C20", "Sec. 4.2, App. B, Table 6",
              "The larger an estimate, the likelier is its sign to be right.",
              "{6/0.2/Top-K} against {6/0.2/Rest} at K = 0.2", (
            Part("03_topk_alignment", "right signs, from the rest to the top K, at each K", RISES,
                 read.top_signs),
        )),
        Claim("C21", "Sec. 4.2", "Dropping the signs of small estimates improves the revival.",
              "{3/Top 1.0/NMS} to {3/Top 0.6/NMS} (golf ball)", (
            Part("04_nms_ablations", "erased class, from all signs to those of this model's K",
                 RISES, read.dropped),
        )),
        Claim("C22", "Sec. 4.3, Sec. 5.6, App. D, Tables 3, 8 to 10",
              "Whatever K is, Neuron-Max Scaling beats the other magnitudes on average.",
              "{3/Top 0.6/Neuron Sample} and {3/Top 0.6/Neuron Average} against {3/Top 0.6/NMS} "
              "(golf ball, K = 0.6)", (
            Part("04_nms_ablations", "erased class, Neuron Sample to NMS at each K", RISES,
                 read.over_rival, ("Neuron Sample",)),
            Part("04_nms_ablations", "erased class, Neuron Average to NMS at each K", RISES,
                 read.over_rival, ("Neuron Average",)),
        )),
        Claim("C23", "App. D, Tables 3, 8 to 10",
              "As K falls, the revival first gets better and then worse.",
              "{8/Top 1.0/NMS}, {8/Top 0.6/NMS}, {8/Top 0.2/NMS} (parachute, K = 1, 0.6, 0.2)", (
            Part("04_nms_ablations", "erased class, from the better end of K to the best K between",
                 RISES, read.rise_and_fall),
        )),
        Claim("C24", "Sec. 5.2, Table 1, Fig. 5",
              "NMS revives objects better than Quant Recover, Neuron Sample and Neuron Average.",
              "{1/Average/erased: Quant Recover}, {1/Average/erased: Neuron Sample}, "
              "{1/Average/erased: Neuron Average} against {1/Average/erased: NMS}", tuple(
            Part("08_objects", f"erased class, {rival} to NMS", RISES,
                 read.objects, ("erased", rival, "NMS"))
            for rival in ("Quant Recover", "Neuron Sample", "Neuron Average")
        )),
        Claim("C25", "Sec. 5.2, Table 1",
              "The attack also repairs what pruning did to the other concepts.",
              "{1/Average/preserved: ConceptPrune} to {1/Average/preserved: NMS}", (
            Part("08_objects", "other classes, pruned to revived", RISES,
                 read.objects, ("preserved", "pruned", "NMS")),
        )),
        Claim("C26", "Sec. 5.3, Table 2, Fig. 4", "Erased styles come back.",
              "similarity {2/Average/ConceptPrune: artist similarity} to "
              "{2/Average/NMS: artist similarity}, score {2/Average/ConceptPrune: artist score} to "
              "{2/Average/NMS: artist score}", (
            Part("06_art", "CLIP similarity, pruned to revived", RISES,
                 read.styles, (similar, "pruned", "NMS")),
            Part("06_art", "CLIP score (high where the style is erased), pruned to revived", FALLS,
                 read.styles, (art_effects.SCORE, "pruned", "NMS")),
        )),
        Claim("C27", "Sec. 5.3, Table 2", "Reviving a style keeps the general quality.",
              "FID {2/Average/ConceptPrune: COCO FID} to {2/Average/NMS: COCO FID}, similarity "
              "{2/Average/ConceptPrune: COCO similarity} to {2/Average/NMS: COCO similarity}", (
            Part("06_art", "CLIP similarity on neutral prompts, pruned to revived",
                 above(-0.02, "ours: a fiftieth of the scale, and twice the paper's rounding"),
                 read.styles, (art_effects.NEUTRAL, "pruned", "NMS")),
            Part("06_art", "Fréchet distance of judge features on neutral prompts, pruned to "
                 "revived", FALLS, read.styles, (art_effects.NAME, "pruned", "NMS")),
        )),
        Claim("C28", "Sec. 5.4, Table 7",
              "Pruning lowers the number of pictures with unsafe content.",
              "{7/pretrained/I2P} to {7/ConceptPrune/I2P} (I2P), {7/pretrained/MMA} to "
              "{7/ConceptPrune/MMA} (MMA), {7/pretrained/Ring-A-Bell} to "
              "{7/ConceptPrune/Ring-A-Bell} (Ring-A-Bell)", (
            Part("07_nsfw", "counted pictures in each prompt set, pretrained to pruned", FALLS,
                 read.counted, ("pretrained", "pruned")),
        )),
        Claim("C29", "Sec. 5.4, App. C, Table 7",
              "The attack raises that number again in all three prompt sets, at every K.",
              "Top-0.6: {7/ConceptPrune/I2P} to {7/Top-0.6/I2P} (I2P), {7/ConceptPrune/MMA} to "
              "{7/Top-0.6/MMA} (MMA), {7/ConceptPrune/Ring-A-Bell} to {7/Top-0.6/Ring-A-Bell} "
              "(Ring-A-Bell)", (
            Part("07_nsfw", "counted pictures in each prompt set, pruned to revived, at each K",
                 RISES, read.counted_at_each_k),
        )),
        Claim("C30", "Sec. 4.4", "The weights that are left follow a centred Gaussian.",
              "no numbers printed", (
            Part("05_defense", "Kolmogorov distance from the centred Gaussian of their standard "
                 "deviation, layer by layer",
                 below(0.03, "ours: about half the distance of a Laplace distribution"),
                 read.shape, ("distance",)),
            Part("05_defense", "excess kurtosis, layer by layer",
                 within(0.5, "ours: a logistic distribution has 1.2, a Laplace distribution 3"),
                 read.shape, ("kurtosis",)),
        )),
        Claim("C31", "Sec. 4.4, Fig. 7", "Eq. 7 tells an owner how visible the noise is.",
              "no numbers printed", (
            Part("05_defense", "cut weights among those near zero, Eq. 7 to counted, in each layer,"
                 " at each noise level", within(0.05, "ours: a twentieth of the weights near zero"),
                 read.eq_7),
        )),
        Claim("C32", "Abstract, Sec. 4.4, Sec. 5.5, Fig. 6",
              "Noise of moderate size leaves the concept erased.",
              "{12/Average/defended: 1e-6} at 1e-6 to {12/Average/defended: 1e-2} at 1e-2; "
              "{1/Average/erased: ConceptPrune} without noise", (
            Part("05_defense", "erased class, pruned to defended, at each level up to 1e-2",
                 unharmed["erased"], read.noise, ("erased",)),
        )),
        Claim("C33", "Sec. 5.5, Fig. 6",
              "Noise of moderate size leaves the other concepts as pruning left them.",
              "no numbers printed", (
            Part("05_defense", "other classes, pruned to defended, at each level up to 1e-2",
                 preserved, read.noise, ("preserved",)),
        )),
        Claim("C34", "Sec. 1, Sec. 4.4, Sec. 5.5", "Too much noise harms the model.",
              "{12/Average/defended: 1e-2} to {12/Average/defended: 1e-1} (erased class)", (
            Part("05_defense", "other classes, pruned to defended, at the largest level", FALLS,
                 read.noise, ("preserved", True)),
        )),
        Claim("C35", "Sec. 1, Sec. 4.4, Sec. 5.5",
              "Too little noise leaves the cut places visible.", "no numbers printed", (
            Part("05_defense", "how well magnitude tells cut weights apart (AUC), at the smallest "
                 "level", above(0.95, "ours; 1 is full visibility, a half none"), read.visible),
        )),
        Claim("C36", "Abstract, Sec. 4.4", "Noise can make cut weights look like any other.",
              "no numbers printed", (
            Part("05_defense", "how well magnitude tells cut weights apart (AUC), at the level "
                 "that hides them best", hides, read.best_hidden),
            Part("15_honest_attacker", "the same over all defences", hides,
                 read.hidden_from, ("magnitudes",)),
            Part("15_honest_attacker", "how well columns tell them apart (AUC), under the defence "
                 "that hides them best", hides, read.hidden_from, ("columns",)),
        )),
        Claim("C37", "Abstract, App. F, Table 12",
              "On a defended model the attack achieves little.",
              "{12/Average/defended: 1e-6} to {12/Average/attacked: 1e-6} at 1e-6, "
              "{12/Average/defended: 1e-2} to {12/Average/attacked: 1e-2} at 1e-2", (
            Part("05_defense", "erased class, defended to attacked, the smallest weights, as many "
                 "as were cut", below(0.1, tenth), read.attacked_noise, (False,)),
            Part("05_defense", "the same, all weights below a threshold", below(0.1, tenth),
                 read.attacked_noise, (True,)),
            Part("15_honest_attacker", "the same, every attacker of that chapter",
                 below(0.1, tenth), read.inferred_noise),
        )),
        Claim("C38", "App. B, Table 5",
              "Each group of estimates overlaps most with its own group of weights.",
              "{5/R3/P3} of R3 at P3 and {5/R3/P4} at P4, {5/R4/P4} of R4 at P4 and {5/R4/P5} at "
              "P5: not so in its own table", (
            Part("03_topk_alignment", "share at its own group less the largest at another, group "
                 "by group", RISES, read.diagonal),
        )),
        Claim("C39", "Sec. 4.4", "The weights of a layer are spread symmetrically about zero, with "
              "one peak and rapidly decaying tails.", "no numbers printed", (
            Part("05_defense", "symmetric: share of positive weights less a half, layer by layer",
                 within(0.02, "ours: two weights in a hundred"), read.shape, ("imbalance",)),
            Part("05_defense", "one peak: weights lacking in the valleys of the histogram, as a "
                 "share of all, layer by layer", below(0.01, "ours: a hundredth"),
                 read.shape, ("valleys",)),
            Part("05_defense", "tails: share beyond three standard deviations, layer by layer",
                 below(0.0144, "that of a Laplace distribution, whose tails decay exponentially"),
                 read.shape, ("tail",)),
        )),
        Claim("C40", "Sec. 4.4, Sec. 5.5",
              "There is a region of noise that hides the places and leaves the unlearned model as "
              "it is.", "no numbers printed", (
            Part("05_defense", "AUC of magnitudes at the best hidden level of those that leave the "
                 "erased and the other classes alone", hides, read.balanced, (unharmed,)),
            Part("15_honest_attacker", "AUC of columns under the best of the defences that do",
                 hides, read.balanced_columns, (unharmed,)),
        )),
        Claim("C41", "Sec. 4.3, App. D, Tables 3, 8 to 10",
              "NMS is the best magnitude for every class at every K.",
              "{9/Top 1.0/NMS} against {9/Top 1.0/Neuron Average} (church, K = 1), "
              "{10/Top 1.0/NMS} against {10/Top 1.0/Neuron Average} (gas pump, K = 1): not so in "
              "its own tables", (
            Part("04_nms_ablations", "erased class, from the better of the other magnitudes to "
                 "NMS, for each class and K", RISES, read.over_the_best),
        )),
        Claim("C42", "Sec. 3, Fig. 2",
              "For each class, true signs restore more than true magnitudes.",
              "a figure without numbers", (
            Part("01_sign_vs_magnitude", "true magnitudes with drawn signs to true signs with "
                 "drawn magnitudes, class by class", RISES,
                 lambda study, k: each_class(change(study.hits, MAGNITUDE, SIGN))),
        )),
        Claim("C43", "Abstract, Sec. 1", "Unlearning by pruning is efficient.", "", (
            _not_testable("no other unlearning is run here, and the time of pruning belongs to "
                          "Stable Diffusion v1.5 on a machine that is not named", "08_objects"),
        )),
        Claim("C44", "Abstract, Sec. 1, Sec. 2",
              "Unlearning by pruning is robust to adversarial prompts.",
              "{7/pretrained/MMA} to {7/ConceptPrune/MMA} (MMA), {7/pretrained/Ring-A-Bell} to "
              "{7/ConceptPrune/Ring-A-Bell} (Ring-A-Bell)", (
            Part("07_nsfw", "counted pictures of searched prompts, pruned over pretrained",
                 below(left, "the most that is left in the paper (Table 7)"),
                 read.left_for_adversaries),
        )),
    )  # fmt: skip

