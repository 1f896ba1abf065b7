"""What is forecast between computed inverse roots, and when."""

import pytest
import torch

from rbtc.solvers.forecast import LONGEST, Forecast
from rbtc.solvers.polar import HALF, symmetric_product


def path(time, *, cubic=0.0):
    """W and s_min on a curve in 1 / time that is a parabola but for `cubic`."""
    w = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64)
    x = 1 / time
    return w * (1 + 0.3 * x - 0.2 * x**2 + cubic * x**3), 2.0 + 0.1 * x


def test_a_parabola_is_continued_exactly_whatever_the_spacing():
    forecast = Forecast(allowed=1.0)
    for time in (1, 2, 5):
        assert forecast.at(time) is None
        forecast.judge(time, *path(time), None)
    w, smallest = forecast.at(8)
    torch.testing.assert_close(w, path(8)[0])
    assert smallest == pytest.approx(path(8)[1])


def error_at(forecast, time, cubic):
    return float((forecast.at(time)[0] - path(time, cubic=cubic)[0]).norm())


@pytest.mark.parametrize("allowed", [1e-3, 3e-3, 1e-2, 0.1])
def test_a_stretch_is_as_long_as_its_error_allows(allowed):
    forecast, time, lengths = Forecast(allowed=allowed), 1, []
    while time < 60:
        assert forecast.due()
        error = None if forecast.at(time) is None else error_at(forecast, time, 1.0)
        before = forecast.length
        forecast.judge(time, *path(time, cubic=1.0), error)
        lengths.append(forecast.length)
        for _ in range(forecast.length):
            assert not forecast.due()
        if error is not None:  # an error of third order is foreseen exactly
            most = min(2 * before + 1, LONGEST)
            good = [error_at(forecast, time + n, 1.0) <= allowed for n in range(1, most + 1)]
            assert forecast.length == max([n for n, fine in enumerate(good, 1) if fine], default=0)
        time += forecast.length + 1
    assert lengths[:3] == [0, 0, 0] and lengths[-1] == LONGEST


@pytest.mark.parametrize("error", [float("nan"), 10.0])
def test_nothing_is_forecast_after_a_bad_error(error):
    forecast = Forecast(allowed=1e-3)
    for time in (1, 2, 3, 4):
        forecast.judge(time, *path(time), None if time < 4 else error)
    assert forecast.length == 0 and forecast.due()


@pytest.mark.parametrize("rows", [3, 100, 515, 640])
def test_half_a_product_is_the_whole_one_where_it_is_symmetric(rows):
    generator = torch.Generator().manual_seed(rows)
    a = torch.randn(rows, rows, generator=generator, dtype=torch.float64)
    a = a + a.mT
    square = symmetric_product(a, a)
    torch.testing.assert_close(square, a @ a)
    assert torch.equal(square, square.mT)
    assert 0.5 < HALF < 1
