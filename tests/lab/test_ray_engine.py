"""Two workers on the miniature draw what one process draws, whoever is lost on the way."""

from __future__ import annotations

import os
import warnings

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
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
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


def together(profile, store, **options):
    engine = RayEngine(profile, workers=2, **options)
    return engine, Lab(profile, store=store, progress=False, device="cpu", engine=engine)


def test_workers_draw_the_same_bytes(profile, cluster, alone, tmp_path):
    engine, lab = together(profile, tmp_path)
    for variant in variants(lab):
        np.testing.assert_array_equal(draw(lab, variant), alone[variant.label])
    assert not (alone["pretrained"] == alone["negative"]).all()
    assert lab.store.computed["images"] == 24  # all filed, each once
    engine.close()


def test_a_lost_worker_costs_its_batch(profile, cluster, alone, tmp_path):
    def kill(filed):
        if filed == 1:
            ray.kill(engine._actors[0])
            ray.kill(engine._actors[1])

    engine, lab = together(profile, tmp_path, on_batch=kill)
    with pytest.warns(RuntimeWarning, match="a worker was lost .*draws its 3 pictures again"):
        images = draw(lab, lab.pretrained)
    np.testing.assert_array_equal(images, alone["pretrained"])
    engine.close()


def test_a_run_whose_head_is_killed_goes_on(profile, cluster, alone, tmp_path):
    def stop(filed):
        if filed == 2:
            raise KeyboardInterrupt

    engine, lab = together(profile, tmp_path, on_batch=stop)
    with pytest.raises(KeyboardInterrupt):
        draw(lab, lab.pretrained)
    engine.close()
    engine, lab = together(profile, tmp_path)
    assert len(lab.measure.missing(lab.pretrained, PROMPTS, SEEDS)) == 12 - 2 * 3
    np.testing.assert_array_equal(draw(lab, lab.pretrained), alone["pretrained"])
    assert lab.store.computed["images"] == 6
    engine.close()
    engine, lab = together(profile, tmp_path)  # everything is there: no worker starts
    draw(lab, lab.pretrained)
    assert engine._actors == []


def test_what_drawing_raises_is_raised(profile, cluster, tmp_path):
    def broken():
        raise ValueError("no such model")

    engine, lab = together(profile, tmp_path, load=broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            RuntimeError, match=r"(?s)3 workers were lost over the same 3 pictures.*no such model"
        ):
            draw(lab, lab.pretrained)
    engine.close()


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
