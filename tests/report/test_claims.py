"""Rules and values of the ledger, on made-up pictures."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rbtc.intervals import Share
from rbtc.report import claim_tables, markdown
from rbtc.report.claims import (
    FALLS,
    RISES,
    Claim,
    Part,
    Value,
    Verdict,
    above,
    below,
    change,
    each_class,
    estimated,
    exact,
    filled,
    judge,
    level,
    peak,
    together,
    within,
)
from rbtc.report.forest import forest
from rbtc.report.spread import over_classes
from rbtc.report.tables import accuracies, effect


def pictures(n=50, **models):
    """`model={class: share}` as a line per picture, the first ones hits."""
    return pd.DataFrame(
        [
            {"concept": name, "model": model, "asked": name, "prompt": f"a {name}", "seed": seed,
             "hit": seed < share * n}
            for model, classes in models.items()
            for name, share in classes.items()
            for seed in range(n)
        ]
    )  # fmt: skip


def moved(value, half=0.1, **more):
    return Value("", value, value - half, value + half, 100, change=True, **more)


TWO = pictures(pruned={"church": 0.1, "bus": 0.2}, revived={"church": 0.8, "bus": 0.9})


# ---- values -------------------------------------------------------------------------------------


def test_a_change_is_that_of_the_pages_over_all_classes_and_in_each():
    found, expected = change(TWO, "pruned", "revived"), effect(TWO, "pruned", "revived")
    assert (found.value, found.low, found.high, found.n) == (
        expected.value, expected.low, expected.high, expected.n,
    )  # fmt: skip
    assert found.start == pytest.approx(0.15) and found.seen == expected.detectable
    for name, own in found.by_class.items():
        alone = effect(TWO[TWO["concept"] == name], "pruned", "revived")
        assert (own.value, own.low, own.high) == (alone.value, alone.low, alone.high)
    uneven = TWO.assign(hit=TWO["hit"] & ((TWO["model"] == "pruned") | (TWO["concept"] == "bus")))
    classes, expected = (of(uneven, "pruned", "revived") for of in (change, over_classes))
    assert classes.classes == pytest.approx((max(expected.low, -1), min(expected.high, 1)))


def test_pictures_of_one_prompt_and_seed_are_one_cluster():
    shared = pd.concat([TWO, TWO.assign(concept=TWO["concept"] + " again")])
    assert change(shared, "pruned", "revived").low == change(TWO, "pruned", "revived").low


def test_only_pictures_that_both_models_drew_are_compared():
    fewer = TWO[(TWO["model"] == "pruned") | (TWO["seed"] < 10)]
    assert change(fewer, "pruned", "revived").n == 20
    with pytest.raises(LookupError, match="no pictures of restored"):
        change(TWO, "pruned", "restored")
    with pytest.raises(LookupError, match="share"):
        change(TWO[(TWO["model"] == "pruned") ^ (TWO["seed"] < 25)], "pruned", "revived")


def test_a_level_has_the_intervals_of_the_pages():
    found, expected = level(TWO, "pruned"), accuracies(TWO, ["model"])["pruned"]
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert [one.label for one in each_class(found)] == ["church", "bus"]
    low, high = found.classes
    assert low == 0 and high > expected.high  # two classes say little of a third
    with pytest.raises(LookupError, match="restored"):
        level(TWO, "restored")


def test_a_peak_is_the_rise_above_the_better_end():
    hits = pictures(a={"x": 0.2}, b={"x": 0.9}, c={"x": 0.6}, d={"x": 0.4})
    found = peak(hits, ["a", "b", "c", "d"])
    assert found.value == pytest.approx(0.5) and found.start == pytest.approx(0.4)
    assert RISES.judge(peak(hits, ["b", "a", "d"])) == "does not hold"
    with pytest.raises(LookupError, match="three"):
        peak(hits, ["a", "b"])
    # Each class may have its own best one.
    two = pictures(a={"x": 0, "y": 0}, b={"x": 1, "y": 0}, c={"x": 0, "y": 1}, d={"x": 0, "y": 0})
    assert [one.value for one in each_class(peak(two, ["a", "b", "c", "d"]))] == [1, 1]


def test_numbers_that_are_no_shares_tell_what_they_could_see_by_their_interval():
    assert estimated(Share(5.0, 4.0, 6.0, 9, 9)).seen is None
    both = change(TWO, "pruned", "revived")
    assert replace(both, by_class={}).classes is None
    assert exact(0.3, by_class={"x": 0.1, "y": 0.5}).classes is None


# ---- rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (moved(0.2), "holds"),
        (moved(0.05), "undecided"),
        (moved(-0.2), "does not hold"),
        (moved(0.05, paper=0.12), "undecided"),  # the interval holds the paper's effect
        (moved(0.05, paper=0.3), "no effect"),
        (moved(0.05, start=0.97, seen=0.06), "ceiling"),
        (moved(0.05, start=0.97, seen=0.02), "undecided"),  # what is left could have been seen
        (moved(0.05, start=0.75, seen=0.5), "undecided"),  # too few pictures are no ceiling
        (moved(-0.2, start=1.0, seen=0.06), "does not hold"),
    ],
)
def test_a_rise_is_judged_by_its_interval(value, outcome):
    assert RISES.judge(value) == outcome
    turned = replace(value, value=-value.value, low=-value.high, high=-value.low,
                     start=None if value.start is None else 1 - value.start,
                     paper=None if value.paper is None else -value.paper)  # fmt: skip
    assert FALLS.judge(turned) == outcome


def test_bounds():
    high, low = above(0.7, "why"), below(0.7, "why")
    assert high.judge(moved(0.9)) == "holds" and high.judge(moved(0.75)) == "undecided"
    assert high.judge(moved(0.5)) == "does not hold"
    assert low.judge(moved(0.5)) == "holds" and low.judge(moved(0.9)) == "does not hold"
    # A property of the weights is on one side or the other.
    assert high.judge(exact(0.7)) == "does not hold" and low.judge(exact(0.69)) == "holds"
    assert RISES.judge(exact(0.1)) == "holds" and RISES.judge(exact(-0.1)) == "does not hold"


def test_no_change_seen_is_not_no_change():
    same = within(0.1, "why")
    assert same.judge(moved(0.0, half=0.05)) == "holds"
    assert same.judge(moved(0.0, half=0.3)) == "undecided"
    assert same.judge(moved(0.3)) == same.judge(moved(-0.3)) == "does not hold"
    assert same.judge(exact(0.09)) == "holds" and same.judge(exact(0.11)) == "does not hold"
    with pytest.raises(ValueError, match="positive"):
        within(0, "why")


@pytest.mark.parametrize("rule", [RISES, above(0, "why"), within(0.5, "why")])
def test_a_class_that_clearly_goes_the_other_way_is_not_averaged_away(rule):
    classes = {"church": moved(0.3), "bus": moved(-0.7)}
    assert rule.outcome(moved(0.2, by_class=classes)) == "holds in part"
    assert rule.against(moved(0.2, by_class=classes)) == ["bus"]
    unsure = classes | {"bus": moved(-0.05)}
    assert rule.outcome(moved(0.2, by_class=unsure)) == "holds"


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "undecided"], "holds in part"),
        (["holds", "ceiling"], "holds in part"),
        (["holds", "does not hold"], "holds in part"),
        (["does not hold", "undecided"], "does not hold"),
        (["no effect", "undecided"], "no effect"),
        (["ceiling", "undecided"], "undecided"),
        (["ceiling", "ceiling"], "ceiling"),
        (["holds", "not measured yet"], "not measured yet"),
        (["does not hold", "not measured yet"], "does not hold"),
        (["holds", "not testable here"], "holds"),
        (["not testable here"], "not testable here"),
        (["holds in part", "holds"], "holds in part"),
    ],
)
def test_a_claim_of_several_parts(parts, outcome):
    assert together(parts) == outcome == together(parts[::-1])


# ---- claims -------------------------------------------------------------------------------------


class Run:
    settings = {"keep_ratio": 0.5}  # noqa: RUF012


class Studies:
    def __getitem__(self, chapter):
        if chapter == "08_objects":
            return TWO, Run
        raise LookupError(f"no measurement of {chapter}")


def revival(study, keep_ratio):
    return change(study, "pruned", "revived", f"K = {keep_ratio:g}")


def verdict_of(*parts, key="C01", place="Sec. 3") -> Verdict:
    return judge(Claim(key, place, "It grows back.", "{6/0.2/Rest}", parts), Studies())


def test_a_claim_is_judged_by_what_a_chapter_measured():
    found = verdict_of(Part("08_objects", "pruned to revived", RISES, revival))
    assert found.outcome == "holds" and found.findings[0].values[0].label == "K = 0.5"
    each = Part("08_objects", "", above(0.85, "why"), lambda s, k: each_class(level(s, "revived")))
    assert verdict_of(each).findings[0].outcomes == ("undecided", "undecided")


def test_what_is_not_there_is_said_with_the_command_that_measures_it():
    missing = verdict_of(Part("09_saliency", "", RISES, revival))
    assert missing.outcome == "not measured yet"
    assert missing.findings[0].why.startswith("`rbtc measure 09_saliency`")
    other = Part("08_objects", "", RISES, lambda s, k: change(s, "pruned", "restored"))
    assert "restored" in verdict_of(other).findings[0].why
    assert verdict_of(Part("", "", why="no clock")).outcome == "not testable here"


def test_the_papers_numbers_are_read_as_printed():
    assert filled("{1/Gas Pump/erased: pretrained} to {1/Average/erased: NMS}") == "0.828 to 0.54"
    with pytest.raises(ValueError, match="unknown row"):
        filled("{1/Chruch/erased: NMS}")


# ---- pages --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts():
    rows = Part(
        "08_objects",
        "two",
        RISES,
        lambda s, k: [moved(0.2), moved(0.0, paper=0.4), moved(0.0, start=1.0, seen=0.1)],
    )
    return [
        verdict_of(Part("08_objects", "one", RISES, revival)),
        verdict_of(rows, Part("09_saliency", "gone", RISES, revival), key="C02", place="App. A"),
        verdict_of(Part("", "", why="no clock"), key="C03", place="Abstract"),
        verdict_of(Part("08_objects", "level", above(0.7, "ours"), lambda s, k: exact(0.8)),
                   key="C04", place="Sec. 5.2"),
    ]  # fmt: skip


def test_ledger_tables(verdicts):
    table = claim_tables.ledger_table(verdicts)
    assert list(table["outcome"]) == [
        "**holds**", "**holds in part**", "**not testable here**", "**holds**",
    ]  # fmt: skip
    assert markdown.table(table).count("\n") == len(verdicts) + 1
    counts = claim_tables.tally_table(verdicts)
    assert counts["all"].sum() == len(verdicts) == sum(claim_tables.tally(verdicts).values())
    assert list(claim_tables.bounds_table(verdicts)["claims"]) == ["C04"]
    assert claim_tables.judged_values(verdicts) == 4
    forest(verdicts).canvas.draw()
    with pytest.raises(ValueError, match="no heading"):
        claim_tables.part_of(verdict_of(Part("", ""), place="Nowhere"))


def test_numbers_come_with_both_intervals_and_what_they_could_see(verdicts):
    one, several = (claim_tables.text(v.findings[0]) for v in verdicts[:2])
    assert re.match(r"K = 0.5: \+0.70 \[\+0.5\d, \+0.7\d\] \(n = 100; ", one)
    assert "2 classes, +0.70 to +0.70" in one
    assert all(f"1 {name}" in several for name in ("holds", "ceiling", "no effect"))
    unsure = verdict_of(Part("08_objects", "", RISES, lambda s, k: moved(0.0, seen=0.07)))
    assert "could have seen 0.07" in claim_tables.text(unsure.findings[0])


def test_records_keep_every_value(verdicts):
    frame = claim_tables.records(verdicts)
    assert frame["value"].notna().sum() == sum(len(f.values) for v in verdicts for f in v.findings)
    assert set(frame["id"]) == {verdict.claim.key for verdict in verdicts}
    assert np.isfinite(frame.loc[frame["value of"] == "K = 0.5", "classes"].astype(float)).all()


def test_markdown_cells_stay_in_their_cell():
    frame = pd.DataFrame({"a": ["x|y\nz", float("nan")]}, index=["one", "two"])
    assert markdown.table(frame, index="name").splitlines()[2:] == [
        "| one | x\\|y z |",
        "| two |  |",
    ]
    assert markdown.joined(["a", "", "b", "a"]) == "a<br>b"
