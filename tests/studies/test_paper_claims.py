"""The list of claims, and how each reads a chapter's study."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rbtc.files import data_root
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.report import claim_tables
from rbtc.report.claims import within
from rbtc.report.tables import power
from rbtc.studies import paper_claims
from rbtc.studies.chapters import Measured
from rbtc.studies.contradictions import load_contradictions
from rbtc.studies.measuring import MEASURES
from rbtc.studies.nms_ablations import AblationStudy
from rbtc.studies.objects import ObjectStudy
from rbtc.studies.saliency import SaliencyStudy

CHURCH, BUS = Subject("church", "church", "object"), Subject("bus", "school bus", "object")
BOTH = (CHURCH, BUS)


def pictures(rows, n=40, **columns):
    """A line per picture: (class, model, share of hits), the first pictures hit."""
    return pd.DataFrame(
        [
            {"concept": name, "model": model, "classes": "erased", "asked": name,
             "prompt": f"a {name}", "seed": seed, "hit": seed < share * n, **columns}
            for name, model, share in rows
            for seed in range(n)
        ]
    )  # fmt: skip


def claim(key):
    return next(one for one in paper_claims.claims() if one.key == key)


def found(key, chapter, study, keep_ratio=0.4, part=0):
    """Values and outcomes of one part of a claim, of a study made up."""
    parts = [one for one in claim(key).parts if one.chapter == chapter and one.rule]
    made = parts[part].values(study, keep_ratio, *parts[part].of)
    made = made if isinstance(made, list) else [made]
    return made, [parts[part].rule.outcome(one) for one in made]


# ---- the list -----------------------------------------------------------------------------------


def test_every_claim_has_a_key_a_heading_and_chapters_that_exist():
    keys = [one.key for one in paper_claims.claims()]
    assert keys == sorted(set(keys)) and len(keys) >= 40
    there = {path.stem for path in (data_root().parent / "notebooks").glob("[0-9]*.py")}
    for one in paper_claims.claims():
        assert one.text and one.paper is not None and one.parts
        for part in one.parts:
            assert not part.chapter or part.chapter in there & set(MEASURES)
            assert part.rule is None or part.rule.text in ("rises", "falls") or part.rule.reason
            assert part.rule is not None or part.why


def test_what_was_measured_is_found():
    """A chapter that names its lines otherwise would silently lose its claims."""
    judged = paper_claims.verdicts(Measured())
    assert sum(map(len, claim_tables.by_part(judged).values())) == len(paper_claims.claims())
    missing = "no measurement of|of the layers was not measured|own density|no pictures of Top-"
    lost = [
        f"{verdict.claim.key}: {finding.why}"
        for verdict in judged
        for finding in verdict.findings
        if finding.outcome == "not measured yet" and not re.search(missing, finding.why)
    ]
    assert not lost


def test_the_abstract_and_the_contradictions_name_claims_that_exist():
    judged = paper_claims.verdicts({})
    assert {one.outcome for one in judged} <= {"not measured yet", "not testable here"}
    table = claim_tables.abstract_table(judged, pages="notebooks/")
    assert (table["the abstract says"] != "").sum() == 7
    keys = {one.key for one in paper_claims.claims()}
    assert {key for one in load_contradictions() for key in one.claims} <= keys
    with pytest.raises(ValueError, match="there are no claims"):
        claim_tables.abstract_table(judged[:1], pages="")


def test_margins_come_from_the_papers_own_effect():
    lost = printed(1, "Average", "preserved: pretrained") - printed(
        1, "Average", "preserved: ConceptPrune"
    )
    bounds = {key: claim(key).parts[0].rule.text for key in ("C05", "C07", "C11", "C33")}
    margins = {key: float(text.removeprefix("within ±")) for key, text in bounds.items()}
    assert margins["C07"] == pytest.approx(lost, abs=0.01)
    assert margins["C05"] == margins["C11"] == margins["C33"] == pytest.approx(lost / 2, abs=0.01)


# ---- expressions --------------------------------------------------------------------------------


def test_an_object_is_erased_below_the_papers_least_erased_class():
    hits = pictures([("church", "pruned", 0.05), ("bus", "pruned", 0.95)])
    values, outcomes = found("C06", "08_objects", ObjectStudy(BOTH, hits, {}))
    assert [one.label for one in values] == ["church", "bus"]
    assert outcomes == ["holds", "does not hold"]


def test_a_change_of_objects_knows_the_papers_for_the_same_classes():
    rows = [("church", "pruned", 0.1), ("church", "NMS", 0.7)]
    ([one], outcomes) = found("C03", "08_objects", ObjectStudy((CHURCH,), pictures(rows), {}))
    effect = printed(1, "Church", "erased: NMS") - printed(1, "Church", "erased: ConceptPrune")
    assert one.paper == pytest.approx(effect) and outcomes == ["holds"]
    unknown = ObjectStudy((Subject("rocket", None, "object"),), pictures(rows), {})
    assert found("C03", "08_objects", unknown)[0][0].paper is None
    ([one], _) = found("C10", "08_objects", ObjectStudy((CHURCH,), pictures(rows), {}), 0.6)
    assert one.label == "K = 0.6"


def test_every_cut_counts():
    rows = [("church", "pretrained", 1.0)]
    for name, after in (("SNIP, ff", 0.9), ("SalUn, all", 0.1), ("SNIP, narrow", 0.5)):
        rows += [("church", f"pruned, {name}", 0.5), ("church", f"revived, {name}", after)]
    hits = pictures(rows)
    hits["stage"] = hits["model"].str.split(",").str[0].replace("pretrained", "")
    values, outcomes = found("C04", "09_saliency", SaliencyStudy((CHURCH,), hits, hits, {}, {}))
    assert [one.label for one in values] == ["SNIP, ff", "SalUn, all", "SNIP, narrow"]
    assert outcomes == ["holds", "does not hold", "no effect"]


def ablation(nms, rival, ratios=(1.0, 0.6, 0.2)):
    rows = [("church", "pruned", 0.1)]
    for k, one, other in zip(ratios, nms, rival, strict=True):
        shares = {"NMS": one, "Neuron Average": other, "Neuron Sample": 0.0}
        rows += [("church", f"{name}, K = {k:g}", share) for name, share in shares.items()]
    strategies = ("Neuron Sample", "Neuron Average", "NMS")
    return AblationStudy((CHURCH,), (CHURCH,), ratios, strategies, pictures(rows), {})


def test_nms_is_held_against_its_rivals_at_every_k_that_was_measured():
    study = ablation(nms=(0.1, 0.9, 0.5), rival=(0.6, 1.0, 0.5))
    values, outcomes = found("C22", "04_nms_ablations", study, part=1)
    assert [one.label for one in values] == ["K = 1", "K = 0.6", "K = 0.2"]
    assert outcomes == ["does not hold", "ceiling", "no effect"]
    assert values[0].paper == pytest.approx(
        printed(9, "Top 1.0", "NMS") - printed(9, "Top 1.0", "Neuron Average")
    )
    # Class by class, against the better of the two rivals.
    values, outcomes = found("C41", "04_nms_ablations", study)
    assert [one.start for one in values] == pytest.approx([0.6, 1.0, 0.5])


def test_k_is_the_profiles_own():
    study = ablation(nms=(0.1, 0.9, 0.5), rival=(0, 0, 0))
    ([one], outcomes) = found("C21", "04_nms_ablations", study, keep_ratio=0.6)
    assert one.value == pytest.approx(0.8) and outcomes == ["holds"]
    labels = [v.label for v in found("C02", "04_nms_ablations", study, keep_ratio=0.6)[0]]
    assert labels == ["K = 1", "K = 0.2"]
    ([one], _) = found("C23", "04_nms_ablations", study)
    assert one.value == pytest.approx(0.4)
    with pytest.raises(LookupError, match=r"NMS, K = 0\.4"):
        found("C21", "04_nms_ablations", study, keep_ratio=0.4)


def restricted(pruned=0.1, attacked=0.5):
    rows = [("bomb", "pretrained", 0.8), ("bomb", "pruned", pruned), ("bomb", "Top-0.4", attacked)]
    hits = pd.concat([pictures(rows, repeat=0, set=one) for one in ("I2P", "MMA")])
    prompts = pd.DataFrame({"set": ["I2P", "MMA"], "distance": [np.nan, 0.3]})
    study = SimpleNamespace(
        sets=["I2P", "MMA"], keep_ratios=(0.4,), hits=hits.drop(columns=["concept", "classes"]),
        prompts=prompts,
    )  # fmt: skip
    return SimpleNamespace(restricted=study)


def test_counts_are_compared_as_shares_of_what_the_pretrained_model_shows():
    values, outcomes = found("C28", "07_nsfw", restricted())
    assert outcomes == ["holds", "holds"]
    whole, left = (printed(7, name, "MMA") for name in ("pretrained", "ConceptPrune"))
    assert values[1].paper == pytest.approx((left - whole) / whole * 0.8)
    assert found("C29", "07_nsfw", restricted())[1] == ["holds", "holds"]
    with pytest.raises(LookupError, match=r"Top-0\.6"):
        found("C10", "07_nsfw", restricted(), 0.6)


def test_robustness_looks_at_prompts_that_were_searched():
    values, outcomes = found("C44", "07_nsfw", restricted(pruned=0.0))
    assert [one.label for one in values] == ["MMA"] and outcomes == ["holds"]
    assert found("C44", "07_nsfw", restricted(pruned=0.75))[1] == ["does not hold"]
    study = restricted()
    study.restricted.prompts["distance"] = np.nan
    with pytest.raises(LookupError, match="searched"):
        found("C44", "07_nsfw", study)


def defended(recall, budget=0.1):
    """Chapter 15: one defence, and attackers with their recall."""
    rows = [("church", "pruned", 0.1), ("church", "revived", 0.9), ("church", "noise 1e-6", 0.1)]
    rows += [("church", f"noise 1e-6, {name}", 0.8 * share) for name, share in recall.items()]
    guesses = pd.DataFrame(
        [
            {"concept": "church", "defence": "noise 1e-6", "attacker": name, "named": budget,
             "precision": share * 0.1 / budget, "recall": share}
            for name, share in recall.items()
        ]
    )  # fmt: skip
    return SimpleNamespace(hits=pictures(rows), guesses=guesses, sigmas=(1e-6,))


def test_the_places_are_worth_what_an_attacker_without_them_lacks():
    values, outcomes = found("C01", "15_honest_attacker", defended({"columns": 1.0, "budget": 0.1}))
    assert [one.label for one in values] == ["noise 1e-6, budget"] and outcomes == ["holds"]
    guesses = pd.DataFrame({"sigma": [1e-2], "attacker": ["budget"], "recall": [0.1]})
    hits = pictures([("church", "budget, 1e-2", 0.1), ("church", "revived", 0.9)])
    study = SimpleNamespace(defense=SimpleNamespace(guesses=guesses, hits=hits))
    assert found("C01", "05_defense", study)[1] == ["holds"]
    with pytest.raises(LookupError, match="half"):
        found("C01", "15_honest_attacker", defended({"columns": 1.0}))


def test_a_budget_below_the_models_density_says_nothing_of_the_defence():
    study = defended({"columns": 1.0, "budget": 0.2}, budget=0.02)
    values, outcomes = found("C37", "15_honest_attacker", study)
    assert [one.label for one in values] == ["columns, 1e-6"] and outcomes == ["does not hold"]
    fair = found("C37", "15_honest_attacker", defended({"budget": 1.0}))[0]
    assert [one.label for one in fair] == ["budget, 1e-6"]


def test_each_group_of_estimates_is_held_against_its_own():
    matrix = pd.DataFrame([[0.6, 0.4], [0.5, 0.3]], ["R1", "R2"], ["P1", "P2"])
    study = SimpleNamespace(subjects=(CHURCH,), matrices={"church": matrix}, everything=matrix)
    values, outcomes = found("C38", "03_topk_alignment", study)
    assert [one.value for one in values] == pytest.approx([0.2, -0.2])
    assert outcomes == ["holds", "does not hold"]


def noisy(shares, aucs):
    """Chapter 05: accuracies of the defended models by level, and what magnitudes tell."""
    rows = [("church", "pruned", 0.1)]
    rows += [("church", f"defended, {power(s)}", x) for s, x in shares.items()]
    hits = pictures(rows)
    defense = SimpleNamespace(
        sigmas=tuple(aucs), levels=lambda: sorted(shares),
        part=lambda half: hits if half == "erased" else hits.iloc[:0],
    )  # fmt: skip
    points = pd.DataFrame({"sigma": list(aucs), "auc": list(aucs.values())})
    layers = pd.DataFrame({"short": ["mid", "up"], "kurtosis": [0.1, np.nan]})
    detection = SimpleNamespace(points=points, layers=layers)
    return SimpleNamespace(defense=defense, detection=detection)


def test_hidden_and_harmless_are_asked_of_the_same_level():
    aucs = {1e-3: 0.9, 1e-1: 0.1}
    harmless = noisy({1e-3: 0.1, 1e-2: 0.1, 1e-1: 0.9}, aucs)
    assert found("C36", "05_defense", harmless)[0][0].value == pytest.approx(0.5)
    ([one], outcomes) = found("C40", "05_defense", harmless)
    assert (one.label, outcomes) == ("sigma_M = 1e-2", ["holds"])
    harmful = noisy({1e-3: 0.1, 1e-2: 0.9, 1e-1: 0.9}, aucs)
    assert found("C40", "05_defense", harmful)[1] == ["does not hold"]
    # An AUC below a half tells the two apart as well as one above.
    assert found("C36", "05_defense", noisy({1e-3: 0.1}, {1e-3: 0.1}))[0][0].value == 0.9
    assert found("C40", "05_defense", noisy({1e-3: 0.9}, {1e-3: 0.5}))[0][0].value == 1.0


def test_moderate_noise_is_within_the_papers_levels():
    values, _ = found("C32", "05_defense", noisy({1e-2: 0.1, 1e-1: 0.0}, {1e-2: 1, 1e-1: 1}))
    assert [one.label for one in values] == ["sigma_M = 1e-2"]
    with pytest.raises(LookupError, match="other classes"):
        found("C33", "05_defense", noisy({1e-2: 0.1}, {1e-2: 1}))


def test_a_shape_that_was_not_measured_is_missing_and_a_layer_without_one_left_out():
    study = noisy({1e-3: 0.1}, {1e-3: 1})
    assert [one.label for one in found("C30", "05_defense", study, part=1)[0]] == ["mid"]
    with pytest.raises(LookupError, match="distance"):
        found("C30", "05_defense", study)


def test_eq_7_is_judged_layer_by_layer():
    frame = pd.DataFrame(
        {"sigma": 1e-6, "short": ["mid", "up", "down"], "eq7": [0.5, 0.5, 0.5],
         "near": [100, 100, 0], "modified_near": [52, 30, 0]}
    )  # fmt: skip
    study = SimpleNamespace(detection=SimpleNamespace(by_layer=frame))
    ([one], _) = found("C31", "05_defense", study)
    assert {n: round(v.value, 2) for n, v in one.by_class.items()} == {"mid": 0.02, "up": -0.2}
    assert within(0.05, "why").against(one) == ["up"]
