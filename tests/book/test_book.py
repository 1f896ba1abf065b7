"""The runner and the gate, on tiny books in temporary folders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from rbtc.book import execute, generated, runner
from rbtc.book.gate import SIZE_LIMIT, gate, problems
from rbtc.book.pages import Book, read_page

REPOSITORY = Path(__file__).resolve().parents[2]
CHAPTER = """\
# %% [markdown]
# # A chapter

# %% tags=["parameters"]
profile = "mini"
concepts = ["church"]
images = 2
seed: int = 0
ratio = 0.5

# %%
print(concepts, images)

# %%
import pandas as pd

from rbtc.report import tables

_ = tables.save_csv(pd.DataFrame({{"images": [images]}}), "numbers")

"""
FAILING = CHAPTER.replace("print(concepts, images)", "raise RuntimeError('no such luck')")
SLOW = CHAPTER.replace(
    "print(concepts, images)",
    "import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(60)",
)


def make_book(root: Path, **chapters: str) -> Book:
    (root / "notebooks").mkdir(parents=True)
    shutil.copy(REPOSITORY / "jupytext.toml", root)
    for name, text in chapters.items():
        (root / "notebooks" / f"{name}.py").write_text(text.format(), encoding="utf-8")
    return Book(root)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A book with one executed page; tests that change it work on a copy."""
    made = make_book(tmp_path_factory.mktemp("book") / "a", good=CHAPTER)
    assert runner.run(made, ["good"]) == {}
    return made


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.root, tmp_path / "copy")
    return Book(tmp_path / "copy")


def edit_page(made: Book, change) -> None:
    notebook = nbformat.read(made.page("good"), as_version=4)
    change(notebook)
    nbformat.write(notebook, made.page("good"))


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_good_page(finished, capsys):
    assert problems(finished, "good") == []
    assert gate(finished)
    assert capsys.readouterr().out.startswith("ok    good")
    notebook = nbformat.read(finished.page("good"), as_version=4)
    text = nbformat.writes(notebook)
    assert "['church'] 2" in text and "papermill" not in text
    assert str(finished.root) not in text, "the page names a folder of the machine that made it"
    assert sorted(path.name for path in finished.page("good").parent.iterdir()) == ["good.ipynb"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all("hide-input" in cell.metadata["tags"] for cell in code)  # the site folds them
    assert "remove-cell" in code[0].metadata["tags"]  # parameters stand in the record
    # The paired notebook stays un-executed.
    twin = nbformat.read(finished.twin("good"), as_version=4)
    assert all(not cell.outputs for cell in twin.cells if cell.cell_type == "code")


def test_a_second_run_gives_equal_bytes(copied):
    before = files(copied.root)
    assert runner.run(copied, ["good"]) == {}
    assert files(copied.root) == before
    assert before["results/numbers.csv"] == b"images\n2\n"
    assert not (copied.root / "rbtc-results").exists()


def test_a_table_that_no_page_writes_any_more_goes(copied):
    (copied.root / "results" / "good_a.csv").touch()
    (copied.root / "results" / "good_b.csv").touch()
    page = execute.Page("good", None, {"results/good_b.csv": b""})
    execute.remove_strays(copied, [page])
    assert [p.name for p in (copied.root / "results").glob("good_*")] == ["good_b.csv"]


def test_the_check_tells_what_a_page_would_show_and_changes_nothing(copied, capsys):
    edit_page(copied, change_number)
    (copied.root / "results" / "numbers.csv").write_text("images\n9\n")
    before = files(copied.root)
    assert runner.main(["check", "good", "--root", str(copied.root), "--jobs", "1"]) == 1
    told = capsys.readouterr().err
    assert "good writes another results/numbers.csv" in told and "make book" in told
    assert "good shows something else" in told and "['church'] 3" in told
    assert files(copied.root) == before


def test_a_page_that_was_never_executed_is_told(finished, copied, monkeypatch):
    page = execute.Page("good", read_page(finished.page("good")), {})
    monkeypatch.setattr(runner, "execute_all", lambda *asked: asked[-1](page) or {})
    assert runner.check(copied, ["good"]) == {}
    copied.page("good").unlink()
    assert runner.check(copied, ["good"]) == {"good": "good was never executed"}


def test_a_reader_does_not_change_the_book(copied, monkeypatch):
    import papermill

    before = (copied.root / "results" / "numbers.csv").read_text()
    monkeypatch.delenv("RBTC_BOOK_OUTPUT", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    papermill.execute_notebook(
        str(copied.twin("good")), str(copied.root / "out.ipynb"), parameters={"images": 7},
        kernel_name="python3", cwd=str(copied.root), progress_bar=False,
    )  # fmt: skip
    assert (copied.root / "results" / "numbers.csv").read_text() == before
    own = copied.root / "rbtc-results" / "results" / "numbers.csv"
    assert own.read_text() == "images\n7\n"


def test_an_edit_of_the_source_is_never_lost(copied):
    source, twin = copied.source("good"), copied.twin("good")
    text = source.read_text(encoding="utf-8").replace("# A chapter", "# A better chapter")
    source.write_text(text, encoding="utf-8")
    os.utime(twin, (time.time() + 60, time.time() + 60))  # the twin is newer
    with pytest.raises(ValueError, match="is newer than"):
        runner.sync(copied, "good")
    assert source.read_text(encoding="utf-8") == text
    os.utime(source, (time.time() + 90, time.time() + 90))
    runner.sync(copied, "good")
    assert source.read_text(encoding="utf-8") == text
    assert "A better chapter" in twin.read_text(encoding="utf-8")


def change_number(notebook):
    (told,) = [o for cell in notebook.cells for o in cell.get("outputs", ()) if "text" in o]
    told.text = "['church'] 3\n"


def change_markdown(notebook):
    notebook.cells[0].source += " of another kind"


def change_code(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("print(concepts, images)", "print(concepts, 4)")


def add_error(notebook):
    error = nbformat.v4.new_output("error", ename="KeyError", evalue="'x'", traceback=[])
    notebook.cells[2].outputs.append(error)


def fatten(notebook):
    text = nbformat.v4.new_output("stream", name="stdout", text="x" * SIZE_LIMIT)
    notebook.cells[2].outputs = [text]


def forget(notebook):
    notebook.cells[2].execution_count = None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_markdown, "does not hold the cells of its source"),
        (change_code, "does not hold the cells of its source"),
        (add_error, "a cell failed with KeyError: 'x'"),
        (fatten, "is 2.0 MB, the limit is 2 MB"),
        (forget, "1 of 3 code cells were not executed"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(copied, capsys, change, told):
    edit_page(copied, change)
    assert problems(copied, "good") == [told]
    assert not gate(copied) and capsys.readouterr().out.startswith("FAIL  good")


def test_a_twin_without_the_parameters_tag_is_found_and_a_sync_makes_the_same_again(copied):
    before = copied.twin("good").read_text(encoding="utf-8")
    twin = nbformat.reads(before, as_version=4)
    for cell in twin.cells:
        cell.metadata["tags"] = []
    nbformat.write(twin, copied.twin("good"))
    assert problems(copied, "good") == ["notebooks/*.py and *.ipynb differ: rbtc book sync"]
    copied.source("good").touch()
    runner.sync(copied, "good")
    assert copied.twin("good").read_text(encoding="utf-8") == before  # and the cells' ids


@pytest.mark.parametrize("text", ["{broken", "", "{}", "[]", '{"cells": 3, "nbformat": 4}'])
def test_a_damaged_twin_is_made_anew(copied, text):
    whole = copied.twin("good").read_text(encoding="utf-8")
    copied.twin("good").write_text(text, encoding="utf-8")
    assert "notebooks/*.py and *.ipynb differ: rbtc book sync" in problems(copied, "good")
    assert runner.main(["sync", "--root", str(copied.root)]) == 0
    assert problems(copied, "good") == []
    fresh, before = (nbformat.reads(t, as_version=4).cells for t in
                     (copied.twin("good").read_text(encoding="utf-8"), whole))  # fmt: skip
    assert [cell.source for cell in fresh] == [cell.source for cell in before]


@pytest.mark.parametrize("text", ["{broken", "", "{}"])
def test_a_damaged_page_is_named(tmp_path, text):
    page = tmp_path / "00_page.ipynb"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"the page .*00_page\.ipynb is damaged .*run 00_page"):
        read_page(page)


def test_missing_and_orphaned_pages(copied):
    shutil.copy(copied.page("good"), copied.page("orphan"))
    assert not gate(copied)
    assert "no source" in problems(copied, "orphan")[0]
    copied.page("good").unlink()
    assert problems(copied, "good") == ["was never executed"]


def test_page_outside_the_table_of_contents(copied):
    (copied.root / "_toc.yml").write_text("chapters:\n  - file: notebooks/other\n")
    assert problems(copied, "good") == ["is not listed in _toc.yml"]
    (copied.root / "_toc.yml").write_text("chapters:\n  - file: notebooks/good\n")
    assert problems(copied, "good") == []


def test_a_killed_kernel_is_told_by_its_cell(tmp_path, capsys):
    killing = "import os\nos.kill(os.getpid(), 9)"
    make_book(tmp_path, bad=CHAPTER.replace("print(concepts, images)", killing))
    assert runner.main(["run", "bad", "--root", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "killed in code cell 2" in told and "memory" in told and "--jobs 1" in told


def test_a_kernel_of_a_python_that_is_gone_is_named(tmp_path, monkeypatch):
    make_book(tmp_path / "book", bad=FAILING)
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    words = ["/gone/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": words, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(ValueError, match=f"starts /gone/python.*{kernel}"):
        runner.main(["run", "bad", "--root", str(tmp_path / "book"), "--jobs", "1"])


def test_a_failing_notebook_keeps_the_old_page(copied, capsys):
    before = copied.page("good").read_bytes()
    copied.source("good").write_text(FAILING.format(), encoding="utf-8")
    assert runner.main(["run", "good", "--root", str(copied.root)]) == 1
    told = capsys.readouterr().err
    log = copied.root / "_build" / "logs" / "good.log"
    assert f"good failed: code cell 2 raised RuntimeError: no such luck; all of it: {log}" in told
    assert "Traceback" not in told and "Traceback" in log.read_text(encoding="utf-8")
    assert copied.page("good").read_bytes() == before
    copied.page("good").unlink()
    assert runner.main(["gate", "--root", str(copied.root)]) == 1


def named_in_a_command(text: str) -> list[str]:
    """Process ids whose command line holds a text, where the system tells."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if text.encode() in command:
            found.append(path.parent.name)
    return found


def test_killed_run_leaves_nothing(tmp_path):
    made = make_book(tmp_path, slow=SLOW)
    words = [sys.executable, "-m", "rbtc.book", "run", "slow", "--root", str(tmp_path)]
    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        assert (tmp_path / "started").exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not made.page("slow").parent.exists()
    deadline = time.monotonic() + 20
    while (left := named_in_a_command(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, "processes that execute chapters outlive the command"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "eleven"], "no notebook eleven; there are one, two"),
        (["--jobs", "0"], "jobs must be at least 1, not 0"),
    ],
)
def test_wrong_arguments_stop_before_any_work(tmp_path, arguments, message):
    made = make_book(tmp_path, one=CHAPTER, two="# %%\nprint(1)\n")
    with pytest.raises(ValueError, match=message):
        runner.main(["run", *arguments, "--root", str(tmp_path)])
    assert not made.twin("one").exists() and not made.page("one").parent.exists()


def test_no_notebooks(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebooks"):
        runner.main(["gate", "--root", str(tmp_path)])


def test_progress_bars_and_warnings_are_not_published():
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="\r100%|####| 4/4 [00:01<00:00]\n"),
        nbformat.v4.new_output("stream", name="stderr", text="/a/path/x.py:1: SomeWarning\n"),
        nbformat.v4.new_output("stream", name="stdout", text="50%| stays\n"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)])
    execute.tidy(notebook)
    assert [out.text.strip() for out in notebook.cells[0].outputs] == ["50%| stays"]


def test_the_committed_readme_and_site_texts_are_what_their_command_writes():
    assert generated.stale(REPOSITORY) == [], "make book"
