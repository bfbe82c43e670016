"""Why a model stays: a kind, words for a person, and whom it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from expmgr import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

__all__ = ["REASON_KINDS", "Reason", "ReasonKind", "Reasons", "covered", "distinct", "kinds_of"]

ReasonKind = Literal["best", "registered", "pinned", "initial", "active", "used", "unknown"]
REASON_KINDS: tuple[str, ...] = get_args(ReasonKind)


class Reason(str):
    """A reason reads as its text (``"registered: churn v3"``) and keeps the parts it was made of.

    Attributes
    ----------
    kind
        One of `REASON_KINDS`.
    words
        For a person, without the kind.
    subject
        The version, run or model that it is about: two reasons of one kind and subject are the
        same reason, whatever their words say by now.
    """

    __slots__ = ("kind", "subject", "words")

    kind: ReasonKind
    words: str
    subject: str

    def __new__(cls, kind: ReasonKind, words: str, subject: str = "") -> Self:
        """Make the text once, plain; nothing is ever parsed back out of it."""
        said = text.words(words)
        reason = super().__new__(cls, f"{kind}: {said}")
        reason.kind = kind
        reason.words = said
        reason.subject = subject
        return reason

    def __getnewargs__(self) -> tuple[str, str, str]:  # type: ignore[override]  # for copies
        return self.kind, self.words, self.subject

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same reason."""
        return self.kind, self.subject


class Reasons(str):
    """Reasons as one text, a cell of a table (``protected_by``), that keeps what it was made of.

    Attributes
    ----------
    parts
        The reasons, in order; without any the text is empty.
    """

    __slots__ = ("parts",)

    parts: tuple[Reason, ...]

    def __new__(cls, parts: Iterable[Reason] = ()) -> Self:
        """Join the reasons once; nothing is ever parsed back out of the text."""
        kept = tuple(parts)
        reasons = super().__new__(cls, "; ".join(kept))
        reasons.parts = kept
        return reasons

    def __getnewargs__(self) -> tuple[tuple[Reason, ...]]:  # type: ignore[override]  # for copies
        return (self.parts,)

    def without(self, kind: ReasonKind) -> Self:
        """Return the reasons of other kinds."""
        return type(self)(one for one in self.parts if one.kind != kind)


def covered(reasons: Iterable[Reason], shown: Iterable[Reason]) -> bool:
    """Whether each reason is one of those shown before: of the same kind and subject. Pure."""
    known = {reason.key for reason in shown}
    return all(reason.key in known for reason in reasons)


def distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return the reasons in order, each once; the same words about two subjects are two. Pure."""
    return tuple({(reason, reason.subject): reason for reason in reasons}.values())


def kinds_of(reasons: Iterable[Reason]) -> str:
    """Return what kinds they are of, each once, as one text: ``best, registered``. Pure."""
    return ", ".join(dict.fromkeys(reason.kind for reason in reasons))
