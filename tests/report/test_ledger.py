import re

import pandas as pd
import pytest

from rbtc.files import data_root
from rbtc.report import markdown, rules
from rbtc.report.claim_list import COLUMNS, filled, load_claims
from rbtc.report.forest import forest
from rbtc.report.ledger import judge, results_folder
from rbtc.report.ledger_tables import (
    abstract_table,
    bounds_table,
    by_part,
    ledger_table,
    records,
    tally,
    tally_table,
)
from rbtc.report.selection import lines, value, values


def claims_file(tmp_path, *parts):
    line = dict.fromkeys(COLUMNS, "")
    line |= {"id": "C01", "place": "Sec. 3", "claim": "It grows back.", "page": "00_overview"}
    frame = pd.DataFrame([{**line, **part} for part in parts])
    path = tmp_path / "claims.csv"
    frame.to_csv(path, index=False)
    return path


def results(tmp_path, church=(2, 18), bus=(3, 17)):
    """Two classes, pruned and revived, and a paired change of both."""
    pd.DataFrame(
        [
            {"concept": name, "model": model, "classes": "erased", "hits": hits, "n": 20}
            for name, pair in (("church", church), ("bus", bus))
            for model, hits in zip(("pruned", "revived"), pair, strict=True)
        ]
    ).to_csv(tmp_path / "counts.csv", index=False)
    pd.DataFrame(
        [
            {"row": f"K = {k}", "column": "NMS", "ours": o, "low": o - 0.05, "high": o + 0.05,
             "n": 40, "change": c, "change_low": c - 0.1, "change_high": c + 0.1}
            for k, o, c in ((1.0, 0.3, 0.05), (0.6, 0.8, 0.5), (0.2, 0.4, -0.3))
        ]
    ).to_csv(tmp_path / "table.csv", index=False)  # fmt: skip
    return tmp_path


REVIVAL = {
    "file": "counts", "quantity": "hits of n", "rule": "rises", "measured": "pruned to revived",
    "lines": "model=pruned -> model=revived",
}  # fmt: skip


def verdict_of(tmp_path, *parts, **counts):
    (claim,) = load_claims(claims_file(tmp_path, *parts))
    return judge(claim, results(tmp_path, **counts))


# ---- from files to verdicts ---------------------------------------------------------------------


def test_counts_are_pooled_and_their_spread_is_told(tmp_path):
    found = verdict_of(tmp_path, REVIVAL)
    (finding,) = found.findings
    assert found.outcome == "holds"
    assert finding.values[0].value == pytest.approx(35 / 40 - 5 / 40)
    assert finding.values[0].n == 40
    assert finding.spread == "+0.70 to +0.80, 2 classes"
    assert finding.text.startswith("+0.75 [") and "2 classes" in finding.text


def test_a_class_that_goes_the_other_way_is_not_averaged_away(tmp_path):
    found = verdict_of(tmp_path, REVIVAL, church=(0, 20), bus=(18, 8))
    assert found.outcome == "holds in part"
    assert "1 of them against" in found.findings[0].spread


def test_each_class_by_itself(tmp_path):
    found = verdict_of(tmp_path, {**REVIVAL, "each": "concept"}, bus=(5, 6))
    assert found.findings[0].outcomes == ("holds", "undecided")
    assert found.outcome == "holds in part"
    assert "1 holds, 1 undecided" in found.findings[0].text


def test_paired_changes_and_rows_of_values(tmp_path):
    part = {"file": "table", "quantity": "change", "rule": "rises", "lines": "row=K = 0.6"}
    assert verdict_of(tmp_path, part).outcome == "holds"
    assert verdict_of(tmp_path, {**part, "lines": ""}).outcome == "holds in part"
    assert verdict_of(tmp_path, {**part, "lines": "row=K = 0.*"}).findings[0].outcomes == (
        "holds",
        "does not hold",
    )
    margin = {**part, "rule": "within", "bound": "0.2", "lines": "row=K = 1.0"}
    assert verdict_of(tmp_path, margin).outcome == "holds"
    level = {**part, "quantity": "ours", "lines": ""}
    assert verdict_of(tmp_path, {**level, "rule": "peak"}).outcome == "holds"
    rising = {**level, "rule": "order", "lines": "row=K = 1.0 < row=K = 0.2 < row=K = 0.6"}
    assert verdict_of(tmp_path, rising).outcome == "holds"


def test_what_is_not_there_is_said(tmp_path):
    missing = verdict_of(tmp_path, {**REVIVAL, "file": "99_gone", "page": "08_objects"})
    assert missing.outcome == "not measured yet"
    assert missing.findings[0].text == "`rbtc measure 08_objects`"
    other = verdict_of(tmp_path, {**REVIVAL, "lines": "model=pruned -> model=restored"})
    assert other.outcome == "not measured yet" and "restored" in other.findings[0].text
    nothing = {"rule": "not testable", "note": "no clock"}
    assert verdict_of(tmp_path, nothing).outcome == "not testable here"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "wins"}, "unknown rule 'wins'"),
        ({"rule": "above"}, "needs a bound"),
        ({"bound": "0.1"}, "takes no bound"),
        ({"rule": "not testable"}, "results file 'counts'"),
        ({"file": ""}, "results file ''"),
    ],
)
def test_a_bad_line_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_claims(claims_file(tmp_path, {**REVIVAL, **change}))


def test_lines_of_a_claim_stand_together(tmp_path):
    second = {**REVIVAL, "id": "C02"}
    with pytest.raises(ValueError, match="stand together"):
        load_claims(claims_file(tmp_path, REVIVAL, second, REVIVAL))


def test_the_papers_numbers_are_read_as_printed():
    assert filled("{1/Gas Pump/erased: pretrained} to {1/Average/erased: NMS}") == "0.828 to 0.54"
    with pytest.raises(ValueError, match="unknown row"):
        filled("{1/Chruch/erased: NMS}")


def test_selection(tmp_path):
    frame = pd.read_csv(results(tmp_path) / "counts.csv")
    assert len(lines(frame, "concept=church|bus; model=pruned")) == 2
    assert value(frame, "model=pruned", "hits of n").n == 40
    assert len(values(lines(frame, "n=20"), "hits")) == 4
    for wrong in ("colour=red", "model=gone"):
        with pytest.raises(LookupError, match="has no"):
            lines(frame, wrong)
    with pytest.raises(LookupError, match="expected one"):
        value(frame, "model=pruned", "hits")


# ---- the committed list -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts():
    return [judge(claim) for claim in load_claims()]


def test_the_list_covers_the_paper(verdicts):
    keys = [verdict.claim.key for verdict in verdicts]
    assert keys == [f"C{number:02d}" for number in range(1, len(keys) + 1)]
    assert len(keys) >= 25
    assert sum(map(len, by_part(verdicts).values())) == len(keys)
    places = " ".join(verdict.claim.place for verdict in verdicts)
    for place in ("Abstract", "Sec. 1", "Sec. 3", "Sec. 4.1", "Sec. 4.2", "Sec. 4.3", "Sec. 4.4",
                  "Sec. 5.2", "Sec. 5.3", "Sec. 5.4", "Sec. 5.5", "Sec. 5.6", "App. A", "App. B",
                  "App. C", "App. D", "App. E", "App. F"):  # fmt: skip
        assert place in places


def test_what_the_results_hold_is_found_in_them(verdicts):
    """A chapter that names its lines otherwise would silently lose its claims."""
    lost = [
        f"{verdict.claim.key}: {finding.why}"
        for verdict in verdicts
        for finding in verdict.findings
        if finding.outcome == "not measured yet"
        and (results_folder() / f"{finding.part.file}.csv").is_file()
    ]
    assert not lost


def test_pages_go_by_the_names_they_have(verdicts):
    there = {path.stem[:2]: path.stem for path in
             (data_root().parent / "notebooks").glob("[0-9]*.py")}  # fmt: skip
    for verdict in verdicts:
        for finding in verdict.findings:
            page = finding.part.page
            assert not page or there.get(page[:2], page) == page


def test_margins_say_whose_they_are(verdicts):
    for verdict in verdicts:
        for finding in verdict.findings:
            assert finding.part.bound is None or finding.part.note


# ---- pages --------------------------------------------------------------------------------------


def test_ledger_tables(verdicts):
    table = ledger_table(verdicts)
    assert len(table) == len(verdicts)
    assert set(table["outcome"]) <= {f"**{name}**" for name in rules.OUTCOMES}
    text = markdown.table(table)
    assert text.count("\n") == len(verdicts) + 1
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        folder = "notebooks" if target.endswith(".ipynb") else "book/notebooks"
        name = target.replace(".ipynb", ".py")
        assert (data_root().parent / folder / name).resolve().is_file(), target
    assert tally_table(verdicts)["all"].sum() == len(verdicts) == sum(tally(verdicts).values())
    assert len(bounds_table(verdicts)) > 3
    forest(verdicts).canvas.draw()


def test_records_keep_every_value(verdicts):
    frame = records(verdicts)
    judged = sum(len(finding.values) for v in verdicts for finding in v.findings)
    assert frame["value"].notna().sum() == judged
    assert set(frame["id"]) == {verdict.claim.key for verdict in verdicts}


def test_every_sentence_of_the_abstract_has_a_claim(verdicts):
    table = abstract_table(verdicts, pages="notebooks/", numbers="../results/")
    assert (table["the abstract says"] != "").sum() == 7
    assert "(notebooks/02_matrix_completion.ipynb)" in markdown.table(table)
    with pytest.raises(ValueError, match="there are no claims"):
        abstract_table(verdicts[:1], pages="", numbers="")


def test_markdown_cells_stay_in_their_cell():
    frame = pd.DataFrame({"a": ["x|y\nz", float("nan")]}, index=["one", "two"])
    assert markdown.table(frame, index="name").splitlines()[2:] == [
        "| one | x\\|y z |",
        "| two |  |",
    ]
    assert markdown.joined(["a", "", "b", "a"]) == "a<br>b"
