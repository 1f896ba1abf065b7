"""The list of claims, and how each reads a chapter's study."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hits import pictures

from rbtc.files import data_root
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report import claim_tables
from rbtc.report.tables import power
from rbtc.studies import paper_claims
from rbtc.studies.chapters import Measured
from rbtc.studies.measuring import MEASURES
from rbtc.studies.nms_ablations import AblationStudy
from rbtc.studies.objects import ObjectStudy
from rbtc.studies.saliency import SaliencyStudy

CHURCH, BUS = Subject("church", "church", "object"), Subject("bus", None, "object")
CLAIMS = {one.key: one for one in paper_claims.claims()}


def test_every_claim_has_chapters_that_exist_and_bounds_have_reasons():
    assert list(CLAIMS) == sorted(CLAIMS) and len(CLAIMS) >= 40
    there = {path.stem for path in (data_root().parent / "notebooks").glob("[0-9]*.py")}
    for part in (part for one in CLAIMS.values() for part in one.parts):
        assert not part.chapter or part.chapter in there & set(MEASURES)
        assert part.rule.text in ("rises", "falls") or part.rule.reason if part.rule else part.why


def test_what_was_measured_is_found():
    """A chapter that names its lines otherwise would silently lose its claims."""
    judged = paper_claims.verdicts(Measured())
    assert sum(map(len, claim_tables.by_part(judged).values())) == len(CLAIMS)
    missing = "no measurement of|of the layers was not measured|own density|no pictures of Top-"
    parts = [part for claim in judged for part in claim.parts]
    lost = [one.why for one in parts if one.outcome == "not measured yet"]
    assert not [why for why in lost if not re.search(missing, why)]


def test_the_abstract_and_the_contradictions_name_claims_that_exist():
    judged = paper_claims.verdicts({})
    assert {one.outcome for one in judged} <= {"not measured yet", "not testable here"}
    table = claim_tables.abstract_table(judged, pages="notebooks/")
    assert (table["the abstract says"] != "").sum() == 7
    named = pd.read_csv(data_root() / "paper" / "contradictions.csv")["claims"].dropna()
    assert {key for keys in named for key in keys.split()} <= {*CLAIMS}
    with pytest.raises(ValueError, match="there are no claims"):
        claim_tables.abstract_table(judged[:1], pages="")


def test_margins_come_from_the_papers_own_effect():
    names = ("preserved: pretrained", "preserved: ConceptPrune")
    lost = printed(1, "Average", names[0]) - printed(1, "Average", names[1])
    for key, margin in {"C07": lost, "C05": lost / 2, "C11": lost / 2, "C33": lost / 2}.items():
        text = CLAIMS[key].parts[0].rule.text
        assert float(text.removeprefix("within ±")) == pytest.approx(margin, abs=0.01)


# ---- made-up studies ----------------------------------------------------------------------------


def objects(shares, *subjects):
    return ObjectStudy(subjects or (CHURCH,), pictures(shares), {})


def saliency(**after):
    shares = {"pretrained": 1.0}
    for name, share in after.items():
        shares |= {f"pruned, {name}, ff": 0.5, f"revived, {name}, ff": share}
    hits = pictures(shares)
    hits["stage"] = hits["model"].str.split(",").str[0].replace("pretrained", "")
    return SaliencyStudy((CHURCH,), hits, hits, {}, {})


def ablation(rival, nms=(0.1, 0.9, 0.5), ratios=(1.0, 0.6, 0.2)):
    shares, names = {"pruned": 0.1}, ("NMS", "Neuron Average", "Neuron Sample")
    for k, *own in zip(ratios, nms, rival, (0.0,) * 3, strict=True):
        shares |= {f"{name}, K = {k:g}": share for name, share in zip(names, own, strict=True)}
    return AblationStudy((CHURCH,), (CHURCH,), ratios, names, pictures(shares), {})


def restricted(pruned=0.1, distance=0.3):
    shares = {"pretrained": 0.8, "pruned": pruned, "Top-0.4": 0.5}
    hits = pd.concat([pictures(shares, repeat=0, set=one) for one in ("I2P", "MMA")])
    prompts = pd.DataFrame({"set": ["I2P", "MMA"], "distance": [np.nan, distance]})
    return SimpleNamespace(restricted=SimpleNamespace(
        sets=["I2P", "MMA"], keep_ratios=(0.4,), hits=hits, prompts=prompts,
    ))  # fmt: skip


def attacked(budget=1, **recall):
    """Chapter 15: one defence, attackers with their recall, and weights named over those cut."""
    shares = {"pruned": 0.1, "revived": 0.9, "noise 1e-6": 0.1}
    shares |= {f"noise 1e-6, {name}": 0.8 * share for name, share in recall.items()}
    guesses = pd.DataFrame({"attacker": [*recall], "recall": [*recall.values()]})
    guesses = guesses.assign(defence="noise 1e-6", precision=guesses["recall"] / budget)
    return SimpleNamespace(hits=pictures(shares), guesses=guesses)


def noisy(shares, aucs):
    """Chapter 05: accuracies of the defended models by level, and what magnitudes tell."""
    hits = pictures({"pruned": 0.1, "budget, 1e-2": 0.1, "revived": 0.9}
                    | {f"defended, {power(s)}": x for s, x in shares.items()})  # fmt: skip
    guesses = {"sigma": [1e-2], "attacker": ["budget"], "recall": [0.1], "precision": [0.1]}
    defense = SimpleNamespace(sigmas=tuple(aucs), levels=lambda: sorted(shares), hits=hits,
                              guesses=pd.DataFrame(guesses))  # fmt: skip
    points = pd.DataFrame({"sigma": list(aucs), "auc": list(aucs.values())})
    layers = pd.DataFrame({"short": ["mid", "up"], "kurtosis": [0.1, np.nan]})
    by_layer = pd.DataFrame({"sigma": 1e-6, "short": ["mid", "up", "down"], "eq7": 0.5,
                             "near": [100, 100, 0], "modified_near": [52, 30, 0]})  # fmt: skip
    detection = SimpleNamespace(points=points, layers=layers, by_layer=by_layer)
    return SimpleNamespace(defense=defense, detection=detection)


TWO = objects({"pruned": {"church": 0.05, "bus": 0.95}}, CHURCH, BUS)
ONE = objects({"pruned": 0.1, "NMS": 0.7})
MIXED, ALONE = ablation((0.6, 1.0, 0.5)), ablation((0, 0, 0))
AUCS = {1e-3: 0.9, 1e-1: 0.1}  # below a half tells two apart as well as above
HARMLESS = noisy({1e-3: 0.1, 1e-2: 0.1, 1e-1: 0.9}, AUCS)
HARMFUL = noisy({1e-3: 0.1, 1e-2: 0.9, 1e-1: 0.9}, AUCS)
MATRIX = pd.DataFrame([[0.6, 0.4], [0.5, 0.3]], ["R1", "R2"], ["P1", "P2"])
ALIGNED = SimpleNamespace(subjects=(CHURCH,), matrices={"church": MATRIX}, everything=MATRIX)


def read(key, study, keep_ratio=0.6):
    """Rule and values of the part of a claim that "C22 1" names, its first one by default."""
    key, _, part = key.partition(" ")
    test = CLAIMS[key].parts[int(part or 0)]
    made = test.read(study, keep_ratio)
    return test.rule, made if isinstance(made, list) else [made]


# ---- what is read of them -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "study", "expected"),
    [
        ("C06", TWO, {"church": "holds", "bus": "does not hold"}),
        ("C03", ONE, {"": "holds"}),
        ("C10", ONE, {"K = 0.6": "holds"}),
        ("C04", saliency(SNIP=0.9, SalUn=0.1, ConceptPrune=0.5),
         {"SNIP, ff": "holds", "SalUn, ff": "does not hold", "ConceptPrune, ff": "no effect"}),
        ("C22 1", MIXED, {"K = 1": "does not hold", "K = 0.6": "ceiling", "K = 0.2": "no effect"}),
        ("C21", ALONE, {"K = 0.6": "holds"}),  # the profile's own K
        ("C02 1", ALONE, {"K = 1": "undecided", "K = 0.2": "holds"}),
        ("C28", restricted(), {"I2P, pruned": "holds", "MMA, pruned": "holds"}),
        ("C29", restricted(), {"I2P, Top-0.4": "holds", "MMA, Top-0.4": "holds"}),
        ("C44", restricted(pruned=0.0), {"MMA": "holds"}),  # prompts that were searched
        ("C44", restricted(pruned=0.75), {"MMA": "does not hold"}),
        ("C01 1", attacked(columns=1.0, few=0.1), {"noise 1e-6, few": "holds"}),
        ("C01", HARMLESS, {"budget, 1e-2": "holds"}),
        # A budget below the model's density says nothing of the defence.
        ("C37 2", attacked(0.2, columns=1.0, few=0.2), {"columns, 1e-6": "does not hold"}),
        ("C37 2", attacked(few=1.0), {"few, 1e-6": "does not hold"}),
        ("C38", ALIGNED, {"R1": "holds", "R2": "does not hold"}),
        ("C36", HARMLESS, {"sigma_M = 1e-2": "holds"}),
        # Hidden and harmless are asked of the same level.
        ("C40", HARMLESS, {"sigma_M = 1e-2": "holds"}),
        ("C40", HARMFUL, {"sigma_M = 1e-3": "does not hold"}),
        ("C40", noisy({1e-3: 0.9}, {1e-3: 0.5}),
         {"no defence leaves the classes alone": "does not hold"}),
        # Moderate noise is within the paper's levels; a layer without a shape is left out.
        ("C32", noisy({1e-2: 0.1, 1e-1: 0.0}, {1e-2: 1, 1e-1: 1}), {"sigma_M = 1e-2": "holds"}),
        ("C30 1", HARMLESS, {"mid": "holds"}),
    ],
)  # fmt: skip
def test_outcomes(key, study, expected):
    rule, values = read(key, study)
    assert {one.label: rule.outcome(one) for one in values} == expected


@pytest.mark.parametrize(
    ("key", "study", "expected"),
    [
        ("C21", ALONE, [0.8]),
        ("C23", ALONE, [0.4]),
        ("C38", ALIGNED, [0.2, -0.2]),
        ("C31", HARMLESS, [-0.09]),  # 0.02 and -0.2 in two layers
        ("C36", HARMLESS, [0.5]),  # between two measured levels
        ("C36", noisy({1e-3: 0.1}, {1e-3: 0.1}), [0.9]),
        ("C41", MIXED, [-0.5, -0.1, 0.0]),  # against the better of the two rivals
    ],
)
def test_values(key, study, expected):
    assert [one.value for one in read(key, study)[1]] == pytest.approx(expected)


def test_each_class_has_a_best_k_of_its_own():
    shares = {1.0: (0, 0), 0.8: (1, 0), 0.6: (0, 1), 0.4: (0, 0)}
    hits = pictures({f"NMS, K = {k:g}": {"church": a, "bus": b} for k, (a, b) in shares.items()})
    study = AblationStudy((CHURCH, BUS), (CHURCH, BUS), tuple(shares), ("NMS",), hits, {})
    [one] = read("C23", study)[1]
    assert [own.value for own in one.each] == [1, 1] and one.value == 0.5


def test_the_papers_change_is_that_of_the_same_classes():
    for key, study, table, row, before, after in (
        ("C03", ONE, 1, "Church", "erased: ConceptPrune", "erased: NMS"),
        ("C22 1", MIXED, 9, "Top 1.0", "Neuron Average", "NMS"),
    ):
        expected = printed(table, row, after) - printed(table, row, before)
        assert read(key, study)[1][0].paper == pytest.approx(expected)
    unknown = ObjectStudy((Subject("rocket", None, "object"),), ONE.hits, {})
    assert read("C03", unknown)[1][0].paper is None
    # Counts are compared as shares of what the pretrained model shows.
    whole, left = (printed(7, name, "MMA") for name in ("pretrained", "ConceptPrune"))
    assert read("C28", restricted())[1][1].paper == pytest.approx((left - whole) / whole * 0.8)


@pytest.mark.parametrize(
    ("key", "study", "missing"),
    [
        ("C21", ablation((0,) * 3, ratios=(1.0, 0.8, 0.2)), r"NMS, K = 0\.6"),
        ("C10 2", restricted(), r"Top-0\.6"),
        ("C44", restricted(distance=np.nan), "searched"),
        ("C01 1", attacked(columns=1.0), "half"),
        ("C37 2", attacked(0.2, few=0.2), "density"),
        ("C33", HARMLESS, "no pictures of pruned"),
        ("C30", HARMLESS, "distance"),
    ],
)
def test_what_was_not_measured_is_said(key, study, missing):
    with pytest.raises(LookupError, match=missing):
        read(key, study)
