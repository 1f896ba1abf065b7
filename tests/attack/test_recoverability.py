"""Hide and complete: what is hidden, what is counted, and what the count is worth."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbtc.attack.completion import Completion, complete
from rbtc.attack.recoverability import estimate_sign_accuracy


def low_rank(rows=40, columns=120, rank=4, seed=0, noise=0.05):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=generator)
    right = torch.randn(rank, columns, generator=generator)
    return left @ right + noise * torch.randn(rows, columns, generator=generator)


def largest(weight, count):
    """True for the `count` largest |w| of each row."""
    rank = weight.abs().argsort(dim=1, descending=True).argsort(dim=1)
    return rank < count


def spy(seen, sign=1.0, truth=None):
    """A completion that remembers what it was given and answers with the truth times `sign`."""

    def completed(weight, missing):
        seen.append((weight.clone(), missing.clone()))
        values = torch.zeros(int(missing.sum())) if truth is None else truth[missing] * sign
        return Completion(values, missing, 1, (), True, "spy")

    return completed


def test_the_largest_survivors_of_each_row_are_hidden_and_not_shown():
    weight = low_rank()
    missing = largest(weight, 5)
    seen = []
    found = estimate_sign_accuracy(
        weight, missing, fraction=0.05, choose="largest", complete=spy(seen, truth=weight)
    )
    ((shown, gone),) = seen
    assert torch.equal(gone, largest(weight, 11))  # 5 pruned and the next 6 = 5 % of 120
    assert (shown[gone] == 0).all() and torch.equal(shown[~gone], weight[~gone])
    assert (found.hits, found.n) == (40 * 6, 40 * 6)


def test_wrong_and_zero_estimates_count_as_wrong():
    weight = low_rank()
    none = torch.zeros_like(weight, dtype=torch.bool)
    assert estimate_sign_accuracy(weight, none, complete=spy([], -1.0, weight)).hits == 0
    assert estimate_sign_accuracy(weight, none, complete=spy([])).hits == 0


def test_repeats_hide_no_weight_twice():
    weight = low_rank()
    none = torch.zeros_like(weight, dtype=torch.bool)
    for choose in ("largest", "random"):
        seen = []
        found = estimate_sign_accuracy(
            weight, none, fraction=0.1, repeats=3, choose=choose, complete=spy(seen, truth=weight)
        )
        times = sum(gone.int() for _, gone in seen)
        assert len(seen) == 3 and int(times.max()) == 1 and found.n == 40 * 36


def test_the_seed_moves_only_the_random_choice():
    weight = low_rank()
    none = torch.zeros_like(weight, dtype=torch.bool)

    def hidden(choose, seed):
        seen = []
        estimate_sign_accuracy(
            weight, none, choose=choose, seed=seed, complete=spy(seen, truth=weight)
        )
        return seen[0][1]

    assert torch.equal(hidden("largest", 0), hidden("largest", 1))
    assert torch.equal(hidden("random", 1), hidden("random", 1))
    assert not torch.equal(hidden("random", 0), hidden("random", 1))


def test_it_predicts_the_accuracy_of_the_attack():
    for rank, noise in ((2, 0.1), (6, 1.0)):
        weight = low_rank(rank=rank, noise=noise)
        missing = largest(weight, 4)
        truth = complete(weight, missing, fast=True)
        actual = (truth.values.sign() == weight[missing].sign()).float().mean()
        found = estimate_sign_accuracy(weight, missing, fraction=4 / 120)
        assert abs(found.value - float(actual)) < 0.12


def test_noise_gives_chance():
    weight = torch.randn(60, 200, generator=torch.Generator().manual_seed(0))
    missing = largest(weight, 6)
    found = estimate_sign_accuracy(weight, missing, repeats=2)
    assert found.low < 0.5 < found.high


def test_the_fast_mode_stands_for_the_released_one():
    weight = low_rank()
    missing = largest(weight, 4)
    fast = estimate_sign_accuracy(weight, missing)
    released = estimate_sign_accuracy(weight, missing, complete=partial(complete))
    assert fast.n == released.n and abs(fast.value - released.value) < 0.05


def test_what_lies_at_the_missing_entries_does_not_matter():
    weight = low_rank()
    missing = largest(weight, 4)
    a = estimate_sign_accuracy(weight, missing)
    assert a == estimate_sign_accuracy(weight.masked_fill(missing, 0), missing)
    assert a == estimate_sign_accuracy(weight.masked_fill(missing, float("nan")), missing)


def test_wholly_pruned_rows_are_left_out():
    weight = low_rank()
    missing = largest(weight, 4)
    missing[3] = True
    rest = torch.arange(40) != 3
    a = estimate_sign_accuracy(weight, missing, choose="largest")
    alone = estimate_sign_accuracy(weight[rest], missing[rest], choose="largest")
    assert a == alone and a.n == 39 * 2


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(2, 9),
    fraction=st.floats(0.01, 0.99),
    repeats=st.integers(1, 4),
    seed=st.integers(0, 99),
    choose=st.sampled_from(["largest", "random", "alike"]),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_pruned_and_zero_weights_are_never_hidden(
    rows, columns, fraction, repeats, seed, choose, dtype
):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator).to(dtype)
    missing = torch.rand(rows, columns, generator=generator) < 0.3
    weight[torch.rand(rows, columns, generator=generator) < 0.2] = 0
    seen = []
    options = {"fraction": fraction, "repeats": repeats, "seed": seed, "choose": choose}
    try:
        found = estimate_sign_accuracy(weight, missing, **options, complete=spy(seen))
    except ValueError as error:
        assert "nothing can be hidden" in str(error)
        return
    alive = ~missing.all(dim=1)
    pruned, zero = missing[alive], (weight == 0)[alive]
    total = 0
    for _, gone in seen:
        hidden = gone & ~pruned
        assert not (hidden & zero).any()
        assert (~gone).any(dim=1).all()
        total += int(hidden.sum())
    assert found.n == total


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 0.0}, "fraction must"),
        ({"fraction": 1.0}, "fraction must"),
        ({"fraction": float("nan")}, "fraction must"),
        ({"repeats": 0}, "repeats above 0"),
        ({"choose": "smallest"}, "choose must"),
        ({"missing": torch.ones(40, 120, dtype=torch.bool)}, "nothing can be hidden"),
    ],
)
def test_bad_input_is_refused_before_completion(change, message):
    weight = low_rank()
    arguments = {"weight": weight, "missing": largest(weight, 4)} | change
    with pytest.raises(ValueError, match=message):
        estimate_sign_accuracy(**arguments, complete=lambda *_: pytest.fail("completed"))


def test_alike_hides_large_weights_in_the_columns_that_were_pruned():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(60, 100, generator=generator)
    missing = torch.zeros(60, 100, dtype=torch.bool)
    missing[:, :20] = torch.rand(60, 20, generator=generator) < 0.5
    seen = []
    estimate_sign_accuracy(weight, missing, fraction=0.05, choose="alike", complete=spy(seen))
    hidden = seen[0][1] & ~missing
    assert int(hidden.sum()) == 60 * 5
    assert hidden[:, 20:].sum() < 5  # rows that have too few left where pruning was
    left = weight[:, :20][~missing[:, :20]].abs().mean()
    assert weight[hidden].abs().mean() > 1.1 * left
    estimate_sign_accuracy(
        weight, missing & False, fraction=0.05, choose="alike", complete=spy(seen)
    )
    assert seen[1][1][:, 20:].any()  # nothing pruned: any column will do
