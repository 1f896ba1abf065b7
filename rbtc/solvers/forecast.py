"""An inverse root between two times at which it is computed.

The released iteration is a gradient descent: after its first steps the inverse square root W of
the Gram matrix moves along a smooth path that slows down like one over the number of the step.
Three computed W give a parabola in x = 1 / step through it, and a step taken with the parabola's W
costs no product of (m, m) matrices. How far it may be trusted is measured, not assumed: whenever W
is computed, the step that the parabola would have taken is compared with the step that is taken.
"""

import math
from collections import deque

from torch import Tensor

LONGEST = 7
"""Steps in a row that may be forecast."""


_POINTS = 3


class Forecast:
    """W and s_min by iteration, from where they are computed to where they are not.

    Args:
        allowed: error of a forecast step that is accepted, in the unit of `judge`.
    """

    def __init__(self, allowed: float) -> None:
        self.allowed = allowed
        self.length = 0  # of the next stretch of forecast steps
        self._known: deque[tuple[int, Tensor, float]] = deque(maxlen=_POINTS)
        self._left = 0

    def due(self) -> bool:
        """Whether W has to be computed for this step; else the step may be forecast."""
        if self._left:
            self._left -= 1
            return False
        return True

    def at(self, iteration: int) -> tuple[Tensor, float] | None:
        """W (m, m) and s_min by the parabola through the last three; None before there are any."""
        if len(self._known) < _POINTS:
            return None
        x, nodes = 1 / iteration, self._nodes()
        coefficients = [
            math.prod((x - other) / (node - other) for other in nodes if other != node)
            for node in nodes
        ]
        (_, w, s), *others = self._known
        w, s = coefficients[0] * w, coefficients[0] * s
        for coefficient, (_, other, smallest) in zip(coefficients[1:], others, strict=True):
            w.add_(other, alpha=coefficient)
            s += coefficient * smallest
        return w, s

    def judge(self, iteration: int, w: Tensor, smallest: float, error: float | None) -> None:
        """Take what was computed, and the error that the forecast of this step had, if any."""
        # A parabola is off by an amount that grows like the product of the distances to its nodes.
        rate = None if error is None else error / self._distance(iteration)
        self._known.append((iteration, w, smallest))
        self.length = 0 if rate is None else self._stretch(iteration, rate)
        self._left = self.length

    def _stretch(self, iteration: int, rate: float) -> int:
        """Most steps in a row, at most twice as many as before and one, that may be forecast."""
        for length in range(min(2 * self.length + 1, LONGEST), 0, -1):
            if rate * self._distance(iteration + length) <= self.allowed:
                return length
        return 0

    def _nodes(self) -> list[float]:
        return [1 / time for time, _, _ in self._known]

    def _distance(self, iteration: int) -> float:
        return math.prod(abs(1 / iteration - node) for node in self._nodes())
