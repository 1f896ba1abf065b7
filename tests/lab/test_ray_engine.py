"""Two workers on the miniature draw what one process draws, whoever is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rbtc.lab import Lab
from rbtc.lab.ray_engine import RayEngine, engine_of
from rbtc.models.profiles import load_profile

ray = pytest.importorskip("ray")
PROMPTS = ["a church", "a bus", "a star"] * 4
SEEDS = list(range(12))


@pytest.fixture(scope="module")
def profile():
    import dataclasses

    return dataclasses.replace(load_profile("mini"), steps=2, batch_size=3)


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("OMP_NUM_THREADS", "2")  # inherited by workers, which keep to one core
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def alone(profile, tmp_path_factory):
    """What one process draws, of two models, and from which folder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers
    try:
        lab = Lab(profile, store=tmp_path_factory.mktemp("alone"), progress=False, device="cpu")
        return {variant.label: draw(lab, variant) for variant in variants(lab)}
    finally:
        torch.set_num_threads(threads)


def variants(lab):
    weights = {name: -weight for name, weight in lab.pretrained.weights.items()}
    return [lab.pretrained, lab.owner.custom("negative", weights)]


def draw(lab, variant):
    return lab.measure.images(variant, PROMPTS, SEEDS)


@pytest.fixture(scope="module")
def engine(profile, cluster):
    """Two workers for all tests: each costs the seconds in which a process loads the model."""
    engine = RayEngine(profile, workers=2)
    yield engine
    engine.close()


@pytest.fixture
def lab(profile, engine, tmp_path):
    engine.on_batch = None
    return Lab(profile, store=tmp_path, progress=False, device="cpu", engine=engine)


def test_workers_draw_the_same_bytes(lab, alone):
    for variant in variants(lab):
        np.testing.assert_array_equal(draw(lab, variant), alone[variant.label])
    assert not (alone["pretrained"] == alone["negative"]).all()
    assert lab.store.computed["images"] == 24  # all filed, each once


def test_a_lost_worker_costs_its_batch(lab, engine, alone):
    def kill(filed):
        if filed == 1:
            ray.kill(engine._actors[0], no_restart=False)

    engine.on_batch = kill
    np.testing.assert_array_equal(draw(lab, lab.pretrained), alone["pretrained"])


def test_a_run_whose_head_is_stopped_goes_on(profile, lab, engine, alone):
    def stop(filed):
        if filed == 2:
            raise KeyboardInterrupt

    engine.on_batch = stop
    with pytest.raises(KeyboardInterrupt):
        draw(lab, lab.pretrained)
    engine.on_batch = None
    again = Lab(profile, store=lab.store.root, progress=False, device="cpu", engine=engine)
    np.testing.assert_array_equal(draw(again, again.pretrained), alone["pretrained"])
    assert again.store.computed["images"] == 12 - 2 * 3
    idle = RayEngine(profile, workers=2)  # everything is there: no worker starts
    last = Lab(profile, store=lab.store.root, progress=False, device="cpu", engine=idle)
    draw(last, last.pretrained)
    assert idle._actors == []


def test_a_batch_that_no_worker_survives_is_given_up(profile, engine, tmp_path):
    engine.close()  # else no core is free for another worker

    def broken():
        raise ValueError("no such model")

    broke = RayEngine(profile, workers=1, load=broken)
    lab = Lab(profile, store=tmp_path, progress=False, device="cpu", engine=broke)
    with pytest.raises(RuntimeError, match=r"(?s)workers were lost.*no such model"):
        draw(lab, lab.pretrained)
    broke.close()


def test_the_engine_is_named_in_the_environment(profile, monkeypatch, tmp_path):
    monkeypatch.setenv("RBTC_ENGINE", "ray:3")
    assert Lab(profile, store=tmp_path).measure.engine.workers == 3
    monkeypatch.setenv("RBTC_ENGINE", "")
    assert Lab(profile, store=tmp_path).measure.engine is None
    assert engine_of("ray", profile).workers is None
    for name in ("dask", "ray:x"):
        with pytest.raises(ValueError, match='must be empty, "ray" or "ray:4"'):
            engine_of(name, profile)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        RayEngine(profile, 0)


def test_without_ray_the_message_says_what_to_install(profile, monkeypatch):
    monkeypatch.setattr("rbtc.lab.ray_engine.ray_installed", lambda: False)
    with pytest.raises(ImportError, match=r"rbtc\[ray\]"):
        engine_of("ray", profile)
