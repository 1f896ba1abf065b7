# pyright: reportAttributeAccessIssue=false
# (ray is optional)
"""Pictures drawn by several workers at once: one pipeline a GPU, on one machine or on many.

Every worker takes the next of the batches that a single process would draw, and what comes back is
filed in the same store under the same keys. A worker keeps to one core and one thread: the same
batches give the same bytes as one process with one thread on the same kind of device. A lost worker
costs the batch it had, and a run whose head is lost goes on from what was filed.

``Lab(engine=RayEngine(profile, workers=4))`` takes Ray, and so does ``RBTC_ENGINE=ray:4`` in the
environment; the default draws in this process.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from rbtc.lab.pipeline_state import PipelineState
from rbtc.lab.store import Batch
from rbtc.lab.variant import Variant
from rbtc.models.pipelines import default_device
from rbtc.models.profiles import Profile

ENGINE = "RBTC_ENGINE"
"""Environment variable: "ray", or "ray:4" for so many workers."""

TRIES = 3
"""A batch that takes so many workers down with it is given up."""

CORES = 1
"""Processor cores, and threads, of a worker: another number of threads rounds other last bits."""


def ray_installed() -> bool:
    """Whether Ray is there; it is not imported."""
    return importlib.util.find_spec("ray") is not None


class _Worker:
    """One pipeline, in a process of its own."""

    def __init__(self, load: Callable[[], PipelineState], profile: Profile) -> None:
        torch.set_num_threads(CORES)  # whatever OMP_NUM_THREADS says where the worker runs
        self.pipeline_state, self.profile = load(), profile

    def draw(
        self, variant: Variant, prompts: list[str], seeds: list[int]
    ) -> tuple[Batch, np.ndarray]:
        """One batch, and its pictures."""
        return (prompts, seeds), self.pipeline_state.draw(variant, self.profile, prompts, seeds)


class RayEngine:
    """Workers that draw what a store lacks; they start when they are first needed.

    A cluster that is already running (``RAY_ADDRESS``) is used, otherwise one begins on this
    machine. The model has to be readable wherever a worker runs.

    Args:
        profile: the model and its settings.
        workers: how many; None takes one per GPU of the cluster, or one per CPU core without any.
        load: makes a worker's state; None loads the profile's model.
        on_batch: called after a batch was filed, with the number of batches filed so far.

    Raises:
        ImportError: Ray is not installed.
        ValueError: fewer than one worker.
    """

    def __init__(
        self,
        profile: Profile,
        workers: int | None = None,
        *,
        load: Callable[[], PipelineState] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        if not ray_installed():
            raise ImportError(
                "drawing with several workers needs Ray, an optional dependency: "
                "pip install 'rbtc[ray]'"
            )
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.profile, self.workers, self.on_batch = profile, workers, on_batch
        self._load = load or (lambda: PipelineState.load(profile, torch.device(default_device())))
        self._actors: list[Any] = []

    def draw(
        self, variant: Variant, batches: Sequence[Batch]
    ) -> Iterator[tuple[Batch, np.ndarray]]:
        """Batches with their pictures, uint8 (n, h, w, 3), as they are done.

        Raises:
            RuntimeError: a batch took several workers down with it.
        """
        import ray
        from ray.util import ActorPool

        self._start()
        sent = ray.put(Variant(variant.label, variant.config, dict(variant.weights)))
        pool = ActorPool(self._actors)
        try:
            done: Any = pool.map_unordered(lambda one, part: one.draw.remote(sent, *part), batches)
            for filed, found in enumerate(done, start=1):
                yield found  # whoever takes it files it before asking for the next
                if self.on_batch is not None:
                    self.on_batch(filed)
        except ray.exceptions.RayTaskError:
            raise  # what drawing itself raised, of its own kind
        except ray.exceptions.RayError as error:
            self.close()
            raise RuntimeError(
                f"{TRIES} workers were lost over the same pictures; what was drawn before is "
                f"filed. The last one: {str(error).strip().splitlines()[-1]}"
            ) from error

    def _start(self) -> None:
        import ray

        if self._actors:
            return
        if not ray.is_initialized():
            ray.init(
                num_cpus=None if os.environ.get("RAY_ADDRESS") else self.workers,
                include_dashboard=False,
                log_to_driver=False,
            )
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = self.workers or gpus or max(1, int(resources.get("CPU", 1)))
        # Ray starts a lost worker anew and gives it the batch that it had.
        worker = ray.remote(_Worker).options(
            num_cpus=CORES, num_gpus=min(gpus, 1), max_restarts=-1, max_task_retries=TRIES - 1
        )
        self._actors = [worker.remote(self._load, self.profile) for _ in range(count)]

    def close(self) -> None:
        """End the workers; the cluster stays."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


def engine_of(name: str, profile: Profile) -> RayEngine | None:
    """The engine that a name means: "" is none, "ray" and "ray:4" are Ray's.

    Raises:
        ValueError: another name.
        ImportError: Ray is not installed.
    """
    kind, _, count = name.strip().partition(":")
    if not kind:
        return None
    if kind != "ray" or (count and not count.isdigit()):
        raise ValueError(f'{ENGINE} must be empty, "ray" or "ray:4", not {name!r}')
    return RayEngine(profile, int(count) if count else None)
