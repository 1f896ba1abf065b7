import subprocess
import sys
from pathlib import Path

import pytest

from rbtc import command

ROOT = Path(__file__).parents[1]


def fail(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "status", "text"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (fail(ValueError("no such ratio")), 2, "error: no such ratio"),
        (fail(FileNotFoundError("no such file")), 2, "error: no such file"),
        (fail(ModuleNotFoundError("no jupytext", name="jupytext")), 2, "pip install"),
        (fail(KeyboardInterrupt()), 130, "stopped"),
    ],
)
def test_an_error_is_one_line(main, status, text, capsys):
    with pytest.raises(SystemExit) as left:
        command.run(main)
    assert left.value.code == status
    told = capsys.readouterr().err
    assert text in told and told.count("\n") <= 1


def test_our_own_faults_keep_their_traceback():
    for error in (KeyError("x"), ModuleNotFoundError("gone", name="rbtc.gone")):
        with pytest.raises(type(error)):
            command.run(fail(error))


@pytest.mark.parametrize(
    "words",
    [
        ["rbtc.book", "run", "no_such_chapter"],
        ["rbtc.emoji.report", "--profile", "maxi"],
        ["rbtc.emoji.train", "pack", "--run", "nowhere"],
        ["rbtc.emoji.variants", "A=nowhere"],
        ["rbtc.studies.operating_point", "--profile", "maxi"],
    ],
)
def test_command_lines_say_what_is_wrong_in_one_line(words):
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
