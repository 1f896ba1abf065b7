import pandas as pd
import pytest
from round_trip import assert_reads_back

from rbtc.report.misprints import PRINTED, misfit_figure, misfits
from rbtc.studies import contradictions as study
from rbtc.studies.chapters import Measured
from rbtc.studies.measuring.contradictions import measure


@pytest.fixture(scope="module")
def given(lab, tmp_path_factory):
    """The weights' numbers, and no measurement of another chapter."""
    nothing = Measured(results=tmp_path_factory.mktemp("no-results"))
    return measure(lab, ["golf ball"]), nothing


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
    rises = {"I2P, Top-0.6", "I2P, Top-0.8", "Ring-A-Bell, Top-0.8"}
    assert set(PRINTED["missing_rise"]().numbers) == rises
    assert misfits()["gap"].abs().max() < 0.1
    misfit_figure().canvas.draw()


def test_weights_are_looked_at_and_missing_results_said(given, tmp_path):
    assert_reads_back(given[0], tmp_path)
    found = study.contradictions(*given)
    by_check = {check: one for one in found.itertuples() for check in one.check.split()}
    for name in ("quantised_zeros", "observed_share", "noise_readings"):  # of the last, one is made
        assert by_check[name].support == "supports"
    assert len(by_check["keep_scope"].found[0].numbers) == 3
    assert not by_check["solvers"].found and "no measurement of 02" in by_check["solvers"].missing
    assert not study.frame_of(found)["value"].isna().any()
    groups = study.kinds(found)
    assert {*groups} == {"printed", "measured", "reading"}
    assert sum(len(study.reading_table(own)) for own in groups.values()) == len(found)


@pytest.mark.parametrize("name", study.MEASURED)
def test_the_measurements_in_the_repository_bear_on_the_readings(name):
    check = study.MEASURED[name](Measured())
    assert check.numbers and all(check.numbers.values())


def test_a_bad_list_is_refused(given, tmp_path):
    path = tmp_path / "list.csv"
    line = dict.fromkeys(study.COLUMNS, "") | {"id": "X01"}
    for lines, wrong in (([line | {"check": "coin"}], r"X01: unknown checks \['coin'\]"),
                         ([line] * 2, "twice"), ([{"id": "X01"}], "columns")):  # fmt: skip
        pd.DataFrame(lines).to_csv(path, index=False)
        with pytest.raises(ValueError, match=wrong):
            study.contradictions(*given, path)
    with pytest.raises(FileNotFoundError, match="clone"):
        study.contradictions(*given, tmp_path / "none.csv")
