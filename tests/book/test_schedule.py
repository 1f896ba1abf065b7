"""Which chapter runs when, and chapters side by side, on tiny books in temporary folders."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from rbtc.book import runner, schedule
from rbtc.book.execute import Plan
from rbtc.book.pages import Book
from rbtc.book.record import run_sentence
from rbtc.book.schedule import Queue

REPOSITORY = Path(__file__).resolve().parents[2]
WAITS = """\
# %%
import pathlib, time

pathlib.Path("{name}.started").touch()
end = time.monotonic() + 60
while not all(pathlib.Path(n).exists() for n in {needed!r}) and time.monotonic() < end:
    time.sleep(0.05)
assert time.monotonic() < end
{then}
"""


def plans(*names):
    return [Plan(name, "quick", {}, {}, {}) for name in names]


def make_book(root: Path, settings: str = "", **chapters: str) -> Book:
    (root / "notebooks").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "jupytext.toml").write_text((REPOSITORY / "jupytext.toml").read_text())
    (root / "data" / "book.toml").write_text(settings, encoding="utf-8")
    for name, text in chapters.items():
        (root / "notebooks" / f"{name}.py").write_text(text, encoding="utf-8")
    return Book(root)


def waits(name: str, *needed: str, then: str = "") -> str:
    return WAITS.format(name=name, needed=list(needed), then=then)


def test_readers_come_after_their_makers_and_the_longest_first():
    queue = Queue(plans("a", "b", "c", "d"), {"a": ["b", "c"], "d": ["a"]}, {"b": 1, "c": 9})
    first, second = queue.next(longest=True), queue.next(longest=True)
    assert first and second and (first.name, second.name) == ("c", "b")
    assert queue.next(longest=True) is None
    queue.done("c", True)
    assert queue.next() is None and queue.size == 3
    queue.done("b", True)
    third = queue.next()
    assert third and third.name == "a"


def test_one_by_one_keeps_the_order_of_the_book():
    seen = []
    queue = Queue(plans("a", "b", "c"), {"a": ["c"], "b": ["elsewhere"]}, {"c": 5})
    assert schedule.run_one_by_one(queue, lambda plan: not seen.append(plan.name)) == []
    assert seen == ["b", "c", "a"]


def test_what_reads_a_failed_chapter_fails_with_it(capsys):
    queue = Queue(plans("a", "b", "c", "d"), {"b": ["a"], "c": ["b"]})
    assert schedule.run_one_by_one(queue, lambda plan: plan.name != "a") == ["a", "b", "c"]
    assert "b was not run: it reads what a writes" in capsys.readouterr().err


def test_chapters_that_wait_for_each_other():
    with pytest.raises(ValueError, match="b, c wait for each other"):
        Queue(plans("a", "b", "c"), {"b": ["c"], "c": ["b"]})


def test_after_in_the_settings(tmp_path):
    cell = "# %%\n1\n"
    settings = '[c]\nafter = ["*"]\n[d]\nafter = ["*", "c"]\n'
    made = make_book(tmp_path, settings, a=cell, b=cell, c=cell, d=cell)
    assert [made.after(name) for name in "abcd"] == [[], [], ["a", "b"], ["a", "b", "c"]]
    (tmp_path / "data" / "book.toml").write_text('[c]\nafter = ["c"]\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[c\] after must list other notebooks"):
        runner.run(made)


def test_side_by_side(tmp_path):
    """Each of two chapters waits for the other to have begun; a third reads both."""
    settings = '[0_reader]\nafter = ["*"]\n'
    made = make_book(
        tmp_path,
        settings,
        **{
            "0_reader": "# %%\nprint(open('a.done').read() + open('b.done').read())\n",
            "a": waits("a", "b.started", then="open('a.done', 'w').write('A')"),
            "b": waits("b", "a.started", then="open('b.done', 'w').write('B')"),
        },
    )
    assert runner.run(made, jobs=2) == []
    for name in made.names():
        facts = nbformat.read(made.page(name), as_version=4).metadata["rbtc"]
        assert facts["name"] == name and facts["command"].endswith(f"run {name}")
    assert (tmp_path / "_build" / "logs" / "a.log").is_file()
    record = json.loads((tmp_path / "results" / "book_run.json").read_text())
    assert record["chapters"] == 3 and record["jobs"] == 2 and record["cold"] is False
    assert set(record["pages"]) == {*made.names()}
    assert "All 3 chapters in their quick form, 2 side by side" in run_sentence(made)


def test_a_failure_beside_a_success(tmp_path, capfd):
    made = make_book(tmp_path, a="# %%\n1\n", b="# %%\nraise RuntimeError('no such luck')\n")
    assert runner.main(["run", "--jobs", "2", "--root", str(tmp_path)]) == 1
    told = capfd.readouterr().err
    assert "no such luck" in told and "b failed: its log is" in told and "failed: b" in told
    assert "Traceback" not in told
    assert "Traceback" in (tmp_path / "_build" / "logs" / "b.log").read_text(encoding="utf-8")
    assert made.page("a").is_file() and not made.page("b").exists()


def test_jobs_must_be_positive(tmp_path, capsys):
    make_book(tmp_path, a="# %%\n1\n")
    assert runner.main(["run", "--jobs", "0", "--root", str(tmp_path)]) == 2
    assert "jobs must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_takes_its_chapters_along(tmp_path, how):
    then = "open(__import__('os').environ.get('X', 'pid-') + str(__import__('os').getpid()), 'w')"
    slow = "\n__import__('time').sleep(60)"
    made = make_book(tmp_path, a=waits("a", then=then + slow), b=waits("b", then=then + slow))
    words = [sys.executable, "-m", "rbtc.book", "run", "--jobs", "2", "--root", str(tmp_path)]
    process = subprocess.Popen(
        words,
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        # A shell's background jobs ignore Ctrl-C, and so do their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 90
    while len(list(tmp_path.glob("pid-*"))) < 2 and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.1)
    kernels = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(kernels) == 2
    process.send_signal(how)
    assert process.wait(30) in (130, 143)
    end = time.monotonic() + 20
    while any(map(alive, kernels)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, kernels))
    assert not made.page("a").exists() and not made.page("b").exists()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
