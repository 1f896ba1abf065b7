import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

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


@pytest.fixture
def signals():
    """A command sets handlers; here it is no process of its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("rbtc.book", "run no_such_chapter"),
        ("rbtc.emoji.report", "--profile maxi"),
        ("rbtc.emoji.report", "--folder {file}/results"),
        ("rbtc.emoji.report", "--images 0"),
        ("rbtc.emoji.train", "pack --run nowhere"),
        ("rbtc.emoji.variants", "A=nowhere"),
        ("rbtc.studies.operating_point", "--profile maxi"),
        ("rbtc.studies.operating_point", "--folder {file}/results"),
        ("rbtc.studies.operating_point", "--images 0 --folder {folder}"),
        ("rbtc.studies.operating_point", "--concepts 1 --folder {folder}"),
    ],
)
def test_command_lines_say_what_is_wrong_in_one_line_and_before_work(
    module, words, signals, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("RBTC_CACHE", str(tmp_path / "cache"))
    words = words.format(file=tmp_path / "file", folder=tmp_path).split()
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert left.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "rbtc.book", "gate"],
        ["-m", "rbtc.emoji.report"],
        ["-m", "rbtc.studies.operating_point"],
        ["benchmarks/completion.py"],
    ],
)
def test_ctrl_c_while_modules_load_is_quiet(words, tmp_path):
    reached = tmp_path / "reached"
    (tmp_path / "pandas.py").write_text(
        f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        stderr=subprocess.PIPE,
        text=True,
        # As from a terminal, also where the tests themselves run with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while not reached.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert reached.exists() and process.returncode == 130, told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("handler", "status"), [(signal.default_int_handler, 130), (signal.SIG_IGN, 0)]
)
def test_a_command_that_runs_hears_ctrl_c_again(handler, status, signals):
    signal.signal(signal.SIGINT, handler)
    command.loading()
    assert (signal.getsignal(signal.SIGINT) is handler) == (status == 0)
    with pytest.raises(SystemExit) as left:
        command.run(lambda: signal.raise_signal(signal.SIGINT))
    assert left.value.code == status


def test_a_device_is_tried_before_work():
    assert command.check_device("cpu") == "cpu"
    for name in ("nonsense", "meta", *([] if torch.cuda.is_available() else ["cuda", "cuda:7"])):
        with pytest.raises(ValueError, match=f"the device '{name}' cannot be used here") as told:
            command.check_device(name)
        assert "\n" not in str(told.value)
