"""The status page: records of the measurements, and verdicts of the ledger."""

import pytest
from round_trip import run_of

from rbtc import saving
from rbtc.book import status
from rbtc.report.claims import Claim, Part


@pytest.fixture
def root(tmp_path):
    def measured(chapter, **facts):
        run = run_of(chapter, device="a small GPU", commit="abc1234", date="2030-01-02", **facts)
        saving.save(run_of("study"), tmp_path / "results" / "mini" / chapter, run)

    counts = {"images": 7, "other_images": 2}
    measured("05_defense", seconds=75.2, pictures=1200, drawn=900, parameters=counts)
    measured("13_audit", seconds=60.0, dirty=True)
    return tmp_path


def test_a_line_per_measurement_with_all_it_recorded(root):
    table = status.status_table(root).set_index("page")
    line = table.loc["[](notebooks/05_defense.ipynb)"]
    assert line["measured"] == "2030-01-02, commit abc1234" and line["on"] == "a small GPU"
    assert line["minutes"] == "1.3" and line["judged pictures"] == "1,200"
    assert line["pictures a class"] == "7, 2 of each other class, seeds 0 to 6"
    other = table.loc["[](notebooks/13_audit.ipynb)"]
    assert other["measured"].endswith("with changes") and other["pictures a class"] == "-"
    assert set(table["verdicts"]) == {"-"}
    assert "2 chapters were measured on a small GPU: 1,200 judged" in status.summary(root)


def test_a_verification_is_told(root):
    saving.note_verified(root / "results" / "mini" / "13_audit", "Replayed, all equal")
    assert list(status.status_table(root)["verified"]) == ["not yet", "Replayed, all equal"]


def test_a_measurement_counts_once_however_many_values_it_has(root):
    def verdict(*outcomes):
        parts = [Part("C01", page, "", outcome=outcome) for page, outcome in outcomes]
        return Claim("C01", "", "", "", tuple(parts))

    judged = [
        verdict(("05_defense", "holds"), ("07_nsfw", "undecided")),
        verdict(("05_defense", "does not hold"), ("", "not testable here")),
        verdict(("05_defense", "holds")),
    ]
    assert status.by_page(judged)["05_defense"] == {"holds": 2, "does not hold": 1}
    told = status.status_table(root, judged).set_index("page")["verdicts"]
    assert told["[](notebooks/05_defense.ipynb)"] == "2 holds<br>1 does not hold"


def test_no_measurement_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no measurement"):
        status.runs(tmp_path)
