"""Which checkpoints of a run stay, by a policy, and the policy as a tag keeps it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from expmgr.catalog.facts import Facts
from expmgr.catalog.policy import Asking, Keep, Policy
from expmgr.errors import InvalidInputError
from expmgr.policies import best, last
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from expmgr.catalog.quality import Goal
    from expmgr.training.stored import StoredModel

__all__ = [
    "DEFAULT_KEEP",
    "KeptCheckpoint",
    "check_keep",
    "keep_from_tag",
    "keep_to_tag",
    "needs_quality",
    "superseded",
    "without",
]

DEFAULT_KEEP: Policy = best(3) | last(1)
_MOST_CHARACTERS = 2_000


@dataclass(frozen=True)
class KeptCheckpoint:
    """A checkpoint as a policy sees it.

    Attributes
    ----------
    model
        Its ``quality`` is that of the checkpoint's own metrics; None where it has none.
    step
        The output step; None where its run does not list it.
    doubtful
        Whether it could not be told how good it is: it is never superseded then.
    whole
        Whether it is there whole; what is not takes the place of no other.
    wanted
        Whether somebody restored it: it is never superseded again.
    """

    model: StoredModel
    step: int | None = None
    doubtful: bool = False
    whole: bool = True
    wanted: bool = False


def check_keep(keep: object) -> Policy | None:
    """Return a policy of what stays, None for all.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    if keep is None or (isinstance(keep, Policy) and keep.use == "keep"):
        return keep
    message = (
        f"keep must be a policy of what stays, such as best(3) | last(1), or None for all, not "
        f"{plain(repr(keep), 200)}."
    )
    raise InvalidInputError(message)


def needs_quality(keep: Policy | None) -> bool:
    """Whether a policy asks how good a checkpoint is."""
    nameless = Facts("", created=1)
    return keep is not None and any(leaf.unknown(nameless) for leaf in keep.leaves())


def superseded(
    checkpoints: Sequence[KeptCheckpoint], keep: Policy, goal: Goal, at: int
) -> list[KeptCheckpoint]:
    """Return the checkpoints of one run that a policy does not keep.

    A missing value, or NaN, is never among the best: else a training that diverged would keep all
    that it ever stored.

    Parameters
    ----------
    at
        Now, in milliseconds since 1970.
    """
    facts = [_facts(one, goal) for one in checkpoints]
    verdicts = keep.judge(facts, Asking(at))
    return [
        one
        for one, stays in zip(checkpoints, verdicts, strict=True)
        if stays is False and not one.doubtful and not one.wanted
    ]


def _facts(one: KeptCheckpoint, goal: Goal) -> Facts:
    quality = one.model.quality
    return Facts(
        one.model.model_id,
        created=one.model.created,
        step=one.step,
        # NaN compares false with everything, so no rank is at least the last of the best.
        quality=float("nan") if quality is None else quality,
        metric=goal.metric,
        is_loss=goal.is_loss,
        whole=one.whole,
        sure=quality is not None,
    )


def without(checkpoints: Iterable[KeptCheckpoint], broken: Collection[str]) -> list[KeptCheckpoint]:
    """Return the checkpoints with some of them, by id, known not to be whole."""
    return [
        replace(one, whole=False) if one.model.model_id in broken else one for one in checkpoints
    ]


# ---------------------------------------------------------------------------------- as a tag


def keep_to_tag(keep: Policy | None) -> str:
    """Return a policy as JSON: who comes after a killed process keeps what that one meant to."""
    return json.dumps(None if keep is None else _plain(keep))


def _plain(keep: Policy) -> Any:
    parts = getattr(keep, "parts", None)
    if parts is not None:
        return [keep.sign, *map(_plain, parts)]  # type: ignore[attr-defined]
    part = getattr(keep, "part", None)
    if part is not None:
        return ["~", _plain(part)]
    for name, make in (("best", best), ("last", last)):
        n = getattr(keep, "n", 0)
        if n and keep == make(n):
            return [name, n]
    raise InvalidInputError(f"{plain(repr(keep), 200)} is no policy that save_checkpoint knows.")


def keep_from_tag(text: str) -> Policy | None:
    """Return the policy that a tag holds; None where it keeps all, or is none that is known."""
    try:
        data = json.loads(text) if len(text) <= _MOST_CHARACTERS else None
        return None if data is None else _policy(data)
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _policy(data: Any) -> Keep:
    word, *rest = data
    if word in {"best", "last"}:
        (n,) = rest
        return (best if word == "best" else last)(n)
    parts: list[Any] = [_policy(one) for one in rest]
    if word == "~":
        (part,) = parts
        return ~part  # type: ignore[no-any-return]
    return reduce({"|": or_, "&": and_}[word], parts)  # type: ignore[no-any-return]
