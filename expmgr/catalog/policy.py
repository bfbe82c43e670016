"""A policy: true, false or unknown of each model, and how several are one. Pure.

Kleene's logic: what is not known stays unknown unless the rest decides without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from expmgr.errors import InvalidInputError
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from expmgr.catalog.facts import Facts

__all__ = ["Asking", "Keep", "Policy", "Where"]


@dataclass(frozen=True)
class Asking:
    """Who asks, and when.

    Attributes
    ----------
    at
        Milliseconds since 1970.
    user
        As MLflow would record it, or "".
    """

    at: int
    user: str = ""


class Policy(ABC):
    """Something that is true, false or unknown of each model of a group."""

    use: ClassVar[str]
    """``where`` or ``keep``: only policies of one use combine."""

    @abstractmethod
    def judge(self, group: Sequence[Facts], asking: Asking) -> list[bool | None]:
        """Return for each model whether it is so; None where that is not known."""

    @abstractmethod
    def leaves(self) -> Iterator[Policy]:
        """Yield the simple ones that it is made of."""

    def unknown(self, model: Facts) -> str:
        """Return in words what is not known of a model, or ""."""
        return next(filter(None, (leaf.unknown(model) for leaf in self.leaves())), "")

    def __and__(self, other: object) -> Policy:
        return _combined("&", self, other)

    def __or__(self, other: object) -> Policy:
        return _combined("|", self, other)

    def __rand__(self, other: object) -> Policy:
        return _combined("&", other, self)

    def __ror__(self, other: object) -> Policy:
        return _combined("|", other, self)

    def __invert__(self) -> Policy:
        return (_WhereNot if self.use == "where" else _KeepNot)(self)

    def __bool__(self) -> bool:
        message = (
            f"{self!r} is neither true nor false by itself: combine policies with & | ~, not with "
            "and, or, not."
        )
        raise InvalidInputError(message)


class Where(Policy):
    """Selects models."""

    use = "where"


class Keep(Policy):
    """Keeps models, of each group."""

    use = "keep"


def _combined(sign: str, left: object, right: object) -> Policy:
    if not isinstance(left, Policy) or not isinstance(right, Policy):
        stranger = right if isinstance(left, Policy) else left
        said = plain(repr(stranger), 60)
        message = (
            f"{sign} combines policies such as older_than('30d'), and {said} is none: see "
            "expmgr.policies."
        )
        raise InvalidInputError(message)
    if left.use != right.use:
        message = (
            f"{left!r} is for {left.use}, {right!r} for {right.use}: they do not combine. Pass "
            "each as its own argument, where=... and keep=...; keep always wins."
        )
        raise InvalidInputError(message)
    kind = {
        ("where", "&"): _WhereAnd,
        ("where", "|"): _WhereOr,
        ("keep", "&"): _KeepAnd,
        ("keep", "|"): _KeepOr,
    }[left.use, sign]
    parts: list[Policy] = []
    for one in (left, right):
        parts += one.parts if isinstance(one, kind) else (one,)
    return kind(tuple(parts))


@dataclass(frozen=True, repr=False)
class _Many(Policy):
    parts: tuple[Policy, ...]
    sign: ClassVar[str]
    decides: ClassVar[bool]
    """The value of one part that decides over all."""

    def judge(self, group: Sequence[Facts], asking: Asking) -> list[bool | None]:
        return [self._join(row) for row in zip(*self._rows(group, asking), strict=True)]

    def _rows(self, group: Sequence[Facts], asking: Asking) -> Iterator[list[bool | None]]:
        return (part.judge(group, asking) for part in self.parts)

    def _join(self, row: tuple[bool | None, ...]) -> bool | None:
        if self.decides in row:
            return self.decides
        return None if None in row else not self.decides

    def leaves(self) -> Iterator[Policy]:
        for part in self.parts:
            yield from part.leaves()

    def __repr__(self) -> str:
        # & binds closer than |
        return f" {self.sign} ".join(
            f"({part!r})" if isinstance(part, _Or) and self.sign == "&" else repr(part)
            for part in self.parts
        )


class _And(_Many):
    sign = "&"
    decides = False


class _Or(_Many):
    sign = "|"
    decides = True


@dataclass(frozen=True, repr=False)
class _Not(Policy):
    part: Policy

    def judge(self, group: Sequence[Facts], asking: Asking) -> list[bool | None]:
        return [None if one is None else not one for one in self.part.judge(group, asking)]

    def leaves(self) -> Iterator[Policy]:
        return self.part.leaves()

    def __repr__(self) -> str:
        return f"~({self.part!r})" if isinstance(self.part, _Many) else f"~{self.part!r}"


class _WhereAnd(_And, Where):
    pass


class _WhereOr(_Or, Where):
    pass


class _WhereNot(_Not, Where):
    pass


class _KeepAnd(_And, Keep):
    pass


class _KeepOr(_Or, Keep):
    pass


class _KeepNot(_Not, Keep):
    pass
