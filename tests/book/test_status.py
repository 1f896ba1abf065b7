"""The status page: facts of the pages, verdicts of the ledger, and whether it is up to date."""

import nbformat
import pandas as pd
import pytest

from rbtc.book import status
from rbtc.book.gate import gate
from rbtc.book.pages import Book
from rbtc.book.runner import run


@pytest.fixture
def root(tmp_path):
    def page(name, **facts):
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["rbtc"] = facts
        path = tmp_path / "book" / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)

    shared = {"date": "2030-01-02", "commit": "abc1234", "device": "a small GPU"}
    page(
        "05_defense", **shared, cold=True, mode="quick", wall_seconds=75.2, overrides={},
        parameters={"profile": "mini", "images": 7, "other_images": 2},
    )  # fmt: skip
    page(
        "07_nsfw", **shared, cold=False, mode="full", wall_seconds=4.0,
        overrides={"images": 3}, parameters={"profile": "mini", "images": 3},
    )  # fmt: skip
    page("10_claims", parameters={"snippet": "x"})
    (tmp_path / "book" / "status.md").write_text("# Status\n", encoding="utf-8")
    return tmp_path


def ledger(root, lines):
    columns = ["id", "part", "page", "part's outcome"]
    (root / "results").mkdir(exist_ok=True)
    pd.DataFrame(lines, columns=columns).to_csv(root / "results" / "10_claims.csv", index=False)


def test_a_line_per_page_with_all_it_recorded(root):
    table = status.status_table(root).set_index("page")
    line = table.loc["[](notebooks/05_defense.ipynb)"]
    assert line["executed"] == "2030-01-02, commit abc1234" and line["on"] == "a small GPU"
    assert line["took"] == "1 min 15 s, cold" and line["mode"] == "quick"
    assert line["profile"] == "mini"
    assert line["pictures a class"] == "7, 2 of each other class, seeds 0 to 6"
    other = table.loc["[](notebooks/07_nsfw.ipynb)"]
    assert other["took"] == "4.0 s, warm" and other["mode"] == "full, changed by hand"
    by_hand = table.loc["[](notebooks/10_claims.ipynb)"]
    assert by_hand["executed"] == by_hand["took"] == by_hand["on"] == "not recorded"
    assert by_hand["pictures a class"] == "-"
    assert set(table["verdicts"]) == {"-"}  # there is no ledger yet


def test_a_measurement_counts_once_however_many_values_it_has(root):
    ledger(root, [
        ("C01", 1, "05_defense", "holds"), ("C01", 1, "05_defense", "holds"),
        ("C01", 2, "07_nsfw", "undecided"), ("C02", 1, "05_defense", "does not hold"),
        ("C03", 1, "05_defense", "holds"), ("C04", 1, None, "not testable here"),
    ])  # fmt: skip
    found = status.verdicts(root)
    assert found == {
        "05_defense": {"holds": 2, "does not hold": 1}, "07_nsfw": {"undecided": 1},
    }  # fmt: skip
    table = status.status_table(root).set_index("page")["verdicts"]
    assert table["[](notebooks/05_defense.ipynb)"] == "2 holds<br>1 does not hold"
    (root / "results" / "10_claims.csv").write_text("id,part\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the columns"):
        status.verdicts(root)


def test_the_check_tells_when_pages_or_verdicts_have_moved_on(root, capsys):
    check = ["--check", "--root", str(root)]
    assert status.main(check) == 1 and "out of date" in capsys.readouterr().out
    assert status.main(["--root", str(root)]) == 0
    assert status.main(check) == 0
    ledger(root, [("C01", 1, "05_defense", "holds")])
    assert status.outdated(root)
    status.renew(root)
    assert not status.outdated(root)
    text = (root / status.SNIPPET).read_text(encoding="utf-8")
    assert text.startswith("3 pages, 1 min 19 s together: 1 full, 1 not recorded, 1 quick,")
    (root / "book" / "notebooks" / "07_nsfw.ipynb").unlink()
    assert status.outdated(root)


def test_a_book_without_a_status_page_needs_none(root):
    (root / status.PAGE).unlink()
    assert not status.outdated(root)
    status.renew(root)
    assert not (root / status.SNIPPET).exists()


def test_no_page_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="no executed page"):
        status.page_facts(tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "status.md").write_text("# Status\n", encoding="utf-8")
    status.renew(tmp_path)  # what a first run leaves whose only notebook failed
    assert not (tmp_path / status.SNIPPET).exists()


def test_a_run_renews_it(root, monkeypatch):
    (root / "notebooks").mkdir()
    (root / "notebooks" / "20_a.py").write_text("# %%\n1\n", encoding="utf-8")
    monkeypatch.setattr("rbtc.book.runner.execute", lambda book, plan: None)
    assert run(Book(root)) == []
    assert not status.outdated(root)


def test_the_gate_holds_a_stale_table_back(root, monkeypatch, capsys):
    (root / "book" / "notebooks" / "10_claims.ipynb").unlink()
    (root / "notebooks").mkdir()
    for name in ("05_defense", "07_nsfw"):
        (root / "notebooks" / f"{name}.py").write_text("# %%\n1\n", encoding="utf-8")
    monkeypatch.setattr("rbtc.book.gate.problems", lambda book, name: [])
    assert not gate(Book(root))
    assert "python -m rbtc.book.status" in capsys.readouterr().out
    status.renew(root)
    assert gate(Book(root))
