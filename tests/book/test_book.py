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

from rbtc.book import execute, runner, stamp
from rbtc.book.gate import SIZE_LIMIT, gate, problems
from rbtc.book.origin import FACTS, facts_digest, page_outputs
from rbtc.book.pages import Book, fit_parameters, parameter_defaults
from rbtc.book.status import page_facts

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

tables.save_csv(pd.DataFrame({{"images": [images]}}), "numbers")

# %%
import rbtc.book.stamp

rbtc.book.stamp.show({{"profile": profile, "reuse": "reused 1 of 2"}})
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
    (made.root / "data").mkdir()
    (made.root / "data" / "book.toml").write_text("[good.quick]\nimages = 3\n", encoding="utf-8")
    overrides = {"concepts": "star,bus"}
    assert runner.run(made, ["good"], overrides=overrides) == []
    return made


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.root, tmp_path / "copy")
    return Book(tmp_path / "copy")


def edit_page(made: Book, change, *, signed: bool = True) -> None:
    notebook = nbformat.read(made.page("good"), as_version=4)
    change(notebook)
    facts = notebook.metadata.get("rbtc", {})
    if signed and FACTS in facts:
        facts[FACTS] = facts_digest(facts)
    nbformat.write(notebook, made.page("good"))


def test_good_page(finished, capsys):
    assert problems(finished, "good") == []
    assert gate(finished)
    assert capsys.readouterr().out.startswith("ok    good")
    notebook = nbformat.read(finished.page("good"), as_version=4)
    facts = notebook.metadata["rbtc"]
    assert facts["parameters"] == {
        "profile": "mini", "concepts": ["star", "bus"], "images": 3, "seed": 0, "ratio": 0.5,
    }  # fmt: skip
    assert (
        facts["mode"] == "quick"
        and facts["cold"] is False
        and facts["wall_seconds"] > 0
        and len(facts["date"]) == 10
    )
    text = json.dumps(notebook)
    assert "['star', 'bus'] 3" in text
    assert "python -m rbtc.book run good -p concepts" in text and "reused 1 of 2" in text
    assert str(finished.root) not in text, "the page names a folder of the machine that made it"
    assert sorted(path.name for path in finished.page("good").parent.iterdir()) == ["good.ipynb"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all("hide-input" in cell.metadata["tags"] for cell in code)  # the site folds them
    # The paired notebook stays un-executed.
    twin = nbformat.read(finished.twin("good"), as_version=4)
    assert all(not cell.outputs for cell in twin.cells if cell.cell_type == "code")


def test_files_appear_with_the_page_and_go_with_it(copied):
    assert (copied.root / "results" / "numbers.csv").read_text() == "images\n3\n"
    assert not (copied.root / "rbtc-results").exists()
    source = copied.source("good")
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace('"numbers")', '"figures")'), encoding="utf-8")
    assert runner.run(copied, ["good"]) == []
    assert sorted(p.name for p in (copied.root / "results").iterdir()) == [
        "book_run.json", "figures.csv",
    ]  # fmt: skip


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
    runner.sync(copied, "good")
    assert source.read_text(encoding="utf-8") == text
    assert "A better chapter" in twin.read_text(encoding="utf-8")


def test_a_source_that_changes_while_it_runs_makes_no_page(tmp_path, capsys):
    path = "notebooks/bad.py"
    chapter = CHAPTER.replace(
        "print(concepts, images)", f"open({path!r}, 'a').write('# %%\\nprint(1)\\n')"
    )
    made = make_book(tmp_path, bad=chapter)
    assert runner.run(made, ["bad"]) == ["bad"]
    assert "was changed while it ran" in capsys.readouterr().err
    assert not made.page("bad").exists()


def change_number(notebook):
    (told,) = [o for cell in notebook.cells for o in cell.get("outputs", ()) if "text" in o]
    told.text = "['star', 'bus'] 4\n"


def drop_outputs(notebook):
    notebook.cells[3].outputs = []
    notebook.cells[2].outputs = []


def change_markdown(notebook):
    notebook.cells[0].source += " of another kind"


def change_code(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("print(concepts, images)", "print(concepts, 4)")


def hide_output(notebook):
    notebook.cells[3].metadata.setdefault("tags", []).append("remove-output")


def attach(notebook):
    notebook.cells[0]["attachments"] = {"a.png": {"image/png": "AAAA"}}


EDITS = [change_number, drop_outputs, change_markdown, change_code, hide_output, attach]


@pytest.mark.parametrize("change", EDITS)
def test_an_edited_page_is_found(copied, change):
    edit_page(copied, change)
    assert "was edited after it was made" in problems(copied, "good")


def test_edited_cells_are_found_even_with_a_new_digest(copied):
    def forge(notebook):
        change_code(notebook)
        notebook.metadata["rbtc"]["outputs_sha256"] = page_outputs(notebook)

    edit_page(copied, forge)
    assert problems(copied, "good") == ["does not hold the cells of its source"]


@pytest.mark.parametrize("key", ["inputs", "files", "models", "commit", "command", "versions"])
def test_what_a_page_says_of_its_making_cannot_be_changed(copied, key):
    def empty(notebook):
        facts = notebook.metadata["rbtc"]
        facts[key] = "abc" if isinstance(facts.get(key), str) else {"other": "0"}

    edit_page(copied, empty, signed=False)
    told = "says something else of its making than when it was made"
    assert told in problems(copied, "good")


def test_a_twin_without_the_parameters_tag_is_found(copied):
    twin = nbformat.read(copied.twin("good"), as_version=4)
    for cell in twin.cells:
        cell.metadata["tags"] = []
    nbformat.write(twin, copied.twin("good"))
    assert "notebooks/*.py and *.ipynb differ: python -m rbtc.book sync" in problems(copied, "good")


def test_changed_parameters_are_found(copied):
    settings = copied.root / "data" / "book.toml"
    settings.write_text("[good.quick]\nimages = 4\n", encoding="utf-8")
    found = problems(copied, "good")
    assert found == ["was made with other parameters than data/book.toml gives"]


def test_changed_or_missing_result_files_are_found(copied):
    path = copied.root / "results" / "numbers.csv"
    path.write_text("images\n9\n")
    assert problems(copied, "good") == ["goes with another version of results/numbers.csv"]
    path.unlink()
    assert problems(copied, "good") == ["goes with results/numbers.csv, which is missing"]


def test_changed_library_code_is_found(copied, monkeypatch):
    from rbtc.report import tables

    def save_csv(frame, name, folder=None):
        return None

    monkeypatch.setattr(tables, "save_csv", save_csv)
    monkeypatch.setattr(save_csv, "__module__", "rbtc.report.tables")
    assert problems(copied, "good") == ["is older than the code it runs"]


def test_changed_models_and_inputs_are_found(copied):
    def claim(notebook):
        facts = notebook.metadata["rbtc"]
        facts["inputs"] = {"data/book.toml": "0" * 64}
        facts["models"] = {"data/models/none": "0" * 64}

    edit_page(copied, claim)
    assert problems(copied, "good") == [
        "goes with another version of data/book.toml",
        "was made with the model in data/models/none, which is missing",
    ]


def test_pages_of_uncommitted_work_are_found(copied):
    def claim(notebook):
        notebook.metadata["rbtc"]["commit"] = "abc with changes"

    edit_page(copied, claim)
    assert problems(copied, "good") == ["was made from uncommitted changes"]


def test_what_a_page_was_made_with():
    from rbtc.models.profiles import load_profile

    class Lab:
        profile = load_profile("mini")

    told = stamp.made_with(Lab())
    assert "data/profiles/mini.toml" in told["inputs"] or not Path("data").is_dir()
    if Path("data").is_dir():
        assert {"data/models/emoji-sd", "data/models/emoji-judge-concept"} <= set(told["models"])


def test_cell_ids_and_twin_survive_a_second_sync(copied):
    before = copied.twin("good").read_text(encoding="utf-8")
    runner.sync(copied, "good")
    assert copied.twin("good").read_text(encoding="utf-8") == before


@pytest.mark.parametrize("text", ["{broken", "", "{}", "[]", '{"cells": 3, "nbformat": 4}'])
def test_a_damaged_twin_is_made_anew(copied, text):
    whole = copied.twin("good").read_text(encoding="utf-8")
    copied.twin("good").write_text(text, encoding="utf-8")
    assert "notebooks/*.py and *.ipynb differ: python -m rbtc.book sync" in problems(copied, "good")
    assert runner.main(["sync", "--root", str(copied.root)]) == 0
    assert problems(copied, "good") == []
    fresh, before = (nbformat.reads(t, as_version=4).cells for t in
                     (copied.twin("good").read_text(encoding="utf-8"), whole))  # fmt: skip
    assert [cell.source for cell in fresh] == [cell.source for cell in before]


@pytest.mark.parametrize("text", ["{broken", "", "{}"])
def test_a_damaged_page_is_named(tmp_path, text):
    page = tmp_path / "book" / "notebooks" / "00_page.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"the page .*00_page\.ipynb is damaged .*run 00_page"):
        page_facts(tmp_path)


def test_whole_numbers_that_may_be_zero():
    defaults = {"other_classes": 4, "images": 2, "seed": 0, "draw_seed": 7}
    given = {"other_classes": 0, "images": 1, "seed": -1, "draw_seed": -2}
    assert fit_parameters(given, defaults, "one") == given
    with pytest.raises(ValueError, match="one: other_classes must be at least 0, not -1"):
        fit_parameters({"other_classes": "-1"}, defaults, "one")


def test_unexecuted_page(copied, capsys):
    shutil.copy(copied.twin("good"), copied.page("good"))
    found = problems(copied, "good")
    assert any("were not executed" in text for text in found)
    assert any("was not made by" in text for text in found)
    assert not gate(copied)
    assert capsys.readouterr().out.startswith("FAIL  good")


def test_missing_and_orphaned_pages(copied):
    shutil.copy(copied.page("good"), copied.page("orphan"))
    assert not gate(copied)
    assert "no source" in problems(copied, "orphan")[0]
    copied.page("good").unlink()
    assert problems(copied, "good") == ["was never executed"]


def test_stale_source(copied):
    source = copied.source("good")
    source.write_text(source.read_text(encoding="utf-8").replace("images = 2", "images = 4"))
    found = problems(copied, "good")
    assert "is older than its source" in found
    assert any("differ" in text for text in found)


def test_page_with_an_error_or_without_a_stamp(copied):
    def plant(notebook):
        error = nbformat.v4.new_output("error", ename="KeyError", evalue="'x'", traceback=[])
        notebook.cells[2].outputs.append(error)
        notebook.metadata["papermill"]["exception"] = True
        del notebook.cells[-1]

    edit_page(copied, plant)
    found = "; ".join(problems(copied, "good"))
    assert "KeyError" in found and "papermill recorded" in found and "stamp.show" in found


def test_large_page(copied):
    def fatten(notebook):
        text = nbformat.v4.new_output("stream", name="stdout", text="x" * SIZE_LIMIT)
        notebook.cells[2].outputs = [text]

    edit_page(copied, fatten)
    assert any("the limit is" in text for text in problems(copied, "good"))


def test_page_outside_the_table_of_contents(copied):
    (copied.root / "_toc.yml").write_text("chapters:\n  - file: notebooks/other\n")
    assert problems(copied, "good") == ["is not listed in _toc.yml"]
    (copied.root / "_toc.yml").write_text("chapters:\n  - file: notebooks/good\n")
    assert problems(copied, "good") == []


def test_failing_notebook_leaves_nothing(tmp_path, capsys):
    made = make_book(tmp_path, bad=FAILING)
    assert runner.main(["run", "bad", "--root", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    log = tmp_path / "_build" / "logs" / "bad.log"
    assert f"bad failed: code cell 2 raised RuntimeError: no such luck; all of it: {log}" in told
    assert "Traceback" not in told and "Traceback" in log.read_text(encoding="utf-8")
    assert not made.page("bad").parent.exists()
    assert runner.main(["gate", "--root", str(tmp_path)]) == 1


def test_failing_notebook_keeps_the_old_page(copied):
    before = copied.page("good").read_bytes()
    copied.source("good").write_text(FAILING.format(), encoding="utf-8")
    assert runner.run(copied, ["good"]) == ["good"]
    assert copied.page("good").read_bytes() == before


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "-p", "imagse", "3"], "has no parameter imagse; it takes profile, concepts"),
        (["one", "-p", "images", "many"], "expected a int"),
        (["one", "-p", "seed", "true"], "expected a int"),
        (["one", "eleven"], "no notebook eleven; there are one, two"),
        (["-p", "ratio", "0.1"], "two has no parameter ratio"),
        (["one", "-p", "images", "0"], "one: images must be at least 1, not 0"),
        (["one", "-p", "images", "-3"], "one: images must be at least 1, not -3"),
    ],
)
def test_wrong_arguments_stop_before_any_work(tmp_path, capsys, arguments, message):
    made = make_book(tmp_path, one=CHAPTER, two="# %%\nprint(1)\n")
    assert runner.main(["run", *arguments, "--root", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not made.twin("one").exists() and not made.page("one").parent.exists()


def test_wrong_settings(tmp_path):
    made = make_book(tmp_path, one=CHAPTER)
    (tmp_path / "data").mkdir()
    settings = tmp_path / "data" / "book.toml"
    settings.write_text("[one.quick]\nimgs = 1\n")
    with pytest.raises(ValueError, match="imgs"):
        runner.run(made)
    settings.write_text("[eleven.quick]\nimages = 1\n")
    with pytest.raises(ValueError, match="tables for eleven, but there is no such notebook"):
        runner.run(made)
    for text, what in (("one = 1", "one"), ("[one]\nquick = 3", "one.quick")):
        settings.write_text(text)
        with pytest.raises(ValueError, match=rf"\[{what}\] must be a table .* not [13]"):
            runner.run(made)
    settings.write_text("[one.quick]\nimages = 0\n")
    with pytest.raises(ValueError, match="images must be at least 1"):
        runner.run(made)
    settings.write_text("[one.medium]\nimages = 1\n")
    with pytest.raises(ValueError, match="medium"):
        runner.run(made)


def test_parameter_cell(tmp_path):
    made = make_book(tmp_path, one=CHAPTER)
    defaults = parameter_defaults(made.source("one"))
    assert list(defaults) == ["profile", "concepts", "images", "seed", "ratio"]
    given = {"concepts": "star", "ratio": "1e-3", "images": "7", "profile": "3"}
    assert fit_parameters(given, defaults, "one") == {
        "concepts": ["star"], "ratio": 1e-3, "images": 7, "profile": "3",
    }  # fmt: skip
    assert fit_parameters({"ratio": 1}, defaults, "one") == {"ratio": 1}
    for line in ("images = 2 * 3", "del images"):
        made.source("one").write_text(CHAPTER.replace("images = 2", line).format())
        with pytest.raises(ValueError, match="parameter"):
            parameter_defaults(made.source("one"))


def test_no_notebooks(tmp_path, capsys):
    assert runner.main(["gate", "--root", str(tmp_path)]) == 2
    assert "no notebooks" in capsys.readouterr().err


def test_progress_bars_and_warnings_are_not_published():
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="\r100%|####| 4/4 [00:01<00:00]\n"),
        nbformat.v4.new_output("stream", name="stderr", text="/a/path/x.py:1: SomeWarning\n"),
        nbformat.v4.new_output("stream", name="stdout", text="50%| stays\n"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)])
    execute._tidy(notebook, "one")
    assert [out.text.strip() for out in notebook.cells[0].outputs] == ["50%| stays"]


def test_repository_settings_name_known_chapters():
    import tomllib

    tables = tomllib.loads((REPOSITORY / "data" / "book.toml").read_text(encoding="utf-8"))
    toc = (REPOSITORY / "_toc.yml").read_text(encoding="utf-8").split()
    for name, chapter in tables.items():
        assert f"notebooks/{name}" in toc
        assert set(chapter) <= {"quick", "full", "after"}


def test_stamp_by_hand(monkeypatch, capsys):
    for variable in (stamp.STARTED, stamp.COMMAND, stamp.PARAMETERS):
        monkeypatch.delenv(variable, raising=False)

    class Store:
        def report(self):
            return "reused 3 of 4"

    class Lab:
        profile, store, device = type("Profile", (), {"name": "mini"}), Store(), "cpu"

    made = stamp.stamp(Lab(), {"images": 5})
    facts = made.table()["stamp"]
    assert facts["profile"] == "mini" and facts["reuse"] == "reused 3 of 4"
    assert facts["parameters"] == "images = 5" and facts["device"].startswith("CPU")
    assert "to repeat" not in facts.index
    assert "torch" in made.versions and "<table" in made._repr_html_()
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    sys.modules.pop("IPython", None)
    stamp.show(None, {})
    assert "commit:" in capsys.readouterr().out


def test_commit(tmp_path):
    assert stamp.commit(tmp_path) == "unknown"
    if shutil.which("git") is None:
        return
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}

    def git(*words):
        settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *settings, *words], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, check=True)  # fmt: skip
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "one")
    head = git("rev-parse", "--short", "HEAD")
    assert stamp.commit(tmp_path) == head
    (tmp_path / "file").write_text("2")
    assert stamp.commit(tmp_path) == f"{head} with changes"


def test_command_line_can_be_pasted():
    text = stamp.command_line("05_defense", full=True, overrides={"concepts": ["a b"], "seed": 1})
    assert text == """python -m rbtc.book run 05_defense --full -p concepts '["a b"]' -p seed 1"""


def test_durations():
    assert stamp.duration(3.21) == "3.2 s"
    assert stamp.duration(75.2) == "1 min 15 s"
    assert stamp.duration(7300) == "2 h 1 min"


def test_a_cold_run_has_one_empty_store_for_all_pages_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "own"))
    made = make_book(tmp_path / "a", one=CHAPTER, two=CHAPTER)
    seen = []

    def executed(book, plan):
        store = Path(os.environ["RBTC_CACHE"])
        seen.append((store, sorted(path.name for path in store.iterdir()), plan))
        (store / plan.name).touch()

    monkeypatch.setattr(runner, "execute", executed)
    assert runner.main(["run", "--cold", "--jobs", "1", "--root", str(made.root)]) == 0
    (first, before, plan), (second, then, _) = seen
    assert first == second != tmp_path / "own" and (before, then) == ([], ["one"])
    assert plan.cold and plan.command.endswith("run one --cold")
    assert not first.exists() and os.environ["RBTC_CACHE"] == str(tmp_path / "own")
    monkeypatch.setattr(runner, "execute", lambda book, plan: seen.append(plan.cold))
    assert runner.main(["run", "one", "--root", str(made.root)]) == 0
    assert seen[-1] is False


def test_the_stamp_says_that_a_run_was_cold(monkeypatch):
    monkeypatch.setenv(stamp.COLD, "1")
    assert stamp.stamp(None, {}).table().loc["store", "stamp"] == "empty when the run began"
    monkeypatch.setenv(stamp.COLD, "0")
    assert "store" not in stamp.stamp(None, {}).table().index


def test_the_committed_readme_and_opening_are_what_their_command_writes(capsys):
    from rbtc.book import readme

    assert readme.main(["--root", str(REPOSITORY), "--check"]) == 0, capsys.readouterr().out


def test_the_readme_tells_cold_minutes_from_warm_ones(tmp_path):
    from rbtc.book.readme import minutes_table, temperature

    def page(name, **facts):
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["rbtc"] = {"wall_seconds": 90.0, **facts}
        path = tmp_path / "book" / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)

    with pytest.raises(FileNotFoundError, match="no executed page"):
        temperature(tmp_path)
    page("00_a", cold=True)
    assert "began with an empty store" in temperature(tmp_path)
    page("01_b", cold=False)
    page("02_c")  # of the time before
    assert "The pages marked warm may have read" in temperature(tmp_path)
    table = minutes_table(tmp_path).splitlines()
    assert [line.split("|")[5].strip() for line in table[2:5]] == ["cold", "warm", "warm"]
    assert [line.split("|")[2].strip() for line in table[2:5]] == ["-", "-", "-"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "book_run.json").write_text('{"pages": {"00_a": 120.0}}')
    table = minutes_table(tmp_path).splitlines()
    assert [line.split("|")[2].strip() for line in table[2:6]] == ["2.0", "-", "-", "2.0"]
    page("00_a")
    assert "The committed pages may have read" in temperature(tmp_path)
