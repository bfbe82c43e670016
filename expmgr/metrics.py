"""Metric values and their running aggregates.

What is kept, and what is refused:

- A value is one real number: an int, a float, or anything of one element that says so itself
  (a NumPy scalar, a tensor with ``item()``). Everything else is refused, bool included.
- NaN is kept under the metric's own name, so that a diverged run shows it. It enters no aggregate
  and is never the best.
- Infinity is logged as NaN, with a warning: MLflow's databases would store it as 1.8e308, a number
  that wins comparisons.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError
from expmgr.training.params import MAX_KEY_LENGTH, check_key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MetricValue", "MetricsAccumulator"]

logger = logging.getLogger(__name__)

_LONGEST_PREFIX = len("sliding_")
_SCALE = 60
"""Sums are kept divided by 2**60, so that no sum of finite values overflows. Dividing by a power
of two is exact down to 1e-290."""


@dataclass(frozen=True)
class MetricValue:
    """One value of one metric.

    Attributes
    ----------
    name
        As MLflow will show it.
    value
        The number, as a float.

    Raises
    ------
    InvalidInputError
        The name is none that MLflow takes, or the value is not one real number.

    Examples
    --------
    >>> MetricValue("loss", 1)
    MetricValue(name='loss', value=1.0)
    """

    name: str
    value: float

    def __post_init__(self) -> None:
        check_key("metric", self.name, longest=MAX_KEY_LENGTH - _LONGEST_PREFIX)
        object.__setattr__(self, "value", _number(self.name, self.value))

    def add_prefix(self, prefix: str) -> MetricValue:
        """Return the value under the name ``<prefix>_<name>``; this one stays as it is.

        Examples
        --------
        >>> MetricValue("loss", 1).add_prefix("test").name
        'test_loss'
        """
        return replace(self, name=f"{prefix}_{self.name}")

    @property
    def is_finite(self) -> bool:
        """Whether it is neither NaN nor infinite."""
        return math.isfinite(self.value)

    @property
    def loggable(self) -> float:
        """The value as it is logged: infinity as NaN, see the module."""
        if math.isinf(self.value):
            logger.warning("metric %s is infinite and is logged as NaN", self.name)
            return math.nan
        return self.value


def _number(name: str, value: object) -> float:
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, (int, float)):
        try:
            value = item()  # NumPy scalars and 0-d arrays, tensors of one element
        except (ValueError, TypeError, RuntimeError) as error:
            message = f"metric {name!r} takes one number, not {type(value).__name__}: {error}."
            raise InvalidInputError(message) from error
    if isinstance(value, bool) or not isinstance(value, Real):
        message = (
            f"metric {name!r} takes one real number, not {value!r} of type {type(value).__name__}."
        )
        raise InvalidInputError(message)
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidInputError(f"metric {name!r}: {error}.") from error


class MetricsAccumulator:
    """Running aggregates of one metric, each logged beside the value.

    The work for a value does not grow with the number of values before it, and nothing but the
    window is kept. Values that are not finite are passed over.

    Parameters
    ----------
    name
        The metric that it follows.
    calc_mean
        Log ``mean_<name>``: the mean of all values of the run.
    calc_sliding
        Log ``sliding_<name>``: the mean of the last ``window_size`` values, or of all where there
        are fewer.
    calc_min, calc_max
        Log ``min_<name>`` and ``max_<name>``.
    window_size
        Values in the sliding window, at least 1.

    Examples
    --------
    >>> accumulator = MetricsAccumulator("loss", calc_mean=True, calc_min=True)
    >>> accumulator.accumulate(MetricValue("loss", 3))
    [('loss', 3.0), ('mean_loss', 3.0), ('min_loss', 3.0)]
    >>> accumulator.accumulate(MetricValue("loss", 1))
    [('loss', 1.0), ('mean_loss', 2.0), ('min_loss', 1.0)]
    """

    def __init__(
        self,
        name: str,
        calc_mean: bool = False,  # noqa: FBT001, FBT002, RUF100 - the signature is fixed
        calc_sliding: bool = False,  # noqa: FBT001, FBT002, RUF100
        calc_min: bool = False,  # noqa: FBT001, FBT002, RUF100
        calc_max: bool = False,  # noqa: FBT001, FBT002, RUF100
        window_size: int = 10,
    ) -> None:
        check_key("metric", name, longest=MAX_KEY_LENGTH - _LONGEST_PREFIX)
        if isinstance(window_size, bool) or not isinstance(window_size, int) or window_size < 1:
            message = (
                f"window_size of metric {name!r} is a whole number from 1, not {window_size!r}."
            )
            raise InvalidInputError(message)
        self.name = name
        self.calc_mean = calc_mean
        self.calc_sliding = calc_sliding
        self.calc_min = calc_min
        self.calc_max = calc_max
        self.window_size = window_size
        self._window: deque[float] = deque(maxlen=window_size)
        self.clear()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, calc_mean={self.calc_mean}, "
            f"calc_sliding={self.calc_sliding}, calc_min={self.calc_min}, "
            f"calc_max={self.calc_max}, window_size={self.window_size})"
        )

    @property
    def count(self) -> int:
        """Finite values seen since the last `clear`."""
        return self._count

    def clear(self) -> None:
        """Forget all values."""
        self._last: float | None = None
        self._count = 0
        self._sum = 0.0
        self._lost = 0.0
        self._min = math.inf
        self._max = -math.inf
        self._window.clear()

    def fresh(self) -> MetricsAccumulator:
        """Return an accumulator of the same settings that has seen nothing."""
        return type(self)(
            self.name,
            self.calc_mean,
            self.calc_sliding,
            self.calc_min,
            self.calc_max,
            self.window_size,
        )

    def remember(self) -> Callable[[], None]:
        """Return a function that takes the accumulator back to where it is now."""
        state = dict(vars(self))
        window = tuple(self._window)

        def go_back() -> None:
            vars(self).update(state)
            self._window.clear()
            self._window.extend(window)

        return go_back

    def accumulate(self, metric: MetricValue) -> list[tuple[str, float]]:
        """Take one value and return it with the aggregates to log beside it, by name.

        Parameters
        ----------
        metric
            A value; of another metric than the one that this accumulator follows it is passed over.

        Returns
        -------
        list of (str, float)
            The value itself, then the aggregates asked for; the value alone where it is not finite,
            nothing of another metric.
        """
        if metric.name != self.name:
            return []
        self._last = metric.value
        if not metric.is_finite:
            return [(self.name, self._last)]
        value = metric.value
        self._count += 1
        self._add(math.ldexp(value, -_SCALE))
        self._min = min(self._min, value)
        self._max = max(self._max, value)
        self._window.append(value)
        return self.aggregate()

    def aggregate(self) -> list[tuple[str, float]]:
        """Return the last value and the aggregates of all that are finite, by name."""
        found = [] if self._last is None else [(self.name, self._last)]
        if not self._count:
            return found
        if self.calc_mean:
            found.append((f"mean_{self.name}", self._mean()))
        if self.calc_sliding:
            found.append((f"sliding_{self.name}", self._sliding()))
        if self.calc_min:
            found.append((f"min_{self.name}", self._min))
        if self.calc_max:
            found.append((f"max_{self.name}", self._max))
        return found

    def _add(self, value: float) -> None:
        # Neumaier's sum: what each addition rounds away is kept beside the sum.
        total = self._sum + value
        if abs(self._sum) >= abs(value):
            self._lost += (self._sum - total) + value
        else:
            self._lost += (value - total) + self._sum
        self._sum = total

    def _mean(self) -> float:
        mean = math.ldexp((self._sum + self._lost) / self._count, _SCALE)
        return min(max(mean, self._min), self._max)  # rounding must not leave the range

    def _sliding(self) -> float:
        scaled = math.fsum(math.ldexp(value, -_SCALE) for value in self._window)
        return math.ldexp(scaled / len(self._window), _SCALE)
