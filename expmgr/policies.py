"""Which models may go and which stay, in a few words that combine. Pure.

    manager.plan_cleanup(where=older_than("30d") & larger_than("1GB"), keep=best(3) | last(1))

``older_than``, ``larger_than``, ``status`` and ``mine`` are for ``where``, which selects; ``best``
and ``last`` for ``keep``, which always wins. ``&``, ``|`` and ``~`` combine those of one kind. What
is not known of a model (no metric, not measured, no run) is neither true nor false, however it is
combined: then ``where`` does not select it and ``keep`` keeps it. So a model goes only where
something is known that says so.
"""

from __future__ import annotations

import math
import operator
import re
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from expmgr.catalog.policy import Asking, Keep, Policy, Where
from expmgr.errors import InvalidInputError
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from expmgr.catalog.facts import Facts

__all__ = [
    "best",
    "in_plain_values",
    "larger_than",
    "last",
    "mine",
    "older_than",
    "seconds_of",
    "status",
]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {
    "b": 1,
    **{f"{unit}b": 1000**power for power, unit in enumerate("kmgtp", 1)},
    **{f"{unit}ib": 1024**power for power, unit in enumerate("kmgtp", 1)},
}
_AMOUNT = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)\s*")
_STATUSES = ("FAILED", "FINISHED", "KILLED", "RUNNING", "SCHEDULED")
"""``mlflow.entities.RunStatus``"""


# ------------------------------------------------------------------------------------- where


class _Leaf(Policy):
    def leaves(self) -> Iterator[Policy]:
        yield self


class _Each(_Leaf, Where):
    """Judges each model by itself."""

    @abstractmethod
    def one(self, model: Facts, asking: Asking) -> bool | None:
        """Return whether it is so of one model."""

    def judge(self, group: Sequence[Facts], asking: Asking) -> list[bool | None]:
        return [self.one(model, asking) for model in group]


@dataclass(frozen=True, repr=False)
class _OlderThan(_Each):
    seconds: float
    text: str = field(compare=False)

    def one(self, model: Facts, asking: Asking) -> bool | None:
        return asking.at - model.created > 1000 * self.seconds if model.created else None

    def unknown(self, model: Facts) -> str:
        return "" if model.created else "nothing tells when it was made"

    def __repr__(self) -> str:
        return f'older_than("{self.text}")'


@dataclass(frozen=True, repr=False)
class _LargerThan(_Each):
    size: float
    text: str = field(compare=False)

    def one(self, model: Facts, asking: Asking) -> bool | None:
        del asking
        return None if model.bytes is None else model.bytes > self.size

    def unknown(self, model: Facts) -> str:
        return "it was not measured" if model.bytes is None else ""

    def __repr__(self) -> str:
        return f'larger_than("{self.text}")'


@dataclass(frozen=True, repr=False)
class _Status(_Each):
    statuses: tuple[str, ...]

    def one(self, model: Facts, asking: Asking) -> bool | None:
        del asking
        return model.status in self.statuses if model.status else None

    def unknown(self, model: Facts) -> str:
        return "" if model.status else "no run that made it is known"

    def __repr__(self) -> str:
        said = ", ".join(f'"{one}"' for one in self.statuses)
        return f"status({said})"


@dataclass(frozen=True, repr=False)
class _Mine(_Each):
    def one(self, model: Facts, asking: Asking) -> bool | None:
        return model.user == asking.user if model.user and asking.user else None

    def unknown(self, model: Facts) -> str:
        return "" if model.user else "MLflow does not say who made it"

    def __repr__(self) -> str:
        return "mine()"


# -------------------------------------------------------------------------------------- keep
# Whether a model is among the first n is told by those ahead of it, and only whole ones count: half
# an upload takes the place of no model. Equal ones stay together.


@dataclass(frozen=True, repr=False)
class _Best(_Leaf, Keep):
    n: int

    def judge(self, group: Sequence[Facts], asking: Asking) -> list[bool | None]:
        del asking
        ranks = [_worse(model) for model in group]
        ahead = sorted(
            rank
            for model, rank in zip(group, ranks, strict=True)
            if rank is not None and model.whole and model.sure
        )
        least = ahead[self.n - 1] if len(ahead) >= self.n else math.inf
        return [None if rank is None else rank <= least for rank in ranks]

    def unknown(self, model: Facts) -> str:
        if model.quality is not None:
            return ""
        what = f"no value of {model.metric}" if model.metric else "no main metric"
        return f"{what} tells how good it is"

    def __repr__(self) -> str:
        return f"best({self.n})"


def _worse(model: Facts) -> float | None:
    """Return a number that is the smaller the better the model is."""
    if model.quality is None:
        return None
    return model.quality if model.is_loss else -model.quality


@dataclass(frozen=True, repr=False)
class _Last(_Leaf, Keep):
    n: int

    def judge(self, group: Sequence[Facts], asking: Asking) -> list[bool | None]:
        del asking
        ages = [_age(model) for model in group]
        newest = sorted(
            age for model, age in zip(group, ages, strict=True) if age is not None and model.whole
        )
        least = newest[self.n - 1] if len(newest) >= self.n else None
        return [None if age is None else least is None or age <= least for age in ages]

    def unknown(self, model: Facts) -> str:
        return "" if model.created else "nothing tells when it was made"

    def __repr__(self) -> str:
        return f"last({self.n})"


def _age(model: Facts) -> tuple[int, int] | None:
    """Return what is the smaller the newer the model is: by creation, then by step."""
    if not model.created:
        return None
    return -model.created, 1 if model.step is None else -model.step


# ------------------------------------------------------------------------------- public names


def older_than(age: str) -> Where:
    """Models that were made longer ago than this.

    What only its run dates (MLflow 2's models, raw artifacts) is as old as the run's end.

    Parameters
    ----------
    age
        A number and s, m (minutes), h, d or w: ``"30d"``, ``"12h"``, ``"1.5w"``.

    Raises
    ------
    InvalidInputError
        It does not parse.
    """
    return _OlderThan(seconds_of(age), age.strip())


def seconds_of(age: str) -> float:
    """Return the seconds that a time such as ``"30d"`` lasts.

    Raises
    ------
    InvalidInputError
        It does not parse.
    """
    found = _AMOUNT.fullmatch(age) if isinstance(age, str) else None
    if found is not None and found[2] == "M":
        message = f"{age!r} may mean months: write days, such as '180d', or m for minutes."
        raise InvalidInputError(message)
    return _amount(age, _SECONDS, "an age", '"30d" (s, m, h, d or w)')


def larger_than(size: str) -> Where:
    """Models whose files take more than this; one that was not measured is not larger.

    Parameters
    ----------
    size
        A number and a unit: ``"1GB"`` is 10^9 bytes, ``"1GiB"`` 2^30.

    Raises
    ------
    InvalidInputError
        It does not parse.
    """
    return _LargerThan(
        _amount(size, _BYTES, "a size", '"1GB" (B, KB .. PB, KiB .. PiB)'), size.strip()
    )


def status(*statuses: str) -> Where:
    """Models whose run ended, or stands, like this; one without a run is not among them.

    Parameters
    ----------
    *statuses
        MLflow's: FAILED, FINISHED, KILLED, RUNNING, SCHEDULED.

    Raises
    ------
    InvalidInputError
        None of these, or none at all.
    """
    given = [one.strip().upper() if isinstance(one, str) else one for one in statuses]
    wrong = [repr(said) for said, one in zip(statuses, given, strict=True) if one not in _STATUSES]
    if wrong or not given:
        said = f"{', '.join(wrong)} is no status of a run" if wrong else "status() names no status"
        raise InvalidInputError(f"{said}: name one of {', '.join(_STATUSES)}.")
    return _Status(tuple(sorted(set(given))))


def mine() -> Where:
    """Models that MLflow says were made by the user who asks (tag ``mlflow.user``)."""
    return _Mine()


def best(n: int) -> Keep:
    """Keep the n best of each group by the main metric, and all that equal the last of them.

    One without the metric is kept: nothing tells that it is worse.

    Raises
    ------
    InvalidInputError
        n is not a whole number of at least 1.
    """
    return _Best(_count(n, "best"))


def last(n: int) -> Keep:
    """Keep the n newest of each group by creation, then step, and all that equal the last of them.

    Raises
    ------
    InvalidInputError
        n is not a whole number of at least 1.
    """
    return _Last(_count(n, "last"))


def in_plain_values(
    age: str | None = None,
    size: str | None = None,
    statuses: Iterable[str] = (),
    n_best: int | None = None,
    n_last: int | None = None,
    *,
    own: bool = False,
) -> tuple[Policy | None, Policy | None]:
    """Return ``where`` and ``keep`` from what a command line or a notebook's parameters hold.

    Parameters
    ----------
    age, size
        Of `older_than` and `larger_than`; None leaves them out.
    statuses
        Of `status`; none leaves it out.
    n_best, n_last
        Of `best` and `last`; None leaves them out.
    own
        Whether `mine` is meant.

    Returns
    -------
    tuple
        ``where``, of which all must hold, and ``keep``, of which one is enough; None for neither.

    Raises
    ------
    InvalidInputError
        One of them does not parse.

    Examples
    --------
    >>> in_plain_values("30d", "1GB", n_best=3, n_last=1)
    (older_than("30d") & larger_than("1GB"), best(3) | last(1))
    """
    where: list[Policy] = []
    if age is not None:
        where.append(older_than(age))
    if size is not None:
        where.append(larger_than(size))
    named = tuple(statuses)
    if named:
        where.append(status(*named))
    if own:
        where.append(mine())
    keep: list[Policy] = [] if n_best is None else [best(n_best)]
    if n_last is not None:
        keep.append(last(n_last))
    return (
        reduce(operator.and_, where) if where else None,
        reduce(operator.or_, keep) if keep else None,
    )


def _count(n: int, name: str) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InvalidInputError(f"{name}({n!r}): say how many, a whole number of at least 1.")
    return n


def _amount(text: str, units: dict[str, int], what: str, example: str) -> float:
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    unit = units.get(match[2].lower()) if match is not None else None
    if match is None or unit is None:
        said = plain(repr(text), 60)
        raise InvalidInputError(f"{said} is not {what}: write a number and a unit, {example}.")
    return float(match[1]) * unit
