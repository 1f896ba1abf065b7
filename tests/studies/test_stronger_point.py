"""How better signs get magnitudes: chosen on concepts that no chapter reports."""

import pandas as pd
import pytest

from rbtc.lab import Lab
from rbtc.models.profiles import load_profile
from rbtc.models.prompts import held_out_concepts
from rbtc.studies import stronger_point
from rbtc.studies.stronger_attack import BEST, PAPER, Way
from rbtc.studies.stronger_point import (
    COLUMNS,
    NAME,
    WAYS,
    choose_way,
    chosen_way,
    read_ways,
    way_sweep,
    ways_table,
)

TWO = (Way("neuron_max", 0.4), Way("completed", 1.0))


def test_the_committed_sweep_is_of_the_held_out_concepts_and_of_every_way():
    lab = Lab("mini", progress=False)
    sweep = read_ways(lab.profile)
    labels = {lab.subject(word).label for word in held_out_concepts(lab.profile)}
    assert set(sweep["concept"]) == labels
    tried = sweep[sweep["attack"] == BEST]
    ways = {Way(*one) for one in tried[["strategy", "keep_ratio"]].itertuples(index=False)}
    assert ways == set(WAYS)
    assert chosen_way(lab.profile) == choose_way(sweep) and chosen_way(lab.profile) in WAYS


def test_a_sweep_on_a_pipeline(lab):
    sweep = way_sweep(lab, ["church", "golf ball"], images=2, ways=TWO)
    assert list(sweep) == COLUMNS and len(sweep) == 2 * (2 + len(TWO))
    assert (sweep["n"] == 2).all() and sweep["hits"].between(0, 2).all()
    table = ways_table(sweep)
    assert list(table.index.get_level_values("attack")) == ["pruned", PAPER, BEST, BEST]
    assert all(share.n == 4 for share in table)


def counted(*hits):
    rows = [
        ("mini", "x", BEST, way.strategy, way.keep_ratio, n, 10)
        for way, n in zip(WAYS, hits, strict=False)
    ]
    return pd.DataFrame([*rows, ("mini", "x", PAPER, "", 0.0, 10, 10)], columns=COLUMNS)


def test_the_way_that_revives_most_is_taken_and_the_first_of_equals():
    assert choose_way(counted(1, 5, 5, 2)) == WAYS[1]
    with pytest.raises(ValueError, match="no row of the attack"):
        choose_way(counted())


def test_a_profile_without_a_sweep_takes_the_papers_way(tmp_path):
    profile = load_profile("mini")
    own = Way("neuron_max", profile.revive.keep_ratio)
    assert chosen_way(profile, tmp_path) == own
    other = counted(0, 0, 9).assign(profile="sd15")
    other.to_csv(tmp_path / f"{NAME}.csv", index=False)
    assert chosen_way(profile, tmp_path) == own
    other.drop(columns="n").to_csv(tmp_path / f"{NAME}.csv", index=False)
    with pytest.raises(ValueError, match="lacks the columns"):
        chosen_way(profile, tmp_path)


def test_bad_settings_are_refused_before_any_work(lab):
    for wrong in ({"images": 0}, {"images": 1, "ways": ()}):
        with pytest.raises(ValueError, match="must be a whole number"):
            way_sweep(lab, ["church"], **wrong)
    with pytest.raises(ValueError, match="keep_ratio"):
        way_sweep(lab, ["church"], images=1, ways=[Way("neuron_max", 2.0)])


def test_the_command_writes_its_table_and_keeps_those_of_others(tmp_path, monkeypatch, lab, capsys):
    monkeypatch.setattr(stronger_point, "Lab", lambda profile: lab)
    monkeypatch.setattr(stronger_point, "WAYS", TWO)
    monkeypatch.setattr(stronger_point, "held_out_concepts", lambda lab, n: ["church"])
    counted(3).assign(profile="another").to_csv(tmp_path / f"{NAME}.csv", index=False)
    sweep = way_sweep(lab, ["church"], images=1, ways=TWO)
    monkeypatch.setattr(stronger_point, "way_sweep", lambda *_, **__: sweep)
    stronger_point.main(["--folder", str(tmp_path), "--images", "1"])
    written = pd.read_csv(tmp_path / f"{NAME}.csv")
    assert set(written["profile"]) == {"another", lab.profile.name}
    assert "chosen: " in capsys.readouterr().out
