"""Why a model stays: a kind, words for a person, and whom it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from expmgr import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

__all__ = ["REASON_KINDS", "Reason", "ReasonKind", "covered", "distinct"]

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


def covered(reasons: Iterable[Reason], shown: Iterable[Reason]) -> bool:
    """Whether each reason is one of those shown before: of the same kind and subject. Pure."""
    known = {reason.key for reason in shown}
    return all(reason.key in known for reason in reasons)


def distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return the reasons in order, each once; the same words about two subjects are two. Pure."""
    return tuple({(reason, reason.subject): reason for reason in reasons}.values())
