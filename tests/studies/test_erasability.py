import pandas as pd
import pytest

from rbtc.stats import Proportion
from rbtc.studies.erasability import (
    COLUMNS,
    erasing_curves,
    product,
    read_variants,
    summary,
    yardstick,
)


@pytest.fixture
def scores():
    rows = []
    for name, pruned in (("A", 9), ("B", 3)):
        for concept in ("church", "bus"):
            levers = {"activation_sparsity": 0, "neuron_sparsity": 1, "styled": 0.5,
                      "text_width": 48}  # fmt: skip
            common = {"variant": name, "concept": concept, "pictures": 7, **levers,
                      "erased_n": 10, "preserved_n": 5}  # fmt: skip
            cut = {"ratio": 0.1, "density": 0.08, "sign_accuracy": 0.7}
            rows += [
                {**common, "model": "pretrained", "erased_hits": 10, "preserved_hits": 5},
                {**common, "model": "no feed-forward", "erased_hits": 0, "preserved_hits": 0},
                {**common, **cut, "model": "pruned", "erased_hits": pruned, "preserved_hits": 4},
                {**common, **cut, "model": "revived", "keep_ratio": 0.6, "erased_hits": 8,
                 "preserved_hits": 4},
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_curves_start_at_the_pretrained_model(scores):
    curves = erasing_curves(scores)
    assert curves["B"] == {0.0: Proportion(20, 20), 8.0: Proportion(6, 20)}
    assert erasing_curves(scores, "revived", keep_ratio=0.6)["A"][8.0] == Proportion(16, 20)
    assert erasing_curves(scores, part="preserved")["A"][8.0] == Proportion(8, 10)


def test_a_line_per_variant(scores):
    table = summary(scores, 0.1, 0.6)
    assert list(table.index) == ["A", "B"]
    assert table.loc["B", "pruned"] == Proportion(6, 20)
    assert table.loc["B", "no feed-forward"] == Proportion(0, 20)
    assert table.loc["B", "product"] == pytest.approx(1 * 0.7 * 0.8)
    with pytest.raises(ValueError, match=r"no variant was attacked at ratio 0\.2"):
        summary(scores, 0.2, 0.6)


def test_the_yardstick_is_read_between_the_counted_densities(scores):
    found = yardstick(scores, 0.6)
    assert found.loc["A"].isna().all()  # .9 is left of it
    assert found.loc["B", "density, %"] == pytest.approx(8 * 0.4 / 0.7)
    assert found.loc["B", "others keep"] == pytest.approx(1 - 0.2 * 0.4 / 0.7)


def test_the_product_rewards_what_is_drawn_lost_and_found_again():
    assert product(Proportion(10, 10), Proportion(0, 10), Proportion(10, 10)) == 1
    assert product(Proportion(8, 10), Proportion(8, 10), Proportion(8, 10)) == 0
    assert product(Proportion(0, 10), Proportion(0, 10), Proportion(0, 10)) == 0


def test_a_missing_or_foreign_file_is_named(tmp_path, scores):
    with pytest.raises(FileNotFoundError, match=r"rbtc\.emoji\.variants"):
        read_variants(tmp_path)
    path = tmp_path / "emoji_variants.csv"
    scores.to_csv(path, index=False)
    assert set(read_variants(tmp_path)) >= COLUMNS
    scores.drop(columns="density").to_csv(path, index=False)
    with pytest.raises(ValueError, match="lacks the columns"):
        read_variants(tmp_path)
