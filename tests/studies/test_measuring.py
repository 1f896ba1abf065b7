"""What every measurement of a chapter has to do."""

import pytest
from measured import SMALL, TWO
from round_trip import assert_reads_back

from rbtc.studies.measuring import measuring


@pytest.mark.parametrize("chapter", SMALL)
def test_it_reads_back_as_it_was_measured(measured, chapter, tmp_path):
    assert_reads_back(measured(chapter), tmp_path)


WRONG = [
    ("00_overview", {"images": 0}, "images must be a whole number"),
    ("00_overview", {"concepts": []}, "at least 1 concepts"),
    ("00_overview", {"concepts": ["church", "church"]}, "each once"),
    ("00_overview", {"concepts": ["golf ball", "golf flag"]}, "each once"),
    ("00_overview", {"concepts": "church"}, "must be a list of names"),
    ("01_sign_vs_magnitude", {"pictures": 0}, "pictures must be"),
    ("02_matrix_completion", {"concepts": []}, "at least 1 concepts"),
    ("02_matrix_completion", {"iterations": 1}, "at least 2"),
    ("03_topk_alignment", {"ratios": [2]}, r"ratios must .* \(0, 1\]"),
    ("03_topk_alignment", {"shown": [0.0]}, "shown must"),
    ("04_nms_ablations", {"strategies": ["loud"]}, "unknown strategies"),
    ("04_nms_ablations", {"strategies": ["Neuron Sample"]}, "NMS among"),
    ("04_nms_ablations", {"sweep": ["bus", "bus"]}, "each once"),
    ("04_nms_ablations", {"draw_seeds": []}, "draw_seeds must hold one"),
    ("04_nms_ablations", {"draw_seeds": [1, 1]}, "draw_seeds .* each once"),
    ("04_nms_ablations", {"keep_ratios": []}, "keep_ratios must"),
    ("04_nms_ablations", {"keep_ratios": [2]}, r"\(0, 1\], not \[2\]"),
    ("04_nms_ablations", {"keep_ratios": [float("nan")]}, "keep_ratios must"),
    *(
        ("05_defense", {"sigmas": [wrong], "attack_sigmas": []}, "sigmas must be finite")
        for wrong in (0.0, -1.0, float("inf"), float("nan"), "x")
    ),
    ("05_defense", {"sigmas": (), "attack_sigmas": ()}, "sigmas must"),
    ("05_defense", {"share": 0}, r"share must .* \(0, 1\]"),
    ("05_defense", {"sigmas": (1e-3,)}, "not among sigmas"),
    ("05_defense", {"preserved_for": ["candle"]}, "not among"),
    ("05_defense", {"variances": [0.0]}, "positive"),
    ("06_art", {"concepts": "openmoji"}, "must be a list of names"),
    ("06_art", {"concepts": []}, "each once"),
    ("06_art", {"concepts": ["openmoji", "OpenMoji"]}, "each once"),
    ("06_art", {"concepts": ["monet"]}, "unknown style"),
    ("06_art", {"other_images": -1}, "other_images"),
    ("06_art", {"neutral_images": 1}, "from 2 to 60, not 1"),
    ("07_nsfw", {"concepts": ["anchor"]}, r"out of \['church', 'bus'\]"),
    ("07_nsfw", {"concepts": ["bus", "bus"]}, "each once"),
    ("07_nsfw", {"concepts": "bus"}, "must be a list of names"),
    ("07_nsfw", {"keep_ratios": [0]}, r"\(0, 1\], not \[0\]"),
    ("07_nsfw", {"prompts": 0}, "prompts must be a whole number"),
    ("07_nsfw", {"prompt_files": ["COCO=a.csv"]}, "unknown prompt sets"),
    ("07_nsfw", {"prompt_files": ["a.csv"]}, "as 'SET=FILE'"),
    ("08_objects", {"other_images": 0}, "other_images must be"),
    ("08_objects", {"other_classes": -1}, "other_classes must be"),
    ("08_objects", {"draw_seeds": []}, "draw_seeds"),
    ("08_objects", {"draw_seeds": [3, 3]}, "each once"),
    ("09_saliency", {"forget": 0}, "forget must be"),
    ("09_saliency", {"passes": 0}, "passes must be"),
    ("09_saliency", {"loss_guidance": float("nan")}, "loss_guidance must be"),
    ("09_saliency", {"other_images": 0}, "other_images must be"),
    ("09_saliency", {"budgets": [2]}, "budgets must lie"),
    ("12_signed_zeros", {"images": 0}, "at least 1"),
    ("12_signed_zeros", {"pictures": 0}, "at least 1"),
    ("13_audit", {"concepts": ["church"]}, "at least 2 concepts"),
    ("13_audit", {"factors": ()}, "factors must"),
    ("13_audit", {"factors": (1, 1)}, "each once"),
    ("13_audit", {"factors": (0,)}, "factors must"),
    ("13_audit", {"repeats": 0}, "repeats must be"),
    ("14_stronger_attack", {"concepts": ["church"]}, "at least 2"),
    ("14_stronger_attack", {"images": 0}, "images must be"),
    ("15_honest_attacker", {"sigmas": (0.0,)}, "sigmas must"),
    ("15_honest_attacker", {"sigmas": ()}, "sigmas must"),
    ("15_honest_attacker", {"hidings": ("deep",)}, "deep"),
    ("15_honest_attacker", {"cutoff": 0.0}, "cutoff"),
    ("15_honest_attacker", {"images": 0}, "images"),
    ("16_several_concepts", {"counts_together": (1, 3)}, "counts must grow"),  # none is preserved
    ("16_several_concepts", {"counts_together": (2, 1)}, "counts must grow"),
    ("16_several_concepts", {"counts_together": ()}, "counts must grow"),
    ("16_several_concepts", {"counts_together": (0, 1)}, "whole number"),
    ("16_several_concepts", {"sets": 4}, "at most 3 sets"),
    ("16_several_concepts", {"guesses": 4}, "guesses must lie"),
    ("16_several_concepts", {"other_words": 10_000}, "other words"),
    ("92_explorers", {"concepts": TWO[:1]}, "at least 2"),
    ("92_explorers", {"keep_ratios": [1.5]}, "keep_ratios must"),
    ("92_explorers", {"ratios": [2.0]}, "ratio must"),
]


@pytest.mark.parametrize(("chapter", "options", "message"), WRONG)
def test_bad_parameters_are_refused_before_any_work(lab, chapter, options, message, monkeypatch):
    for work in ("images", "weights", "json"):
        monkeypatch.setattr(lab.store, work, lambda *_, **__: pytest.fail("work was begun"))
    with pytest.raises(ValueError, match=message):
        measuring(chapter)(lab, **{**SMALL[chapter], **options})
