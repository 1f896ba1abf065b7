import pandas as pd
import pytest
from round_trip import assert_reads_back

from rbtc.report import markdown
from rbtc.report.contradiction_tables import kinds, misfit_figure, misfits, reading_table
from rbtc.report.misprints import PRINTED
from rbtc.studies.chapters import Measured
from rbtc.studies.contradictions import (
    COLUMNS,
    MEASURED,
    contradictions,
    frame_of,
    load_contradictions,
    measure,
)


@pytest.fixture(scope="module")
def weights(lab):
    return measure(lab, ["golf ball"])


@pytest.fixture(scope="module")
def found(weights, tmp_path_factory):
    return contradictions(weights, Measured(results=tmp_path_factory.mktemp("no-results")))


def test_it_reads_back_as_it_was_measured(weights, tmp_path):
    assert_reads_back(weights, tmp_path)


@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_numbers_bear_the_readings_out(name):
    check = PRINTED[name]()
    assert check.numbers and check.support in ("supports", "")


def test_known_misprints():
    assert PRINTED["pretrained_average"]().numbers["mean of 12 values"] == "0.9165"
    assert PRINTED["distance_average"]().numbers["mean of 5 values"] == "21.614"
    assert PRINTED["better_baseline"]().numbers == {"French Horn": "0.36 against 0.26"}
    worst = PRINTED["worst_magnitude"]().numbers
    assert worst["Table 9, Church, Top 1.0"] == "0.11 against 0.19" and len(worst) == 4
    assert set(PRINTED["missing_rise"]().numbers) == {
        "I2P, Top-0.6", "I2P, Top-0.8", "Ring-A-Bell, Top-0.8",
    }  # fmt: skip


def test_weights_are_looked_at_and_missing_results_said(found):
    by_check = {check: one for one in found for check in one.checks}
    assert by_check["quantised_zeros"].support == "supports"
    assert by_check["observed_share"].support == "supports"
    assert len(by_check["keep_scope"].found[0].numbers) == 3
    assert not by_check["solvers"].found and "no measurement of 02" in by_check["solvers"].missing
    # One check made and one missing: what was made still counts.
    assert by_check["noise_readings"].support == "supports"
    assert not frame_of(found)["value"].isna().any()


@pytest.mark.parametrize("name", MEASURED)
def test_the_measurements_in_the_repository_bear_on_the_readings(name):
    check = MEASURED[name](Measured())
    assert check.numbers and all(check.numbers.values())


def test_tables_and_figure(found):
    groups = kinds(found)
    assert sum(map(len, groups.values())) == len(found) and all(groups.values())
    for own in groups.values():
        assert markdown.table(reading_table(own)).count("\n") == len(own) + 1
    assert misfits()["gap"].abs().max() < 0.1
    misfit_figure().canvas.draw()


def test_a_bad_list_is_refused(tmp_path):
    path = tmp_path / "list.csv"
    line = dict.fromkeys(COLUMNS, "") | {"id": "X01", "check": "coin"}
    pd.DataFrame([line]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"X01: unknown checks \['coin'\]"):
        load_contradictions(path)
    pd.DataFrame([{**line, "check": ""}] * 2).to_csv(path, index=False)
    with pytest.raises(ValueError, match="twice"):
        load_contradictions(path)
    with pytest.raises(FileNotFoundError, match="clone"):
        load_contradictions(tmp_path / "none.csv")
