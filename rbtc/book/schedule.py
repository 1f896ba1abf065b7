"""Which chapter runs when: side by side, one a core, readers of results after their makers."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from rbtc.book.execute import (
    Plan,
    environment_of,
    execute,
    failure,
    log_of,
    notebook_errors,
)
from rbtc.book.pages import Book

MOST_JOBS = 4
"""Chapters that run side by side by default, whatever the cores: each holds a model in memory."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs() -> int:
    """One chapter a core, four at most; one where a GPU does the work."""
    import torch

    return 1 if torch.cuda.is_available() else min(cores(), MOST_JOBS)


def minutes(book: Book, names: Iterable[str]) -> dict[str, float]:
    """Minutes that the committed pages took; infinite for a chapter without a page."""
    import nbformat

    found = {}
    for name in names:
        found[name] = float("inf")
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            facts = nbformat.read(book.page(name), as_version=4).metadata["rbtc"]
            found[name] = float(facts["wall_seconds"]) / 60
    return found


class Queue:
    """Chapters that wait, run, are done or failed."""

    def __init__(
        self,
        plans: Sequence[Plan],
        after: Mapping[str, Sequence[str]],
        minutes: Mapping[str, float] | None = None,
    ) -> None:
        """Keep the plans.

        Args:
            plans: the chapters, in the book's order.
            after: by chapter, those that have to be done before it; others of no concern.
            minutes: how long each is expected to take.

        Raises:
            ValueError: chapters wait for each other.
        """
        self._waiting = {plan.name: plan for plan in plans}
        self._after = {
            name: set(after.get(name, ())) & set(self._waiting) for name in self._waiting
        }
        self._minutes = dict(minutes or {})
        self._left = set(self._waiting)
        self.failed: list[str] = []
        done: set[str] = set()
        while ready := {n for n in self._left - done if self._after[n] <= done}:
            done |= ready
        if ring := sorted(self._left - done):
            raise ValueError(f"the chapters {', '.join(ring)} wait for each other: see book.toml")

    @property
    def size(self) -> int:
        """Chapters that are not done."""
        return len(self._left)

    def next(self, *, longest: bool = False) -> Plan | None:
        """Take a chapter that can run now, the first one or the longest; None if there is none."""
        ready = [name for name in self._waiting if not self._after[name] & self._left]
        if not ready:
            return None
        chosen = max(ready, key=lambda n: self._minutes.get(n, 0.0)) if longest else ready[0]
        return self._waiting.pop(chosen)

    def done(self, name: str, good: bool) -> None:
        """Note the end of a chapter; those that read what it failed to write fail with it."""
        self._left.discard(name)
        if good:
            return
        self.failed.append(name)
        for reader in [n for n in self._waiting if name in self._after[n]]:
            del self._waiting[reader]
            print(f"{reader} was not run: it reads what {name} writes", file=sys.stderr)
            self.done(reader, False)


def run_one_by_one(queue: Queue, attempt: Callable[[Plan], bool]) -> list[str]:
    """Run all chapters in their order; return the names that failed."""
    while plan := queue.next():
        queue.done(plan.name, attempt(plan))
    return queue.failed


def run_side_by_side(queue: Queue, book: Book, jobs: int) -> list[str]:
    """Run up to ``jobs`` chapters at a time, the longest first; return the names that failed.

    Each runs in a process of its own, with its share of the cores. What its kernel says goes to
    ``_build/logs/NAME.log``. If this process is stopped, so are they.
    """
    from tqdm.auto import tqdm

    context = multiprocessing.get_context("spawn")  # torch and fork do not go together
    running: dict[str, Any] = {}
    began = time.monotonic()
    with environment_of(_share(jobs)), tqdm(total=queue.size, desc="chapters", unit="") as bar:
        try:
            while True:
                while len(running) < jobs and (plan := queue.next(longest=True)):
                    log = log_of(book, plan.name)
                    running[plan.name] = context.Process(target=_child, args=(book, plan, log))
                    running[plan.name].start()
                if not running:
                    return queue.failed
                bar.set_postfix_str(", ".join(running))
                wait([process.sentinel for process in running.values()], timeout=1)
                bar.refresh()
                for name, process in list(running.items()):
                    if process.is_alive():
                        continue
                    del running[name]
                    if process.exitcode:
                        print(f"{name} failed: its log is {log_of(book, name)}", file=sys.stderr)
                    else:
                        minutes = (time.monotonic() - began) / 60
                        bar.write(f"{name} is done, {minutes:.1f} min after the start", sys.stderr)
                    left = queue.size
                    queue.done(name, process.exitcode == 0)
                    bar.update(left - queue.size)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.join()


def _share(jobs: int) -> dict[str, str]:
    """Environment in which ``jobs`` processes do not wait for each other's threads."""
    wanted = {
        "OMP_NUM_THREADS": str(max(1, cores() // jobs)),
        "GOMP_SPINCOUNT": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return {key: os.environ.get(key, value) for key, value in wanted.items()}


def _child(book: Book, plan: Plan, log: Path) -> None:
    """Execute one chapter in a process of its own; its status is 0 if all went well."""
    # As Ctrl-C does, so that papermill takes its kernel along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    with log.open("w", encoding="utf-8") as stream:
        try:
            execute(book, plan, log=stream)
        except notebook_errors() as error:
            print(error, file=stream)
            print(f"{plan.name} failed: {failure(error)}", file=sys.stderr)
            sys.exit(1)
        except (ValueError, OSError) as error:
            print(f"{plan.name} failed: {error}", file=sys.stderr)
            sys.exit(2)
