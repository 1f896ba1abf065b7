"""What is forecast between computed inverse roots, and when."""

import pytest
import torch

from rbtc.solvers.forecast import LONGEST, Forecast
from rbtc.solvers.polar import HALF, symmetric_product


def parabola(time):
    w = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64)
    return w * (1 + 0.3 * time - 0.02 * time**2), 2.0 + 0.1 * time


def test_a_parabola_is_continued_exactly_whatever_the_spacing():
    forecast = Forecast(allowed=1.0)
    for time in (1, 2, 5):
        assert forecast.at(time) is None
        forecast.judge(time, *parabola(time), None)
    w, smallest = forecast.at(8)
    torch.testing.assert_close(w, parabola(8)[0])
    assert smallest == pytest.approx(parabola(8)[1])


def test_stretches_grow_while_the_error_is_small_and_shrink_when_it_is_not():
    forecast = Forecast(allowed=1.0)
    for time in (1, 2, 3):
        assert forecast.due()
        forecast.judge(time, *parabola(time), None)
    lengths, time = [], 4
    for error in (2.0, 1.0, 0.4, 0.3, 0.3, 0.6, 2.0, 10.0, float("nan"), 10.0):
        assert forecast.due()
        forecast.judge(time, *parabola(time), error)
        lengths.append(forecast.length)
        for _ in range(forecast.length):
            assert not forecast.due()
        time += forecast.length + 1
    assert lengths == [0, 1, 3, LONGEST, LONGEST, LONGEST, 5, 1, 0, 0]


@pytest.mark.parametrize("rows", [3, 100, 515, 640])
def test_half_a_product_is_the_whole_one_where_it_is_symmetric(rows):
    generator = torch.Generator().manual_seed(rows)
    a = torch.randn(rows, rows, generator=generator, dtype=torch.float64)
    a = a + a.mT
    square = symmetric_product(a, a)
    torch.testing.assert_close(square, a @ a)
    assert torch.equal(square, square.mT)
    assert 0.5 < HALF < 1
