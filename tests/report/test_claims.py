"""Rules and values of the ledger, on made-up pictures."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from hits import pictures

from rbtc.report import claim_tables, claims, markdown
from rbtc.report.claims import FALLS, RISES, Part, Value, above, below, change, exact, within
from rbtc.report.forest import forest
from rbtc.report.spread import over_classes
from rbtc.report.tables import effect

STEP = ("pruned", "revived")
TWO = pictures({"pruned": {"church": 0.1, "bus": 0.2}, "revived": {"church": 0.8, "bus": 0.9}}, 50)


def moved(value, half=0.1, **more):
    return Value("", value, value - half, value + half, 100, change=True, **more)


def numbers(one):
    return one.value, one.low, one.high, one.n


def test_a_change_is_that_of_the_pages_over_all_classes_and_in_each():
    found, expected = change(TWO, *STEP), effect(TWO, *STEP)
    assert numbers(found) == numbers(expected)
    assert found.start == pytest.approx(0.15) and found.seen == expected.detectable
    for name, own in found.by_class.items():
        assert numbers(own) == numbers(effect(TWO[TWO["concept"] == name], *STEP))
    uneven = TWO.assign(hit=TWO["hit"] & ((TWO["model"] == "pruned") | (TWO["concept"] == "bus")))
    expected = over_classes(uneven, *STEP)
    ends = max(expected.low, -1), min(expected.high, 1)
    assert change(uneven, *STEP).classes == pytest.approx(ends)
    assert exact(0.3, by_class={"x": 0.1, "y": 0.5}).classes is None
    # Pictures of one prompt and seed are one cluster.
    shared = pd.concat([TWO, TWO.assign(concept=TWO["concept"] + " again")])
    assert change(shared, *STEP).low == found.low


def test_only_pictures_that_both_models_drew_are_compared():
    assert change(TWO[(TWO["model"] == "pruned") | (TWO["seed"] < 10)], *STEP).n == 20
    with pytest.raises(LookupError, match="no pictures of restored"):
        change(TWO, "pruned", "restored")
    with pytest.raises(LookupError, match="share"):
        change(TWO[(TWO["model"] == "pruned") ^ (TWO["seed"] < 25)], *STEP)


@pytest.mark.parametrize(
    ("rule", "outcome", "values"),
    [
        (RISES, "holds", [moved(0.2), exact(0.1)]),
        (RISES, "does not hold", [moved(-0.2), moved(-0.2, start=1.0, seen=0.06), exact(0.0)]),
        # The interval holds the paper's effect; what is left could have been seen; too few pictures
        # are no ceiling.
        (RISES, "undecided", [moved(0.05), moved(0.05, paper=0.12),
                              moved(0.05, start=0.97, seen=0.02),
                              moved(0.05, start=0.75, seen=0.5)]),
        (RISES, "no effect", [moved(0.05, paper=0.3)]),
        (RISES, "ceiling", [moved(0.05, start=0.97, seen=0.06)]),
        (above(0.7, ""), "holds", [moved(0.9), exact(0.71)]),
        (above(0.7, ""), "undecided", [moved(0.75)]),
        (above(0.7, ""), "does not hold", [moved(0.5), exact(0.7)]),
        (within(0.1, ""), "holds", [moved(0.0, half=0.05), exact(0.09)]),
        (within(0.1, ""), "undecided", [moved(0.0, half=0.3)]),  # no change seen is not no change
        (within(0.1, ""), "does not hold", [moved(0.3), exact(0.11)]),
    ],
)  # fmt: skip
def test_a_rule_looks_at_the_interval(rule, outcome, values):
    mirrored = {"rises": FALLS, "above 0.7": below(-0.7, "")}.get(rule.text, rule)
    for value in values:
        assert rule.judge(value) == outcome
        turned = replace(value, value=-value.value, low=-value.high, high=-value.low,
                         start=None if value.start is None else 1 - value.start,
                         paper=None if value.paper is None else -value.paper)  # fmt: skip
        assert mirrored.judge(turned) == outcome


@pytest.mark.parametrize("rule", [RISES, above(0, "why"), within(0.5, "why")])
def test_a_class_that_clearly_goes_the_other_way_is_not_averaged_away(rule):
    classes = {"church": moved(0.3), "bus": moved(-0.7)}
    assert rule.outcome(moved(0.2, by_class=classes)) == "holds in part"
    assert rule.against(moved(0.2, by_class=classes)) == ["bus"]
    assert rule.outcome(moved(0.2, by_class=classes | {"bus": moved(-0.05)})) == "holds"


@pytest.mark.parametrize(
    ("outcome", "several"),
    [
        ("holds", [["holds"], ["holds", "holds", "not testable here"]]),
        ("holds in part", [["holds", "undecided"], ["holds", "does not hold", "ceiling"],
                           ["holds in part", "holds"]]),
        ("does not hold", [["does not hold", "undecided"], ["does not hold", "not measured yet"]]),
        ("no effect", [["no effect", "undecided"]]),
        ("undecided", [["ceiling", "undecided"]]),
        ("ceiling", [["ceiling", "ceiling"]]),
        ("not measured yet", [["holds", "not measured yet"]]),
        ("not testable here", [["not testable here"]]),
    ],
)  # fmt: skip
def test_a_claim_of_several_parts(outcome, several):
    for parts in several:
        assert claims.together(parts) == outcome == claims.together(parts[::-1])


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="positive"):
        within(0, "why")
    with pytest.raises(ValueError, match="one or more"):
        claims.together([])
    with pytest.raises(ValueError, match="unknown row"):
        claims.filled("{1/Chruch/erased: NMS}")
    with pytest.raises(ValueError, match="no heading"):
        claim_tables.by_part([judged("C01", "Nowhere", Part("", "", ""))])


def judged(key, place, *parts):
    studies = {"08_objects": (TWO, SimpleNamespace(settings={"keep_ratio": 0.5}))}
    return claims.judge(claims.Claim(key, place, "It grows back.", "0.6", parts), studies)


def test_a_ledger_and_its_tables():
    def test(rule, read, chapter="08_objects"):
        return Part("", chapter, "measured", rule, read)

    rows = [moved(0.2), moved(0.0, paper=0.4), moved(0.0, start=1.0, seen=0.1)]
    revival = test(RISES, lambda s, k: change(s, *STEP, f"K = {k:g}"))
    high = above(0.85, "why")
    found = [
        judged("C01", "Sec. 3", revival),
        judged("C02", "App. A", test(RISES, lambda s, k: rows),
               replace(revival, chapter="09_saliency")),
        judged("C03", "Abstract", Part("", "", "")),
        judged("C04", "Sec. 5.2", test(high, lambda s, k: exact(0.9))),
        judged("C05", "Sec. 5.2", test(high, lambda s, k: [moved(0.8), moved(0.9)])),
        judged("C06", "Sec. 3", test(RISES, lambda s, k: change(s, "pruned", "restored"))),
    ]  # fmt: skip
    assert [one.outcome for one in found] == [
        "holds", "holds in part", "not testable here", "holds", "undecided", "not measured yet",
    ]  # fmt: skip
    outcomes = [one.outcome for one in found[1].parts[0].values]
    assert outcomes == ["holds", "no effect", "ceiling"]
    # What is not there is said with the command that measures it.
    assert "`rbtc measure 09_saliency`" in found[1].parts[1].why
    assert "restored" in found[5].parts[0].why

    table = claim_tables.ledger_table(found)
    assert list(table["outcome"]) == [f"**{one.outcome}**" for one in found]
    counts = claim_tables.tally_table(found)
    assert counts["all"].sum() == len(found) and counts.loc["holds", "Experiments"] == 1
    assert list(claim_tables.bounds_table(found)["claims"]) == ["C04, C05"]
    assert claim_tables.judged_values(found) == 6
    frame = claim_tables.records(found)
    assert frame["value"].count() == 7 and set(frame["id"]) == {one.key for one in found}
    one = frame.loc[frame["value of"] == "K = 0.5"].iloc[0]
    assert (one["n"], one["classes"], one["value"]) == (100, 2, pytest.approx(0.7))
    forest(found).canvas.draw()


def test_markdown_cells_stay_in_their_cell():
    frame = pd.DataFrame({"a": ["x|y\nz", float("nan")]}, index=["one", "two"])
    lines = markdown.table(frame, index="name").splitlines()[2:]
    assert lines == ["| one | x\\|y z |", "| two |  |"]
    assert markdown.joined(["a", "", "b", "a"]) == "a<br>b"
