import pandas as pd
import pytest
from round_trip import assert_reads_back

from rbtc.lab import Lab
from rbtc.models.profiles import load_profile
from rbtc.models.prompts import held_out_concepts
from rbtc.studies.measuring import operating_point
from rbtc.studies.measuring.operating_point import (
    class_sweep,
    keep_sweep,
    measure,
    pruning_sweep,
)
from rbtc.studies.operating_point import (
    PAPER_KEEP,
    choose_keep,
    choose_pruning,
    class_table,
    keep_effects,
    paper_kept,
    read_sweeps,
    settings_table,
)


def test_the_profile_holds_what_the_committed_sweep_chooses():
    sweep, attacks = read_sweeps()
    choice, profile = choose_pruning(sweep), load_profile("mini")
    held = profile.conceptprune
    assert (choice["ratio"], choice["calls"], choice["reference"]) == (
        held.ratio, held.calls, held.reference,
    )  # fmt: skip
    assert choose_keep(attacks) == profile.revive.keep_ratio


def test_held_out_concepts_are_none_that_a_chapter_shows():
    lab = Lab("mini", progress=False)
    concepts = held_out_concepts(lab.profile)
    profile = lab.profile
    shown = {*profile.classes.values(), *profile.restricted, *profile.prompts.things}
    assert len(set(concepts)) == 8 and not shown & set(concepts)
    assert set(read_sweeps()[0]["concept"]) == set(concepts)
    with pytest.raises(ValueError, match="are free"):
        held_out_concepts(lab.profile, 10_000)


def sweep(rows, reference="scene"):
    """Settings with the given (density, erased hits, preserved hits) of 10 and 20."""
    lines = [("", 0, 0.0, 0.0, 10, 20)]
    lines += [(reference, 2, ratio, *of) for ratio, of in rows.items()]
    names = ["reference", "calls", "ratio", "density", "erased_hits", "preserved_hits"]
    frame = pd.DataFrame(lines, columns=names).assign(concept="x", erased_n=10, preserved_n=20)
    return frame


def test_the_owner_prunes_as_hard_as_the_papers():
    rows = {0.1: (0.05, 5, 20), 0.2: (0.1, 2, 18), 0.3: (0.3, 2, 19), 0.4: (0.4, 0, 8)}
    assert choose_pruning(sweep(rows))["ratio"] == 0.2  # of equals the one that cuts least
    assert choose_pruning(sweep(rows), kept=0.95)["ratio"] == 0.3
    assert choose_pruning(sweep(rows), kept=0.4)["ratio"] == 0.4
    assert len(settings_table(sweep(rows))) == 4
    with pytest.raises(ValueError, match="less than 110% of their accuracy at every setting"):
        choose_pruning(sweep(rows), kept=1.1)
    with pytest.raises(ValueError, match="with the reference 'scene'"):
        choose_pruning(sweep(rows, "objects"))


def test_the_papers_owner_lets_the_others_keep_what_table_1_says():
    assert paper_kept() == pytest.approx(0.80 / 0.93, abs=0.01)


def keeps(hits):
    """An attack's pictures: K -> hits of ten trials."""
    lines = [
        {"concept": "x", "classes": "erased", "asked": "x", "seed": seed, "keep_ratio": k,
         "hit": seed < n}
        for k, n in hits.items()
        for seed in range(10)
    ]  # fmt: skip
    return pd.DataFrame(lines)


def test_another_k_than_the_papers_needs_a_decided_gain():
    assert choose_keep(keeps({0.0: 0, 0.4: 6, 0.6: 5})) == PAPER_KEEP
    assert choose_keep(keeps({0.0: 0, 0.2: 9, 0.4: 10, 0.6: 0})) == 0.4
    assert set(keep_effects(keeps({0.0: 0, 0.4: 6, 0.6: 5}))) == {0.4}


def test_sweeps_on_a_pipeline(lab):
    options = {"images": 2, "other_images": 1}
    found = pruning_sweep(lab, ["church", "bus"], ratios=(0.2,), calls=(1, 2), **options)
    assert len(found) == 2 + 2 * (2 + 1)  # other references at the largest T only
    assert (found["erased_n"] == 2).all() and (found["preserved_n"] == 1).all()
    one = found[found["ratio"] > 0].iloc[0]
    assert one["density"] == pytest.approx(lab.density("church", ratio=0.2, calls=1,
                                                       reference="scene"))  # fmt: skip
    attacks = keep_sweep(lab, ["church", "bus"], ratio=0.2, calls=2, reference="scene",
                         keep_ratios=(0.6, 1.0), **options)  # fmt: skip
    assert len(attacks) == 2 * 3 * 3 and choose_keep(attacks) in (0.6, 1.0)
    with pytest.raises(ValueError, match="at least two concepts"):
        pruning_sweep(lab, ["church"], **options)


def test_the_reported_classes_are_shown_at_every_ratio(lab, tmp_path):
    study = measure(lab, ["church", "bus"], (0.1, 0.2), 2)
    hits = study.hits
    pd.testing.assert_frame_equal(hits, class_sweep(lab, ["church", "bus"], 2, ratios=(0.1, 0.2)))
    assert study.ratios == [0.1, 0.2]
    table = class_table(hits)
    assert list(table) == ["pretrained", "pruned, 0.1", "revived, 0.1", "pruned, 0.2",
                           "revived, 0.2"]  # fmt: skip
    assert table.index.tolist() == ["church", "school bus (bus)"]
    assert (hits.groupby("ratio")["density"].first().diff().dropna() > 0).all()
    assert_reads_back(study, tmp_path)


def test_the_command_writes_its_tables(lab, tiny_pipeline_folder, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("rbtc.lab.Lab", lambda profile: asked.append(profile.model) or lab)
    monkeypatch.setattr(operating_point, "held_out_concepts", lambda lab, n: ["church", "bus"])
    monkeypatch.setattr(operating_point, "choose_pruning", lambda s: choose_pruning(s, kept=0))
    full = operating_point.pruning_sweep
    monkeypatch.setattr(
        operating_point, "pruning_sweep", lambda *of, **options: full(*of, **options, calls=(2,))
    )
    grid = ["--ratios", "0.2", "--references", "scene", "--images", "2", "--other-images", "1"]
    operating_point.main([*grid, "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "chosen: {'ratio': 0.2, 'calls': 2, 'reference': 'scene'}" in printed
    assert len(read_sweeps(tmp_path)[0]) == 4
    other = ["--model", str(tiny_pipeline_folder), "--name", "other"]
    operating_point.main([*grid, *other, "--folder", str(tmp_path)])
    assert len(read_sweeps(tmp_path, "other")[1]) > 0
    assert asked == ["models/emoji-sd", str(tiny_pipeline_folder)]
    with pytest.raises(FileNotFoundError, match=r"run `python -m rbtc\.studies\.operating_point`"):
        read_sweeps(tmp_path / "elsewhere")
